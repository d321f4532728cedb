"""The pre-funded accounts of a development chain. Their keys are public: they are worth nothing on any other chain."""

from __future__ import annotations

from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

DEV_BALANCE = 10_000 * 10**18
DEV_ACCOUNTS = 20


def dev_keys(n: int) -> list[bytes]:
    """The first `n` private keys, 32 bytes each: keccak256(b"quorate devnet account" ‖ i as four bytes)."""
    return [keccak(b"quorate devnet account" + i.to_bytes(4, "big")) for i in range(n)]


def dev_accounts(n: int = DEV_ACCOUNTS, wei: int = DEV_BALANCE) -> dict[bytes, int]:
    """The addresses (20 bytes) of the first `n` keys, in order, each with `wei`."""
    return {PrivateKey(key).public_key.to_canonical_address(): wei for key in dev_keys(n)}
