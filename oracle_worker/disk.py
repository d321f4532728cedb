"""Files that are whole or absent, and caches of them: what a crash at any moment leaves behind."""

from __future__ import annotations

import fcntl
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_DRAFT = ".draft-"
ABANDONED_SECONDS = 86_400.0
"""A draft that nobody wrote to for so long belongs to a process that is dead."""


@contextmanager
def writing(path: Path) -> Iterator[BinaryIO]:
    """A file that takes its name only when the block ends without an error; several processes may race, the last wins."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.parent / f"{_DRAFT}{secrets.token_hex(8)}"
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a small file, whole or not at all."""
    with writing(path) as file:
        file.write(content)


def write_once(path: Path, content: bytes) -> None:
    """Write a small file unless it is there: where several processes race, the first one's stays."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = path.parent / f"{_DRAFT}{secrets.token_hex(8)}"
    try:
        draft.write_bytes(content)
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink(missing_ok=True)


def is_locked(path: Path) -> bool:
    """Whether another holder has locked the file."""
    try:
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except FileNotFoundError:
        pass
    return False


def evict(folder: Path, most_bytes: int, keep: frozenset[Path] = frozenset()) -> int:
    """Remove the files of a cache that were used longest ago until at most `most_bytes` are left; how many bytes are too
    many all the same.

    Those in `keep`, those that somebody has locked and those that are needed (`touch`) stay.
    """
    now = time.time()
    files = []
    for path in folder.rglob("*"):
        try:
            if path.is_file() and not path.is_symlink():
                status = path.stat()
                files.append((status.st_mtime, status.st_size, path))
        except FileNotFoundError:
            continue  # another process evicted it
    excess = sum(size for _, size, _ in files) - most_bytes
    for used, size, path in sorted(files):
        is_draft = path.name.startswith(_DRAFT)
        if excess <= 0 and not is_draft:
            continue
        stays = used > (now - ABANDONED_SECONDS if is_draft else now)
        if not stays and path not in keep and not is_locked(path):
            path.unlink(missing_ok=True)
            excess -= size
    return max(excess, 0)


def touch(path: Path, seconds: float = 0.0) -> None:
    """Mark a cached file as used now, and as needed for so many seconds from now: until then it is not evicted."""
    try:
        until = max(time.time() + seconds, path.stat().st_mtime)
        os.utime(path, (until, until))
    except FileNotFoundError:
        return
