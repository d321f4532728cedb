"""Events in their order: in pages, and as a stream that can be taken up again after any break.

An event's id is its place, and the first bytes of its block's hash, which no other fork has: so whoever comes back with the
last id it saw is either told what came after it, or that it was on a fork that is no more.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import sqlalchemy as sql

from coordinator import store_tables as tables
from coordinator.event_log import Event
from coordinator.explorer.job_record import event_record
from coordinator.explorer.read_model import Page, RecordedEvent
from coordinator.explorer.rows import BadCursor
from coordinator.job_store import JobStore

ORIGIN = "0-0-0000000000000000"
"""The id of the place before the first event."""
_END = 10**18
"""A block beyond every chain."""
_ID = re.compile(r"([0-9]{1,18})-([0-9]{1,9})-([0-9a-f]{16})", re.ASCII)
_PLACE = re.compile(r"([0-9]{1,18})-([0-9]{1,9})", re.ASCII)


class BadPlace(ValueError):
    """An event id that no stream gave."""

    def __init__(self, given: str) -> None:
        super().__init__(f"{given[:60]!a} is no event id: leave Last-Event-ID out to begin with what happens now")


@dataclass(frozen=True, slots=True)
class Following:
    """What came after a place in the stream."""

    revision: int
    """The store's, for the next question."""
    is_reorganised: bool
    """The place was on a fork that is no more: what was read from there on never happened."""
    back_to: int | None
    """The last block that both forks have, where that is known; where it is not, everything must be read anew."""
    since: str
    """Where the stream stood before these events."""
    events: tuple[RecordedEvent, ...]

    @property
    def place(self) -> str:
        """Where it stands after them."""
        return self.events[-1].id if self.events else self.since


def require_place(given: str) -> None:
    """Raises BadPlace for what cannot be an event's id."""
    if not _ID.fullmatch(given):
        raise BadPlace(given)


def place_of(event: Event, block_hash: bytes) -> str:
    """An event's id."""
    return f"{event.block}-{event.log_index}-{block_hash[:8].hex()}"


def events_page(
    store: JobStore, condition: sql.ColumnElement[bool], cursor: str | None, limit: int, newest: bool = False
) -> Page[RecordedEvent]:
    """A page of the events that meet a condition, the oldest first or the newest. Raises BadCursor."""
    place = (_END, 0) if newest else (0, -1)
    if cursor is not None:
        if (given := _PLACE.fullmatch(cursor)) is None:
            raise BadCursor(cursor)
        place = int(given[1]), int(given[2])
    read = store.events_before if newest else store.events_after
    found = read(*place, limit + 1, condition)
    last = found[limit - 1] if len(found) > limit else None
    return Page(_records(store, found[:limit]), f"{last.block}-{last.log_index}" if last else None)


def following(store: JobStore, place: str | None, revision: int, limit: int) -> Following:
    """At most `limit` events after a place; with None, only where the stream ends. Raises BadPlace."""
    if place is None:
        return Following(store.revision, False, None, _last_place(store, None), ())
    require_place(place)
    number, _, digits = place.split("-")
    back_to = None
    is_reorganised = place != ORIGIN and not _is_there(store, int(number), digits)
    if is_reorganised:
        back_to = store.rewound_since(revision) if revision else None
        place = _last_place(store, back_to)
    block, log_index, _ = place.split("-")
    after = (0, -1) if place == ORIGIN else (int(block), int(log_index))
    events = _records(store, store.events_after(*after, limit))
    return Following(store.revision, is_reorganised, back_to, place, events)


def _is_there(store: JobStore, block: int, digits: str) -> bool:
    found = store.block_hashes([block]).get(block)
    return found is not None and found[:8].hex() == digits


def _last_place(store: JobStore, until: int | None) -> str:
    """The id of the last event, or of the last one by this block."""
    table = tables.events
    query = sql.select(table.c.block, table.c.log_index, tables.blocks.c.hash)
    query = query.join(tables.blocks, tables.blocks.c.number == table.c.block)
    if until is not None:
        query = query.where(table.c.block <= until)
    rows = store.rows(query.order_by(table.c.block.desc(), table.c.log_index.desc()).limit(1))
    return f"{rows[0].block}-{rows[0].log_index}-{rows[0].hash[:8].hex()}" if rows else ORIGIN


def _records(store: JobStore, events: list[Event]) -> tuple[RecordedEvent, ...]:
    hashes = store.block_hashes(event.block for event in events)
    return tuple(event_record(event, place_of(event, hashes[event.block])) for event in events)
