"""Amounts as people write them: "0.1 ether", "3 gwei", "25000 wei", "25000". Exact to the wei, never through floats."""

from __future__ import annotations

import re

import typer

UNITS = {"wei": 0, "gwei": 9, "ether": 18, "eth": 18}
_AMOUNT = re.compile(r"(\d+)(?:\.(\d+))?\s*([a-zA-Z]*)", re.ASCII)
_MOST = 2**96 - 1  # what the contracts can hold of one amount


def parse(text: str) -> int:
    """Wei of an amount. Raises ValueError saying how to write one."""
    found = _AMOUNT.fullmatch(text.strip())
    unit = found[3].lower() or "wei" if found else ""
    if not found or unit not in UNITS:
        raise ValueError(f"{text!r} is no amount: write wei (25000) or a unit (0.1 ether, 3 gwei)")
    whole, fraction = found[1], (found[2] or "").rstrip("0")
    if len(fraction) > UNITS[unit]:
        advice = "is it meant as ether?" if unit == "wei" else f"{unit} has {UNITS[unit]} decimal places"
        raise ValueError(f"{text!r} is not a whole number of wei: {advice}")
    wei = int((whole + fraction.ljust(UNITS[unit], "0"))[:80])
    if wei > _MOST:
        raise ValueError(f"{text!r} is more than any contract here can hold (2^96 - 1 wei)")
    return wei


def option(given: str | int) -> int:
    """`parse` for the command line: what is no amount is a usage error. A default is wei already."""
    try:
        return parse(str(given))
    except ValueError as error:
        raise typer.BadParameter(str(error)) from None


def show(wei: int) -> str:
    """An amount for people, with its exact wei: "0.1 ether (100000000000000000 wei)"."""
    size = abs(wei)
    if size >= 10**15:
        return f"{_in_unit(wei, 18)} ether ({wei} wei)"
    if size >= 10**7:
        return f"{_in_unit(wei, 9)} gwei ({wei} wei)"
    return f"{wei} wei"


def _in_unit(wei: int, places: int) -> str:
    """Six significant decimals at most, cut and marked where there are more."""
    whole, rest = divmod(abs(wei), 10**places)
    digits = f"{rest:0{places}d}"
    shown = digits[:6].rstrip("0")
    cut = "…" if digits[6:].strip("0") else ""
    sign = "-" if wei < 0 else ""
    return f"{sign}{whole}" + (f".{digits[:6] if cut else shown}{cut}" if shown or cut else "")
