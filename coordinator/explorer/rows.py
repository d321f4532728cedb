"""Jobs as the lines of lists: of open jobs from their views, of settled ones from what was looked up, without folding."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sql
from eth_utils.address import to_canonical_address, to_checksum_address

from contracts import job as jobs
from contracts.job import Execution, Outcome, Terms
from coordinator import store_tables as tables
from coordinator.clock import Clock
from coordinator.event_log import args_from_json
from coordinator.explorer.read_model import DisputeRow, JobRow, Page, State
from coordinator.job_store import JobStore
from coordinator.job_view import JobView

NameOf = Callable[[bytes], str | None]
"""The zoo's name of a model id."""


class BadCursor(ValueError):
    """A page was asked for with what no page gave."""

    def __init__(self, cursor: str) -> None:
        super().__init__(f"{cursor[:100]!a} is no page's `next`: leave `cursor` out to begin at the first page")


@dataclass(frozen=True, slots=True)
class Filter:
    """Which jobs are wanted; what is None admits all."""

    state: State | None = None
    requester: str | None = None
    """A checksummed address."""
    model_id: bytes | None = None
    is_disputed: bool | None = None

    def admits(self, row: JobRow) -> bool:
        """Whether the job is wanted."""
        return (
            self.state in (None, row.state)
            and self.requester in (None, row.requester)
            and self.model_id in (None, row.model_id)
            and self.is_disputed in (None, row.is_disputed)
        )


class JobRows:
    """The rows of one look at the store: made within `store.standing_still`, good until its revision or the clock moves."""

    def __init__(self, store: JobStore, views: Sequence[JobView], clock: Clock, name_of: NameOf) -> None:
        """views: of every job that is not closed."""
        self._store = store
        self._name_of = name_of
        self.unsettled = {view.job_id: view for view in views if view.state.outcome is Outcome.OPEN}
        self.clock = clock
        self.open = {view.job_id: self.of_view(view, None) for view in self.unsettled.values()}

    def of_view(self, view: JobView, settled_at: int | None) -> JobRow:
        """The row of a job that was folded."""
        now, number = self.clock.now, self.clock.block_number
        terms, state = view.terms, view.state
        return JobRow(
            job_id=view.job_id,
            state=State.of(jobs.phase(state, terms, now, number), state.outcome),
            is_disputed=is_disputed(view),
            requester=view.job.requester,
            model_id=terms.model_id,
            model_name=self._name_of(terms.model_id),
            item_count=terms.item_count,
            seats=terms.seats,
            granted_seats=state.granted_seats,
            reward=terms.reward,
            cost_to_corrupt=jobs.cost_to_corrupt(terms),
            created_block=state.created_block,
            created_at=view.created_at,
            phase_ends_at=jobs.phase_end(state, terms, now, number) or None,
            settled_at=settled_at,
        )

    def page(self, wanted: Filter, cursor: str | None, limit: int) -> Page[JobRow]:
        """The newest first. Raises BadCursor."""
        after = None if cursor is None else parse_cursor(cursor)
        if wanted.state is not None and not wanted.state.is_over:
            rows = sorted(filter(wanted.admits, self.open.values()), key=_place)
            found = [row for row in rows if after is None or _place(row) > (-after[0], after[1])][: limit + 1]
        else:
            found = self._select(wanted, after, limit + 1)
        if len(found) <= limit:
            return Page(tuple(found))
        last = found[limit - 1]
        return Page(tuple(found[:limit]), f"{last.created_block}-{last.job_id.hex()}")

    def of_ids(self, ids: Iterable[bytes]) -> dict[bytes, JobRow]:
        """The rows of these jobs; those that are not known are left out."""
        wanted = list(ids)
        return {row.job_id: row for row in self._settled_or_open(tables.jobs.c.job_id.in_(wanted), len(wanted))}

    def disputes(self, most: int) -> tuple[DisputeRow, ...]:
        """The disputed jobs that are not settled: those whose next deadline is nearest first."""
        rows = [dispute_row(view, self.open[view.job_id]) for view in self.unsettled.values() if is_disputed(view)]
        return tuple(sorted(rows, key=_urgency)[:most])

    def _select(self, wanted: Filter, after: tuple[int, bytes] | None, limit: int) -> list[JobRow]:
        table = tables.jobs
        conditions: list[sql.ColumnElement[bool]] = []
        if after is not None:
            block, job_id = after
            older, beside = table.c.created_block < block, table.c.created_block == block
            conditions.append(older | (beside & (table.c.job_id > job_id)))
        if wanted.requester is not None:
            conditions.append(table.c.requester == to_canonical_address(wanted.requester))
        if wanted.model_id is not None:
            conditions.append(table.c.model_id == wanted.model_id)
        if wanted.state is not None:
            conditions.append(tables.endings.c.outcome == int(Outcome[wanted.state.name]))
        if wanted.is_disputed is not None:
            is_there = tables.disputes.c.job_id.is_not(None)
            conditions.append(is_there if wanted.is_disputed else ~is_there)
        return self._settled_or_open(sql.and_(sql.true(), *conditions), limit)

    def _settled_or_open(self, condition: sql.ColumnElement[bool], limit: int) -> list[JobRow]:
        created, ended, first = tables.events, tables.endings, tables.disputes
        query = (
            sql.select(tables.jobs, created.c.args, ended.c.outcome, ended.c.granted_seats)
            .add_columns(ended.c.time.label("settled_at"), first.c.block.label("disputed_block"))
            .join(
                created,
                (created.c.job_id == tables.jobs.c.job_id)
                & (created.c.block == tables.jobs.c.created_block)
                & (created.c.name == "JobCreated"),
            )
            .outerjoin(ended, ended.c.job_id == tables.jobs.c.job_id)
            .outerjoin(first, first.c.job_id == tables.jobs.c.job_id)
            .where(condition)
            .order_by(tables.jobs.c.created_block.desc(), tables.jobs.c.job_id)
            .limit(limit)
        )
        return [row for found in self._store.rows(query) if (row := self._of_row(found)) is not None]

    def _of_row(self, found: Any) -> JobRow | None:
        if found.outcome is None:
            return self.open.get(found.job_id)  # None where its events make no sense
        terms = Terms.of_tuple(args_from_json(found.args)["terms"])
        return JobRow(
            job_id=found.job_id,
            state=State(Outcome(found.outcome).name.lower()),
            is_disputed=found.disputed_block is not None,
            requester=to_checksum_address(found.requester),
            model_id=found.model_id,
            model_name=self._name_of(found.model_id),
            item_count=terms.item_count,
            seats=terms.seats,
            granted_seats=found.granted_seats,
            reward=terms.reward,
            cost_to_corrupt=jobs.cost_to_corrupt(terms),
            created_block=found.created_block,
            created_at=found.created_at,
            phase_ends_at=None,
            settled_at=found.settled_at,
        )


