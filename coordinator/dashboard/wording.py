"""How the pages say things: amounts, times, ids and the protocol's words, for people."""

from __future__ import annotations

import datetime

from contracts.job import Phase
from coordinator.explorer.read_model import State

ETHER, GWEI = 10**18, 10**9

PHASES = {
    Phase.DRAWING: "Drawing",
    Phase.COMMITTING: "Committing",
    Phase.REVEALING: "Revealing",
    Phase.CHALLENGING: "Challenging",
    Phase.SETTLING: "Settling",
    Phase.SETTLED: "Settled",
}
OUTCOMES_OF = {state: state.value.capitalize() for state in State}
"""A state as a word."""


def amount(wei: int) -> str:
    """Wei as people read them, about four digits: "0.1 ETH", "21.35 gwei", "12 wei". The exact figure belongs beside it."""
    size = abs(wei)
    for unit, name, least in ((ETHER, "ETH", ETHER // 10_000), (GWEI, "gwei", GWEI // 100)):
        if size >= least:
            return f"{_decimal(wei, unit)} {name}"
    return f"{wei} wei"


def exact(wei: int) -> str:
    """The exact amount, its digits in groups of three."""
    return f"{wei:,} wei".replace(",", "\u202f")


def _decimal(value: int, unit: int) -> str:
    """Four significant digits, without trailing zeros; whole numbers in full. Exact integers up to there, never floats."""
    sign, value = ("−" if value < 0 else ""), abs(value)
    whole = value // unit
    leading = len(str(unit)) - 1 - len(str(value)) if whole == 0 else -len(str(whole))
    places = max(0, 4 + leading)
    rounded = (value * 10**places * 2 + unit) // (2 * unit)
    head, tail = divmod(rounded, 10**places)
    decimals = f"{tail:0{places}d}".rstrip("0") if places else ""
    return f"{sign}{head:,}" + (f".{decimals}" if decimals else "")


def moment(seconds: int) -> str:
    """A block's time, in UTC as every time on the pages."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%-d %b %Y, %H:%M:%S")
    except (OverflowError, ValueError, OSError):
        return f"second {seconds}"


def iso(seconds: int) -> str:
    """A block's time for machines; empty where no calendar reaches it."""
    try:
        return datetime.datetime.fromtimestamp(seconds, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return ""


def duration(seconds: int) -> str:
    """Seconds in at most two units: "45 s", "2 min 5 s", "3 h 10 min", "2 d 4 h"."""
    seconds = max(0, seconds)
    for size, unit, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if seconds >= size:
            rest = seconds % size // below
            return f"{seconds // size} {unit}" + (f" {rest} {small}" if rest else "")
    return f"{seconds} s"


def hex_(value: bytes) -> str:
    """All of it."""
    return "0x" + value.hex()


def short(text: str) -> str:
    """The ends of a hex id; the whole belongs beside it."""
    return text if len(text) <= 14 else f"{text[:8]}…{text[-6:]}"


def count(number: int, noun: str, plural: str | None = None) -> str:
    """ "1 seat", "12,000 seats"."""
    return f"{number:,} {noun if number == 1 else plural or noun + 's'}"


def percent(part: int, whole: int) -> str:
    """A share."""
    return "–" if whole == 0 else f"{100 * part / whole:.1f} %"


def letter(place: int) -> str:
    """What tells one root from another besides its colour: A, B, … Z, AA, …"""
    name = ""
    place += 1
    while place:
        place, digit = divmod(place - 1, 26)
        name = chr(65 + digit) + name
    return name
