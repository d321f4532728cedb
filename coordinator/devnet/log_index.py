"""Events of the canonical chain, found by address, first topic and block range without reading every block."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import takewhile

from coordinator.devnet.execution import LogEntry


@dataclass(frozen=True, slots=True)
class PlacedLog:
    """An event and where it is. `index` counts within the block."""

    entry: LogEntry
    block_number: int
    block_hash: bytes
    transaction_hash: bytes
    transaction_index: int
    index: int


@dataclass(frozen=True, slots=True)
class LogFilter:
    """Which events are meant: any of `addresses` (empty: all); at each topic position any of a set (None: all)."""

    addresses: frozenset[bytes] = frozenset()
    topics: tuple[frozenset[bytes] | None, ...] = ()

    def accepts(self, entry: LogEntry) -> bool:
        """Does this event match?"""
        if self.addresses and entry.address not in self.addresses:
            return False
        if len(self.topics) > len(entry.topics):
            return False
        return all(wanted is None or topic in wanted for wanted, topic in zip(self.topics, entry.topics, strict=False))


class LogIndex:
    """Lists in block order, by address and by first topic. Only the newest blocks can be taken away again."""

    def __init__(self) -> None:
        self._all: list[PlacedLog] = []
        self._by_address: dict[bytes, list[PlacedLog]] = {}
        self._by_topic: dict[bytes, list[PlacedLog]] = {}

    def add(self, logs: Iterable[PlacedLog]) -> None:
        """The events of the next block."""
        for placed in logs:
            for place in self._places(placed):
                place.append(placed)

    def drop_after(self, number: int) -> None:
        """Forget the events of all blocks above `number`."""
        while self._all and self._all[-1].block_number > number:
            for place in self._places(self._all[-1]):
                place.pop()

    def _places(self, placed: PlacedLog) -> list[list[PlacedLog]]:
        places = [self._all, self._by_address.setdefault(placed.entry.address, [])]
        if placed.entry.topics:
            places.append(self._by_topic.setdefault(placed.entry.topics[0], []))
        return places

    def find(self, wanted: LogFilter, first: int, last: int) -> list[PlacedLog]:
        """Matching events of the blocks `first` to `last`, both included, in order."""
        found = [
            placed
            for candidates in self._candidates(wanted)
            for placed in _in_range(candidates, first, last)
            if wanted.accepts(placed.entry)
        ]
        found.sort(key=lambda placed: (placed.block_number, placed.index))
        return found

    def _candidates(self, wanted: LogFilter) -> Sequence[Sequence[PlacedLog]]:
        """Lists that together hold every match, each match once: the shorter of both indexes' answers."""
        choices: list[list[list[PlacedLog]]] = [[self._all]]
        if wanted.addresses:
            choices.append([self._by_address.get(address, []) for address in wanted.addresses])
        if wanted.topics and wanted.topics[0] is not None:
            choices.append([self._by_topic.get(topic, []) for topic in wanted.topics[0]])
        return min(choices, key=lambda lists: sum(map(len, lists)))


def _number(placed: PlacedLog) -> int:
    return placed.block_number


def _in_range(logs: Sequence[PlacedLog], first: int, last: int) -> Iterable[PlacedLog]:
    start = bisect_left(logs, first, key=_number)
    return takewhile(lambda placed: placed.block_number <= last, (logs[at] for at in range(start, len(logs))))
