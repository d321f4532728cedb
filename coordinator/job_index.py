"""What can be looked up without folding jobs: how they ended, which are disputed, and running totals.

Everything here follows from the recorded events, is written with them, and is forgotten by deleting rows. A total is not
updated but written anew for each block in which it changed: the last row is how things stand, and the rows before it are
how they stood. It tells of the oracle as a whole, of each operator and of each model.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import groupby
from typing import Any

import sqlalchemy as sql
from eth_utils.address import to_canonical_address

from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Node
from contracts.job import NOBODY, Execution, Outcome, Terms
from coordinator import store_tables as tables
from coordinator.database import insert_new
from coordinator.event_log import Event
from coordinator.job_view import BrokenHistory, fold

DISPUTING = ("Demanded", "Refuted", "Executed", "ChallengeExtended", "Accused")
"""The events that make a job a disputed one; a second revealed root does so too."""
NO_ONE = b""
"""The subject of the oracle's own totals."""


class Kind(StrEnum):
    """Whose totals they are."""

    ORACLE = "oracle"
    OPERATOR = "operator"
    MODEL = "model"


@dataclass(frozen=True, slots=True)
class Change:
    """What one event adds to a subject's figures."""

    kind: Kind
    subject: bytes
    figures: dict[str, int]


@dataclass
class _Course:
    """What of a job's earlier events the later ones' amounts depend on."""

    terms: Terms
    created_at: int
    created_block: int
    seats: dict[str, int] = field(default_factory=dict)
    roots: set[bytes] = field(default_factory=set)
    bonds: dict[Node, tuple[str, int]] = field(default_factory=dict)
    is_disputed: bool = False


def enter(connection: sql.Connection, events: Sequence[Event], before: Iterable[Event]) -> None:
    """Write what follows from `events`, which continue the chain; `before`: all earlier ones of the same jobs, in order."""
    new: list[tuple[Event, list[Change]]] = []
    endings: list[dict[str, Any]] = []
    disputes: list[dict[str, Any]] = []
    courses = _courses(before)
    known = _by_job([*before, *events])
    for event in events:
        changes = _of_stake(event) if event.job_id is None else []
        if event.job_id is not None:
            course = courses.get(event.job_id)
            was_disputed = course is not None and course.is_disputed
            changes = list(_follow(courses, event, known[event.job_id]))
            course = courses.get(event.job_id)
            if course is None:
                continue  # a job whose creation nobody recorded
            if course.is_disputed and not was_disputed:
                disputes.append({"job_id": event.job_id, "block": event.block, "time": event.time})
                changes.append(_oracle(disputes=1))
            if event.name == "Settled":
                endings.append(_ending(event, course))
        new.append((event, changes))
    if endings:
        insert_new(connection, tables.endings, endings)
    if disputes:
        insert_new(connection, tables.disputes, disputes)
    _add_up(connection, new)


def forget(connection: sql.Connection, number: int) -> None:
    """Forget every block after `number`."""
    for table in (tables.endings, tables.disputes, tables.running_totals):
        connection.execute(sql.delete(table).where(table.c.block > number))


def latest(kind: Kind, subject: bytes, *, until: int | sql.ColumnElement[int] | None = None) -> sql.Select[Any]:
    """A query for (block, time, figures) of a subject's last row; with `until`, of the last one by that second."""
    table = tables.running_totals
    query = sql.select(table.c.block, table.c.time, table.c.figures)
    query = query.where(table.c.kind == kind, table.c.subject == subject)
    if until is not None:
        return query.where(table.c.time <= until).order_by(table.c.time.desc(), table.c.block.desc()).limit(1)
    return query.order_by(table.c.block.desc()).limit(1)


def all_latest(kind: Kind) -> sql.Select[Any]:
    """A query for (subject, figures) of every subject's last row."""
    table = tables.running_totals
    last = sql.select(table.c.subject, sql.func.max(table.c.block).label("block"))
    newest = last.where(table.c.kind == kind).group_by(table.c.subject).subquery()
    same = (table.c.subject == newest.c.subject) & (table.c.block == newest.c.block)
    return sql.select(table.c.subject, table.c.figures).join(newest, same).where(table.c.kind == kind)


