"""Operators and models from their running totals, and the cursors of lists."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

from eth_utils.address import to_checksum_address

from coordinator.explorer.read_model import ModelRow, OperatorRecord, OperatorRow, Page
from coordinator.explorer.rows import BadCursor
from coordinator.explorer.witness import ZooModel
from coordinator.job_index import figures_of

_T = TypeVar("_T")
_MOST_DIGITS = 78
"""Of a 256-bit number."""


def operators(found: Iterable[Any]) -> tuple[OperatorRow, ...]:
    """Rows of running totals as operators."""
    return tuple(
        OperatorRow(to_checksum_address(row.subject), figures.get("bonded", 0), record_of(figures))
        for row in found
        for figures in (figures_of(row.figures),)
    )


def record_of(figures: Mapping[str, int]) -> OperatorRecord:
    """An operator's record from its figures."""
    return OperatorRecord(
        jobs=figures.get("jobs", 0),
        seats=figures.get("seats", 0),
        seats_revealed=figures.get("revealed", 0),
        seats_paid=figures.get("seats_paid", 0),
        seats_forfeited=figures.get("seats_forfeited", 0),
        rewards=figures.get("rewards", 0),
        bounties=figures.get("bounties", 0),
        forfeited=figures.get("forfeited", 0),
        refutations=figures.get("refutations", 0),
        demands=figures.get("demands", 0),
        answers=figures.get("answers", 0),
        bonds_won=figures.get("bonds_won", 0),
        bonds_lost=figures.get("bonds_lost", 0),
    )


def models(found: Iterable[Any], zoo: Mapping[bytes, ZooModel]) -> tuple[ModelRow, ...]:
    """Rows of running totals as models, and those of the zoo that no job uses."""
    used = {row.subject: figures_of(row.figures) for row in found}
    unused: dict[bytes, dict[str, int]] = {model_id: {} for model_id in zoo if model_id not in used}
    return tuple(
        ModelRow(
            model_id=model_id,
            name=zoo[model_id].name if model_id in zoo else None,
            jobs=figures.get("jobs", 0),
            accepted=figures.get("accepted", 0),
            items=figures.get("items", 0),
        )
        for model_id, figures in (unused | used).items()
    )


def page(rows: Sequence[_T], key: Callable[[_T], tuple[int, str]], cursor: str | None, limit: int) -> Page[_T]:
    """A page of rows by (number, name) ascending; its cursor is the last one's. Raises BadCursor."""
    after = None if cursor is None else parse_cursor(cursor.removeprefix("~"), cursor.startswith("~"))
    left = sorted((row for row in rows if after is None or key(row) > after), key=key)
    if len(left) <= limit:
        return Page(tuple(left))
    number, name = key(left[limit - 1])
    return Page(tuple(left[:limit]), f"{'~' if number < 0 else ''}{abs(number)}-{name.removeprefix('0x')}")


def parse_cursor(cursor: str, is_negative: bool = False) -> tuple[int, str]:
    """(number, hex digits) of a list's cursor; a longer name was cut of its 0x. Raises BadCursor."""
    number, _, name = cursor.partition("-")
    is_number = number.isascii() and number.isdigit() and len(number) <= _MOST_DIGITS
    if not is_number or len(name) not in (40, 64) or set(name) - set("0123456789abcdef"):
        raise BadCursor(cursor)
    value = int(number)
    return -value if is_negative else value, ("0x" + name) if len(name) == 40 else name
