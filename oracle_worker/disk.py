"""Files that are whole or absent: what a crash at any moment leaves behind."""

from __future__ import annotations

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_DRAFT = ".draft-"


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


def evict(folder: Path, most_bytes: int, keep: frozenset[Path] = frozenset()) -> None:
    """Remove the files of a cache that were used longest ago until at most `most_bytes` are left."""
    files = []
    for path in folder.rglob("*"):
        try:
            if path.is_file():
                status = path.stat()
                files.append((status.st_mtime_ns, status.st_size, path))
        except FileNotFoundError:
            continue  # another process evicted it
    excess = sum(size for _, size, _ in files) - most_bytes
    for _, size, path in sorted(files):
        if excess <= 0:
            return
        if path not in keep and not path.name.startswith(_DRAFT):
            path.unlink(missing_ok=True)
            excess -= size


def touch(path: Path) -> None:
    """Mark a cached file as used now."""
    try:
        os.utime(path)
    except FileNotFoundError:
        return
