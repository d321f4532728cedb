"""A job's data: fetched from where its URI or a mirror has it, verified against dataRoot, and only then anybody's rows.

The requester wrote the URI. So a file: URI leads only below folders that the operator named, an http(s): URI never into the
operator's own network, and both are bounded in size (the job's exact size) and in time.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO, Protocol
from urllib.parse import unquote, urlsplit

import numpy as np
from numpy.typing import NDArray

from contracts import merkle
from contracts.job import Terms
from models.form import LONGEST_ROW
from oracle_worker import disk, download
from oracle_worker.chunks import ChunkPlan, plan
from oracle_worker.result import WorkerError
from oracle_worker.settings import WorkerSettings

log = logging.getLogger(__name__)

READ_BYTES = 1 << 20
BLOCK_BYTES = 16 << 20
"""Rows in memory at a time, in bytes."""
SPARE_BYTES = 64 << 20
"""Bytes of disk that a download must leave free."""


class DataError(WorkerError):
    """A job's data cannot be used."""


class DataMismatch(DataError):
    """The data's Merkle root is not the job's."""

    def __init__(self, expected: bytes, got: bytes) -> None:
        super().__init__(f"the data's root is 0x{got.hex()}, the job says 0x{expected.hex()}: it is other data")
        self.expected = expected
        self.got = got


class DataSizeMismatch(DataError):
    """The data has another size than the job's items make (bytes; `got` is what was read before stopping)."""

    def __init__(self, expected: int, got: int) -> None:
        shown = f"more than {expected}" if got > expected else str(got)
        super().__init__(f"the data has {shown} bytes, the job's items make {expected}: it is other data")
        self.expected = expected
        self.got = got


class DataUnavailable(DataError):
    """The data could not be had; another try may succeed."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{shown_uri(uri)}: {reason}")
        self.reason = reason


class DataNotHere(DataError):
    """The data is not in this machine's cache: it must be fetched first."""

    def __init__(self, data_root: bytes) -> None:
        super().__init__(f"the data of root 0x{data_root.hex()} is not in the cache")
        self.data_root = data_root


class DataRefused(DataError):
    """The operator's settings do not let the data be fetched."""

    def __init__(self, uri: str, reason: str) -> None:
        super().__init__(f"{shown_uri(uri)}: {reason}")
        self.reason = reason


class Rows(Protocol):
    """A job's verified rows."""

    @property
    def plan(self) -> ChunkPlan:
        """How they are cut into chunks."""

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """As DataSet.blocks."""

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """As DataSet.proof."""


def shown_uri(uri: str) -> str:
    """The URI for one line of text: escaped, cut, and without the user, password and query that it may hold."""
    try:
        parts = urlsplit(uri)
        uri = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"
    except ValueError:
        pass
    return ascii(uri[:200])[1:-1]


