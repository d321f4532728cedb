"""One operator of the demo: the real coordinator, compute and signer in one process, on an embedded broker.

A liar is the same stack with a falsified inference and, where it shall keep silent, a gap in what its coordinator sends.
Commands come one a line on standard input: `stake WEI`, `withdraw`, `stop`; each is answered with a line on standard output.

    python -m coordinator.demo.operator CONFIG.json
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.deployment import Contracts
from coordinator import settings as coordinator_settings
from coordinator.daemon import Daemon
from coordinator.dispatcher import Message, Publish, celery_publisher
from oracle_worker import settings as worker_settings
from oracle_worker.inference import Inference, OnnxInference
from oracle_worker.model_store import Model
from oracle_worker.worker import RoleContexts, embedded

DEPLOYMENT_SECONDS = 120.0


class Falsified:
    """Honest inference, except for some rows: their logits are turned round by one place."""

    def __init__(self, honest: Inference, rows: frozenset[bytes]) -> None:
        self._honest = honest
        self._rows = rows

    def run(self, model: Model, rows: NDArray[np.uint8], first: int) -> NDArray[np.int32]:
        """As Inference says."""
        logits = self._honest.run(model, rows, first)
        for position, row in enumerate(rows):
            if row.tobytes() in self._rows:
                logits[position] = np.roll(logits[position], 1)
        return logits


def withholding(publish: Publish, withheld: frozenset[tuple[str, str]]) -> Publish:
    """Publishes all but some duties, each named by (what, job nonce); what is an action of quorate.act or a task's name."""

    def publish_some(message: Message) -> None:
        job = message.args[0]
        what = message.args[1] if message.task == "quorate.act" else message.task
        if (what, job["nonce"]) not in withheld:
            publish(message)

    return publish_some


@dataclass(frozen=True)
class Config:
    """What the stage tells an operator."""

    rpc_url: str
    deployment: Path
    folder: Path
    data_folder: Path
    relay_url: str
    """Where nobody answers before a relay is opened there: until then everything is sent from here."""
    worker: str
    falsified_rows: frozenset[bytes]
    withheld: frozenset[tuple[str, str]]

    @classmethod
    def read(cls, path: Path) -> Config:
        """From a JSON file."""
        given: dict[str, Any] = json.loads(path.read_text())
        return cls(
            given["rpc_url"],
            Path(given["deployment"]),
            Path(given["folder"]),
            Path(given["data_folder"]),
            given["relay_url"],
            given["worker"],
            frozenset(bytes.fromhex(row) for row in given["falsified_rows"]),
            frozenset((what, nonce) for what, nonce in given["withheld"]),
        )


def main() -> None:
    """Run until `stop` or the end of standard input."""
    config = Config.read(Path(sys.argv[1]))
    logging.basicConfig(filename=config.folder / "operator.log", level=logging.INFO)
    _wait_for(config.deployment)
    shared: dict[str, Any] = {"rpc_url": config.rpc_url, "deployment": config.deployment, "confirmations": 1}
    lies = bool(config.falsified_rows)
    worker = worker_settings.load(
        **shared,
        work_folder=config.folder,
        data_folders=(config.data_folder,),
        relay_url=config.relay_url,
        worker=config.worker,
        **({"most_bond": 0} if lies else {}),  # a liar spends nothing on demanding what it knows to be right
    )
    contexts = RoleContexts(worker, inference=Falsified(OnnxInference(), config.falsified_rows) if lies else None)
    coordinator = coordinator_settings.load(
        **shared,
        database=config.folder / "coordinator.sqlite",
        worker=config.worker,
        poll_seconds=0.5,
        retry_seconds=3.0,
        turn_seconds=2,
    )
    with embedded(contexts):
        daemon = Daemon(coordinator, withholding(celery_publisher(coordinator), config.withheld))
        stop = threading.Event()
        cycling = threading.Thread(target=daemon.run, args=(stop,), name="coordinator")
        cycling.start()
        try:
            _say("ready")
            _obey(contexts, contexts.signer.contracts)
        except Exception:
            logging.exception("the operator failed")
            raise
        finally:
            stop.set()
            cycling.join()
            daemon.close()


def _obey(contexts: RoleContexts, contracts: Contracts) -> None:
    transactor = contexts.signer.transactor
    for line in sys.stdin:
        match line.split():
            case ["stake", amount]:
                transactor.send(contracts.oracle.deposit(int(amount)))
            case ["withdraw"]:
                if contracts.oracle.credit(transactor.sender):
                    transactor.send(contracts.oracle.withdraw(transactor.sender))
            case ["stop"]:
                return
            case _:
                raise ValueError(f"no such command: {line!r}")
        _say("done")


def _say(word: str) -> None:
    sys.stdout.write(word + "\n")
    sys.stdout.flush()


def _wait_for(path: Path) -> None:
    end = time.monotonic() + DEPLOYMENT_SECONDS
    while not path.exists():
        if time.monotonic() > end:
            raise TimeoutError(f"{path} did not appear within {DEPLOYMENT_SECONDS:.0f} s")
        time.sleep(0.1)


if __name__ == "__main__":
    main()
