"""The vote's count: the twin of contracts/src/libraries/Tally.sol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_typing import ChecksumAddress

from contracts.job import NOBODY, JobState


@dataclass(frozen=True, slots=True)
class Tally:
    """What is known of one revealed root."""

    refuter: ChecksumAddress = NOBODY
    seats: int = 0
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
        return self.seats != 0 and not self.refuted and self.open_demands == 0


def bounty(seats: int, seat_stake: int) -> int:
    """Wei of a refuted root's forfeited stake that its refuter earns: half of every seat; the rest is burned."""
    return seats * (seat_stake // 2)


def has_winner(state: JobState, quorum: int) -> bool:
    """Whether some root wins if nothing more happens."""
    return state.quorum_stands or (state.standing_roots == 1 and state.standing_seats + state.refuted_seats >= quorum)


def is_winner(tally: Tally, state: JobState, quorum: int) -> bool:
    """Whether this root is the winner if nothing more happens."""
    return tally.stands and (tally.seats >= quorum or (state.standing_roots == 1 and has_winner(state, quorum)))