@dataclass(frozen=True)
class DataSet:
    """Verified rows on disk. Every chunk is checked against its root again whenever it is read."""

    path: Path
    row_length: int
    plan: ChunkPlan
    chunk_roots: tuple[bytes, ...]

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """The rows of a chunk in blocks of bounded size: uint8 (n, row_length).

        Raises DataMismatch at the end where the disk changed them: use nothing of what came before then.
        """
        leaves = bytearray()
        items = self.plan.items(chunk)
        step = max(1, BLOCK_BYTES // self.row_length)
        with self.path.open("rb") as file:
            file.seek(items.start * self.row_length)
            for start in range(items.start, items.stop, step):
                count = min(step, items.stop - start)
                content = file.read(count * self.row_length)
                if len(content) != count * self.row_length:
                    raise DataSizeMismatch(self.plan.item_count * self.row_length, self.path.stat().st_size)
                rows = np.frombuffer(content, np.uint8).reshape(count, self.row_length)
                leaves += b"".join(sha256(row.tobytes()).digest() for row in rows)
                yield rows
        self._check(chunk, leaves)

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """(row, siblings up to dataRoot) of an item. Raises DataMismatch where the disk changed the data."""
        chunk, within = divmod(index, 1 << self.plan.depth)
        leaves = bytearray()
        row = b""
        for block in self.blocks(chunk):
            before = len(leaves) // merkle.HASH_BYTES
            if before <= within < before + len(block):
                row = block[within - before].tobytes()
            leaves += b"".join(sha256(one.tobytes()).digest() for one in block)
        top = merkle.combine(self.chunk_roots, self.plan.depth, self.plan.item_count)
        return row, top.proof(index, self._check(chunk, leaves))

    def _check(self, chunk: int, leaves: bytearray) -> merkle.MerkleTree:
        tree = merkle.MerkleTree(leaves, depth=self.plan.depth)
        if tree.root != self.chunk_roots[chunk]:
            raise DataMismatch(self.chunk_roots[chunk], tree.root)
        return tree


class DataStore:
    """Verified data by content: a cache on disk, which any number of processes may share."""

    def __init__(self, folder: Path, settings: WorkerSettings) -> None:
        self.folder = folder
        self.settings = settings

    @cached_property
    def name(self) -> str:
        """What tells this cache from those of the operator's other machines: all processes that share the folder agree."""
        path = self.folder.with_name(f"{self.folder.name}.name")
        if not path.exists():
            disk.write_once(path, secrets.token_hex(8).encode())
        return path.read_text("ascii")

    def cached(self, terms: Terms, row_length: int) -> DataSet:
        """The job's rows, from the cache. Raises DataNotHere."""
        cut, path = self._place(terms, row_length)
        found = _open_cached(path, terms.data_root, cut, row_length)
        if found is None:
            raise DataNotHere(terms.data_root)
        disk.touch(path)
        return found

    def fetch(self, terms: Terms, data_uri: str, row_length: int) -> DataSet:
        """The job's rows, from the cache or else from the first place that has them: the URI, then the mirrors.

        Raises DataError: what was wrong with the URI.
        """
        try:
            return self.cached(terms, row_length)
        except DataNotHere:
            pass
        try:
            return self._fetch_from(data_uri, terms, row_length)
        except DataError as error:
            for mirror in self.settings.data_mirrors:
                try:
                    return self._fetch_from(f"{mirror.rstrip('/')}/{terms.data_root.hex()}", terms, row_length)
                except DataError as failure:
                    log.info("a mirror does not have it: %s", failure)
            raise error

    def cached_malformed(self, terms: Terms, row_length: int) -> DataSet | None:
        """The job's rows if they are known to be of another length than the model's, all of the same; else None."""
        cut, path = self._place(terms, row_length)
        for other in sorted(self.folder.glob(f"{terms.data_root.hex()}-{terms.item_count}-*-{cut.depth}.rows")):
            length = int(other.name.split("-")[2])
            found = _open_cached(other, terms.data_root, cut, length) if other != path else None
            if found is not None:
                disk.touch(other)
                return found
        return None

    def fetch_malformed(self, terms: Terms, data_uri: str, row_length: int) -> DataSet:
        """The job's rows if they are of another length than the model's, all of the same. Raises DataError.

        What splits into rows of different lengths is not found: nothing but the rows themselves says where they end.
        """
        most = min(terms.item_count * LONGEST_ROW, self.settings.most_bytes)
        self._check_room(data_uri, most)
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=self.folder) as whole:
            for piece in self._open(data_uri, None, most):
                whole.write(piece)
            size = whole.tell()
            length, rest = divmod(size, terms.item_count)
            if rest or length in (0, row_length) or size > most:
                raise DataSizeMismatch(terms.item_count * row_length, size)
            cut, path = self._place(terms, length)
            whole.seek(0)
            return self._store(iter(lambda: whole.read(READ_BYTES), b""), path, terms, cut, length)

    def forget(self, data: DataSet) -> None:
        """Drop cached data, so that the next `fetch` gets it anew."""
        data.path.unlink(missing_ok=True)
        data.path.with_suffix(".roots").unlink(missing_ok=True)

    def _place(self, terms: Terms, row_length: int) -> tuple[ChunkPlan, Path]:
        cut = plan(terms.item_count, self.settings.chunk_depth)
        return cut, self.folder / f"{terms.data_root.hex()}-{terms.item_count}-{row_length}-{cut.depth}.rows"

    def _fetch_from(self, uri: str, terms: Terms, row_length: int) -> DataSet:
        size = terms.item_count * row_length
        self._check_room(uri, size)
        cut, path = self._place(terms, row_length)
        return self._store(self._open(uri, size, size), path, terms, cut, row_length)

    def _store(self, pieces: Iterator[bytes], path: Path, terms: Terms, cut: ChunkPlan, row_length: int) -> DataSet:
        with disk.writing(path) as file:
            roots = _store_verified(pieces, file, terms.data_root, cut, row_length)
        disk.write(path.with_suffix(".roots"), b"".join(roots))
        disk.evict(self.folder, self.settings.data_cache_bytes, frozenset((path, path.with_suffix(".roots"))))
        return DataSet(path, row_length, cut, roots)

    def _check_room(self, uri: str, size: int) -> None:
        if size > self.settings.most_bytes:
            raise DataRefused(uri, f"{size} bytes are more than most_bytes allows ({self.settings.most_bytes})")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        free = shutil.disk_usage(self.folder).free
        if free < size + SPARE_BYTES:
            raise DataRefused(uri, f"it takes {size} bytes and {self.folder} has {free} free: make room")

    def _open(self, uri: str, size: int | None, most: int) -> Iterator[bytes]:
        """What is there, of this size if it is known, and not much more than `most` bytes of it."""
        scheme = uri.partition(":")[0].lower()
        if scheme == "file":
            return _read_file(uri, self.settings.data_folders, size, most)
        if scheme not in ("http", "https"):
            raise DataRefused(uri, f"the scheme {scheme[:20]!a} is not supported: file, http and https are")
        return _bounded(uri, self.settings, most)


