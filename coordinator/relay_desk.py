"""What a relay is handed in: held against the chain before it is taken on, collected, and put together for one transaction.

Everything here is hostile until it is checked, and what was checked still costs the relay gas. So a message is taken on only if
the chain, as the confirmed events tell it, would grant what it asks for now; one is kept for each worker and job, no more than
the job has seats for; and all of it is gone when the job's phase is over. A relay that loses all of this loses nobody's
stake: at half of each window the workers send for themselves.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from itertools import pairwise
from typing import Generic, Protocol, TypeVar

from eth_typing import ChecksumAddress

from contracts import job as protocol
from contracts.commitment import compute
from contracts.compute_oracle import Opening, SeatRef
from contracts.job import Job, Outcome, Phase
from contracts.signed_commit import SignedCommit, signer_of
from contracts.stake import LANES, Account, odds_factor, wins
from coordinator.clock import Clock
from coordinator.job_view import JobView
from oracle_worker.job_codec import BadMessage
from oracle_worker.relay import commit_from_json, opening_from_json

WAIT_SHARE = 8
"""A message waits for others for at most this share of the window it is for."""
LAST_POST = 3 / 8
"""Of a window: by then what there is is posted, so that it is on chain before its worker would send it at half."""
MOST_IN_BATCH = 100
"""Workers in one transaction: some eight million gas."""
MOST_KEPT = 10_000
"""Messages in memory, of all jobs together."""


class NotTaken(Exception):
    """The relay does not take a message on; the text says why, and the status is HTTP's word for it."""

    def __init__(self, status: HTTPStatus, reason: str) -> None:
        super().__init__(reason)
        self.status = status


class Books(Protocol):
    """What the events tell of stakes; coordinator.job_store.JobStore has it."""

    def bonded_before(self, worker: ChecksumAddress, block_number: int) -> int: ...
    def account(self, worker: ChecksumAddress) -> Account: ...


@dataclass(frozen=True, slots=True)
class CommitBatch:
    """Commitments of one job to post in one transaction, after the draw if that is to come."""

    view: JobView
    commits: tuple[SignedCommit, ...]
    undrawn: bool
    deadline: int
    """Seconds of the chain's clock: later, some of it is passed over."""


@dataclass(frozen=True, slots=True)
class RevealBatch:
    """Openings of one job, by root."""

    view: JobView
    openings: Mapping[bytes, tuple[Opening, ...]]
    deadline: int


@dataclass(frozen=True, slots=True)
class EndBatch:
    """The end of one job: seats to release, by the word that releases them; settled with it unless it was."""

    view: JobView
    seats: Mapping[bytes, tuple[SeatRef, ...]]


_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Kept(Generic[_T]):
    """A message and when it came, in seconds of the chain's clock."""

    message: _T
    came: int


@dataclass(slots=True)
class _Snapshot:
    """The chain as it was last seen."""

    clock: Clock
    views: Mapping[bytes, JobView]
    seeds: Mapping[bytes, bytes]
    """Of jobs that can be drawn and are not."""
    accounts: dict[ChecksumAddress, Account] = field(default_factory=dict)


