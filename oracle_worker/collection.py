"""The signer's collection of chunk roots, on disk: when a job's last one is there, they combine into its root."""

from __future__ import annotations

import logging
from pathlib import Path

from contracts.merkle import HASH_BYTES, combine
from oracle_worker import disk
from oracle_worker.chunks import ChunkPlan
from oracle_worker.result import WorkerError

log = logging.getLogger(__name__)


class ChunkConflict(WorkerError):
    """Two roots arrived for one chunk: one of the compute machines is wrong, and it is unknown which."""

    def __init__(self, job_id: bytes, chunk: int, first: bytes, second: bytes) -> None:
        super().__init__(
            f"job 0x{job_id.hex()}, chunk {chunk}: 0x{first.hex()} and 0x{second.hex()} were computed for it. Both are "
            "dropped and it is computed again; if this recurs, take the machine that differs out of service"
        )
        self.job_id = job_id
        self.chunk = chunk


class Collection:
    """Chunk roots by job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, job_id: bytes, cut: ChunkPlan, chunk: int, root: bytes) -> None:
        """Keep a chunk's root; the same one again changes nothing. Raises ChunkConflict, IndexError."""
        cut.items(chunk)
        known = self._read(job_id, cut, chunk)
        if known is None:
            disk.write(self._path(job_id, cut, chunk), root)
        elif known != root:
            self._path(job_id, cut, chunk).unlink(missing_ok=True)
            raise ChunkConflict(job_id, chunk, known, root)

    def is_begun(self, job_id: bytes) -> bool:
        """Whether any of a job's chunks is there."""
        folder = self.folder / job_id.hex()
        return folder.is_dir() and any(folder.iterdir())

    def missing(self, job_id: bytes, cut: ChunkPlan) -> list[int]:
        """The chunks whose root is not there."""
        folder = self.folder / job_id.hex()
        present = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        return [chunk for chunk in range(cut.count) if self._path(job_id, cut, chunk).name not in present]

    def root(self, job_id: bytes, cut: ChunkPlan) -> bytes | None:
        """The job's root, or None while chunks are missing."""
        roots = [self._read(job_id, cut, chunk) for chunk in range(cut.count)]
        present = [root for root in roots if root is not None]
        if len(present) < cut.count:
            return None
        return combine(present, cut.depth, cut.item_count).root

    def forget(self, job_id: bytes) -> None:
        """Drop a finished job's roots."""
        folder = self.folder / job_id.hex()
        for path in folder.glob("*"):
            path.unlink(missing_ok=True)
        if folder.is_dir():
            folder.rmdir()

    def _path(self, job_id: bytes, cut: ChunkPlan, chunk: int) -> Path:
        return self.folder / job_id.hex() / f"{chunk}-of-depth-{cut.depth}.root"

    def _read(self, job_id: bytes, cut: ChunkPlan, chunk: int) -> bytes | None:
        try:
            root = self._path(job_id, cut, chunk).read_bytes()
        except FileNotFoundError:
            return None
        return root if len(root) == HASH_BYTES else None
