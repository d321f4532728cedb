"""Search by id, address, transaction or a model's name; any beginning of one will do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sql
from eth_utils.address import to_checksum_address

from coordinator import store_tables as tables
from coordinator.explorer.read_model import Found, Kind, Search
from coordinator.explorer.witness import ZooModel
from coordinator.job_index import Kind as Totals
from coordinator.job_store import JobStore

LONGEST_QUERY = 100
LEAST_DIGITS = 3
"""Of an id; fewer would find anything."""
MOST_FOUND = 20
_MOST_OF_A_KIND = 8


def search(store: JobStore, zoo: Mapping[bytes, ZooModel], query: str) -> Search:
    """What the text is the beginning of, the likeliest first. `query` is stripped and cut."""
    found = list(_by_name(zoo, query))
    digits = query.lower().removeprefix("0x")
    if LEAST_DIGITS <= len(digits) <= 64 and not set(digits) - set("0123456789abcdef"):
        found += _jobs(store, digits)
        if len(digits) <= 40:
            found += _operators(store, digits)
            found += _requesters(store, digits)
        found += _models(store, zoo, digits)
        found += _transactions(store, digits)
    return Search(query, tuple(found[:MOST_FOUND]))


def _by_name(zoo: Mapping[bytes, ZooModel], query: str) -> Iterator[Found]:
    if len(query) < LEAST_DIGITS:
        return
    for model_id, model in zoo.items():
        if query.lower() in model.name or query.lower() in model.card.title.lower():
            yield Found(Kind.MODEL, "0x" + model_id.hex(), f"model {model.name}")


def _jobs(store: JobStore, digits: str) -> Iterator[Found]:
    column = tables.jobs.c.job_id
    for row in store.rows(_beginning(sql.select(column), column, digits, 32)):
        yield Found(Kind.JOB, "0x" + row.job_id.hex(), f"job 0x{row.job_id.hex()[:12]}…", row.job_id)


def _operators(store: JobStore, digits: str) -> Iterator[Found]:
    table = tables.running_totals
    query = sql.select(table.c.subject).distinct().where(table.c.kind == Totals.OPERATOR)
    for row in store.rows(_beginning(query, table.c.subject, digits, 20)):
        address = to_checksum_address(row.subject)
        yield Found(Kind.OPERATOR, address, f"operator {address}")


def _requesters(store: JobStore, digits: str) -> Iterator[Found]:
    column = tables.jobs.c.requester
    for row in store.rows(_beginning(sql.select(column).distinct(), column, digits, 20)):
        address = to_checksum_address(row.requester)
        yield Found(Kind.REQUESTER, address, f"requester {address}")


def _models(store: JobStore, zoo: Mapping[bytes, ZooModel], digits: str) -> Iterator[Found]:
    column = tables.jobs.c.model_id
    used = {row.model_id for row in store.rows(_beginning(sql.select(column).distinct(), column, digits, 32))}
    for model_id in sorted(used | {one for one in zoo if one.hex().startswith(digits)}):
        name = zoo[model_id].name if model_id in zoo else f"0x{model_id.hex()[:12]}…"
        yield Found(Kind.MODEL, "0x" + model_id.hex(), f"model {name}")


def _transactions(store: JobStore, digits: str) -> Iterator[Found]:
    table = tables.events
    of_a_job_first = (table.c.job_id.is_(None), table.c.block, table.c.log_index)
    place = sql.func.row_number().over(partition_by=table.c.transaction, order_by=of_a_job_first).label("place")
    events = sql.select(table.c.transaction, table.c.job_id, place)
    numbered = events.where(_begins(table.c.transaction, digits, 32)).subquery()
    for row in store.rows(sql.select(numbered).where(numbered.c.place == 1).limit(_MOST_OF_A_KIND)):
        yield Found(
            Kind.TRANSACTION,
            "0x" + row.transaction.hex(),
            f"transaction 0x{row.transaction.hex()[:12]}…",
            row.job_id,
        )


def _beginning(query: sql.Select[Any], column: sql.ColumnElement[bytes], digits: str, size: int) -> sql.Select[Any]:
    """The query's first rows whose column, of `size` bytes, begins with these hex digits."""
    return query.where(_begins(column, digits, size)).limit(_MOST_OF_A_KIND)


def _begins(column: sql.ColumnElement[bytes], digits: str, size: int) -> sql.ColumnElement[bool]:
    low = bytes.fromhex(digits.ljust(2 * size, "0"))
    high = bytes.fromhex(digits.ljust(2 * size, "f"))
    return column.between(low, high)
