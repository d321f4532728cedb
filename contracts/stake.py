"""Stake, its history, and the draw: the twin of contracts/src/libraries/Stake.sol and Ticket.sol. Amounts are wei."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from eth_hash.auto import keccak
from eth_typing import ChecksumAddress
from eth_utils import to_canonical_address

LANES = 24
"""How many jobs a worker can have seats in at a time."""
SEED_BYTES = 8


@dataclass(frozen=True, slots=True)
class Account:
    """A party's entry in the books."""

    bonded: int = 0
    """Draws tickets; includes what is locked."""
    locked: int = 0
    """Held by seats of unreleased jobs."""
    lanes: int = 0
    """Bit i: lane i holds seats of an unreleased job."""
    unbonding: int = 0
    """On its way out."""
    ready_at: int = 0
    """Seconds at which that can be withdrawn."""
    credit: int = 0
    """Can be withdrawn at once, unbonded stake aside."""

    @property
    def free(self) -> int:
        """What can be locked or unbonded."""
        return self.bonded - self.locked

    def holds(self, lane: int) -> bool:
        """Whether the lane holds seats of an unreleased job."""
        return self.lanes >> lane & 1 == 1

    def free_lanes(self) -> Iterator[int]:
        """The lanes that the next job can have, ascending."""
        return (lane for lane in range(LANES) if not self.holds(lane))


def bonded_before(checkpoints: Sequence[tuple[int, int]], block_number: int) -> int:
    """What was bonded at the end of the block before `block_number`, from (since, bonded) in ascending order."""
    place = bisect_left(checkpoints, block_number, key=lambda checkpoint: checkpoint[0])
    return checkpoints[place - 1][1] if place else 0


def seed_of(randomness: bytes, job_id: bytes) -> bytes:
    """The seed of a job's draw, 8 bytes."""
    return keccak(randomness + job_id)[:SEED_BYTES]


def odds_factor(window: int, remaining: int) -> int:
    """How much the odds have grown: doubled at 1/2, 3/4, 7/8 … of the commit window.

    window, remaining: seconds of the commit window in all and still left, 0 < remaining ≤ window.
    """
    return 1 << ((window // remaining).bit_length() - 1)


def wins(seed: bytes, worker: ChecksumAddress, ticket: int, expected_stake: int, total_stake: int) -> bool:
    """Whether the worker's ticket number `ticket` wins; expected_stake = odds factor · seats · seat stake."""
    if expected_stake >= total_stake:
        return True
    return _ticket_hash(seed, to_canonical_address(worker), ticket) * total_stake < expected_stake << 128


def winning_tickets(
    seed: bytes, worker: ChecksumAddress, tickets: int, expected_stake: int, total_stake: int
) -> Iterator[int]:
    """The numbers below `tickets` that win, ascending."""
    if expected_stake >= total_stake:
        yield from range(tickets)
        return
    address = to_canonical_address(worker)
    limit = expected_stake << 128
    for ticket in range(tickets):
        if _ticket_hash(seed, address, ticket) * total_stake < limit:
            yield ticket


def _ticket_hash(seed: bytes, address: bytes, ticket: int) -> int:
    digest = keccak(seed + bytes(36) + address + ticket.to_bytes(32, "big"))  # two words: the seed, then the address
    return int.from_bytes(digest[:16], "big")
