"""Rows a second of the zoo's models through ONNX Runtime, one thread, next to the slow interpreter that specifies them."""

from __future__ import annotations

from time import perf_counter
from typing import Any

import numpy as np

from models import zoo
from models.interpreter import run
from models.runtime import Runtime

BATCHES = (1, 256, 4096)
SECONDS = 0.5


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some ten seconds."""
    made = []
    for name in zoo.names():
        network = zoo.load(name).network
        runtime = Runtime(network)
        for batch in BATCHES:
            rows = np.random.default_rng(0).integers(0, 256, (batch, network.row_length), dtype=np.uint8)
            rate = _rate(runtime, rows)
            made.append({"name": f"inference/{name}/batch{batch}", "value": round(rate), "unit": "rows/s"})
        start = perf_counter()
        run(network, rows)
        slow = len(rows) / (perf_counter() - start)
        made.append({"name": f"inference/{name}/vs_interpreter", "value": round(rate / slow, 1), "unit": "ratio"})
    return made


def _rate(runtime: Runtime, rows: np.ndarray[Any, np.dtype[np.uint8]]) -> float:
    runtime.run(rows)
    done, start = 0, perf_counter()
    while perf_counter() - start < SECONDS:
        runtime.run(rows)
        done += len(rows)
    return done / (perf_counter() - start)