def is_disputed(view: JobView) -> bool:
    """Whether anything about the job was ever contested: coordinator.job_index says the same of its events."""
    return bool(
        len(view.roots) > 1
        or view.demands
        or view.accusations
        or view.state.execution is not Execution.NONE
        or any(tally.refuted for tally in view.roots.values())
    )


def dispute_row(view: JobView, row: JobRow) -> DisputeRow:
    """A disputed job as a line of a list."""
    waiting = [demand.answer_by for demand in view.demands.values() if not demand.answered]
    is_open = view.state.outcome is Outcome.OPEN
    return DisputeRow(
        job=row,
        roots=len(view.roots),
        open_demands=len(waiting),
        next_deadline=min(waiting, default=None) if is_open else None,
        refuted_seats=view.state.refuted_seats,
    )


def _place(row: JobRow) -> tuple[int, bytes]:
    return -row.created_block, row.job_id


def _urgency(row: DisputeRow) -> tuple[int, int, bytes]:
    never = 1 << 62
    return row.next_deadline or never, row.job.phase_ends_at or never, row.job.job_id


def parse_cursor(cursor: str) -> tuple[int, bytes]:
    """(block, job id) of a list of jobs' cursor. Raises BadCursor."""
    block, _, job_id = cursor.partition("-")
    try:
        if not (block.isascii() and block.isdigit() and len(block) < 19 and len(job_id) == 64):
            raise ValueError(cursor)
        return int(block), bytes.fromhex(job_id)
    except ValueError:
        raise BadCursor(cursor) from None
