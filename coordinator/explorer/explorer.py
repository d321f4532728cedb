"""The read model: everything that pages and API show, computed once for each state of the store and of the clock.

    explorer = Explorer(lambda: daemon.store, lambda: daemon.clock, source, witness)
    explorer.overview().totals.bonded

Nothing here grows with the number of jobs but the views of those that are open. What a rewind takes back is gone from the
next answer: answers belong to one revision of the store, and the store's own rows are deleted.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import TypeVar, cast

import sqlalchemy as sql
from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address

from contracts import gas_budget
from contracts.merkle import depth_of
from contracts.model_registry import Model as Registered
from coordinator import job_index
from coordinator import store_tables as tables
from coordinator.clock import Clock
from coordinator.explorer import accounts, searching, series
from coordinator.explorer.happenings import Following, events_page, following
from coordinator.explorer.job_record import dispute_of, job_of
from coordinator.explorer.passports import Passports, SignedPassport
from coordinator.explorer.read_model import (
    ChainStanding,
    Dispute,
    DisputeRow,
    Evidence,
    Job,
    JobRow,
    Model,
    ModelRow,
    Operator,
    OperatorRow,
    Overview,
    Page,
    Proof,
    RecordedEvent,
    Search,
    State,
    Totals,
)
from coordinator.explorer.rows import Filter, JobRows, dispute_row, parse_cursor
from coordinator.explorer.witness import Witness
from coordinator.job_index import Kind, figures_of
from coordinator.job_store import JobStore, Source
from coordinator.job_view import BrokenHistory, JobView

MOST_EVENTS = 5_000
"""Of one job that are looked at; the list of its events goes on."""
MOST_ANSWERS = 128
"""Kept for one state of the store."""
MOST_DISPUTES = 20
NEWEST = 10
USUAL_ITEMS = 1_000
"""Of the job for which a model's dispute is priced."""

_R = TypeVar("_R")


class NotFound(LookupError):
    """There is no such thing; the text says what to check."""


@dataclass
class _Look:
    """The store and the clock at one moment, and what was already found out of them."""

    store: JobStore
    revision: int
    rows: JobRows
    answers: OrderedDict[Hashable, object] = field(default_factory=OrderedDict)


