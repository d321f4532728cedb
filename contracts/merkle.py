"""Merkle trees of inputs and results: SHA-256 over perfect trees. Twin of contracts/src/libraries/MerkleProof.sol.

Leaves are padded with EMPTY_LEAF up to the next power of two, a node is sha256(left ‖ right), and the bits of an index
say left or right at each step: a proof is the plain list of siblings, from the leaf's upwards, as many as the depth.
Depth counts down from the root (0) to the leaves; height counts up from the leaves (0).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache
from hashlib import sha256
from struct import iter_unpack

EMPTY_LEAF = bytes(32)
HASH_BYTES = 32
PAIR_BYTES = 64
MOST_ITEMS = 1 << 64  # an index is eight bytes in a result leaf
ARITY_BITS = 4  # a dispute descends this many binary levels with each answer: 16 nodes
PAIRS_AT_ONCE = 4096  # hashed before they are joined: keeps a level's digests out of memory as separate objects


def depth_of(count: int) -> int:
    """Depth of the tree over `count` items: the least d with 2^d ≥ count. ValueError unless 1 ≤ count ≤ 2^64."""
    if not 1 <= count <= MOST_ITEMS:
        raise ValueError(f"a tree has 1 to 2^64 items, not {count}")
    return (count - 1).bit_length()


def level_depth(level: int, depth: int) -> int:
    """Binary depth of dispute level `level` in a tree of `depth`: min(4 · level, depth)."""
    return min(ARITY_BITS * level, depth)


def last_level(depth: int) -> int:
    """The dispute level of the leaves: ⌈depth / 4⌉."""
    return -(-depth // ARITY_BITS)


def level_width(level: int, depth: int) -> int:
    """How many nodes dispute level `level` has: a demand's index there is below this."""
    return 1 << level_depth(level, depth)


def input_leaf(row: bytes) -> bytes:
    """Leaf of an input row (its bytes in C order): sha256(row), 32 bytes."""
    return sha256(row).digest()


def result_leaf(index: int, output: bytes) -> bytes:
    """Leaf of a result: sha256(index as 8 bytes, big endian ‖ output), 32 bytes. ValueError unless 0 ≤ index < 2^64."""
    if not 0 <= index < MOST_ITEMS:
        raise ValueError(f"an item's index is 0 to 2^64 - 1, not {index}")
    return sha256(index.to_bytes(8, "big") + output).digest()


@cache
def empty_root(height: int) -> bytes:
    """Root of 2^height empty leaves, 32 bytes: what pads a tree, without hashing the padding leaf by leaf."""
    if height < 0:
        raise ValueError(f"a subtree's height is 0 or more, not {height}")
    if height == 0:
        return EMPTY_LEAF
    below = empty_root(height - 1)
    return sha256(below + below).digest()


