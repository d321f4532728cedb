"""What processes hold in memory, as Linux tells it."""

from __future__ import annotations

import os
from pathlib import Path


def peak(pid: int | str = "self") -> int:
    """Bytes of a process at its most. Not getrusage: its ru_maxrss is at least what the parent had when it started this one."""
    return _bytes_of(Path(f"/proc/{pid}/status"), "VmHWM")


def together(groups: set[int]) -> int:
    """Bytes of all processes of these process groups; what they share is counted once."""
    return sum(
        _proportional(path) for path in Path("/proc").iterdir() if path.name.isdigit() and _group(path) in groups
    )


def _group(process: Path) -> int | None:
    try:
        return os.getpgid(int(process.name))
    except ProcessLookupError:
        return None


def _proportional(process: Path) -> int:
    try:
        return _bytes_of(process / "smaps_rollup", "Pss")
    except (FileNotFoundError, ProcessLookupError):
        return 0  # it ended meanwhile


def _bytes_of(file: Path, name: str) -> int:
    line = next((line for line in file.read_text("ascii").splitlines() if line.startswith(f"{name}:")), "0 0 kB")
    return 1024 * int(line.split()[1])
