"""The projection: every event of the oracle up to the confirmed block, and the jobs folded from them.

Only events are of record. What a job looks like is folded from them on demand (coordinator.job_view), and what is looked up
across jobs is rows that follow from them (coordinator.job_index): so forgetting the blocks after N is deleting the rows
after N, and nothing else can be left behind. Whatever is wrong with the database (damage, another schema, another
chain), it is moved aside and the chain is read again.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from itertools import groupby
from typing import Any, Concatenate, ParamSpec, TypeVar

import sqlalchemy as sql
from eth_typing import ChecksumAddress
from eth_utils.address import to_canonical_address

from contracts.job import Terms
from contracts.stake import Account, bonded_before
from coordinator import job_index
from coordinator import store_tables as tables
from coordinator.database import Database, Place, StoreDamaged, claim
from coordinator.event_log import Block, Event, args_from_json, args_to_json
from coordinator.job_view import BrokenHistory, JobView, fold

log = logging.getLogger(__name__)

SCHEMA_VERSION = 3
"""Raise it whenever tables, arguments or their encoding change: an older database is then read anew from the chain."""
FOLDED_AT_ONCE = 500
"""Jobs whose events are in memory at a time when many are looked at for the first time."""
RECENT_BLOCKS = 512
"""Blocks without events are remembered this far back, to find where a reorganisation left the chain we knew."""
REMEMBERED_REWINDS = 64
DELIVERY_BLOCKS = 300
"""So many blocks after a job's last event its consumer is given up on: some refuse for ever, and no job shall stay open for
that."""
STAKE_EVENTS = ("StakeDeposited", "StakeUnbonded", "Committed", "SeatsReleased")
"""The events that tell what a worker has bonded: forfeits are told for each seat, and commits how many there are."""


@dataclass(frozen=True, slots=True)
class Source:
    """Which oracle's events a projection holds."""

    chain_id: int
    oracle: ChecksumAddress
    first_block: int
    """The block of the oracle's creation."""

    def identity(self) -> dict[str, str]:
        """What a database must say about itself to be used."""
        return {
            "schema": str(SCHEMA_VERSION),
            "chain_id": str(self.chain_id),
            "oracle": self.oracle,
            "first_block": str(self.first_block),
        }


_P = ParamSpec("_P")
_R = TypeVar("_R")