def figures_of(text: str) -> dict[str, int]:
    """The figures of a row."""
    figures: dict[str, int] = json.loads(text)
    return figures


# ---- What each event changes ----


def _courses(before: Iterable[Event]) -> dict[bytes, _Course]:
    courses: dict[bytes, _Course] = {}
    for event in before:
        for _ in _follow(courses, event, ()):
            pass
    return courses


def _by_job(events: Iterable[Event]) -> dict[bytes, list[Event]]:
    known: dict[bytes, list[Event]] = defaultdict(list)
    for event in events:
        if event.job_id is not None:
            known[event.job_id].append(event)
    return known


def _follow(courses: dict[bytes, _Course], event: Event, known: Sequence[Event]) -> Iterator[Change]:
    """Take an event of a job into its course, and tell what it changes. known: the job's events, for what must be folded."""
    job_id = event.job_id
    assert job_id is not None  # by the callers
    if event.name == "JobCreated":
        terms = Terms.of_tuple(event.args["terms"])
        courses[job_id] = _Course(terms, event.time, event.block)
        yield _oracle(jobs=1)
        yield Change(Kind.MODEL, terms.model_id, {"jobs": 1})
        return
    course = courses.get(job_id)
    if course is None:
        return
    if event.name in DISPUTING:
        course.is_disputed = True
    yield from _CHANGES.get(event.name, _nothing)(course, event)
    if event.name == "Settled" and course.terms.audit_bond and known:
        yield from _of_audit(course, event, known)


def _nothing(_: _Course, __: Event) -> Iterator[Change]:
    return iter(())


def _committed(course: _Course, event: Event) -> Iterator[Change]:
    worker, count = event.args["worker"], event.args["seats"]
    added = count - course.seats.get(worker, 0)
    yield _oracle(seats=added)
    yield _operator(worker, seats=added, jobs=0 if worker in course.seats else 1)
    course.seats[worker] = count


def _revealed(course: _Course, event: Event) -> Iterator[Change]:
    for worker in event.args["workers"]:
        yield _operator(worker, revealed=course.seats.get(worker, 0))
    if event.args["root"] != DATA_UNAVAILABLE:
        course.roots.add(event.args["root"])
        course.is_disputed = course.is_disputed or len(course.roots) > 1


def _demanded(course: _Course, event: Event) -> Iterator[Change]:
    node = Node(event.args["root"], event.args["level"], event.args["index"])
    course.bonds[node] = event.args["demander"], event.args["bond"]
    yield _oracle(demands=1)
    yield _operator(event.args["demander"], demands=1)


def _answered(_: _Course, event: Event) -> Iterator[Change]:
    yield _operator(event.args["answerer"], answers=1)


def _refuted(_: _Course, event: Event) -> Iterator[Change]:
    yield _oracle(refutations=1)
    yield _operator(event.args["refuter"], refutations=1)


def _settled(course: _Course, event: Event) -> Iterator[Change]:
    outcome = Outcome(event.args["outcome"])
    items = course.terms.item_count if outcome is Outcome.ACCEPTED else 0
    yield _oracle(**{outcome.name.lower(): 1}, items=items, burned=event.args["burned"])
    if outcome is Outcome.ACCEPTED:
        yield Change(Kind.MODEL, course.terms.model_id, {"accepted": 1, "items": items})


