"""How a job's rows are cut into chunks of 2^k: each chunk is a perfect subtree, hashed wherever it was computed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from contracts.merkle import depth_of

CHUNK_DEPTH = 16
"""Binary depth of a chunk's subtree unless settings say otherwise: 65,536 rows."""


MOST_CHUNKS = 1024
"""Chunks of one job at most: each is a message and a file, and a stranger chooses how many items a job has."""


@dataclass(frozen=True, slots=True)
class ChunkPlan:
    """The cut of a job: every chunk has 2^depth rows, the last one perhaps fewer."""

    item_count: int
    depth: int

    @property
    def count(self) -> int:
        """How many chunks there are."""
        return -(-self.item_count >> self.depth)

    def items(self, chunk: int) -> range:
        """The item indices of a chunk. Raises IndexError for a chunk that the job does not have."""
        if not 0 <= chunk < self.count:
            raise IndexError(f"the job has the chunks 0 to {self.count - 1}, not {chunk}")
        return range(chunk << self.depth, min((chunk + 1) << self.depth, self.item_count))

    def all_items(self) -> Iterator[range]:
        """The items of each chunk, in order."""
        return (self.items(chunk) for chunk in range(self.count))


def plan(item_count: int, chunk_depth: int = CHUNK_DEPTH) -> ChunkPlan:
    """The cut of `item_count` rows. Compute, signer and coordinator of one operator must use the same chunk_depth."""
    return ChunkPlan(item_count, min(chunk_depth, depth_of(item_count)))
