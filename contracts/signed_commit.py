"""Commitments that somebody else posts, signed by EIP-712: the twin of contracts/src/libraries/Signature.sol."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eth_account import Account
from eth_account.messages import SignableMessage, encode_typed_data
from eth_account.signers.local import LocalAccount
from eth_keys.exceptions import BadSignature
from eth_typing import ChecksumAddress
from eth_utils import to_checksum_address

COMMIT_TYPE = {
    "Commit": [
        {"name": "jobId", "type": "bytes32"},
        {"name": "lane", "type": "uint8"},
        {"name": "commitment", "type": "bytes32"},
        {"name": "sealedRoot", "type": "bytes32"},
        {"name": "tickets", "type": "uint256[]"},
        {"name": "deadline", "type": "uint256"},
    ]
}
PARITY_BIT = 1 << 255
"""The top bit of vs: v − 27. The rest is s (EIP-2098)."""
FIRST_V = 27


@dataclass(frozen=True, slots=True)
class SignedCommit:
    """A worker's commitment and its signature, in the order of the Solidity struct."""

    worker: ChecksumAddress
    lane: int
    commitment: bytes
    sealed_root: bytes
    tickets: Sequence[int]
    deadline: int
    """Seconds: posted at this time or later, it is passed over."""
    r: bytes
    vs: bytes

    def as_tuple(self) -> tuple[Any, ...]:
        """In the order of the ABI."""
        return (
            self.worker,
            self.lane,
            self.commitment,
            self.sealed_root,
            list(self.tickets),
            self.deadline,
            self.r,
            self.vs,
        )


def sign(
    account: LocalAccount,
    chain_id: int,
    oracle: ChecksumAddress,
    job_id: bytes,
    lane: int,
    commitment: bytes,
    sealed_root: bytes,
    tickets: Sequence[int],
    deadline: int,
) -> SignedCommit:
    """The account's commitment, for anybody to post to this oracle on this chain before the deadline (seconds)."""
    message = _message(chain_id, oracle, job_id, lane, commitment, sealed_root, tickets, deadline)
    signature = account.sign_message(message)
    vs = signature.s | (PARITY_BIT if signature.v != FIRST_V else 0)
    return SignedCommit(
        account.address,
        lane,
        commitment,
        sealed_root,
        tuple(tickets),
        deadline,
        signature.r.to_bytes(32, "big"),
        vs.to_bytes(32, "big"),
    )


def signer_of(signed: SignedCommit, chain_id: int, oracle: ChecksumAddress, job_id: bytes) -> ChecksumAddress | None:
    """Who signed it, which should be its worker; None where r and vs are no signature at all."""
    message = _message(
        chain_id,
        oracle,
        job_id,
        signed.lane,
        signed.commitment,
        signed.sealed_root,
        signed.tickets,
        signed.deadline,
    )
    vs = int.from_bytes(signed.vs, "big")
    v, s = FIRST_V + (vs >= PARITY_BIT), vs & (PARITY_BIT - 1)
    try:
        return to_checksum_address(Account.recover_message(message, vrs=(v, int.from_bytes(signed.r, "big"), s)))
    except BadSignature:
        return None


def _message(
    chain_id: int,
    oracle: ChecksumAddress,
    job_id: bytes,
    lane: int,
    commitment: bytes,
    sealed_root: bytes,
    tickets: Sequence[int],
    deadline: int,
) -> SignableMessage:
    domain = {"name": "Quorate", "version": "1", "chainId": chain_id, "verifyingContract": oracle}
    content = {
        "jobId": job_id,
        "lane": lane,
        "commitment": commitment,
        "sealedRoot": sealed_root,
        "tickets": list(tickets),
        "deadline": deadline,
    }
    return encode_typed_data(domain, COMMIT_TYPE, content)
