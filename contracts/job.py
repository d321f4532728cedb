"""Jobs, their ids and their phases: the twin of contracts/src/libraries/Job.sol, same names in the same order.

Amounts are wei, times are unix seconds, windows are seconds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
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
    UNAVAILABLE = 2
    HUNG = 3
    EXPIRED = 4


class Execution(IntEnum):
    """How far the chain itself has executed a job's rows, beyond single items."""

    NONE = 0
    EXTENDED = 1
    """A resumable execution was opened: Challenging lasts one response window longer."""
    WHOLE = 2
    """Every row was executed: the true root is known."""


@dataclass(frozen=True, slots=True, kw_only=True)
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
    call_out_fee: int = 0
    gold_root: bytes = bytes(32)
    gold_count: int = 0
    audit_bond: int = 0
    commit_window: int
    reveal_window: int
    challenge_window: int
    response_window: int
    consumer: ChecksumAddress = NOBODY
    callback_gas: int = 0

    @property
    def payment(self) -> int:
        """Wei that the creation costs: the reward and the audit bond."""
        return self.reward + self.audit_bond

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return astuple(self)

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> Terms:
        """From what an ABI decoder made of the struct."""
        return cls(**dict(zip((field.name for field in fields(cls)), values, strict=True)))

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

    created_block: int = 0
    """0 = no such job."""
    started_at: int = 0
    """See commit_end; 0 = not drawn."""
    seed: bytes = bytes(8)
    granted_seats: int = 0
    sealed_seats: int = 0
    """Committed and not yet revealed."""
    abstained_seats: int = 0
    """Revealed that the data is unavailable."""
    root_seats: int = 0
    """On `root`."""
    standing_seats: int = 0
    """On roots neither refuted nor with an open demand."""
    standing_roots: int = 0
    refuted_seats: int = 0
    """On roots refuted by execution."""
    quorum_stands: bool = False
    demanded_levels: int = 0
    """1 + the deepest level demanded; 0 = none."""
    execution: Execution = Execution.NONE
    outcome: Outcome = Outcome.OPEN
    item_count: int = 0
    """Written by settle if Accepted."""
    root: bytes = bytes(32)
    """The first root revealed; once every row was executed, or the job was Accepted, the right one."""

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> JobState:
        """From what an ABI decoder made of the struct."""
        named = dict(zip((field.name for field in fields(cls)), values, strict=True))
        enums = {"execution": Execution(named["execution"]), "outcome": Outcome(named["outcome"])}
        return cls(**{**named, **enums})


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
    return state.started_at == 0 and block_number > seed_block(state) + HASH_WINDOW


def commit_end(state: JobState, terms: Terms) -> int:
    """Seconds at which the commit phase ends or ended.

    Every window has a fixed place after `started_at`, the second of the draw: see `end_early`.
    """
    return state.started_at + terms.commit_window


def reveal_end(state: JobState, terms: Terms) -> int:
    """Seconds at which the reveal phase ends or ended."""
    return commit_end(state, terms) + terms.reveal_window


def demand_end(state: JobState, terms: Terms, level: int) -> int:
    """Seconds until which `level` may be demanded: each level has 2W more than the one above it."""
    return reveal_end(state, terms) + terms.challenge_window + 2 * level * terms.response_window


def challenge_end(state: JobState, terms: Terms) -> int:
    """Seconds at which Challenging ends: after the last possible answer there is time to refute."""
    extension = terms.response_window if state.execution == Execution.EXTENDED else 0
    return demand_end(state, terms, state.demanded_levels) + extension


def end_early(state: JobState, end: int, now: int) -> JobState:
    """The state once a phase ends now instead of at `end`: `started_at` moves back by what was left, so that the next
    phase begins at once."""
    return replace(state, started_at=state.started_at + now - end)


def phase(state: JobState, terms: Terms, now: int, block_number: int) -> Phase:
    """Where the job stands in a block of this number and time. The job must exist."""
    if state.outcome != Outcome.OPEN:
        return Phase.SETTLED
    if state.started_at == 0:
        return Phase.SETTLING if is_undrawable(state, block_number) else Phase.DRAWING
    if now < commit_end(state, terms):
        return Phase.COMMITTING
    if state.granted_seats < terms.quorum or state.execution == Execution.WHOLE:
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


def seat_fee(terms: Terms) -> int:
    """Wei for each seat that worked in vain."""
    return terms.call_out_fee // terms.seats


def cost_to_corrupt(terms: Terms) -> int:
    """Wei that a lying quorum loses at least if one challenger acts."""
    return terms.quorum * terms.seat_stake // 2
