"""A requester's verification set: items whose verdicts it computed itself, hidden by salts under one root.

The salts are secret until an item is opened: without them a worker could try every output and know which items are
checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256

from contracts.disputes import Gold
from contracts.merkle import MOST_ITEMS, MerkleTree

SALT_BYTES = 32


@dataclass(frozen=True, slots=True)
class GoldItem:
    """One item of the set: its index in the job, the model's output for it (int32 logits, big endian), 32 bytes of salt."""

    index: int
    output: bytes
    salt: bytes


def gold_leaf(index: int, output: bytes, salt: bytes) -> bytes:
    """sha256(index as 8 bytes, big endian ‖ output ‖ salt), 32 bytes. ValueError unless 0 ≤ index < 2^64 and the salt is
    32 bytes."""
    if not 0 <= index < MOST_ITEMS:
        raise ValueError(f"an item's index is 0 to 2^64 - 1, not {index}")
    if len(salt) != SALT_BYTES:
        raise ValueError(f"a salt is {SALT_BYTES} bytes long, not {len(salt)}")
    return sha256(index.to_bytes(8, "big") + output + salt).digest()


class GoldTree:
    """The perfect tree over a verification set: `root` and `count` go into the terms, openings are for `accuse`."""

    def __init__(self, items: Sequence[GoldItem]) -> None:
        """ValueError for no items."""
        self.items = tuple(items)
        self._tree = MerkleTree([gold_leaf(one.index, one.output, one.salt) for one in self.items])

    @property
    def root(self) -> bytes:
        """terms.gold_root, 32 bytes."""
        return self._tree.root

    @property
    def count(self) -> int:
        """terms.gold_count."""
        return self._tree.count

    def opening(self, position: int) -> Gold:
        """The item at `position`, with its path to the root. IndexError outside the set."""
        if not 0 <= position < self.count:
            raise IndexError(f"this verification set has the positions 0 to {self.count - 1}, not {position}")
        item = self.items[position]
        return Gold(position, item.index, item.output, item.salt, self._tree.proof(position))