class Desk:
    """Takes messages from any thread; batches are made by one."""

    def __init__(
        self,
        chain_id: int,
        oracle: ChecksumAddress,
        books: Books,
        *,
        block_time: int,
        served: Collection[ChecksumAddress] = (),
        most_kept: int = MOST_KEPT,
    ) -> None:
        """block_time: longest usual seconds between blocks; served: the workers to work for, all unless given."""
        self._block_time = block_time
        self._domain = (chain_id, oracle)
        self._books = books
        self._served = frozenset(served)
        self._most_kept = most_kept
        self._lock = threading.RLock()
        self._commits: dict[tuple[bytes, ChecksumAddress], _Kept[SignedCommit]] = {}
        self._openings: dict[tuple[bytes, ChecksumAddress], _Kept[tuple[bytes, Opening]]] = {}
        self._seen = _Snapshot(Clock(0, 0, 0, 0), {}, {})
        self._jobs: set[bytes] = set()
        """Jobs that something was taken on for: those are settled."""

    @property
    def kept(self) -> int:
        """How many messages are in memory."""
        return len(self._commits) + len(self._openings)

    @property
    def head(self) -> int:
        """The newest block that messages are held against."""
        return self._seen.clock.block_number

    def look(self, clock: Clock, views: Sequence[JobView], seeds: Mapping[bytes, bytes]) -> None:
        """The chain has moved: from now on messages are held against this. What is no longer of use is dropped.

        seeds: those of jobs that can be drawn and are not, by id.
        """
        with self._lock:
            self._seen = _Snapshot(clock, {view.job_id: view for view in views}, dict(seeds))
            self._jobs &= self._seen.views.keys()
            self._commits = {key: kept for key, kept in self._commits.items() if self._still(key, Phase.COMMITTING)}
            self._openings = {key: kept for key, kept in self._openings.items() if self._still(key, Phase.REVEALING)}

    # ---- Taking messages on ----

    def take_commit(self, body: object) -> None:
        """Take a worker's signed commitment on. Raises NotTaken."""
        try:
            job, commit = commit_from_json(body, *self._domain)
        except BadMessage as error:
            raise NotTaken(HTTPStatus.BAD_REQUEST, str(error)) from None
        with self._lock:
            view = self._view_of(job, commit.worker)
            key = (view.job_id, commit.worker)
            known = self._commits.get(key)
            if known is not None and known.message.commitment != commit.commitment:
                raise NotTaken(HTTPStatus.CONFLICT, "another commitment of this worker is taken on already")
            if known is not None and len(known.message.tickets) >= len(commit.tickets):
                return
            self._check_commit(view, commit)
            self._keep(self._commits, key, commit, known.came if known else None)

    def take_opening(self, body: object) -> None:
        """Take an opening of a worker's commitment on. Raises NotTaken."""
        try:
            job, root, opening = opening_from_json(body, *self._domain)
        except BadMessage as error:
            raise NotTaken(HTTPStatus.BAD_REQUEST, str(error)) from None
        with self._lock:
            view = self._view_of(job, opening.worker)
            _need(self._phase(view) == Phase.REVEALING, "the job's roots are not opened now")
            seat = view.seat(opening.worker)
            if seat is None or not seat.is_sealed or seat.lane != opening.lane:
                raise NotTaken(HTTPStatus.CONFLICT, "this worker has nothing sealed in that lane")
            if compute(view.job_id, opening.worker, root, opening.salt) != seat.commitment:
                raise NotTaken(HTTPStatus.FORBIDDEN, "that does not open the worker's commitment")
            key = (view.job_id, opening.worker)
            if key not in self._openings:
                self._keep(self._openings, key, (root, opening), None)

    def _view_of(self, job: Job, worker: ChecksumAddress) -> JobView:
        if self._served and worker not in self._served:
            raise NotTaken(HTTPStatus.FORBIDDEN, "this relay does not work for that worker")
        view = self._seen.views.get(job.id(*self._domain))
        if view is None:
            raise NotTaken(HTTPStatus.NOT_FOUND, "there is no such job, or it is over")
        return view

    def _check_commit(self, view: JobView, commit: SignedCommit) -> None:
        """Whether the chain would grant a seat for it now. What costs most is checked last."""
        terms, worker, seed = view.terms, commit.worker, self._seed_of(view)
        _need(seed is not None, "seats of the job are not taken now")
        assert seed is not None  # by the line before
        _need(self._is_in_time(commit), "its deadline is past, or too near")
        _need(len(commit.tickets) <= terms.seats, "more tickets than the job has seats")
        _need(all(one < other for one, other in pairwise(commit.tickets)), "tickets must ascend")
        owned = self._books.bonded_before(worker, view.state.created_block) // terms.seat_stake
        _need(commit.tickets[-1] < owned, "the worker has no such ticket")
        expected = self._odds(view) * terms.seats * terms.seat_stake
        for ticket in commit.tickets:
            _need(wins(seed, worker, ticket, expected, view.total_stake), f"ticket {ticket} does not win (yet)")
        self._check_room(view, commit)
        if signer_of(commit, *self._domain, view.job_id) != worker:
            raise NotTaken(HTTPStatus.FORBIDDEN, "the worker did not sign it")

    def _check_room(self, view: JobView, commit: SignedCommit) -> None:
        """Whether the job has a seat left, and the worker a lane and free stake, beside what is kept already."""
        worker, seat = commit.worker, view.seat(commit.worker)
        others = {
            key: kept.message
            for key, kept in self._commits.items()
            if (key[0] == view.job_id) != (key[1] == worker)  # another's for this job, or this worker's for another
        }
        held = seat.count if seat else 0
        if seat is not None:
            same = seat.is_sealed and (seat.lane, seat.commitment) == (commit.lane, commit.commitment)
            _need(same, "the worker is committed to something else, or in another lane")
        else:
            taken = {one.lane for (job_id, _), one in others.items() if job_id != view.job_id}
            is_free = commit.lane < LANES and not self._account(worker).holds(commit.lane) and commit.lane not in taken
            _need(is_free, "the lane holds, or is about to hold, seats of another job")
        awaited = sum(self._added(job_id, one) for (job_id, _), one in others.items() if job_id == view.job_id)
        left = view.terms.seats - view.state.granted_seats - awaited
        _need(left > 0, "the jury is full")
        added = min(len(commit.tickets) - held, left)
        _need(added > 0, "the worker holds as many seats already")
        promised = sum(
            self._added(job_id, one) * self._seen.views[job_id].terms.seat_stake
            for (job_id, _), one in others.items()
            if job_id != view.job_id
        )
        _need(
            added * view.terms.seat_stake <= self._account(worker).free - promised,
            "the worker's free stake does not suffice",
        )

    def _keep(
        self,
        where: dict[tuple[bytes, ChecksumAddress], _Kept[_T]],
        key: tuple[bytes, ChecksumAddress],
        message: _T,
        came: int | None,
    ) -> None:
        if key not in where and self.kept >= self._most_kept:
            raise NotTaken(HTTPStatus.SERVICE_UNAVAILABLE, "the relay has as much as it can keep")
        where[key] = _Kept(message, self._seen.clock.now if came is None else came)
        self._jobs.add(key[0])

    # ---- Putting together ----

    def commits_due(self) -> Iterator[CommitBatch]:
        """What is to be posted now: a full jury at once, anything else once it has waited for others."""
        with self._lock:
            for view in self._views_of(self._commits):
                if (batch := self._commit_batch(view)) is not None:
                    yield batch

    def reveals_due(self) -> Iterator[RevealBatch]:
        """What is to be posted now: once nobody is missing, or once it has waited for others."""
        with self._lock:
            for view in self._views_of(self._openings):
                if (batch := self._reveal_batch(view)) is not None:
                    yield batch

    def ends_due(self) -> Iterator[EndBatch]:
        """Jobs that something was taken on for and whose windows are over: settled, and released, by whoever is first."""
        with self._lock:
            views = [self._seen.views[job_id] for job_id in sorted(self._jobs)]
            for view in views:
                held = {worker: seat for worker, seat in view.seats.items() if seat.is_held}
                is_over = self._phase(view) in (Phase.SETTLING, Phase.SETTLED)
                if is_over and (held or view.state.outcome == Outcome.OPEN):
                    yield EndBatch(view, _first_seats(view))

    def _commit_batch(self, view: JobView) -> CommitBatch | None:
        kept = [
            one for (job_id, _), one in self._commits.items() if job_id == view.job_id and self._adds(view, one.message)
        ]
        if not kept:
            return None
        state, now, window = view.state, self._seen.clock.now, view.terms.commit_window
        undrawn = state.started_at == 0
        began = now if undrawn else state.started_at
        is_full = sum(self._added(view.job_id, one.message) for one in kept) >= view.terms.seats - state.granted_seats
        last = min(one.message.deadline for one in kept) - 2 * self._block_time
        if not is_full and now < min(last, _post_by(kept, began, window)):
            return None
        chosen = tuple(one.message for one in sorted(kept, key=lambda one: one.came)[:MOST_IN_BATCH])
        return CommitBatch(view, chosen, undrawn, min(one.deadline for one in chosen))

    def _reveal_batch(self, view: JobView) -> RevealBatch | None:
        kept = [
            one
            for (job_id, worker), one in self._openings.items()
            if job_id == view.job_id and view.seats[worker].is_sealed
        ]
        if not kept:
            return None
        state, terms = view.state, view.terms
        is_all = sum(view.seats[one.message[1].worker].count for one in kept) == state.sealed_seats
        if not is_all and self._seen.clock.now < _post_by(kept, protocol.commit_end(state, terms), terms.reveal_window):
            return None
        roots: dict[bytes, tuple[Opening, ...]] = {}
        for one in sorted(kept, key=lambda one: one.came)[:MOST_IN_BATCH]:
            root, opening = one.message
            roots[root] = (*roots.get(root, ()), opening)
        return RevealBatch(view, roots, protocol.reveal_end(state, terms))

    # ---- Looking ----

    def _still(self, key: tuple[bytes, ChecksumAddress], needed: Phase) -> bool:
        view = self._seen.views.get(key[0])
        if view is None:
            return False
        phase = self._phase(view)
        return phase == needed or (needed == Phase.COMMITTING and phase == Phase.DRAWING)

    def _phase(self, view: JobView) -> Phase:
        clock = self._seen.clock
        return protocol.phase(view.state, view.terms, clock.now, clock.block_number)

    def _seed_of(self, view: JobView) -> bytes | None:
        """The seed of a job whose seats can be taken now, at once or with the draw; else None."""
        phase = self._phase(view)
        if phase == Phase.COMMITTING:
            return view.state.seed
        return self._seen.seeds.get(view.job_id) if phase == Phase.DRAWING else None

    def _odds(self, view: JobView) -> int:
        if view.state.started_at == 0:
            return 1
        window = view.terms.commit_window
        return odds_factor(window, min(protocol.commit_end(view.state, view.terms) - self._seen.clock.now, window))

    def _account(self, worker: ChecksumAddress) -> Account:
        accounts = self._seen.accounts
        if worker not in accounts:
            accounts[worker] = self._books.account(worker)
        return accounts[worker]

    def _views_of(self, kept: Mapping[tuple[bytes, ChecksumAddress], object]) -> list[JobView]:
        return [self._seen.views[job_id] for job_id in dict.fromkeys(job_id for job_id, _ in kept)]

    def _added(self, job_id: bytes, commit: SignedCommit) -> int:
        """Seats that a kept commitment asks for beyond those its worker holds."""
        seat = self._seen.views[job_id].seat(commit.worker)
        return max(0, len(commit.tickets) - (seat.count if seat else 0))

    def _adds(self, view: JobView, commit: SignedCommit) -> bool:
        """Whether posting it now can still take a seat: the worker may have sent it itself, or something else."""
        seat = view.seat(commit.worker)
        is_same = seat is None or (seat.lane, seat.commitment) == (commit.lane, commit.commitment)
        return is_same and self._added(view.job_id, commit) > 0 and self._is_in_time(commit)

    def _is_in_time(self, commit: SignedCommit) -> bool:
        """Whether a block that takes it can come before its deadline."""
        return self._seen.clock.now + self._block_time < commit.deadline


def _need(condition: bool, why_not: str) -> None:
    if not condition:
        raise NotTaken(HTTPStatus.CONFLICT, why_not)


def _post_by(kept: Sequence[_Kept[_T]], began: int, window: int) -> float:
    """Seconds at which what is kept is posted, whoever is missing."""
    return min(min(one.came for one in kept) + window / WAIT_SHARE, began + window * LAST_POST)


def _first_seats(view: JobView) -> dict[bytes, tuple[SeatRef, ...]]:
    """As many seats as fit one transaction, by the word that releases them; the winner's first."""
    groups: dict[bytes, list[SeatRef]] = {}
    for worker, seat in view.seats.items():
        if seat.is_held:
            groups.setdefault(seat.word, []).append(SeatRef(worker, seat.lane))
    winner = view.winner if view.state.outcome == Outcome.OPEN else view.state.root
    chosen: dict[bytes, tuple[SeatRef, ...]] = {}
    room = MOST_IN_BATCH
    for word in sorted(groups, key=lambda word: (word != winner, -len(groups[word]))):
        if room > 0:
            chosen[word] = tuple(groups[word][:room])
            room -= len(chosen[word])
    return chosen
