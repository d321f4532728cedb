"""What decides how this machine computes: its processor, the runtime, and on how many cores."""

from __future__ import annotations

import os
import platform
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from models.runtime import onnxruntime

_CPU_INFO = Path("/proc/cpuinfo")


@dataclass(frozen=True)
class Machine:
    """features: what the operating system says that the processor can do, in order of the alphabet."""

    architecture: str
    cpu: str
    features: tuple[str, ...]
    onnxruntime: str
    numpy: str
    threads: int

    def to_json(self) -> dict[str, Any]:
        """With a list of features."""
        return {**asdict(self), "features": list(self.features)}


def this_machine(threads: int) -> Machine:
    """The machine that this runs on."""
    told = _read_cpu_info()
    cpu = told.get("model name") or _arm_part(told) or platform.processor() or "unknown"
    features = told.get("flags") or told.get("Features") or ""
    return Machine(
        platform.machine(), cpu, tuple(sorted(features.split())), onnxruntime.__version__, np.__version__, threads
    )


def _read_cpu_info() -> dict[str, str]:
    """The first processor's lines; empty where there is no such file."""
    if os.name != "posix" or not _CPU_INFO.exists():
        return {}
    first = _CPU_INFO.read_text().partition("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def _arm_part(told: dict[str, str]) -> str:
    if "CPU part" not in told:
        return ""
    return f"implementer {told.get('CPU implementer')}, part {told['CPU part']}, variant {told.get('CPU variant')}"
