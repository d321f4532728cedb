"""A relay: follows the chain, takes workers' signed commitments and openings in, and posts many in one transaction.

It pays the gas, and is trusted with nothing: what it withholds the workers send themselves at half of each window, and what
it posts is what they signed. Commitments go with the draw where it is to come, openings root by root in one transaction, and
a job that it worked for is settled and released together.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import rlp

from contracts import block_header, errors
from contracts import job as protocol
from contracts.block_header import HeaderMismatch
from contracts.deployment import Contracts
from contracts.endpoint import Call, ChainError, WrongChain
from contracts.job import Outcome, Phase
from contracts.stake import seed_of
from contracts.transactor import Transactor
from coordinator.clock import Clock
from coordinator.database import StoreDamaged, StoreUnusable
from coordinator.job_store import JobStore
from coordinator.job_view import JobView
from coordinator.relay_desk import CommitBatch, Desk, EndBatch, RevealBatch
from coordinator.watcher import Watcher

log = logging.getLogger(__name__)

SEND_SECONDS = 60.0
"""How long one posting may wait for its block before what is due next has its turn."""
FIRST_PAUSE = 2.0
"""Seconds before something that failed is tried again; then twice as long, and so on."""
MOST_DOUBLINGS = 6
PREVRANDAO_FIELD = 13
"""Its place in a block's header."""
SEEDS_AT_ONCE = 20
"""Jobs whose seed is looked up in one cycle."""


class Posting(NamedTuple):
    """One transaction, and what it is for."""

    key: tuple[bytes, str]
    call: Call
    deadline: int | None
    text: str


class Relay:
    """Cycles on one thread; the desk is shared with the server's."""

    def __init__(
        self,
        contracts: Contracts,
        transactor: Transactor,
        store: JobStore,
        desk: Desk,
        *,
        settles: bool = True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """settles: whether to settle and release the jobs that it worked for."""
        self._contracts = contracts
        self._transactor = transactor
        self._store = store
        self._desk = desk
        self._settles = settles
        self._clock = clock
        # the newest block is what the next transaction meets, and a reorganisation costs a relay gas at most
        self._watcher = Watcher(contracts.endpoint, store, confirmations=0)
        self._seeds: dict[bytes, bytes] = {}
        self._failed: dict[tuple[bytes, str], tuple[int, float]] = {}
        self.posted = 0
        """Transactions that went through."""

    def run(self, stop: threading.Event, pause: float = 1.0) -> None:
        """Cycle until `stop` is set. Raises WrongChain, StoreDamaged."""
        failures = 0
        while not stop.is_set():
            try:
                self.cycle()
                failures = 0
            except (WrongChain, StoreDamaged):
                raise
            except (ChainError, StoreUnusable) as error:
                failures += 1
                log.warning("this cycle failed: %s", error)
            stop.wait(min(pause * 2**failures, 15.0) if failures else pause)

    def cycle(self) -> None:
        """One look at the chain and what is to be posted. Raises ChainError, WrongChain, StoreDamaged, StoreUnusable."""
        clock = self._watcher.catch_up()
        views = self._store.open_views()
        self._desk.look(clock, views, self._seeds_of(views, clock))
        self._failed = {key: value for key, value in self._failed.items() if key[0] in {view.job_id for view in views}}
        for posting in list(self._due()):
            self._post(posting)

    def _due(self) -> Iterator[Posting]:
        yield from map(self._commits, self._desk.commits_due())
        yield from map(self._reveals, self._desk.reveals_due())
        if self._settles:
            yield from map(self._end, self._desk.ends_due())

    def _commits(self, batch: CommitBatch) -> Posting:
        oracle, view = self._contracts.oracle, batch.view
        call = oracle.commit_for(view.job, batch.commits)
        if batch.undrawn:
            header = block_header.fetch(self._contracts.endpoint, protocol.seed_block(view.state))
            call = oracle.multicall([oracle.draw(view.job_id, header), call])
        text = f"{len(batch.commits)} commitments" + (", and the draw" if batch.undrawn else "")
        return Posting((view.job_id, "commit"), call, batch.deadline, text)

    def _reveals(self, batch: RevealBatch) -> Posting:
        oracle, view = self._contracts.oracle, batch.view
        calls = [oracle.reveal(view.job, root, openings) for root, openings in batch.openings.items()]
        text = f"{sum(map(len, batch.openings.values()))} openings of {len(calls)} roots"
        return Posting((view.job_id, "reveal"), _together(self._contracts, calls), batch.deadline, text)

    def _end(self, batch: EndBatch) -> Posting:
        oracle, view, seats = self._contracts.oracle, batch.view, dict(batch.seats)
        calls = []
        if view.state.outcome == Outcome.OPEN:
            word = view.winner or next(iter(seats), bytes(32))
            calls.append(oracle.settle(view.job, word, seats.pop(word, ())))
        calls += [oracle.release(view.job, word, refs) for word, refs in seats.items()]
        text = f"the end, {sum(map(len, batch.seats.values()))} workers' seats with it"
        return Posting((view.job_id, "end"), _together(self._contracts, calls), None, text)

    def _post(self, posting: Posting) -> None:
        times, not_before = self._failed.get(posting.key, (0, 0.0))
        if self._clock() < not_before:
            return
        job_id = posting.key[0].hex()
        try:
            receipt = self._transactor.send(posting.call, deadline=posting.deadline)
        except (ChainError, errors.Reverted) as failure:
            if isinstance(failure, WrongChain):
                raise
            # a revert is a race that somebody else won, as a rule
            level = logging.INFO if isinstance(failure, errors.Reverted) else logging.WARNING
            log.log(level, "job 0x%s: %s could not be posted: %s", job_id, posting.text, failure)
            pause = FIRST_PAUSE * 2 ** min(times, MOST_DOUBLINGS)
            self._failed[posting.key] = (times + 1, self._clock() + pause)
            return
        self._failed.pop(posting.key, None)
        self.posted += 1
        log.info("job 0x%s: posted %s, %d gas", job_id, posting.text, receipt["gasUsed"])

    def _seeds_of(self, views: list[JobView], clock: Clock) -> dict[bytes, bytes]:
        """The seeds of jobs that can be drawn and are not: known to all once their block is past."""
        drawable = [view for view in views if _is_drawable(view, clock)]
        self._seeds = {view.job_id: self._seeds[view.job_id] for view in drawable if view.job_id in self._seeds}
        for view in [view for view in drawable if view.job_id not in self._seeds][:SEEDS_AT_ONCE]:
            try:
                header = block_header.fetch(self._contracts.endpoint, protocol.seed_block(view.state))
            except HeaderMismatch as error:  # a node of another fork than we know: the workers draw themselves
                log.warning("%s", error)
                continue
            self._seeds[view.job_id] = seed_of(bytes(rlp.decode(header)[PREVRANDAO_FIELD]), view.job_id)
        return self._seeds


def _is_drawable(view: JobView, clock: Clock) -> bool:
    phase = protocol.phase(view.state, view.terms, clock.now, clock.block_number)
    return phase == Phase.DRAWING and clock.block_number > protocol.seed_block(view.state)


def _together(contracts: Contracts, calls: list[Call]) -> Call:
    return calls[0] if len(calls) == 1 else contracts.oracle.multicall(calls)
