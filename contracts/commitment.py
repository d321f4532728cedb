"""Salted commitments: the twin of contracts/src/libraries/Commitment.sol, and the sealing that makes them recoverable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import keccak, to_canonical_address

DIGEST_BYTES = 29
"""A seat stores this much of the commitment, then of the root."""


class SeatStatus(IntEnum):
    """How far a worker's seats in one job have come."""

    NONE = 0
    SEALED = 1
    REVEALED = 2
    RELEASED = 3


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's seats in one job."""

    digest: bytes
    """The commitment's first 29 bytes while sealed, the root's digest once revealed."""
    count: int
    status: SeatStatus

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> Seat:
        """From what an ABI decoder made of the struct."""
        return cls(bytes(values[0]), int(values[1]), SeatStatus(values[2]))

    def holds(self, commitment_or_root: bytes) -> bool:
        """Whether the seat is sealed with this commitment, or revealed with this root."""
        if self.status == SeatStatus.SEALED:
            return self.digest == commitment_or_root[:DIGEST_BYTES]
        return self.status == SeatStatus.REVEALED and self.digest == digest_of(commitment_or_root)


def compute(job_id: bytes, worker: ChecksumAddress, root: bytes, salt: bytes) -> bytes:
    """The commitment to a root, 32 bytes. job_id, root and salt are 32 bytes each."""
    return keccak(job_id + bytes(12) + to_canonical_address(worker) + root + salt)


def digest_of(root: bytes) -> bytes:
    """What names a root in 29 bytes: hashed before it is cut, or every word that begins like a root would pass for it."""
    return keccak(root)[:DIGEST_BYTES]


def seal(root: bytes, secret: bytes, commitment: bytes) -> bytes:
    """root ⊕ keccak256(secret, commitment), 32 bytes: what travels beside the commitment, so that whoever has the secret
    finds the root again on the chain. Its own inverse."""
    pad = keccak(secret + commitment)
    return bytes(a ^ b for a, b in zip(root, pad, strict=True))


unseal = seal
