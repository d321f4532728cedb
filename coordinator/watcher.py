"""Reads the oracle's events from a node into the job store, up to the confirmed block.

Nodes do not announce what a reorganisation removed, lag behind each other and prune: so every recorded block is remembered
by hash, which its time and its parent must hash to, parent hashes must chain, each log must be in the block that the header
names, and the range's end must still be there after its logs were read. What does not fit raises, and the next cycle looks
again. Nothing but asking again shows that a node left logs out, so the recent past is read anew now and then.
"""

from __future__ import annotations

import logging
import time
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from eth_abi.exceptions import DecodingError
from hexbytes import HexBytes

from contracts import block_header
from contracts.endpoint import ChainError, ChainUnreachable, Endpoint, NoContract, Rejected, WrongChain
from coordinator.clock import Clock
from coordinator.event_log import Block, Event, decode, is_known
from coordinator.job_store import JobStore

log = logging.getLogger(__name__)

MOST_BLOCKS = 2000
"""Blocks of one eth_getLogs at most; fewer where the node refuses that many."""
RECHECK_SECONDS = 30.0
"""How often the recent past is read anew, unless told otherwise."""
RECHECKED_BLOCKS = 512
"""How many blocks that is at most."""
LINKED_BLOCKS = 64
"""Up to this many blocks each header is fetched and must name the one before; longer ranges are history."""


class NodeBehind(ChainError):
    """The node does not (yet, or any more) have a block that we have seen."""

    def __init__(self, number: int) -> None:
        super().__init__(f"the node does not have block {number}: it lags or was rolled back; looking again")
        self.number = number


class ChainMoved(ChainError):
    """The chain was reorganised while it was being read."""

    def __init__(self, number: int) -> None:
        super().__init__(f"block {number} changed while it was read: a reorganisation; looking again")
        self.number = number


class NodeMisanswers(ChainError):
    """The node's answer is not what its method returns."""

    def __init__(self, what: str, reason: str) -> None:
        super().__init__(f"the node's answer about {what} makes no sense ({reason}): use another node")
        self.what = what


