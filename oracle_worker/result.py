"""How a duty ended. A duty that is already done, or not due, is no error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from web3.types import TxReceipt


class WorkerError(Exception):
    """What keeps a duty from being done and an operator must read; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Done:
    """The duty was done now; `receipts` has its transactions, in order."""

    duty: str
    detail: str
    receipts: tuple[TxReceipt, ...] = ()


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing was done, and why."""

    duty: str
    reason: str


Result: TypeAlias = Done | Nothing