def _of_audit(course: _Course, event: Event, known: Sequence[Event]) -> Iterator[Change]:
    """What becomes of the audit bond, which no event tells."""
    so_far = [one for one in known if (one.block, one.log_index) <= (event.block, event.log_index)]
    try:
        view = fold(so_far)
    except BrokenHistory:
        return
    bond, audit = course.terms.audit_bond, view.audit
    if audit.executor != NOBODY:
        yield _oracle(bounties=bond // 2, burned=bond - bond // 2)
        yield _operator(audit.executor, bounties=bond // 2)
    elif audit.open_accusations and view.state.execution is not Execution.WHOLE:
        yield _oracle(burned=bond)


def _seats_released(course: _Course, event: Event) -> Iterator[Change]:
    paid, forfeited = event.args["paid"], event.args["forfeited"]  # each seat's
    for worker in event.args["workers"]:
        count = course.seats.get(worker, 0)
        yield _oracle(paid=paid * count, bonded=-forfeited * count)
        yield _operator(
            worker,
            rewards=paid * count,
            forfeited=forfeited * count,
            bonded=-forfeited * count,
            seats_paid=count if paid else 0,
            seats_forfeited=count if forfeited else 0,
        )


def _bounty_released(_: _Course, event: Event) -> Iterator[Change]:
    yield _oracle(bounties=event.args["amount"])
    yield _operator(event.args["refuter"], bounties=event.args["amount"])


def _bond_released(course: _Course, event: Event) -> Iterator[Change]:
    args = event.args
    demander, bond = course.bonds.get(Node(args["root"], args["level"], args["index"]), (args["payee"], args["amount"]))
    yield _oracle(burned=bond - args["amount"])
    if args["payee"] != demander:
        yield _operator(args["payee"], bonds_won=args["amount"])
    lost = bond if args["payee"] != demander else bond - args["amount"]
    yield _operator(demander, bonds_lost=lost)


_CHANGES = {
    "Committed": _committed,
    "Revealed": _revealed,
    "Demanded": _demanded,
    "Answered": _answered,
    "LeafAnswered": _answered,
    "Refuted": _refuted,
    "Settled": _settled,
    "SeatsReleased": _seats_released,
    "BountyReleased": _bounty_released,
    "BondReleased": _bond_released,
}


def _of_stake(event: Event) -> list[Change]:
    sign = {"StakeDeposited": 1, "StakeUnbonded": -1}.get(event.name)
    if sign is None:
        return []
    amount = sign * event.args["amount"]
    return [_oracle(bonded=amount), _operator(event.args["worker"], bonded=amount)]


def _oracle(**figures: int) -> Change:
    return Change(Kind.ORACLE, NO_ONE, figures)


def _operator(worker: str, **figures: int) -> Change:
    return Change(Kind.OPERATOR, to_canonical_address(worker), figures)


def _ending(event: Event, course: _Course) -> dict[str, Any]:
    return {
        "job_id": event.job_id,
        "block": event.block,
        "time": event.time,
        "created_block": course.created_block,
        "seconds": event.time - course.created_at,
        "outcome": int(event.args["outcome"]),
        "granted_seats": sum(course.seats.values()),
    }


# ---- Adding up ----


def _add_up(connection: sql.Connection, new: Sequence[tuple[Event, list[Change]]]) -> None:
    """Write a row for each block in which a subject's figures change."""
    totals: dict[tuple[Kind, bytes], Counter[str]] = {}
    rows: list[dict[str, Any]] = []
    for block, group in groupby(new, key=lambda entry: entry[0].block):
        entries = list(group)
        changed: dict[tuple[Kind, bytes], None] = {}
        for change in (one for _, changes in entries for one in changes):
            if any(change.figures.values()):
                _apply(connection, totals, changed, change)
        time = entries[0][0].time
        for kind, subject in changed:
            text = json.dumps({name: value for name, value in totals[kind, subject].items() if value})
            rows.append({"kind": kind, "subject": subject, "block": block, "time": time, "figures": text})
    if rows:
        connection.execute(sql.insert(tables.running_totals), rows)


def _apply(
    connection: sql.Connection,
    totals: dict[tuple[Kind, bytes], Counter[str]],
    changed: dict[tuple[Kind, bytes], None],
    change: Change,
) -> None:
    key = change.kind, change.subject
    if key not in totals:
        totals[key] = Counter(_last(connection, *key))
    was_bonded = totals[key]["bonded"] > 0
    totals[key].update(change.figures)
    changed[key] = None
    if change.kind is Kind.OPERATOR and (is_bonded := totals[key]["bonded"] > 0) != was_bonded:
        _apply(connection, totals, changed, _oracle(operators=1 if is_bonded else -1))


def _last(connection: sql.Connection, kind: Kind, subject: bytes) -> dict[str, int]:
    row = connection.execute(latest(kind, subject)).first()
    return {} if row is None else figures_of(row.figures)
