"""A job's data: fetched by whatever route has it, verified against dataRoot, and only then anybody's rows.

The requester wrote the URIs. So a file: URI leads only below folders that the operator named, an http(s): URI never into the
operator's own network, and all are bounded in size (the job's exact size) and in time. What came half the way stays on disk,
and the next try, or the next route, goes on from there.
"""

from __future__ import annotations

import logging
import secrets
import shutil
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from contracts.job import Terms
from models.form import LONGEST_ROW
from oracle_worker import disk
from oracle_worker.chunks import ChunkPlan, plan
from oracle_worker.data_errors import (
    DataError,
    DataMismatch,
    DataNotHere,
    DataRefused,
    DataSizeMismatch,
    DataUnavailable,
)
from oracle_worker.data_file import (
    READ_BYTES,
    DataSet,
    Draft,
    chunk_roots,
    drafting,
    open_verified,
    piece_roots_bytes,
)
from oracle_worker.routes import Route, routes
from oracle_worker.settings import WorkerSettings
from oracle_worker.sources import read

log = logging.getLogger(__name__)

SPARE_BYTES = 64 << 20
"""Bytes of disk that a download must leave free."""
ROOTS_SECONDS = 30.0
"""Most seconds for the roots that may lie beside the data."""


@dataclass(frozen=True, slots=True)
class Need:
    """What a job's data is wanted for."""

    seconds: float = 0.0
    """For how long from now it must stay in the cache."""
    is_seated: bool = False
    """Whether a stake depends on it: then the cache may grow beyond its bound, though not beyond the disk."""