class AwaitedData:
    """A job's rows as far as the cache has them now: whoever needs one that is not there is told so."""

    def __init__(self, store: DataStore, terms: Terms, row_length: int) -> None:
        self.plan = plan(terms.item_count, store.settings.chunk_depth)
        self._store = store
        self._terms = terms
        self._row_length = row_length

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """As DataSet.blocks. Raises DataNotHere, at the end too, where the disk changed the rows: they are dropped, then."""
        found = self._store.cached(self._terms, self._row_length)
        with self._dropping(found):
            yield from found.blocks(chunk)

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """As DataSet.proof. Raises DataNotHere."""
        found = self._store.cached(self._terms, self._row_length)
        with self._dropping(found):
            return found.proof(index)

    @contextmanager
    def _dropping(self, found: DataSet) -> Iterator[None]:
        try:
            yield
        except (DataMismatch, DataSizeMismatch, FileNotFoundError) as error:
            log.warning("%s was changed on disk: it must be fetched again", found.path)
            self._store.forget(found)
            raise DataNotHere(self._terms.data_root) from error


def _bounded(uri: str, settings: WorkerSettings, most: int) -> Iterator[bytes]:
    try:
        yield from download.stream(
            uri, most, time.monotonic() + settings.data_seconds, private_addresses=settings.data_private_addresses
        )
    except download.Refused as refusal:
        raise DataRefused(uri, str(refusal)) from refusal
    except download.Failed as failure:
        raise DataUnavailable(uri, str(failure)) from failure


def _read_file(uri: str, folders: tuple[Path, ...], size: int | None, most: int) -> Iterator[bytes]:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise DataRefused(uri, "a file: URI is file:/// and an absolute path")
    try:
        path = Path(unquote(parts.path)).resolve()
        allowed = any(path.is_relative_to(folder.resolve()) for folder in folders)
        if not allowed:
            raise DataRefused(uri, "it is not below any of QUORATE_DATA_FOLDERS")
        if not path.is_file():
            raise DataUnavailable(uri, "there is no such file")
        got = path.stat().st_size
        if got > most or size not in (None, got):
            raise DataSizeMismatch(most if size is None else size, got)
        with path.open("rb") as file:
            while piece := file.read(READ_BYTES):
                yield piece
    except (OSError, ValueError) as error:
        raise DataUnavailable(uri, f"it cannot be read: {error}") from error


def _store_verified(
    pieces: Iterator[bytes], file: BinaryIO, data_root: bytes, cut: ChunkPlan, row_length: int
) -> tuple[bytes, ...]:
    """Write the stream and hash it on the way; the chunks' roots. Raises DataSizeMismatch, DataMismatch."""
    expected = cut.item_count * row_length
    got = 0
    rest = b""
    leaves = bytearray()
    roots: list[bytes] = []
    for piece in pieces:
        got += len(piece)
        if got > expected:
            raise DataSizeMismatch(expected, got)
        file.write(piece)
        rest += piece
        whole = len(rest) // row_length * row_length
        for start in range(0, whole, row_length):
            leaves += sha256(rest[start : start + row_length]).digest()
            if len(leaves) == merkle.HASH_BYTES << cut.depth:
                roots.append(merkle.MerkleTree(leaves, depth=cut.depth).root)
                leaves.clear()
        rest = rest[whole:]
    if got != expected:
        raise DataSizeMismatch(expected, got)
    if leaves:
        roots.append(merkle.MerkleTree(leaves, depth=cut.depth).root)
    root = merkle.combine(roots, cut.depth, cut.item_count).root
    if root != data_root:
        raise DataMismatch(data_root, root)
    return tuple(roots)


def _open_cached(path: Path, data_root: bytes, cut: ChunkPlan, row_length: int) -> DataSet | None:
    """The cached data, if it is whole; its bytes are checked when they are read."""
    try:
        listed = path.with_suffix(".roots").read_bytes()
        size = path.stat().st_size
    except FileNotFoundError:
        return None
    roots = tuple(listed[i : i + merkle.HASH_BYTES] for i in range(0, len(listed), merkle.HASH_BYTES))
    whole = size == cut.item_count * row_length and len(listed) == merkle.HASH_BYTES * cut.count
    if not whole or merkle.combine(roots, cut.depth, cut.item_count).root != data_root:
        log.warning("%s was changed on disk: fetching it again", path)
        return None
    return DataSet(path, row_length, cut, roots)
