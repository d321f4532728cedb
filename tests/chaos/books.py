"""What the chain says that a run cost: stake forfeited, and every transaction that an operator sent, by the duty it was for."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any

from eth_utils import keccak
from eth_utils.abi import abi_to_signature

from contracts.abi import artifact
from contracts.endpoint import Endpoint

ONCE_A_JOB = frozenset({"draw", "commit", "reveal", "settle", "executeJob"})
"""Done once in a job, whatever the arguments; of the others (a demand, an answer) once with the same arguments."""


@dataclass(frozen=True)
class Sent:
    """One transaction in a block."""

    sender: str
    duty: str
    arguments: str
    succeeded: bool
    wei: int
    """What its gas cost."""

    @property
    def key(self) -> tuple[str, str, str]:
        """Two transactions of the same key are one duty paid for twice."""
        return self.sender, self.duty, "" if self.duty in ONCE_A_JOB else self.arguments


@dataclass(frozen=True)
class Bill:
    """What an operator's transactions in a run came to."""

    twice: list[str]
    """Each duty that was paid for more than once."""
    reverted: list[str]
    """Each duty whose only transaction failed: somebody else was first in the same block, or the clock."""
    wasted: int
    """Wei of gas of all but each duty's first success."""
    sent: int


@cache
def _duties() -> dict[str, str]:
    """Names of functions by selector."""
    entries = [*artifact("ComputeOracle").abi, *artifact("IDisputes").abi]
    functions: list[Any] = [entry for entry in entries if entry["type"] == "function"]
    return {keccak(text=abi_to_signature(entry))[:4].hex(): entry["name"] for entry in functions}


def transactions(endpoint: Endpoint, first: int, last: int) -> Iterator[Sent]:
    """Every transaction in these blocks."""
    for number in range(first, last + 1):
        receipts = {one["transactionHash"]: one for one in endpoint.ask("eth_getBlockReceipts", hex(number))}
        for one in endpoint.ask("eth_getBlockByNumber", hex(number), True)["transactions"]:
            receipt = receipts[one["hash"]]
            duty = _duties().get(one["input"][2:10], "?")
            wei = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
            yield Sent(one["from"].lower(), duty, one["input"], int(receipt["status"], 16) == 1, wei)


def bill(sent: Iterable[Sent], sender: str) -> Bill:
    """What one sender's transactions came to."""
    by_duty: dict[tuple[str, str, str], list[Sent]] = defaultdict(list)
    for one in sent:
        if one.sender == sender.lower():
            by_duty[one.key].append(one)
    twice = [found[0].duty for found in by_duty.values() if len(found) > 1]
    reverted = [found[0].duty for found in by_duty.values() if len(found) == 1 and not found[0].succeeded]
    wasted = 0
    for found in by_duty.values():
        first = next((one for one in found if one.succeeded), None)
        wasted += sum(one.wei for one in found if one is not first)
    return Bill(twice, reverted, wasted, sum(len(found) for found in by_duty.values()))
