"""Bytes from wherever a route leads: files, the web, and the stores that fsspec reads.

The web is not left to fsspec: its client resolves a name anew when it connects and follows redirects by itself, so that no
check made before would hold. Files are opened here, so that what was checked is what is read.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import unquote, urlsplit

from oracle_worker import download
from oracle_worker.data_errors import DataRefused, DataSizeMismatch, DataUnavailable
from oracle_worker.routes import Route
from oracle_worker.settings import WorkerSettings

READ_BYTES = 1 << 20
STORE_BYTES = 8 << 20
"""Asked of a store at a time."""
PATIENCE: dict[str, Any] = {"connect_timeout": 10, "read_timeout": 15, "retries": {"max_attempts": 1}}
"""How long an S3 server may be silent, in seconds."""


def read(
    route: Route, settings: WorkerSettings, deadline: float, *, size: int | None, most: int, start: int = 0
) -> Iterator[bytes]:
    """What is there from byte `start` on: of this size if it is known, not much more than `most` bytes of it in all, until
    `deadline` (time.monotonic()). Raises DataRefused, DataUnavailable, DataSizeMismatch."""
    scheme = route.uri.partition(":")[0].lower()
    if scheme == "file":
        return _read_file(route.uri, settings.data_folders, size, most, start)
    if scheme in ("http", "https"):
        return _read_web(route, settings, deadline, most, start)
    if scheme in settings.data_stores and "::" not in route.uri:
        return _read_store(route.uri, scheme, settings, deadline, size, most, start)
    allowed = ", ".join(("file, http, https, ipfs", *settings.data_stores))
    raise DataRefused(route.uri, f"the scheme {scheme[:20]!a} is not among those that are followed: {allowed}")


def _read_web(route: Route, settings: WorkerSettings, deadline: float, most: int, start: int) -> Iterator[bytes]:
    private = settings.data_private_addresses
    trusted = route.uri if route.is_operators else ""
    try:
        yield from download.stream(route.uri, most, deadline, start=start, private_addresses=private, trusted=trusted)
    except download.Refused as refusal:
        raise DataRefused(route.uri, str(refusal)) from refusal
    except download.Failed as failure:
        raise DataUnavailable(route.uri, str(failure)) from failure


def _read_file(uri: str, folders: tuple[Path, ...], size: int | None, most: int, start: int) -> Iterator[bytes]:
    parts = urlsplit(uri)
    if parts.netloc not in ("", "localhost") or not parts.path.startswith("/"):
        raise DataRefused(uri, "a file: URI is file:/// and an absolute path")
    try:
        path = Path(unquote(parts.path))
        if not _is_below(path.resolve(), folders):
            raise DataRefused(uri, "it is not below any of QUORATE_DATA_FOLDERS")
        with _open(path) as file:
            if not _is_below(Path(f"/proc/self/fd/{file.fileno()}").readlink(), folders):
                raise DataRefused(uri, "it was moved out of QUORATE_DATA_FOLDERS while it was opened")
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise DataUnavailable(uri, "there is no such file")
            if status.st_size > most or size not in (None, status.st_size):
                raise DataSizeMismatch(most if size is None else size, status.st_size)
            file.seek(start)
            while piece := file.read(READ_BYTES):
                yield piece
    except (FileNotFoundError, IsADirectoryError) as error:
        raise DataUnavailable(uri, "there is no such file") from error
    except (OSError, ValueError) as error:
        raise DataUnavailable(uri, f"it cannot be read: {error}") from error


def _is_below(path: Path, folders: tuple[Path, ...]) -> bool:
    return any(path.is_relative_to(folder.resolve()) for folder in folders)


def _open(path: Path) -> BinaryIO:
    """The file, without waiting for whoever should write to it if it is a pipe."""
    return open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK))


def _read_store(
    uri: str, scheme: str, settings: WorkerSettings, deadline: float, size: int | None, most: int, start: int
) -> Iterator[bytes]:
    """By one of fsspec's asynchronous file systems: of these each call can be bounded in time."""
    try:
        store, path = open_store(uri, scheme, signed=settings.data_store_credentials)
        found = store.info(path, timeout=_left(deadline))
        if found["type"] != "file":
            raise DataUnavailable(uri, "it is no object")
        got = int(found["size"])
        if got > most or size not in (None, got):
            raise DataSizeMismatch(most if size is None else size, got)
        for at in range(start, got, STORE_BYTES):
            end = min(at + STORE_BYTES, got)
            piece = store.cat_file(path, start=at, end=end, timeout=_left(deadline))
            if len(piece) != end - at:
                raise DataUnavailable(uri, "it answers with another part than it was asked for")
            yield piece
    except (DataSizeMismatch, DataUnavailable, DataRefused):
        raise
    except FileNotFoundError as error:
        raise DataUnavailable(uri, "there is no such object") from error
    except TimeoutError as error:
        raise DataUnavailable(uri, "it took longer than data_seconds allows") from error
    except Exception as error:  # each store has errors of its own, and some of them name credentials
        raise DataUnavailable(uri, f"it cannot be read: {type(error).__name__}") from error


def open_store(uri: str, scheme: str, *, signed: bool) -> tuple[Any, str]:
    """fsspec's file system for a URI, and the path in it; `signed`: with the credentials that its configuration leads to.

    Raises DataRefused where it is not installed or cannot be bounded in time, ValueError for a URI that it does not take.
    """
    try:
        import fsspec
        from fsspec.asyn import AsyncFileSystem

        kind = fsspec.get_filesystem_class(scheme)  # type: ignore[no-untyped-call]
    except (ImportError, ValueError) as error:
        extra = "s3" if scheme == "s3" else scheme
        raise DataRefused(uri, f"what reads {scheme}: is not installed: pip install 'quorate[{extra}]'") from error
    if not issubclass(kind, AsyncFileSystem):
        raise DataRefused(uri, f"what reads {scheme}: cannot be bounded in time")
    given: dict[str, Any] = {"config_kwargs": PATIENCE} if scheme == "s3" else {}
    store = kind(**given, **({} if signed else {"anon": True}), skip_instance_cache=True, use_listings_cache=False)
    return store, str(kind._strip_protocol(uri))


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left
