"""`quorate` with one thing changed: some rows' results are falsified. What a liar would run; the product has no such option.

    python -m tests.end_to_end.lying_worker ROWS.json worker --role compute …

ROWS.json is a list of rows in hex.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from coordinator.cli.main import main
from coordinator.demo.operator import Falsified
from oracle_worker import worker
from oracle_worker.inference import Inference, OnnxInference


def lying(rows: frozenset[bytes]) -> None:
    """From now on the workers of this process falsify these rows."""

    def falsified(threads: int = 1, _: object = None) -> Inference:
        return Falsified(OnnxInference(threads), rows)

    worker.__dict__["OnnxInference"] = falsified


if __name__ == "__main__":
    lying(frozenset(bytes.fromhex(row) for row in json.loads(Path(sys.argv[1]).read_text())))
    sys.exit(main(sys.argv[2:]))
