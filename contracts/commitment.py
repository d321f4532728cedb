"""Salted commitments: the twin of contracts/src/libraries/Commitment.sol, and the sealing that makes them recoverable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Any

from eth_typing import ChecksumAddress
from eth_utils import keccak, to_canonical_address

DATA_UNAVAILABLE = keccak(text="DATA_UNAVAILABLE")
"""What a worker reveals as its root if it cannot get data that matches the data root."""
DIGEST_BYTES = 27
TAG_BYTES = 3


class SeatStatus(IntEnum):
    """How far a worker's seats in one job have come."""

    NONE = 0
    SEALED = 1
    REVEALED = 2


@dataclass(frozen=True, slots=True)
class Seat:
    """A worker's seats in one job, as one of its lanes holds them; stake.Account.lanes says whether still.

    What a lane held stays there after the release, until the next job overwrites it.
    """

    digest: bytes
    """Of the job and the commitment while sealed, of the job and the root once revealed."""
    tag: bytes
    """Of the job's seed: tells a worker's jobs apart."""
    count: int
    status: SeatStatus

    @classmethod
    def of_tuple(cls, values: Sequence[Any]) -> Seat:
        """From what an ABI decoder made of the struct."""
        return cls(bytes(values[0]), bytes(values[1]), int(values[2]), SeatStatus(values[3]))

    def holds(self, job_id: bytes, word: bytes) -> bool:
        """Whether these are seats of this job, sealed with this commitment or revealed with this root."""
        return self.status != SeatStatus.NONE and self.digest == digest_of(job_id, word)


def compute(job_id: bytes, worker: ChecksumAddress, root: bytes, salt: bytes) -> bytes:
    """The commitment to a root, 32 bytes. job_id, root and salt are 32 bytes each."""
    return keccak(job_id + bytes(12) + to_canonical_address(worker) + root + salt)


def digest_of(job_id: bytes, word: bytes) -> bytes:
    """What a lane holds of a job's commitment, or of a job's root, 27 bytes: whoever shows the word shows which job the
    lane is for."""
    return keccak(job_id + word)[:DIGEST_BYTES]


def tag_of(seed: bytes) -> bytes:
    """What a lane holds of a job's seed, 3 bytes."""
    return seed[:TAG_BYTES]


def seal(root: bytes, secret: bytes, commitment: bytes) -> bytes:
    """root ⊕ keccak256(secret, commitment), 32 bytes: what travels beside the commitment, so that whoever has the secret
    finds the root again on the chain. Its own inverse."""
    pad = keccak(secret + commitment)
    return bytes(a ^ b for a, b in zip(root, pad, strict=True))


unseal = seal
