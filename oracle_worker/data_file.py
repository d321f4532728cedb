"""A job's rows on disk: verified ones, and those that are on their way.

A file has the rows, one after the other, and then for each chunk its subtree root and a checksum of its bytes. The roots
combine to dataRoot. The checksum costs a fiftieth of the chunk's tree, so that what the disk changed is noticed whenever
rows are read, and the tree is only built where it is needed.
"""

from __future__ import annotations

import fcntl
import logging
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from contracts import merkle
from oracle_worker.chunks import ChunkPlan
from oracle_worker.data_errors import DataMismatch, DataSizeMismatch
from oracle_worker.leaves import input_leaves

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
BLOCK_BYTES = 4 << 20
"""Rows in memory at a time, in bytes."""
PIECE_DEPTH = 10
"""Binary depth of the subtrees whose roots a requester publishes beside the rows: 1,024 rows."""
LOCK_SECONDS = 0.1
_ENTRY_BYTES = 2 * merkle.HASH_BYTES


@dataclass(frozen=True)
class DataSet:
    """Verified rows on disk. Every chunk is checked again whenever it is read."""

    path: Path
    row_length: int
    plan: ChunkPlan
    chunk_roots: tuple[bytes, ...]
    checksums: tuple[bytes, ...]

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """The rows of a chunk in blocks of bounded size: uint8 (n, row_length).

        Raises DataMismatch at the end where the disk changed them: use nothing of what came before then.
        """
        summed = sha256()
        items = self.plan.items(chunk)
        step = max(1, BLOCK_BYTES // self.row_length)
        with self.path.open("rb") as file:
            file.seek(items.start * self.row_length)
            for start in range(items.start, items.stop, step):
                count = min(step, items.stop - start)
                content = file.read(count * self.row_length)
                if len(content) != count * self.row_length:
                    raise DataSizeMismatch(self.plan.item_count * self.row_length, self.path.stat().st_size)
                summed.update(content)
                yield np.frombuffer(content, np.uint8).reshape(count, self.row_length)
        if summed.digest() != self.checksums[chunk]:
            raise DataMismatch(self.checksums[chunk], summed.digest())

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """(row, siblings up to dataRoot) of an item. Raises DataMismatch where the disk changed the data."""
        chunk, within = divmod(index, 1 << self.plan.depth)
        leaves = bytearray()
        row = b""
        for block in self.blocks(chunk):
            before = len(leaves) // merkle.HASH_BYTES
            if before <= within < before + len(block):
                row = block[within - before].tobytes()
            leaves += input_leaves(block.tobytes(), self.row_length)
        subtree = merkle.MerkleTree(leaves, depth=self.plan.depth)
        if subtree.root != self.chunk_roots[chunk]:
            raise DataMismatch(self.chunk_roots[chunk], subtree.root)
        return row, merkle.combine(self.chunk_roots, self.plan.depth, self.plan.item_count).proof(index, subtree)


def open_verified(path: Path, data_root: bytes, cut: ChunkPlan, row_length: int) -> DataSet | None:
    """The rows in a file, if it is whole; its bytes are checked when they are read."""
    rows_bytes, entries_bytes = cut.item_count * row_length, cut.count * _ENTRY_BYTES
    try:
        with path.open("rb") as file:
            is_whole = os.fstat(file.fileno()).st_size == rows_bytes + entries_bytes
            file.seek(rows_bytes)
            entries = file.read(entries_bytes) if is_whole else b""
    except FileNotFoundError:
        return None
    half = merkle.HASH_BYTES
    roots = tuple(entries[at : at + half] for at in range(0, len(entries), _ENTRY_BYTES))
    checksums = tuple(entries[at + half : at + _ENTRY_BYTES] for at in range(0, len(entries), _ENTRY_BYTES))
    if not is_whole or merkle.combine(roots, cut.depth, cut.item_count).root != data_root:
        log.warning("%s was changed on disk: fetching it again", path)
        return None
    return DataSet(path, row_length, cut, roots, checksums)


def piece_roots(tree: merkle.MerkleTree) -> bytes:
    """The roots of a job's pieces of 2^PIECE_DEPTH rows, one after the other; empty where it has only one."""
    if tree.depth <= PIECE_DEPTH:
        return b""
    return b"".join(tree.nodes(tree.depth - PIECE_DEPTH, 0, -(-tree.count >> PIECE_DEPTH)))


def piece_roots_bytes(cut: ChunkPlan) -> int:
    """The size of `piece_roots` of a job, or 0 where they are no help: one chunk is not checked before its end."""
    pieces = -(-cut.item_count >> PIECE_DEPTH)
    return merkle.HASH_BYTES * pieces if cut.count > 1 and cut.depth >= PIECE_DEPTH else 0


def chunk_roots(pieces: bytes, data_root: bytes, cut: ChunkPlan) -> tuple[bytes, ...] | None:
    """The chunks' roots from the roots of the pieces that somebody published; None if those are not this data's."""
    if len(pieces) != piece_roots_bytes(cut):
        return None
    top = merkle.combine(pieces_of(pieces), PIECE_DEPTH, cut.item_count)
    return tuple(top.nodes(top.depth - cut.depth, 0, cut.count)) if top.root == data_root else None


def pieces_of(content: bytes) -> list[bytes]:
    """A buffer of hashes, one by one."""
    return [content[at : at + merkle.HASH_BYTES] for at in range(0, len(content), merkle.HASH_BYTES)]


class Draft:
    """Rows on their way to disk, as far as they have come: hashed as they come, and by whoever goes on with them later."""

    def __init__(self, file: BinaryIO, data_root: bytes, cut: ChunkPlan, row_length: int) -> None:
        self.data_root = data_root
        self.plan = cut
        self.row_length = row_length
        self.expected = cut.item_count * row_length
        self.known: tuple[bytes, ...] | None = None
        """The chunks' roots, once somebody told them."""
        self._file = file
        self._begin()
        file.seek(0)
        while self.size < self.expected and (piece := file.read(min(READ_BYTES, self.expected - self.size))):
            self._take(piece)
        self._truncate(self.size)

    @property
    def chunks(self) -> int:
        """How many chunks are whole."""
        return len(self._roots)

    def learn(self, known: tuple[bytes, ...]) -> None:
        """Check against these roots from now on; what came before and is wrong is dropped."""
        self.known = known
        right = next((i for i, root in enumerate(self._roots) if root != known[i]), self.chunks)
        if right < self.chunks:
            self._back_to(right)

    def append(self, piece: bytes) -> None:
        """Add what comes next. Raises DataSizeMismatch for too much, DataMismatch for a chunk that is known to be wrong: it is
        dropped."""
        if self.size + len(piece) > self.expected:
            raise DataSizeMismatch(self.expected, self.size + len(piece))
        self._file.write(piece)
        self._take(piece)

    def clear(self) -> None:
        """Drop everything."""
        self._back_to(0)

    def check(self) -> None:
        """Raises DataSizeMismatch where rows are missing, DataMismatch where they are not the job's."""
        if self.size != self.expected:
            raise DataSizeMismatch(self.expected, self.size)
        root = merkle.combine(self._roots, self.plan.depth, self.plan.item_count).root
        if root != self.data_root:
            raise DataMismatch(self.data_root, root)

    def finish(self) -> tuple[tuple[bytes, ...], tuple[bytes, ...]]:
        """Write what stands after the rows; the chunks' roots and checksums."""
        for root, checksum in zip(self._roots, self._checksums, strict=True):
            self._file.write(root + checksum)
        self._file.flush()
        os.fsync(self._file.fileno())
        return tuple(self._roots), tuple(self._checksums)

    def _begin(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []
        self._checksums: list[bytes] = []
        self._begin_chunk()

    def _begin_chunk(self) -> None:
        self._rest = b""
        self._leaves = bytearray()
        self._sum = sha256()

    def _take(self, piece: bytes) -> None:
        self.size += len(piece)
        self._rest += piece
        while len(self._rest) >= self.row_length:
            chunk = self.chunks
            missing = len(self.plan.items(chunk)) - len(self._leaves) // merkle.HASH_BYTES
            count = min(missing, len(self._rest) // self.row_length)
            rows, rest = self._rest[: count * self.row_length], self._rest[count * self.row_length :]
            self._leaves += input_leaves(rows, self.row_length)
            self._sum.update(rows)
            if count < missing:
                self._rest = rest
                return
            root = merkle.MerkleTree(self._leaves, depth=self.plan.depth).root
            if self.known is not None and root != self.known[chunk]:
                self._back_to(chunk)
                raise DataMismatch(self.known[chunk], root)
            self._roots.append(root)
            self._checksums.append(self._sum.digest())
            self._begin_chunk()
            self._rest = rest

    def _back_to(self, chunk: int) -> None:
        """Keep only the chunks before this one."""
        del self._roots[chunk:], self._checksums[chunk:]
        self._begin_chunk()
        self.size = min(chunk << self.plan.depth, self.plan.item_count) * self.row_length
        self._truncate(self.size)

    def _truncate(self, size: int) -> None:
        self._file.seek(size)
        self._file.truncate()


@contextmanager
def drafting(path: Path, data_root: bytes, cut: ChunkPlan, row_length: int, deadline: float) -> Iterator[Draft | None]:
    """The draft in a file, which nobody else writes to meanwhile; None where somebody else did until `deadline`
    (time.monotonic()). It stays on disk for whoever comes next. Raises OSError.
    """
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            if _lock(file) and _is_still(path, file):
                yield Draft(file, data_root, cut, row_length)
                return
        if time.monotonic() >= deadline:
            yield None
            return
        time.sleep(LOCK_SECONDS)


def _lock(file: BinaryIO) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_still(path: Path, file: BinaryIO) -> bool:
    """Whether the file still has this name: whoever had it before may have finished or dropped it."""
    try:
        return os.path.samestat(path.stat(), os.fstat(file.fileno()))
    except FileNotFoundError:
        return False
