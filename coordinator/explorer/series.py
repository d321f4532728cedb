"""Figures over time: intervals of the oracle's life, and an operator's earnings."""

from __future__ import annotations

from collections.abc import Iterable

import sqlalchemy as sql

from coordinator import job_index
from coordinator import store_tables as tables
from coordinator.clock import Clock
from coordinator.explorer.read_model import Bucket, Earnings
from coordinator.job_index import Kind, figures_of
from coordinator.job_store import JobStore

MOST_BUCKETS = 48
WIDTHS = (60, 300, 900, 3600, 3 * 3600, 12 * 3600, 86_400, 7 * 86_400, 28 * 86_400, 364 * 86_400)
"""Seconds of an interval: the first that covers the life in MOST_BUCKETS is taken."""
MOST_POINTS = 200


def buckets(store: JobStore, clock: Clock) -> tuple[int, tuple[Bucket, ...]]:
    """(seconds of an interval, the intervals from the first job on, ascending); none before there is a job."""
    first = store.rows(sql.select(sql.func.min(tables.jobs.c.created_at)))[0][0]
    if first is None:
        return WIDTHS[0], ()
    end = max(clock.confirmed_time, first)
    width = next((width for width in WIDTHS if end // width - first // width < MOST_BUCKETS), WIDTHS[-1])
    start = max(first // width, end // width - MOST_BUCKETS + 1) * width
    created = _counted(store, tables.jobs.c.created_at, start, width)
    settled = _counted(store, tables.endings.c.time, start, width, tables.endings.c.seconds)
    before, *ends = _figures(store, range(start - 1, end + width, width))
    made = []
    for since, after in zip(range(start, end + 1, width), ends, strict=True):
        place = (since - start) // width
        count, mean, longest = settled.get(place, (0, None, None))
        made.append(
            Bucket(
                since=since,
                created=created.get(place, (0, None, None))[0],
                settled=count,
                mean_settlement=None if mean is None else round(mean),
                longest_settlement=longest,
                bonded=after.get("bonded", 0),
                paid=after.get("paid", 0) - before.get("paid", 0),
                burned=after.get("burned", 0) - before.get("burned", 0),
            )
        )
        before = after
    return width, tuple(made)


def earnings(store: JobStore, operator: bytes) -> tuple[Earnings, ...]:
    """An operator's sums over time: evenly chosen rows of its totals, and the last."""
    table = tables.running_totals
    numbered = (
        sql.select(
            table.c.time,
            table.c.figures,
            sql.func.row_number().over(order_by=table.c.block).label("number"),
            sql.func.count().over().label("count"),
        )
        .where(table.c.kind == Kind.OPERATOR, table.c.subject == operator)
        .subquery()
    )
    step = numbered.c.count // MOST_POINTS + 1
    chosen = (numbered.c.number % step == 0) | (numbered.c.number == numbered.c.count)
    rows = store.rows(sql.select(numbered.c.time, numbered.c.figures).where(chosen).order_by(numbered.c.number))
    return tuple(
        Earnings(
            time=row.time,
            rewards=figures.get("rewards", 0),
            bounties=figures.get("bounties", 0),
            forfeited=figures.get("forfeited", 0),
            bonded=figures.get("bonded", 0),
        )
        for row in rows
        for figures in (figures_of(row.figures),)
    )


def _figures(store: JobStore, times: Iterable[int]) -> list[dict[str, int]]:
    """The oracle's totals as they stood at each of these seconds."""
    moments = sql.union_all(
        *(sql.select(sql.literal(time, sql.BigInteger).label("value")) for time in times)
    ).subquery()
    latest = job_index.latest(Kind.ORACLE, job_index.NO_ONE, until=moments.c.value)
    figures = latest.with_only_columns(tables.running_totals.c.figures).correlate(moments).scalar_subquery()
    query = sql.select(figures).select_from(moments).order_by(moments.c.value)
    return [figures_of(row[0]) if row[0] else {} for row in store.rows(query)]


def _counted(
    store: JobStore, time: sql.Column[int], start: int, width: int, seconds: sql.Column[int] | None = None
) -> dict[int, tuple[int, float | None, int | None]]:
    """(count, mean of `seconds`, largest) of the rows in each interval that has any, by its number."""
    number = ((time - start) // width).label("number")
    measured = sql.cast(sql.null(), sql.Integer) if seconds is None else seconds
    query = sql.select(number, sql.func.count(), sql.func.avg(measured), sql.func.max(measured))
    rows = store.rows(query.where(time >= start).group_by(number))
    return {row[0]: (row[1], row[2], row[3]) for row in rows}
