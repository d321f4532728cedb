"""The vote's count: the twin of contracts/src/libraries/Tally.sol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from contracts.job import NOBODY, Execution, JobState


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one revealed root."""

    refuter: ChecksumAddress = NOBODY
    seats: int = 0
    """As tallyOf gives it: wherever they are counted."""
    open_demands: int = 0
    bounty_released: bool = False

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> Tally:
        """From what an ABI decoder made of the struct."""
        return cls(*values)

    @property
    def refuted(self) -> bool:
        """Whether the root was refuted by execution."""
        return self.refuter != NOBODY

    @property
    def stands(self) -> bool:
        """Whether the root is neither refuted nor has an open demand."""
        return not self.refuted and self.open_demands == 0


def seats_of(state: JobState, tally: Tally, root: bytes) -> int:
    """Seats on `root`, whose tally this is; 0 if nobody revealed it."""
    return state.root_seats if root == state.root else tally.seats


def bounty(seats: int, seat_stake: int) -> int:
    """Wei of a refuted root's forfeited stake that its refuter earns: half of every seat; the rest is burned."""
    return seats * (seat_stake // 2)


def has_winner(state: JobState, quorum: int) -> bool:
    """Whether some root wins if nothing more happens."""
    if state.execution == Execution.WHOLE or state.quorum_stands:
        return True
    return state.standing_roots == 1 and state.standing_seats + state.refuted_seats >= quorum


def is_winner(state: JobState, tally: Tally, root: bytes, quorum: int) -> bool:
    """Whether `root`, whose tally this is, is the winner if nothing more happens."""
    if state.execution == Execution.WHOLE:
        return root == state.root
    seats = seats_of(state, tally, root)
    if seats == 0 or not tally.stands:
        return False
    return seats >= quorum or (state.standing_roots == 1 and has_winner(state, quorum))
