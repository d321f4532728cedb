"""What happened, one event a line, with the transaction that did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from contracts.job import Outcome
from coordinator.dashboard import chain_text, wording
from coordinator.dashboard.job_rows import job_path
from coordinator.dashboard.paging import pages
from coordinator.dashboard.parts import Tag, amount, cell, empty, identifier, moment, root_mark, table, text
from coordinator.explorer.read_model import Page, RecordedEvent

_WORDS = {
    "JobCreated": "created the job",
    "Drawn": "The jury was drawn",
    "Committed": "took",
    "CommitSkipped": "was passed over: its signed commitment was refused",
    "Revealed": "revealed",
    "Demanded": "demanded to see into",
    "Answered": "answered a demand on",
    "LeafAnswered": "answered with an item of",
    "Refuted": "refuted by execution",
    "Executed": "had every row executed",
    "ChallengeExtended": "Challenging was extended",
    "Accused": "An item of the verification set was held against",
    "AccusationJudged": "executed an accused item",
    "Settled": "The job was settled:",
    "SeatsReleased": "Seats were released",
    "Delivered": "The consumer was told",
    "BountyReleased": "was paid a bounty",
    "BondReleased": "was paid a bond",
    "StakeDeposited": "bonded stake",
    "StakeUnbonded": "started to unbond",
    "StakeWithdrawn": "withdrew",
    "Withdrawn": "withdrew",
}
_MONEY = ("amount", "bond", "paid", "forfeited", "burned")
_PLAIN = ("level", "index", "position")


SHOWN = 50
"""Events of a page of the list."""


def event_list(
    page: Page[RecordedEvent],
    path: str,
    place: str,
    cursor: str | None,
    places: Mapping[bytes, int] | None = None,
    *,
    jobs: bool = False,
) -> None:
    """A page of events, newest first, and the ways to the others. path, place: of the page that they are on, and where on it.

    places: the letters of a job's roots. jobs: whether to name each event's job.
    """
    if not page.items:
        empty("Nothing happened yet." if cursor is None else "There is nothing older.")
    else:
        _table(page.items, places or {}, jobs)
    pages(path, {}, cursor, page.next, "events", f"#{place}")


def _table(rows: Sequence[RecordedEvent], places: Mapping[bytes, int], jobs: bool) -> None:
    columns = ("When", "What", *(("Job",) if jobs else ()), "Block", "Transaction")
    with table("Events, newest first", columns, numbers=("Block",)):
        for event in rows:
            with Tag("tr"):
                with cell():
                    moment(event.time)
                with cell(classes="wrap"):
                    _what(event, places)
                if jobs:
                    with cell():
                        if event.job_id:
                            identifier(wording.hex_(event.job_id), job_path(event.job_id), "job")
                        else:
                            text("–", "quiet")
                with cell(number=True):
                    text(f"{event.block:,}")
                with cell():
                    identifier(wording.hex_(event.transaction), what="transaction")


def _what(event: RecordedEvent, places: Mapping[bytes, int]) -> None:
    with Tag("span", classes="row"):
        for actor in event.actors[:3]:
            identifier(actor, f"/operators/{actor}", "account")
        if len(event.actors) > 3:
            text(f"and {len(event.actors) - 3} more", "quiet")
        text(_WORDS.get(event.name, chain_text.shown(event.name, 40)))
        if event.name == "Committed":
            text(wording.count(int(event.values.get("seats", 0)), "seat"))
        if event.name == "Settled":
            text(Outcome(int(event.values["outcome"])).name.capitalize())
        root = _bytes(event.values.get("root"))
        if root in places:
            root_mark(places[root], root)
        for name in _PLAIN:
            if name in event.values:
                text(f"{name} {chain_text.shown(str(event.values[name]), 24)}", "quiet")
        for name in _MONEY:
            value = event.values.get(name)
            if value not in (None, "0", 0):
                text(f"{name} ", "quiet")
                amount(int(value))


def _bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    try:
        return bytes.fromhex(str(value).removeprefix("0x"))
    except ValueError:
        return b""