class Explorer:
    """Answers about one oracle. For several threads; every method raises StoreDamaged and StoreUnusable."""

    def __init__(
        self,
        store: Callable[[], JobStore],
        clock: Callable[[], Clock | None],
        source: Source,
        witness: Witness,
        passports: Passports | None = None,
    ) -> None:
        """store: the one of now, for a damaged one is replaced. clock: of the last look at the chain, if there was one."""
        self._store = store
        self._clock = clock
        self.source = source
        self.witness = witness
        self.passports = passports or Passports()
        self._lock = threading.RLock()
        self._last: _Look | None = None

    # ---- Where it stands ----

    def standing(self) -> ChainStanding:
        """How far the chain was read."""
        store = self._store()
        return self._standing(store.revision, self._time(store))

    @property
    def state(self) -> tuple[int, Clock | None]:
        """What all answers depend on: whoever sees it unchanged need not ask again."""
        return self._store().revision, self._clock()

    def overview(self) -> Overview:
        """The first page."""
        return self._answer("overview", self._overview)

    # ---- Jobs ----

    def jobs(
        self,
        *,
        state: State | None = None,
        requester: ChecksumAddress | None = None,
        model_id: bytes | None = None,
        is_disputed: bool | None = None,
        cursor: str | None = None,
        limit: int = 25,
    ) -> Page[JobRow]:
        """Jobs, the newest first. Raises BadCursor."""
        wanted = Filter(state, requester, model_id, is_disputed)
        return self._answer(("jobs", wanted, cursor, limit), lambda look: look.rows.page(wanted, cursor, limit))

    def job(self, job_id: bytes) -> Job:
        """Everything about a job but its events. Raises NotFound."""
        return self._answer(("job", job_id), lambda look: self._job(look, job_id))

    def job_events(
        self, job_id: bytes, *, cursor: str | None = None, limit: int = 50, newest: bool = False
    ) -> Page[RecordedEvent]:
        """A job's events, the oldest first or the newest. Raises NotFound, BadCursor."""
        condition = tables.events.c.job_id == job_id
        page = self._events(("job events", job_id), condition, cursor, limit, newest)
        if not page.items and cursor is None:
            raise _no_job(job_id)
        return page

    def disputes(self, *, cursor: str | None = None, limit: int = 25) -> Page[DisputeRow]:
        """Disputed jobs, open or settled, the newest dispute first. Raises BadCursor."""
        return self._answer(("disputes", cursor, limit), lambda look: self._disputes(look, cursor, limit))

    def dispute(self, job_id: bytes) -> Dispute:
        """What is contested about a job; without any roots where none was revealed. Raises NotFound."""
        return self._answer(("dispute", job_id), lambda look: self._dispute(look, job_id))

    def evidence(self, job_id: bytes, root: bytes) -> Evidence:
        """The refuted item of a root, with row and logits as the chain has them. Raises NotFound, ChainError."""
        found = next((one for one in self.dispute(job_id).roots if one.tally.root == root), None)
        if found is None or found.refutation is None:
            raise NotFound(f"no item of root 0x{root.hex()} was refuted in job 0x{job_id.hex()}")
        terms, refutation = self._view(self._look(), job_id).terms, found.refutation
        return self.witness.evidence(terms, refutation)

    def proof(self, job_id: bytes, index: int) -> Proof:
        """The verdict of an item of an accepted job. Raises NotFound, NoProof, Busy, ChainError."""
        return self.witness.proof(self._view(self._look(), job_id), index)

    # ---- Operators and models ----

    def operators(self, *, cursor: str | None = None, limit: int = 25) -> Page[OperatorRow]:
        """Whoever staked or acted, the largest stake first. Raises BadCursor."""
        return accounts.page(self._operators(), lambda row: (-row.bonded, row.address.lower()), cursor, limit)

    def operator(self, address: ChecksumAddress) -> Operator:
        """Everything about an operator but its events. Raises NotFound."""
        passport = self.passports.of(address)
        return self._answer(("operator", address, passport), lambda look: self._operator(look, address, passport))

    def operator_events(
        self, address: ChecksumAddress, *, cursor: str | None = None, limit: int = 50, newest: bool = False
    ) -> Page[RecordedEvent]:
        """What an address did, or what was done about it, the oldest first or the newest. Raises BadCursor."""
        actors = tables.actors
        of_actor = sql.select(actors.c.block, actors.c.log_index).where(actors.c.actor == address)
        condition = sql.tuple_(tables.events.c.block, tables.events.c.log_index).in_(of_actor)
        return self._events(("actor", address), condition, cursor, limit, newest)

    def models(self, *, cursor: str | None = None, limit: int = 25) -> Page[ModelRow]:
        """The models that jobs use, and those of the zoo, the most used first. Raises BadCursor."""
        return accounts.page(self._models(), lambda row: (-row.jobs, row.model_id.hex()), cursor, limit)

    def model_row(self, model_id: bytes) -> ModelRow:
        """What jobs made of a model so far; zeros of one that none uses."""
        unused = ModelRow(model_id, self.witness.name_of(model_id), 0, 0, 0)
        return next((row for row in self._models() if row.model_id == model_id), unused)

    def model(self, model_id: bytes) -> Model:
        """Everything about a model. Raises NotFound, ChainError."""
        row = self.model_row(model_id)
        known, registered = self.witness.zoo.get(model_id), self.witness.registered(model_id)
        if not row.jobs and known is None and registered is None:
            raise NotFound(f"no job uses model 0x{model_id.hex()} and the registry does not know it: check the id")
        return Model(
            row=row,
            is_registered=registered is not None,
            row_length=registered.row_length if registered else None,
            output_length=registered.output_length if registered else None,
            program_length=registered.program_length if registered else None,
            execution_gas=registered.execution_gas if registered else None,
            dispute_gas=_dispute_gas(registered) if registered else None,
            is_stepwise=registered.stepwise if registered else None,
            card=known.card if known else None,
            newest_jobs=self.jobs(model_id=model_id, limit=NEWEST).items,
        )

    # ---- Everything ----

    def search(self, query: str) -> Search:
        """Jobs, addresses, models and transactions whose id begins with the text, and models of that name."""
        text = query.strip()[: searching.LONGEST_QUERY]
        return self._answer(("search", text), lambda look: searching.search(look.store, self.witness.zoo, text))

    def follow(self, place: str | None, revision: int, limit: int) -> tuple[Following, ChainStanding]:
        """What came after a place in the stream (with None, that of now), and how far the chain was read.

        revision: that of the last answer, 0 if there was none. Raises BadPlace.
        """
        return self._answer(
            ("follow", place, revision, limit),
            lambda look: (
                following(look.store, place, revision, limit),
                self._standing(look.revision, look.rows.clock),
            ),
        )

    # ---- Inside ----

    def _look(self) -> _Look:
        with self._lock:
            store = self._store()
            clock, last = self._time(store), self._last
            if last and (last.store, last.revision, last.rows.clock) == (store, store.revision, clock):
                return last
            with store.standing_still():
                rows = JobRows(store, store.open_views(), clock, self.witness.name_of)
                self._last = _Look(store, store.revision, rows)
            return self._last

    def _answer(self, key: Hashable, compute: Callable[[_Look], _R]) -> _R:
        """What `compute` makes of the present look, computed once. Its queries see the state that the look saw."""
        with self._lock:
            look = self._look()
            if key in look.answers:
                look.answers.move_to_end(key)
                return cast(_R, look.answers[key])
            with look.store.standing_still():
                if look.store.revision != look.revision:
                    look = self._look()
                answer = compute(look)
            look.answers[key] = answer
            if len(look.answers) > MOST_ANSWERS:
                look.answers.popitem(last=False)
            return answer

    def _time(self, store: JobStore) -> Clock:
        if (clock := self._clock()) is not None:
            return clock
        cursor = store.cursor()
        if cursor is None:
            return Clock(0, 0, 0, self.source.first_block - 1)
        return Clock(cursor.time, cursor.number, cursor.time, cursor.number)

    def _standing(self, revision: int, clock: Clock) -> ChainStanding:
        return ChainStanding(
            chain_id=self.source.chain_id,
            oracle=self.source.oracle,
            head=clock.block_number,
            head_time=clock.now,
            confirmed_block=clock.confirmed_block,
            confirmed_time=clock.confirmed_time,
            revision=revision,
        )

    def _events(
        self,
        whose: tuple[str, Hashable],
        condition: sql.ColumnElement[bool],
        cursor: str | None,
        limit: int,
        newest: bool,
    ) -> Page[RecordedEvent]:
        return self._answer(
            (*whose, cursor, limit, newest), lambda look: events_page(look.store, condition, cursor, limit, newest)
        )

    def _overview(self, look: _Look) -> Overview:
        row = next(iter(look.store.rows(job_index.latest(Kind.ORACLE, job_index.NO_ONE))), None)
        figures = {} if row is None else figures_of(row.figures)
        states = {state: figures.get(state.value, 0) if state.is_over else 0 for state in State}
        for open_job in look.rows.open.values():
            states[open_job.state] += 1
        held = [seat for view in look.store.open_views() for seat in _held(view)]
        bucket_seconds, buckets = series.buckets(look.store, look.rows.clock)
        return Overview(
            standing=self._standing(look.revision, look.rows.clock),
            states=states,
            disputes=look.rows.disputes(MOST_DISPUTES),
            newest=look.rows.page(Filter(), None, NEWEST).items,
            totals=Totals(
                jobs=figures.get("jobs", 0),
                items=figures.get("items", 0),
                operators=figures.get("operators", 0),
                bonded=figures.get("bonded", 0),
                locked=sum(wei for _, wei in held),
                seats_granted=figures.get("seats", 0),
                seats_held=sum(count for count, _ in held),
                paid=figures.get("paid", 0),
                bounties=figures.get("bounties", 0),
                burned=figures.get("burned", 0),
                disputes=figures.get("disputes", 0),
                refutations=figures.get("refutations", 0),
                demands=figures.get("demands", 0),
            ),
            bucket_seconds=bucket_seconds,
            series=buckets,
        )

    def _view(self, look: _Look, job_id: bytes) -> JobView:
        try:
            view = look.store.view(job_id)
        except BrokenHistory as error:
            raise NotFound(f"job 0x{job_id.hex()} cannot be shown: {error}") from error
        if view is None:
            raise _no_job(job_id)
        return view

    def _row(self, look: _Look, view: JobView) -> JobRow:
        found = look.rows.of_ids([view.job_id]).get(view.job_id)
        return found or look.rows.of_view(view, None)

    def _job(self, look: _Look, job_id: bytes) -> Job:
        view = self._view(look, job_id)
        count = sql.select(sql.func.count()).select_from(tables.events).where(tables.events.c.job_id == job_id)
        (found,) = look.store.rows(count)
        events = look.store.history(job_id=job_id, limit=MOST_EVENTS)
        return job_of(view, self._row(look, view), events, found[0], look.rows.clock)

    def _dispute(self, look: _Look, job_id: bytes) -> Dispute:
        view = self._view(look, job_id)
        events = look.store.history(job_id=job_id, limit=MOST_EVENTS)
        return dispute_of(view, self._row(look, view), events, look.rows.clock)

    def _disputes(self, look: _Look, cursor: str | None, limit: int) -> Page[DisputeRow]:
        table = tables.disputes
        query = sql.select(table).order_by(table.c.block.desc(), table.c.job_id.desc()).limit(limit + 1)
        if cursor is not None:
            query = query.where(sql.tuple_(table.c.block, table.c.job_id) < sql.tuple_(*parse_cursor(cursor)))
        found = look.store.rows(query)
        rows = look.rows.of_ids(one.job_id for one in found[:limit])
        items = []
        for one in found[:limit]:
            if one.job_id in rows:
                items.append(dispute_row(self._view(look, one.job_id), rows[one.job_id]))
        last = found[limit - 1] if len(found) > limit else None
        return Page(tuple(items), f"{last.block}-{last.job_id.hex()}" if last else None)

    def _operators(self) -> tuple[OperatorRow, ...]:
        return self._answer(
            "operators", lambda look: accounts.operators(look.store.rows(job_index.all_latest(Kind.OPERATOR)))
        )

    def _models(self) -> tuple[ModelRow, ...]:
        return self._answer(
            "models", lambda look: accounts.models(look.store.rows(job_index.all_latest(Kind.MODEL)), self.witness.zoo)
        )

    def _operator(self, look: _Look, address: ChecksumAddress, passport: SignedPassport | None) -> Operator:
        subject = to_canonical_address(address)
        row = next(iter(look.store.rows(job_index.latest(Kind.OPERATOR, subject))), None)
        if row is None:
            raise NotFound(f"{address} never staked and never acted here: check the address")
        figures = figures_of(row.figures)
        seats = [(view, seat) for view in look.store.open_views() if (seat := view.seat(address)) and seat.is_held]
        sitting = sorted(
            (look.rows.open[view.job_id] for view, _ in seats if view.job_id in look.rows.open),
            key=lambda job: (-job.created_block, job.job_id),
        )
        return Operator(
            address=address,
            bonded=figures.get("bonded", 0),
            locked=sum(seat.count * view.terms.seat_stake for view, seat in seats),
            seats_held=sum(seat.count for _, seat in seats),
            lanes_held=len(seats),
            record=accounts.record_of(figures),
            earnings=series.earnings(look.store, subject),
            open_jobs=tuple(sitting[:50]),
            passport=passport,
        )


def _held(view: JobView) -> list[tuple[int, int]]:
    """(seats, wei locked by them) of each worker's seats that are not released."""
    return [(seat.count, seat.count * view.terms.seat_stake) for seat in view.seats.values() if seat.is_held]


def _dispute_gas(model: Registered) -> int | None:
    if not model.execution_gas:
        return None  # not executed yet
    return gas_budget.dispute(model.execution_gas, depth_of(USUAL_ITEMS), model.row_length)


def _no_job(job_id: bytes) -> NotFound:
    return NotFound(
        f"there is no job 0x{job_id.hex()} up to the confirmed block: check the id, or look again in a moment"
    )
