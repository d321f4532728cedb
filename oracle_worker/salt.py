"""Salts and sealed roots from the key alone: with the key and the chain, and no disk, a commitment can be opened."""

from __future__ import annotations

from dataclasses import dataclass

from eth_account.messages import encode_defunct
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress
from eth_utils import keccak

from contracts import commitment
from oracle_worker.result import WorkerError


class NotOurs(WorkerError):
    """A commitment on the chain that this key's secret does not open: it was made with another secret."""

    def __init__(self, job_id: bytes, worker: ChecksumAddress) -> None:
        super().__init__(
            f"the commitment of {worker} in job 0x{job_id.hex()} does not open with this key's secret: was it made by "
            "other software with this key?"
        )
        self.job_id = job_id
        self.worker = worker


@dataclass(frozen=True, slots=True)
class Opened:
    """What a commitment hides: root and salt, 32 bytes each."""

    root: bytes
    salt: bytes


@dataclass(frozen=True, slots=True)
class SealedRoot:
    """What a commit transaction carries, 32 bytes each."""

    commitment: bytes
    sealed_root: bytes


def secret_of(account: LocalAccount, chain_id: int, oracle: ChecksumAddress) -> bytes:
    """The secret behind every salt of this key on this oracle, 32 bytes: keccak256 of a deterministic signature (RFC 6979)."""
    text = (
        f"Quorate: the secret of my commitments on chain {chain_id} at {oracle}. "
        "Whoever has this signature can read them before I reveal them: never sign this anywhere else."
    )
    return keccak(bytes(account.sign_message(encode_defunct(text=text)).signature))


def compute_salt(secret: bytes, job_id: bytes, root: bytes) -> bytes:
    """salt = keccak256(secret, jobId, root), 32 bytes."""
    return keccak(secret + job_id + root)


def seal(secret: bytes, job_id: bytes, worker: ChecksumAddress, root: bytes) -> SealedRoot:
    """The commitment to a root, and the root sealed so that `open_` finds it again on the chain."""
    made = commitment.compute(job_id, worker, root, compute_salt(secret, job_id, root))
    return SealedRoot(made, commitment.seal(root, secret, made))


def open_(secret: bytes, job_id: bytes, worker: ChecksumAddress, sealed: SealedRoot) -> Opened:
    """Root and salt of a commitment that `seal` made with this secret. Raises NotOurs."""
    root = commitment.unseal(sealed.sealed_root, secret, sealed.commitment)
    salt = compute_salt(secret, job_id, root)
    if commitment.compute(job_id, worker, root, salt) != sealed.commitment:
        raise NotOurs(job_id, worker)
    return Opened(root, salt)
