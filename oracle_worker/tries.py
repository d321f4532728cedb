"""The signer's record of how often a job's data could not be had: on disk, so that a restart does not begin anew."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oracle_worker import disk


@dataclass(frozen=True, slots=True)
class FailedTries:
    """The tries for one job's data; seconds of the chain's clock."""

    count: int
    began: int
    """When the first began."""
    failed: int
    """When the last ended."""

    @property
    def seconds(self) -> int:
        """For how long it was tried."""
        return self.failed - self.began


class TryLog:
    """Failed tries by job."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def add(self, job_id: bytes, began: int, failed: int) -> FailedTries:
        """Count a try; one that ended no later than the last one counted is a repeated message, and is not counted."""
        known = self.of(job_id)
        if known is None:
            tries = FailedTries(1, began, failed)
        elif failed > known.failed:
            tries = FailedTries(known.count + 1, min(known.began, began), failed)
        else:
            return known
        disk.write(self._path(job_id), f"{tries.count} {tries.began} {tries.failed}".encode())
        return tries

    def of(self, job_id: bytes) -> FailedTries | None:
        """What is known of a job's, or None."""
        try:
            count, began, failed = map(int, self._path(job_id).read_text("ascii").split())
        except (FileNotFoundError, ValueError):
            return None
        return FailedTries(count, began, failed)

    def forget(self, job_id: bytes) -> None:
        """Drop a finished job's."""
        self._path(job_id).unlink(missing_ok=True)

    def _path(self, job_id: bytes) -> Path:
        return self.folder / f"{job_id.hex()}.tries"
