"""A Celery worker on an operator's broker whose tasks wait until they are told to go on.

    python -m tests.oracle_worker.waiting_worker BROKER_URL FOLDER POOL

A task NAME writes FOLDER/NAME.begun, and ends once FOLDER/NAME.go is there.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass
from pathlib import Path

from oracle_worker.queues import ACT, make_open_app


@dataclass(frozen=True)
class Broker:
    """What settings say of a broker."""

    broker_url: str
    queue_prefix: str = ""
    visibility_timeout: int = 3600


def main(url: str, folder: Path, pool: str) -> None:
    """Work until it is ended."""
    app = make_open_app(Broker(url))

    @app.task(name=ACT, shared=False)  # type: ignore[untyped-decorator]
    def act(name: str) -> None:
        (folder / f"{name}.begun").touch()
        while not (folder / f"{name}.go").exists():
            time.sleep(0.05)

    app.finalize()
    quiet = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}
    app.Worker(queues=["signer"], hostname="signer@test", pool=pool, concurrency=1, loglevel="INFO", **quiet).start()


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), sys.argv[3])
