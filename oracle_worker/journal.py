"""The signer's transactions, a line each: no node tells which ones a key has sent, and failed ones leave no event."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Iterator
from pathlib import Path

from contracts.endpoint import Call
from contracts.transactor import Receipt

log = logging.getLogger(__name__)

FILE_NAME = "transactions.jsonl"


class Journal:
    """Appends to one file. Losing it loses no money, only the gas of failed transactions from the ledger."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / FILE_NAME
        self._lock = threading.Lock()

    def landed(self, call: Call, receipt: Receipt) -> None:
        """Note a transaction that a block holds. A disk that is full keeps no duty from being done."""
        line = {"hash": receipt["transactionHash"].to_0x_hex(), "to": call.to, "selector": "0x" + call.data[:4].hex()}
        try:
            with self._lock:
                self.path.parent.mkdir(parents=True, exist_ok=True)
                with self.path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
        except OSError as error:
            log.warning("%s is not in the journal: %s", line["hash"], error)


def read(path: Path) -> Iterator[bytes]:
    """The hashes that a journal holds; a line that a crash cut short is passed over."""
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except OSError:
        return
    for line in lines:
        try:
            made = bytes.fromhex(json.loads(line)["hash"].removeprefix("0x"))
        except (ValueError, KeyError, TypeError, AttributeError):
            continue
        if len(made) == 32:
            yield made
