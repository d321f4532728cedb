"""Jobs, their ids and their phases: the twin of contracts/src/libraries/Job.sol, same names in the same order.

Amounts are wei, times are unix seconds, windows are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields
from enum import IntEnum
from typing import Any

from eth_abi import encode
from eth_typing import ChecksumAddress
from eth_utils import keccak, to_checksum_address

NOBODY: ChecksumAddress = to_checksum_address("0x" + 40 * "0")


class Phase(IntEnum):
    """Where a job stands. Derived from facts and clock by `phase`, never stored."""

    DRAWING = 0
    COMMITTING = 1
    REVEALING = 2
    CHALLENGING = 3
    SETTLING = 4
    SETTLED = 5


class Outcome(IntEnum):
    """How a job ended; OPEN until `settle` records another."""

    OPEN = 0
    ACCEPTED = 1
    HUNG = 2
    EXPIRED = 3


@dataclass(frozen=True, slots=True)
class Terms:
    """What a requester asks for, fixed at creation, in the order of the Solidity struct."""

    model_id: bytes
    data_root: bytes
    data_uri_hash: bytes
    item_count: int
    seats: int
    quorum: int
    seat_stake: int
    reward: int
    call_out_fee: int
    gold_root: bytes
    gold_count: int
    audit_bond: int
    commit_window: int
    reveal_window: int
    challenge_window: int
    response_window: int
    consumer: ChecksumAddress
    callback_gas: int

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return astuple(self)

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> Terms:
        """From what an ABI decoder made of the struct."""
        return cls(*values)

    def digest(self) -> bytes:
        """keccak256 of the ABI-encoded struct, 32 bytes."""
        return keccak(encode(TERMS_TYPES, self.as_tuple()))


TERMS_TYPES = (
    ["bytes32"] * 3
    + ["uint64", "uint16", "uint16", "uint96", "uint96", "uint96", "bytes32", "uint32", "uint96"]
    + ["uint32"] * 4
    + ["address", "uint32"]
)


@dataclass(frozen=True, slots=True)
class Job:
    """A job as it travels in calldata: everything its id commits to."""

    requester: ChecksumAddress
    nonce: int
    terms: Terms

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (self.requester, self.nonce, self.terms.as_tuple())

    def id(self, chain_id: int, contract: ChecksumAddress) -> bytes:
        """The job's id on this chain and contract, 32 bytes."""
        return keccak(
            encode(
                ["uint256", "address", "address", "uint256", "bytes32"],
                [chain_id, contract, self.requester, self.nonce, self.terms.digest()],
            )
        )


@dataclass(frozen=True, slots=True)
class JobState:
    """What changes about a job, in the order of the Solidity struct."""

    created_at: int = 0
    created_block: int = 0
    total_stake: int = 0
    drawn_at: int = 0
    granted_seats: int = 0
    sealed_commitments: int = 0
    seed: bytes = bytes(32)
    commit_ended_at: int = 0
    reveal_ended_at: int = 0
    revealed_seats: int = 0
    refuted_seats: int = 0
    standing_seats: int = 0
    standing_roots: int = 0
    winning_seats: int = 0
    quorum_stands: bool = False
    demanded_levels: int = 0
    outcome: Outcome = Outcome.OPEN
    item_count: int = 0
    root: bytes = bytes(32)

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> JobState:
        """From what an ABI decoder made of the struct."""
        named = dict(zip((field.name for field in fields(cls)), values, strict=True))
        return cls(**{**named, "outcome": Outcome(named["outcome"])})


SEED_DELAY = 2
"""Blocks after the creation whose prevrandao seeds the draw: no one knows it at creation, unless one party proposes both
the creation's block and the next."""
HASH_WINDOW = 256
"""Blocks for which the EVM can still read a block's hash."""


def seed_block(state: JobState) -> int:
    """The block whose prevrandao seeds the draw."""
    return state.created_block + SEED_DELAY


def is_undrawable(state: JobState, block_number: int) -> bool:
    """Whether the seed can no longer be read: the draw never came."""
    return state.drawn_at == 0 and block_number > seed_block(state) + HASH_WINDOW


def commit_end(state: JobState, terms: Terms) -> int:
    """Seconds at which the commit phase ends or ended."""
    return state.commit_ended_at or state.drawn_at + terms.commit_window


def reveal_end(state: JobState, terms: Terms) -> int:
    """Seconds at which the reveal phase ends or ended."""
    return state.reveal_ended_at or commit_end(state, terms) + terms.reveal_window


def demand_end(state: JobState, terms: Terms, level: int) -> int:
    """Seconds until which `level` may be demanded: each level has 2W more than the one above it."""
    return reveal_end(state, terms) + terms.challenge_window + 2 * level * terms.response_window


def challenge_end(state: JobState, terms: Terms) -> int:
    """Seconds at which Challenging ends: after the last possible answer there is time to refute."""
    return demand_end(state, terms, state.demanded_levels)


def phase(state: JobState, terms: Terms, now: int, block_number: int) -> Phase:
    """Where the job stands in a block of this number and time. The job must exist."""
    if state.outcome != Outcome.OPEN:
        return Phase.SETTLED
    if state.drawn_at == 0:
        return Phase.SETTLING if is_undrawable(state, block_number) else Phase.DRAWING
    if now < commit_end(state, terms):
        return Phase.COMMITTING
    if state.granted_seats < terms.quorum:
        return Phase.SETTLING
    if now < reveal_end(state, terms):
        return Phase.REVEALING
    if now < challenge_end(state, terms):
        return Phase.CHALLENGING
    return Phase.SETTLING


def phase_end(state: JobState, terms: Terms, now: int, block_number: int) -> int:
    """Seconds at which the current phase ends by the clock; 0 where blocks, or nobody, decide."""
    ends = {Phase.COMMITTING: commit_end, Phase.REVEALING: reveal_end, Phase.CHALLENGING: challenge_end}
    end = ends.get(phase(state, terms, now, block_number))
    return end(state, terms) if end else 0


def data_uri_hash(data_uri: str) -> bytes:
    """What terms.data_uri_hash must be, 32 bytes."""
    return keccak(text=data_uri)


def quorum_bounds(seats: int) -> tuple[int, int]:
    """Least and most quorum for a jury: n/2 < q ≤ ⌈2n/3⌉."""
    return seats // 2 + 1, (2 * seats + 2) // 3


def cost_to_corrupt(terms: Terms) -> int:
    """Wei that a lying quorum loses at least if one challenger acts."""
    return terms.quorum * terms.seat_stake // 2
