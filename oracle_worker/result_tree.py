"""One's own result tree, of which only the chunks in use are in memory."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence

from contracts.merkle import MerkleTree, combine, empty_root
from oracle_worker.chunks import ChunkPlan
from oracle_worker.result import WorkerError

CHUNKS_IN_MEMORY = 4


class ResultsChanged(WorkerError):
    """A chunk's results have another root than a moment ago: the disk changed them, and they were computed again."""

    def __init__(self, chunk: int, before: bytes, now: bytes) -> None:
        super().__init__(
            f"the results of chunk {chunk} had the root 0x{before.hex()} on disk, and computed again 0x{now.hex()}"
        )
        self.chunk = chunk


class ResultTree:
    """The tree over all items of a job, from its chunks' roots; chunks are loaded when a node below them is wanted."""

    def __init__(self, plan: ChunkPlan, chunk_roots: Sequence[bytes], load: Callable[[int], MerkleTree]) -> None:
        """`load(chunk)` gives a chunk's tree. ValueError unless there is one root for each chunk of the plan."""
        self.plan = plan
        self._roots = list(chunk_roots)
        self._top = combine(chunk_roots, plan.depth, plan.item_count)
        self._load = load
        self._loaded: OrderedDict[int, MerkleTree] = OrderedDict()

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return self._top.root

    @property
    def depth(self) -> int:
        """Binary depth of the leaves."""
        return self._top.depth

    @property
    def count(self) -> int:
        """Items under the root."""
        return self.plan.item_count

    def nodes(self, depth: int, start: int, stop: int) -> list[bytes]:
        """The nodes start … stop - 1 at `depth`, 32 bytes each. IndexError outside the tree. Raises ResultsChanged."""
        return [self.node(depth, index) for index in range(start, stop)]

    def node(self, depth: int, index: int) -> bytes:
        """One node. IndexError outside the tree."""
        if not 0 <= depth <= self.depth or not 0 <= index < 1 << depth:
            raise IndexError(f"a tree of depth {self.depth} has no node {index} at depth {depth}")
        within = depth - (self.depth - self.plan.depth)
        if within <= 0:
            return self._top.node(depth, index)
        chunk = index >> within
        if chunk >= self.plan.count:
            return empty_root(self.depth - depth)
        return self._chunk(chunk).node(within, index & ((1 << within) - 1))

    def path(self, depth: int, index: int) -> list[bytes]:
        """The siblings that prove a node, from its own upwards. IndexError outside the tree."""
        return [self.node(below, index >> (depth - below) ^ 1) for below in range(depth, 0, -1)]

    def _chunk(self, chunk: int) -> MerkleTree:
        tree = self._loaded.get(chunk)
        if tree is None:
            tree = self._load(chunk)
            if tree.root != self._roots[chunk]:
                raise ResultsChanged(chunk, self._roots[chunk], tree.root)
            self._loaded[chunk] = tree
            if len(self._loaded) > CHUNKS_IN_MEMORY:
                self._loaded.popitem(last=False)
        else:
            self._loaded.move_to_end(chunk)
        return tree


class EmptyTree:
    """The tree of a job none of whose rows has a verdict: every leaf is the empty one."""

    def __init__(self, depth: int) -> None:
        self.depth = depth

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return empty_root(self.depth)

    def nodes(self, depth: int, start: int, stop: int) -> list[bytes]:
        """The nodes start … stop - 1 at `depth`, 32 bytes each."""
        return [empty_root(self.depth - depth)] * (stop - start)

    def path(self, depth: int, index: int) -> list[bytes]:  # noqa: ARG002
        """The siblings that prove a node, from its own upwards."""
        return [empty_root(self.depth - below) for below in range(depth, 0, -1)]
