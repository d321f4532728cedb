"""What a unit of gas may cost, in wei, and what it is offered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

GWEI = 10**9
REPLACEMENTS = 2
"""How often a transaction can be replaced, each time for an eighth more, before its fee is at the ceiling."""
UNHURRIED = 1800
"""Seconds before its end from which on what is urgent may cost more than the ceiling."""
HURRIED = 300
"""Seconds before its end from which on it may cost the urgent ceiling: some 25 blocks."""

Ceiling: TypeAlias = Callable[[int], int]
"""The most for a unit of gas at a second of the chain's clock."""


@dataclass(frozen=True, slots=True)
class Fees:
    """Bounds on what a unit of gas may cost, in wei, whatever the node suggests.

    urgent_ceiling: instead of `ceiling` where a send is urgent and its end near; None: twice as much. The gap is what lets an
    urgent transaction replace whatever is stuck at its nonce, since that never went beyond `ceiling`.
    """

    ceiling: int = 500 * GWEI
    tip_ceiling: int = 10 * GWEI
    urgent_ceiling: int | None = None

    @property
    def most(self) -> int:
        """The ceiling of what is urgent and late."""
        return max(self.ceiling, 2 * self.ceiling if self.urgent_ceiling is None else self.urgent_ceiling)

    def ceiling_of(self, *, urgent: bool, deadline: int | None) -> Ceiling:
        """The ceiling of one send: what is urgent may cost more the nearer its end is (unix seconds; None: it is late now)."""

        def at(now: int) -> int:
            if not urgent:
                return self.ceiling
            if deadline is None:
                return self.most
            hurry = min(max(UNHURRIED - (deadline - now), 0), UNHURRIED - HURRIED)
            return self.ceiling + (self.most - self.ceiling) * hurry // (UNHURRIED - HURRIED)

        return at


@dataclass(frozen=True, slots=True)
class Market:
    """What the chain asks for at its newest block, and what is offered under one ceiling."""

    base_fee: int
    tip: int
    max_fee: int
    ceiling: int
    gas_limit: int
    timestamp: int

    @property
    def is_too_dear(self) -> bool:
        """Whether the next block costs more than the ceiling."""
        return self.base_fee + self.tip > self.ceiling


def offer(base_fee: int, suggested_tip: int, gas_limit: int, timestamp: int, fees: Fees, ceiling: Ceiling) -> Market:
    """The fees to begin with: they leave room for replacements below the ceiling, unless it takes that to pay for the next
    block: what begins at the ceiling could never be replaced."""
    most = ceiling(timestamp)
    tip = min(suggested_tip, fees.tip_ceiling, most)
    opening = most * 8**REPLACEMENTS // 9**REPLACEMENTS - REPLACEMENTS
    max_fee = min(2 * base_fee + tip, max(base_fee + tip, opening), most)
    return Market(base_fee, tip, max_fee, most, gas_limit, timestamp)


def raised(tip: int, max_fee: int, market: Market) -> tuple[int, int] | None:
    """Both fees raised by the eighth that nodes ask of a replacement; None where the ceiling forbids it."""
    new_tip = max(tip + tip // 8 + 1, market.tip)
    least = max_fee + max_fee // 8 + 1
    if max(least, new_tip) > market.ceiling:
        return None
    wanted = min(2 * market.base_fee + new_tip, market.max_fee)  # not all the room at once
    return new_tip, min(max(least, market.base_fee + new_tip, wanted), market.ceiling)