def verify(root: bytes, count: int, index: int, leaf: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether `leaf` stands at `index` of the tree of `count` items under `root`.

    False, too, for an index outside the padded tree, for any other number of siblings than the depth, and for a leaf or
    sibling that is not 32 bytes (one byte moved from a leaf to its sibling would hash the same). The padding's zero
    leaves can be proved like any other: whoever needs index < count checks that. `count` comes from the job's terms,
    never from whoever brings the proof; ValueError unless 1 ≤ count ≤ 2^64.
    """
    depth = depth_of(count)
    if len(siblings) != depth or not 0 <= index < 1 << depth:
        return False
    if len(leaf) != HASH_BYTES or any(len(sibling) != HASH_BYTES for sibling in siblings):
        return False
    node = leaf
    for sibling in siblings:
        node = sha256(sibling + node if index & 1 else node + sibling).digest()
        index >>= 1
    return node == root


class PerfectTree:
    """The levels of a perfect tree from its root down to nodes of one height, each level one buffer of 32-byte hashes.

    A level's buffer ends with its last node that covers an item; every node to the right of that is an empty root.
    """

    def __init__(self, bottom: bytes, levels: int, height: int, count: int) -> None:
        """`bottom`: nodes of `height`, 32 bytes each, at most 2^levels of them; `count`: items below the root."""
        self.count = count
        self.depth = levels + height
        built = [bottom]
        for above in range(levels):
            built.append(_level_above(built[-1], empty_root(height + above)))
        self._levels = built[::-1]

    @property
    def root(self) -> bytes:
        """The root, 32 bytes."""
        return self._levels[0]

    def node(self, depth: int, index: int) -> bytes:
        """The node at `index` (from the left) of the 2^depth at `depth`, 32 bytes. IndexError outside the tree."""
        self._check(depth, index, index + 1)
        return self._node(depth, index)

    def nodes(self, depth: int, start: int, stop: int) -> list[bytes]:
        """The nodes start … stop - 1 at `depth`, 32 bytes each. IndexError if any is outside the tree."""
        self._check(depth, start, stop)
        return [self._node(depth, index) for index in range(start, stop)]

    def path(self, depth: int, index: int) -> list[bytes]:
        """The `depth` siblings that prove the node at `index` of `depth`, from its own upwards. IndexError outside."""
        self._check(depth, index, index + 1)
        return [self._node(below, index >> (depth - below) ^ 1) for below in range(depth, 0, -1)]

    def _node(self, depth: int, index: int) -> bytes:
        stored = self._levels[depth][HASH_BYTES * index : HASH_BYTES * (index + 1)]
        return stored or empty_root(self.depth - depth)

    def _check(self, depth: int, start: int, stop: int) -> None:
        if not 0 <= depth < len(self._levels):
            raise IndexError(f"this tree holds depths 0 to {len(self._levels) - 1}, not {depth}")
        if not 0 <= start <= stop <= 1 << depth:
            raise IndexError(f"depth {depth} has the nodes 0 to {(1 << depth) - 1}, not {start} to {stop - 1}")


class MerkleTree(PerfectTree):
    """The whole tree over its leaves: proofs of any node are read, never rebuilt. Takes 64 bytes of memory an item."""

    def __init__(self, leaves: bytes | bytearray | memoryview | Iterable[bytes], *, depth: int | None = None) -> None:
        """`leaves`: 32-byte hashes, in one buffer or one by one, at least one of them.

        `depth` (default: what the count needs) may be more, for the short last chunk of a job: see `combine`.
        ValueError for no leaves, for a leaf that is not 32 bytes and for a depth too small.
        """
        buffer = _as_buffer(leaves)
        count = len(buffer) // HASH_BYTES
        least = depth_of(count)
        if depth is not None and not least <= depth <= depth_of(MOST_ITEMS):
            raise ValueError(f"{count} leaves need a depth of {least} to {depth_of(MOST_ITEMS)}, not {depth}")
        super().__init__(buffer, least if depth is None else depth, 0, count)

    def proof(self, index: int) -> list[bytes]:
        """The siblings that prove leaf `index` (`verify`). IndexError outside the padded tree."""
        return self.path(self.depth, index)


class TopTree(PerfectTree):
    """The tree above chunks that were hashed elsewhere (`combine`); root, depth and count are the whole tree's."""

    def __init__(self, bottom: bytes, subtree_depth: int, count: int) -> None:
        super().__init__(bottom, depth_of(count) - subtree_depth, subtree_depth, count)
        self.subtree_depth = subtree_depth

    def proof(self, index: int, subtree: MerkleTree) -> list[bytes]:
        """The siblings that prove leaf `index` of the whole tree, given the chunk it is in.

        IndexError outside the padded tree; ValueError if `subtree` is not the chunk of that index.
        """
        chunk, within = divmod(index, 1 << self.subtree_depth)
        above = self.path(self.depth - self.subtree_depth, chunk)
        if subtree.depth != self.subtree_depth or subtree.root != self._node(self.depth - self.subtree_depth, chunk):
            raise ValueError(f"item {index} is in chunk {chunk}, and the tree given is not that chunk's")
        return subtree.proof(within) + above


def combine(subtree_roots: Iterable[bytes], subtree_depth: int, count: int) -> TopTree:
    """The top of the tree over `count` items from the roots of its chunks of 2^subtree_depth items, in order.

    Every chunk is a `MerkleTree(leaves, depth=subtree_depth)`; the last may have fewer items, padded to that depth. A
    single chunk has the whole tree's depth. ValueError unless there are exactly the chunks that `count` items fill.
    """
    depth = depth_of(count)
    if not 0 <= subtree_depth <= depth:
        raise ValueError(f"chunks of a tree of depth {depth} have a depth of 0 to {depth}, not {subtree_depth}")
    bottom = _as_buffer(subtree_roots)
    needed = -(-count >> subtree_depth)
    if len(bottom) != HASH_BYTES * needed:
        raise ValueError(f"{count} items are {needed} chunks of 2^{subtree_depth}, not {len(bottom) // HASH_BYTES}")
    return TopTree(bottom, subtree_depth, count)


def _as_buffer(hashes: bytes | bytearray | memoryview | Iterable[bytes]) -> bytes:
    if isinstance(hashes, bytes | bytearray | memoryview):
        buffer = bytes(hashes)
        if len(buffer) % HASH_BYTES:
            raise ValueError(f"a buffer of 32-byte hashes cannot be {len(buffer)} bytes long")
        return buffer
    gathered = bytearray()
    for index, one in enumerate(hashes):
        if len(one) != HASH_BYTES:
            raise ValueError(f"hash {index} is {len(one)} bytes long, not 32")
        gathered += one
    return bytes(gathered)


def _level_above(level: bytes, padding: bytes) -> bytes:
    """Hashes of the pairs of `level`; an odd last node is paired with `padding`."""
    if len(level) % PAIR_BYTES:
        level += padding
    above = bytearray()
    step = PAIR_BYTES * PAIRS_AT_ONCE
    for start in range(0, len(level), step):
        pairs = iter_unpack("64s", level[start : start + step])
        above += b"".join([sha256(pair).digest() for (pair,) in pairs])
    return bytes(above)