class Rows(Protocol):
    """A job's verified rows."""

    @property
    def plan(self) -> ChunkPlan:
        """How they are cut into chunks."""

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """As DataSet.blocks."""

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """As DataSet.proof."""


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

    def cached(self, terms: Terms, row_length: int, need: Need = Need()) -> DataSet:
        """The job's rows, from the cache. Raises DataNotHere."""
        cut, path = self._place(terms, row_length)
        found = open_verified(path, terms.data_root, cut, row_length)
        if found is None:
            raise DataNotHere(terms.data_root)
        disk.touch(path, need.seconds)
        return found

    def fetch(self, terms: Terms, data_uri: str, row_length: int, need: Need = Need()) -> DataSet:
        """The job's rows, from the cache or else by the first route that leads to them: the announced URIs, then the mirrors.

        Raises DataError: what was wrong with the first that was not refused.
        """
        try:
            return self.cached(terms, row_length, need)
        except DataNotHere:
            pass
        ways = routes(data_uri, terms.data_root, self.settings)
        with self._draft(terms, data_uri, row_length, need) as draft:
            try:
                return self.cached(terms, row_length, need)  # another process ended a moment ago
            except DataNotHere:
                pass
            self._follow_first(ways, draft)
            return self._keep(terms, data_uri, draft, need)

    def cached_malformed(self, terms: Terms, row_length: int) -> DataSet | None:
        """The job's rows if they are known to be of another length than the model's, all of the same; else None."""
        cut, path = self._place(terms, row_length)
        for other in sorted(self.folder.glob(f"{terms.data_root.hex()}-{terms.item_count}-*-{cut.depth}.rows")):
            length = int(other.name.split("-")[2])
            found = open_verified(other, terms.data_root, cut, length) if other != path else None
            if found is not None:
                disk.touch(other)
                return found
        return None

    def fetch_malformed(self, terms: Terms, data_uri: str, row_length: int, need: Need = Need()) -> DataSet:
        """The job's rows if they are of another length than the model's, all of the same. Raises DataError.

        What splits into rows of different lengths is not found: nothing but the rows themselves says where they end.
        """
        failures = []
        for way in routes(data_uri, terms.data_root, self.settings):
            try:
                return self._fetch_malformed_by(way, terms, data_uri, row_length, need)
            except DataError as error:
                failures.append(error)
        raise _telling(failures)

    def forget(self, data: DataSet) -> None:
        """Drop cached data, so that the next `fetch` gets it anew."""
        data.path.unlink(missing_ok=True)

    def _place(self, terms: Terms, row_length: int) -> tuple[ChunkPlan, Path]:
        cut = plan(terms.item_count, self.settings.chunk_depth)
        return cut, self.folder / f"{terms.data_root.hex()}-{terms.item_count}-{row_length}-{cut.depth}.rows"

    def _draft_path(self, terms: Terms, data_uri: str, row_length: int) -> Path:
        """A place for each announcement: nobody's spoilt beginning is continued by another job."""
        _, path = self._place(terms, row_length)
        return path.with_suffix(f".{sha256(data_uri.encode()).hexdigest()[:16]}.part")

    @contextmanager
    def _draft(self, terms: Terms, data_uri: str, row_length: int, need: Need) -> Iterator[Draft]:
        cut, _ = self._place(terms, row_length)
        part = self._draft_path(terms, data_uri, row_length)
        self._make_room(data_uri, part, terms.item_count * row_length, need)
        deadline = time.monotonic() + self.settings.data_seconds
        try:
            with drafting(part, terms.data_root, cut, row_length, deadline) as draft:
                if draft is None:
                    raise DataUnavailable(data_uri, "another process fetches it, and was not done in time")
                try:
                    yield draft
                finally:
                    if draft.size == 0:
                        part.unlink(missing_ok=True)
        except OSError as error:
            raise DataRefused(data_uri, f"{self.folder} cannot be written: {error.strerror or error}") from error

    def _keep(self, terms: Terms, data_uri: str, draft: Draft, need: Need) -> DataSet:
        cut, path = self._place(terms, draft.row_length)
        roots, checksums = draft.finish()
        self._draft_path(terms, data_uri, draft.row_length).replace(path)
        disk.touch(path, need.seconds)
        return DataSet(path, draft.row_length, cut, roots, checksums)

    def _follow_first(self, ways: Sequence[Route], draft: Draft) -> None:
        """Complete the draft by the first route that can. Raises DataError."""
        failures = []
        for way in ways:
            try:
                return self._follow(way, draft)
            except DataError as error:
                log.info("not by this route: %s", error)
                failures.append(error)
        raise _telling(failures)

    def _follow(self, way: Route, draft: Draft) -> None:
        """Complete the draft by one route: from where it stands, again and again as long as each time brings it further.

        A beginning that came from elsewhere, and that nobody vouches for, may be what is wrong: then from the beginning.
        Raises DataError.
        """
        deadline = time.monotonic() + self.settings.data_seconds
        self._learn(way, draft, deadline)
        is_borrowed = draft.size > 0 and draft.known is None
        while True:
            before = draft.chunks
            try:
                for piece in read(
                    way, self.settings, deadline, size=draft.expected, most=draft.expected, start=draft.size
                ):
                    draft.append(piece)
                return draft.check()
            except DataSizeMismatch as error:
                if error.got > error.expected:
                    draft.clear()
                raise
            except (DataMismatch, DataUnavailable) as error:
                is_spoilt = isinstance(error, DataMismatch) and draft.known is None
                if is_spoilt:
                    draft.clear()
                if draft.chunks <= before and not (is_spoilt and is_borrowed):
                    raise
                is_borrowed = is_borrowed and not is_spoilt
                log.info("going on at byte %d: %s", draft.size, error)

    def _learn(self, way: Route, draft: Draft, deadline: float) -> None:
        """Look for published roots beside the data, to notice a wrong chunk when it comes and not at the end."""
        size = piece_roots_bytes(draft.plan)
        beside = way.roots_route()
        if draft.known is not None or beside is None or not size:
            return
        until = min(deadline, time.monotonic() + ROOTS_SECONDS)
        try:
            content = b"".join(read(beside, self.settings, until, size=size, most=size))
        except DataError as error:
            log.debug("no roots beside the data: %s", error)
            return
        known = chunk_roots(content, draft.data_root, draft.plan)
        if known is None:
            log.info("the roots beside the data are not this data's")
        else:
            draft.learn(known)

    def _fetch_malformed_by(self, way: Route, terms: Terms, data_uri: str, row_length: int, need: Need) -> DataSet:
        most = min(terms.item_count * LONGEST_ROW, self.settings.most_bytes)
        self._make_room(data_uri, self.folder / "none", most, need)
        deadline = time.monotonic() + self.settings.data_seconds
        with tempfile.TemporaryFile(dir=self.folder) as whole:
            for piece in read(way, self.settings, deadline, size=None, most=most):
                whole.write(piece)
            size = whole.tell()
            length, rest = divmod(size, terms.item_count)
            if rest or length in (0, row_length) or size > most:
                raise DataSizeMismatch(terms.item_count * row_length, size)
            whole.seek(0)
            with self._draft(terms, data_uri, length, need) as draft:
                draft.clear()
                for piece in iter(lambda: whole.read(READ_BYTES), b""):
                    draft.append(piece)
                try:
                    draft.check()
                except DataMismatch:
                    draft.clear()
                    raise
                return self._keep(terms, data_uri, draft, need)

    def _make_room(self, uri: str, part: Path, size: int, need: Need) -> None:
        settings = self.settings
        if size > settings.most_bytes:
            raise DataRefused(uri, f"{size} bytes are more than most_bytes allows ({settings.most_bytes})")
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        missing = size - (part.stat().st_size if part.exists() else 0)
        room = settings.data_cache_bytes - missing
        excess = disk.evict(self.folder, max(room, 0), frozenset((part,)))
        if (excess or room < 0) and not need.is_seated:
            raise DataRefused(
                uri,
                f"it takes {missing} bytes, and what open jobs need leaves no room for them: raise data_cache_bytes "
                f"({settings.data_cache_bytes})",
            )
        free = shutil.disk_usage(self.folder).free
        if free < missing + SPARE_BYTES:
            raise DataRefused(uri, f"it takes {missing} bytes and {self.folder} has {free} free: make room")


class AwaitedData:
    """A job's rows as far as the cache has them now: whoever needs one that is not there is told so."""

    def __init__(self, store: DataStore, terms: Terms, row_length: int, need: Need = Need()) -> None:
        self.plan = plan(terms.item_count, store.settings.chunk_depth)
        self._store = store
        self._terms = terms
        self._row_length = row_length
        self._need = need

    def blocks(self, chunk: int) -> Iterator[NDArray[np.uint8]]:
        """As DataSet.blocks. Raises DataNotHere, at the end too, where the disk changed the rows: they are dropped, then."""
        found = self._store.cached(self._terms, self._row_length, self._need)
        with self._dropping(found):
            yield from found.blocks(chunk)

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """As DataSet.proof. Raises DataNotHere."""
        found = self._store.cached(self._terms, self._row_length, self._need)
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


def _telling(failures: Sequence[DataError]) -> DataError:
    """Why no route led to the data: the first that was tried, or, if all were refused, the first refusal."""
    return next((failure for failure in failures if not isinstance(failure, DataRefused)), failures[0])