class Watcher:
    """Follows one oracle through one endpoint. Not for several threads."""

    def __init__(
        self,
        endpoint: Endpoint,
        store: JobStore,
        *,
        confirmations: int,
        most_blocks: int = MOST_BLOCKS,
        recheck_seconds: float = RECHECK_SECONDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.endpoint = endpoint
        self.store = store
        self.confirmations = confirmations
        self._most_blocks = most_blocks
        self._span = most_blocks
        self._recheck_seconds = recheck_seconds
        self._now = clock
        self._rechecked_at = clock()

    def catch_up(self, stopping: Callable[[], bool] = lambda: False) -> Clock:
        """Record everything up to the head less the confirmations, a range at a time until `stopping`.

        Raises ChainUnreachable, WrongChain, NoContract, Rejected, NodeBehind, ChainMoved, NodeMisanswers and what JobStore
        raises. What was recorded before stays right.
        """
        head = self._block("latest")
        self._rewind_to_common_ancestor(head)
        self._recheck_if_due()
        target = head.number - self.confirmations
        cursor = self.store.cursor()
        if cursor is None and self._next_number(cursor) <= target:
            self._require_oracle()
        while self._next_number(cursor) <= target and not stopping():
            cursor = self._record_range(cursor, target)
        if cursor is None:
            return Clock(head.time, head.number, 0, self.store.source.first_block - 1)
        return Clock(head.time, head.number, cursor.time, cursor.number)

    def _next_number(self, cursor: Block | None) -> int:
        return self.store.source.first_block if cursor is None else cursor.number + 1

    # ---- Reorganisations ----

    def _rewind_to_common_ancestor(self, head: Block) -> None:
        cursor = self.store.cursor()
        if cursor is None or self._is_on_chain(cursor.number, cursor.hash, head):
            return
        known = self.store.known_blocks()
        shared = bisect_right(
            range(len(known)), 0, key=lambda place: 0 if self._is_on_chain(*known[place], head) else 1
        )
        below_head = bisect_right(known, head.number, key=lambda block: block[0])
        if shared == below_head:  # all that the node can have, it has: it is behind
            raise NodeBehind(known[-1][0])
        ancestor = known[shared - 1][0] if shared else self.store.source.first_block - 1
        self._require_same_chain()  # the node behind the URL may be another one by now
        log.warning("the chain was reorganised below block %d: going back to block %d", known[-1][0], ancestor)
        self.store.rewind(ancestor)

    def _recheck_if_due(self) -> None:
        """Go back to before whatever a node left out of its logs, or put into them, when it was first asked."""
        cursor = self.store.cursor()
        if cursor is None or self._now() < self._rechecked_at + self._recheck_seconds:
            return
        self._rechecked_at = self._now()
        count = min(RECHECKED_BLOCKS, self._span)
        first = max(self.store.source.first_block, cursor.number - count + 1)
        try:
            logs = self._logs(first, cursor.number)
        except Rejected as refusal:
            log.warning("the recent past was not read anew: %s", refusal)
            return
        told, known = {place for place, given in logs.items() if is_known(given)}, self.store.places(first)
        if differing := told ^ known:
            block, _ = min(differing)
            log.error(
                "the node tells of %d logs where it told of %d: reading again from block %d",
                len(told),
                len(known),
                block,
            )
            self.store.rewind(block - 1)

    def _is_on_chain(self, number: int, known_hash: bytes, head: Block) -> bool:
        return number <= head.number and self._block(number).hash == known_hash

    def _require_same_chain(self) -> None:
        serves = int(self.endpoint.ask("eth_chainId"), 16)
        if serves != self.store.source.chain_id:
            raise WrongChain(self.store.source.chain_id, serves)

    def _require_oracle(self) -> None:
        oracle = self.store.source.oracle
        if not bytes(HexBytes(self.endpoint.ask("eth_getCode", oracle, "latest"))):
            raise NoContract(oracle)

    # ---- Ranges ----

    def _record_range(self, cursor: Block | None, target: int) -> Block:
        """Record the next blocks, as many as the node gives at once, and return the new cursor."""
        first = self._next_number(cursor)
        while True:
            last = min(first + self._span - 1, target)
            try:
                blocks, events = self._read(cursor, first, last)
                break
            except Rejected:
                if first == last:
                    raise
                self._span = max(1, (last - first + 1) // 2)  # too many blocks or logs for this node
            except ChainUnreachable:
                self._span = max(1, self._span // 2)  # perhaps too much for its time-out
                raise
        self.store.record(blocks, events)
        self._span = min(self._most_blocks, 2 * self._span)
        return blocks[-1]

    def _read(self, cursor: Block | None, first: int, last: int) -> tuple[list[Block], list[Event]]:
        linked = last - first < LINKED_BLOCKS
        blocks = self._blocks(range(first, last + 1) if linked else (last,))
        if linked:
            _check_links(cursor, [blocks[number] for number in sorted(blocks)])
        logs = self._logs(first, last)
        blocks |= self._blocks({number for number, _ in logs} - blocks.keys())
        events = [event for place in sorted(logs) if (event := _event_of(logs[place], blocks[place[0]])) is not None]
        # whatever was reorganised meanwhile took the range's end with it, and a longer range's beginning is checked too
        if self._block(last).hash != blocks[last].hash:
            raise ChainMoved(last)
        if cursor is not None and not linked and self._block(cursor.number).hash != cursor.hash:
            raise ChainMoved(cursor.number)
        needed = {event.block for event in events} | {last}
        return [blocks[number] for number in sorted(blocks) if linked or number in needed], events

    # ---- The node ----

    def _block(self, which: int | str) -> Block:
        param = hex(which) if isinstance(which, int) else which
        return _block_of(which, self.endpoint.ask("eth_getBlockByNumber", param, False))

    def _blocks(self, wanted: Iterable[int]) -> dict[int, Block]:
        numbers = sorted(wanted)
        given = self.endpoint.ask_each("eth_getBlockByNumber", [(hex(number), False) for number in numbers])
        return {number: _block_of(number, one) for number, one in zip(numbers, given, strict=True)}

    def _logs(self, first: int, last: int) -> dict[tuple[int, int], Mapping[str, Any]]:
        """The oracle's raw logs by (block, log index)."""
        oracle = self.store.source.oracle
        wanted = {"address": oracle, "fromBlock": hex(first), "toBlock": hex(last)}
        given = self.endpoint.ask("eth_getLogs", wanted)
        with _parsing(f"the logs of blocks {first} to {last}"):
            ours = [one for one in given if one["address"].lower() == oracle.lower()]
            logs = {(int(one["blockNumber"], 16), int(one["logIndex"], 16)): one for one in ours}
            if any(not first <= number <= last for number, _ in logs):
                raise ValueError("it gave logs of other blocks")
            return logs


def _block_of(which: int | str, given: Any) -> Block:
    if given is None:
        raise NodeBehind(which if isinstance(which, int) else 0)
    with _parsing(f"block {which}"):
        block = Block(
            int(given["number"], 16),
            bytes(HexBytes(given["hash"])),
            bytes(HexBytes(given["parentHash"])),
            int(given["timestamp"], 16),
        )
        if isinstance(which, int) and block.number != which:
            raise ValueError(f"it gave block {block.number}")
        block_header.check(given)
        return block


def _event_of(given: Mapping[str, Any], block: Block) -> Event | None:
    with _parsing(f"a log of block {block.number}"):
        if bytes(HexBytes(given["blockHash"])) != block.hash or given.get("removed"):
            raise ChainMoved(block.number)
        return decode(given, block.time)


def _check_links(cursor: Block | None, blocks: Sequence[Block]) -> None:
    before = cursor
    for block in blocks:
        if before is not None and block.parent != before.hash:
            raise ChainMoved(block.number)
        before = block


@contextmanager
def _parsing(what: str) -> Iterator[None]:
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError, DecodingError) as error:
        raise NodeMisanswers(what, f"{type(error).__name__}: {error}"[:200]) from error