def _guarded(
    method: Callable[Concatenate[JobStore, _P], _R],
) -> Callable[Concatenate[JobStore, _P], _R]:
    """One thread at a time; what drivers and the rows say about themselves becomes StoreDamaged or StoreUnusable."""

    @wraps(method)
    def call(self: JobStore, /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
        with self._lock, self._database.translating():
            return method(self, *args, **kwargs)

    return call


class JobStore:
    """The projection of one oracle's events. One process writes it; its methods may be called from any thread.

    Every method raises StoreDamaged and StoreUnusable.
    """

    def __init__(self, where: Place, source: Source, *, rebuild: bool = False) -> None:
        """Open or create it. A damaged or foreign one is moved aside; with `rebuild`, whatever is there.

        Raises StoreInUse, StoreUnusable.
        """
        self.where = where
        self.source = source
        self._lock = threading.RLock()
        self._views: dict[bytes, JobView | None] = {}
        self._bonded: dict[str, list[tuple[int, int]]] | None = None
        self._counts: dict[tuple[bytes, str], int] = {}
        self._revision = time.time_ns() // 1_000_000  # beyond that of any store before this one
        self._forgotten: deque[tuple[int, int]] = deque(maxlen=REMEMBERED_REWINDS)
        self._database = claim(where)
        self._engine = self._database.engine
        try:
            self._prepare(rebuild)
        except BaseException:
            self._database.close()
            raise

    def close(self) -> None:
        """Let others write it."""
        self._database.close()

    def __enter__(self) -> JobStore:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ---- Writing ----

    @_guarded
    def record(self, blocks: Sequence[Block], events: Sequence[Event]) -> None:
        """Add what follows the cursor: `blocks`, ascending, with every block that has `events`. All or nothing."""
        changed = {event.job_id for event in events if event.job_id is not None}
        created = [event for event in events if event.name == "JobCreated"]
        before = self._load_jobs(changed - {event.job_id for event in created})
        cursor = self.cursor()
        with self._engine.begin() as connection:
            connection.execute(sql.insert(tables.blocks), [_block_row(block) for block in blocks])
            if events:
                connection.execute(sql.insert(tables.events), [_event_row(event) for event in events])
            if acting := [row for event in events for row in _actor_rows(event)]:
                connection.execute(sql.insert(tables.actors), acting)
            if created:
                connection.execute(sql.insert(tables.jobs), [_job_row(event) for event in created])
            job_index.enter(connection, events, before)
            self._mark_closed(connection, dict.fromkeys(changed))
            first = cursor.number - RECENT_BLOCKS if cursor else 0  # what is older was pruned before
            old = tables.blocks.c.number.between(first, blocks[-1].number - RECENT_BLOCKS - 1)
            is_kept = sql.exists().where(tables.events.c.block == tables.blocks.c.number)
            connection.execute(sql.delete(tables.blocks).where(old, ~is_kept))
        for job_id in changed:
            self._views.pop(job_id, None)
        self._add_stake(events)
        self._revision += 1

    @_guarded
    def rewind(self, number: int) -> None:
        """Forget every block after `number`."""
        with self._engine.begin() as connection:
            job_index.forget(connection, number)
            connection.execute(sql.delete(tables.actors).where(tables.actors.c.block > number))
            connection.execute(sql.delete(tables.events).where(tables.events.c.block > number))
            connection.execute(sql.delete(tables.blocks).where(tables.blocks.c.number > number))
            connection.execute(sql.delete(tables.jobs).where(tables.jobs.c.created_block > number))
            connection.execute(
                sql.update(tables.jobs).where(tables.jobs.c.closed_block > number).values(closed_block=None)
            )
        self._views.clear()
        self._bonded = None
        self._revision += 1
        self._forgotten.append((self._revision, number))

    # ---- Where it stands ----

    @_guarded
    def cursor(self) -> Block | None:
        """The last recorded block; None before the first."""
        row = self._first(sql.select(tables.blocks).order_by(tables.blocks.c.number.desc()).limit(1))
        return None if row is None else Block(row.number, row.hash, row.parent, row.time)

    @property
    def revision(self) -> int:
        """Grows with everything that is recorded or forgotten, and with each opening."""
        return self._revision

    @_guarded
    def rewound_since(self, revision: int) -> int | None:
        """The lowest block that was gone back to after `revision`; None if there was no going back."""
        return min((number for at, number in self._forgotten if at > revision), default=None)

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Nothing is recorded or forgotten within: what several methods say fits together."""
        with self._lock:
            yield

    @_guarded
    def rows(self, query: sql.Select[Any]) -> Sequence[Any]:
        """What a query of coordinator.store_tables gives."""
        return self._all(query)

    @_guarded
    def known_blocks(self) -> list[tuple[int, bytes]]:
        """(number, hash) of every remembered block, ascending."""
        rows = self._all(sql.select(tables.blocks.c.number, tables.blocks.c.hash).order_by(tables.blocks.c.number))
        return [(row.number, row.hash) for row in rows]

    # ---- Jobs ----

    @_guarded
    def open_views(self) -> list[JobView]:
        """Every job that still needs something, oldest first. A job whose events make no sense is left out and logged."""
        query = sql.select(tables.jobs.c.job_id).where(tables.jobs.c.closed_block.is_(None))
        ids = [row.job_id for row in self._all(query.order_by(tables.jobs.c.created_block, tables.jobs.c.job_id))]
        head = cursor.number if (cursor := self.cursor()) else 0
        missing = [job_id for job_id in ids if job_id not in self._views]
        for start in range(0, len(missing), FOLDED_AT_ONCE):  # after catching up most of them are over: they are let go
            batch = missing[start : start + FOLDED_AT_ONCE]
            self._fold_missing(batch)
            self._close_those_over(batch, head)
        self._close_those_over(ids, head)
        return [view for job_id in ids if (view := self._views.get(job_id)) is not None]

    @_guarded
    def view(self, job_id: bytes) -> JobView | None:
        """One job, open or closed; None if no such job is recorded. Raises BrokenHistory."""
        if (known := self._views.get(job_id)) is not None:
            return known
        events = self._load(sql.select(tables.events).where(tables.events.c.job_id == job_id))
        return fold(events) if events else None

    @_guarded
    def job_ids(self, limit: int = 100, *, before_block: int | None = None) -> list[bytes]:
        """The newest jobs' ids, newest first; with `before_block`, of those created before it."""
        query = (
            sql.select(tables.jobs.c.job_id)
            .order_by(tables.jobs.c.created_block.desc(), tables.jobs.c.job_id)
            .limit(limit)
        )
        if before_block is not None:
            query = query.where(tables.jobs.c.created_block < before_block)
        return [row.job_id for row in self._all(query)]

    @_guarded
    def history(self, *, job_id: bytes | None = None, actor: str | None = None, limit: int = 1000) -> list[Event]:
        """What happened, oldest first: the last `limit` events, of one job or of one address if given."""
        query = sql.select(tables.events)
        if job_id is not None:
            query = query.where(tables.events.c.job_id == job_id)
        if actor is not None:
            same = (tables.actors.c.block == tables.events.c.block) & (
                tables.actors.c.log_index == tables.events.c.log_index
            )
            query = query.join(tables.actors, same).where(tables.actors.c.actor == actor)
        return self._load(query, last=limit)

    @_guarded
    def events_after(
        self, block: int, log_index: int, limit: int, condition: sql.ColumnElement[bool] | None = None
    ) -> list[Event]:
        """The first `limit` events after this place in the chain, oldest first; of those that meet a condition, if given."""
        place = tables.events.c.block, tables.events.c.log_index
        query = sql.select(tables.events).where(sql.tuple_(*place) > sql.tuple_(block, log_index))
        return self._load(query if condition is None else query.where(condition), first=limit)

    @_guarded
    def events_before(self, block: int, log_index: int, limit: int, condition: sql.ColumnElement[bool]) -> list[Event]:
        """The last `limit` events before this place in the chain that meet a condition, newest first."""
        place = tables.events.c.block, tables.events.c.log_index
        query = sql.select(tables.events).where(sql.tuple_(*place) < sql.tuple_(block, log_index), condition)
        return self._load(query, last=limit)[::-1]

    @_guarded
    def block_hashes(self, numbers: Iterable[int]) -> dict[int, bytes]:
        """The hashes of those of these blocks that are remembered: every block with an event is."""
        wanted, found = sorted(set(numbers)), {}
        for start in range(0, len(wanted), 500):
            columns = sql.select(tables.blocks.c.number, tables.blocks.c.hash)
            rows = self._all(columns.where(tables.blocks.c.number.in_(wanted[start : start + 500])))
            found.update({row.number: row.hash for row in rows})
        return found

    @_guarded
    def places(self, first: int) -> set[tuple[int, int]]:
        """(block, log index) of every event from block `first` on."""
        table = tables.events
        return {
            (row.block, row.log_index)
            for row in self._all(sql.select(table.c.block, table.c.log_index).where(table.c.block >= first))
        }

    @_guarded
    def jobs_between(self, requester: ChecksumAddress, worker: ChecksumAddress) -> list[bytes]:
        """The ids of a requester's jobs in which a worker took seats, oldest first."""
        made, took = (_of_actor(name, actor) for name, actor in (("JobCreated", requester), ("Committed", worker)))
        query = sql.select(tables.jobs.c.job_id).where(tables.jobs.c.job_id.in_(made), tables.jobs.c.job_id.in_(took))
        return [row.job_id for row in self._all(query.order_by(tables.jobs.c.created_block, tables.jobs.c.job_id))]

    # ---- Stake ----

    @_guarded
    def bonded_before(self, worker: ChecksumAddress, block_number: int) -> int:
        """Wei the worker had bonded at the end of the block before `block_number`."""
        return bonded_before(self._stakes().get(worker, ()), block_number)

    @_guarded
    def account(self, worker: ChecksumAddress) -> Account:
        """The worker's stake and lanes after the cursor's block. Unbonding and credit are not followed: events do not tell
        all of them."""
        checkpoints = self._stakes().get(worker, [])
        bonded = checkpoints[-1][1] if checkpoints else 0
        seats = ((view, view.seat(worker)) for view in self.open_views())
        held = [(view.terms.seat_stake, seat) for view, seat in seats if seat is not None and seat.is_held]
        locked = sum(seat.count * seat_stake for seat_stake, seat in held)
        return Account(bonded, locked, lanes=sum(1 << seat.lane for _, seat in held))

    @_guarded
    def stakers(self) -> list[str]:
        """The addresses with anything bonded, sorted."""
        return sorted(worker for worker, checkpoints in self._stakes().items() if checkpoints[-1][1])

    # ---- Inside ----

    def _prepare(self, rebuild: bool) -> None:
        database = self._database
        try:
            with database.translating():
                reason = "to be rebuilt" if rebuild else _what_is_wrong(database, self.source)
        except StoreDamaged as damaged:
            reason = damaged.reason
        with database.translating():
            if reason is not None and (aside := database.set_aside()) is not None:
                log.warning("%s: %s; moved to %s, the chain is read anew", self.where, reason, aside)
            with self._engine.begin() as connection:
                if not sql.inspect(connection).has_table(tables.identity.name):
                    tables.metadata.create_all(connection)
                    rows = [{"name": name, "value": value} for name, value in self.source.identity().items()]
                    connection.execute(sql.insert(tables.identity), rows)

    def _all(self, query: sql.Select[Any]) -> Sequence[Any]:
        with self._engine.connect() as connection:
            return connection.execute(query).all()

    def _first(self, query: sql.Select[Any]) -> Any:
        with self._engine.connect() as connection:
            return connection.execute(query).first()

    def _load(self, query: sql.Select[Any], last: int | None = None, first: int | None = None) -> list[Event]:
        """The events of a query in the chain's order: all of them, or only the last or first so many."""
        query = query.add_columns(tables.blocks.c.time).join(
            tables.blocks, tables.blocks.c.number == tables.events.c.block
        )
        place = tables.events.c.block, tables.events.c.log_index
        if last is None:
            query = query.order_by(*place).limit(first)
        else:
            query = query.order_by(*(column.desc() for column in place)).limit(last)
        try:
            events = [_event(row) for row in self._all(query)]
            return events if last is None else events[::-1]
        except (ValueError, AttributeError, TypeError) as error:
            raise StoreDamaged(self.where, f"an event that cannot be read: {error}") from error

    def _fold_missing(self, ids: Sequence[bytes]) -> None:
        events = sorted(self._load_jobs(ids), key=lambda event: event.job_id or b"")  # stable: order within a job stays
        for job_id, of_job in groupby(events, key=lambda event: event.job_id):
            assert job_id is not None  # by the query
            self._views[job_id] = _fold_or_none(job_id, of_job)

    def _load_jobs(self, ids: Collection[bytes]) -> list[Event]:
        """All events of these jobs; each job's in the chain's order."""
        wanted, events = list(ids), []
        for start in range(0, len(wanted), 500):  # SQLite bounds the variables of one statement
            batch = wanted[start : start + 500]
            events += self._load(sql.select(tables.events).where(tables.events.c.job_id.in_(batch)))
        return events

    def _close_those_over(self, ids: Iterable[bytes], head: int) -> None:
        views = [view for job_id in ids if (view := self._views.get(job_id)) is not None]
        ends = {view.job_id: number for view in views if (number := _closing_block(view)) is not None}
        self._close({job_id: number for job_id, number in ends.items() if number <= head})

    def _close(self, blocks: Mapping[bytes, int]) -> None:
        """Look no longer at these jobs; by id, the block from which on nothing is left to happen."""
        if not blocks:
            return
        with self._engine.begin() as connection:
            self._mark_closed(connection, blocks)
        for job_id in blocks:
            del self._views[job_id]

    def _mark_closed(self, connection: sql.Connection, blocks: Mapping[bytes, int | None]) -> None:
        """By id, the block from which on nothing is left to happen; None where something is."""
        if blocks:
            which = tables.jobs.c.job_id == sql.bindparam("which")
            rows = [{"which": job_id, "closed_block": number} for job_id, number in blocks.items()]
            connection.execute(sql.update(tables.jobs).where(which), rows)

    def _stakes(self) -> dict[str, list[tuple[int, int]]]:
        if self._bonded is None:
            self._bonded, self._counts = {}, {}
            self._add_stake(self._load(sql.select(tables.events).where(tables.events.c.name.in_(STAKE_EVENTS))))
        return self._bonded

    def _add_stake(self, events: Iterable[Event]) -> None:
        if self._bonded is None:
            return
        for event in events:
            if event.name == "Committed":
                self._counts[event.args["jobId"], event.args["worker"]] = event.args["seats"]
            for worker, change in self._stake_changes(event):
                if change == 0:
                    continue  # most seats lose nothing
                checkpoints = self._bonded.setdefault(worker, [])
                after = (checkpoints[-1][1] if checkpoints else 0) + change
                if checkpoints and checkpoints[-1][0] == event.block:
                    checkpoints.pop()
                checkpoints.append((event.block, after))

    def _stake_changes(self, event: Event) -> Iterator[tuple[str, int]]:
        """(worker, wei) of what an event adds to anybody's bonded stake."""
        args = event.args
        if event.name == "StakeDeposited":
            yield args["worker"], args["amount"]
        elif event.name == "StakeUnbonded":
            yield args["worker"], -args["amount"]
        elif event.name == "SeatsReleased":
            for worker in args["workers"]:
                yield worker, -args["forfeited"] * self._counts.pop((args["jobId"], worker), 0)


def _of_actor(name: str, actor: str) -> sql.Select[Any]:
    """The jobs that one kind of event tells of with this actor."""
    same = (tables.actors.c.block == tables.events.c.block) & (tables.actors.c.log_index == tables.events.c.log_index)
    query = sql.select(tables.events.c.job_id).join(tables.actors, same)
    return query.where(tables.actors.c.actor == actor, tables.events.c.name == name)


def _closing_block(view: JobView) -> int | None:
    """From which block on nothing is left to happen, if no event comes; None while something is due."""
    if not view.is_closed:
        return None
    return view.block + DELIVERY_BLOCKS if view.awaits_delivery else view.block


def _fold_or_none(job_id: bytes, events: Iterable[Event]) -> JobView | None:
    try:
        return fold(events)
    except BrokenHistory as error:
        log.error("job 0x%s is left alone: %s", job_id.hex(), error)
        return None


def _block_row(block: Block) -> dict[str, Any]:
    return {"number": block.number, "hash": block.hash, "parent": block.parent, "time": block.time}


def _event_row(event: Event) -> dict[str, Any]:
    return {
        "block": event.block,
        "log_index": event.log_index,
        "name": event.name,
        "job_id": event.job_id,
        "transaction": event.transaction,
        "args": args_to_json(event.args),
    }


def _job_row(event: Event) -> dict[str, Any]:
    return {
        "job_id": event.job_id,
        "created_block": event.block,
        "created_at": event.time,
        "requester": to_canonical_address(event.args["requester"]),
        "model_id": Terms.of_tuple(event.args["terms"]).model_id,
    }


def _actor_rows(event: Event) -> list[dict[str, Any]]:
    place = {"block": event.block, "log_index": event.log_index}
    return [{**place, "actor": actor} for actor in dict.fromkeys(event.actors)]


def _event(row: Any) -> Event:
    return Event(row.name, row.block, row.log_index, row.time, row.transaction, args_from_json(row.args))


# ---- The database ----


def _what_is_wrong(database: Database, source: Source) -> str | None:
    """Why it cannot be used, or None. An empty one is fine."""
    with database.engine.connect() as connection:
        if (verdict := database.verdict(connection)) is not None:
            return verdict
        have = set(sql.inspect(connection).get_table_names())
        if not have:
            return None
        if tables.identity.name not in have:
            return "it is some other database"
        rows = connection.execute(sql.select(tables.identity.c.name, tables.identity.c.value)).all()
        said, expected = {row.name: row.value for row in rows}, source.identity()
        differing = next((name for name in expected if said.get(name) != expected[name]), None)
        if differing is not None:
            return f"it is for {differing} {said.get(differing)}, not {expected[differing]}"
        missing = set(tables.metadata.tables) - have
        return f"it lacks the table {sorted(missing)[0]}" if missing else None
