"""The processors that cases are run on: this one, and others that qemu's user mode emulates.

aarch64 needs a Python of its own: Debian's packages and PyPI's wheels for it are put into a folder that stands for its root.
Neither the system's packages nor its architectures change, and nobody has to be root.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

PROJECT = Path(__file__).parents[2]
AARCH64_ROOT = PROJECT / ".tools" / "aarch64"
_PYTHON = "python3.11"  # bookworm's
_PACKAGES = (
    f"{_PYTHON}-minimal", f"lib{_PYTHON}-minimal", f"lib{_PYTHON}-stdlib", "libc6", "libstdc++6", "libgcc-s1", "zlib1g",
    "libexpat1", "libssl3", "libffi8", "libbz2-1.0", "liblzma5",
)  # fmt: skip
_CPU_INFO = """processor\t: {}
BogoMIPS\t: 50.00
Features\t: fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp
CPU implementer\t: 0x41
CPU architecture: 8
CPU variant\t: 0x3
CPU part\t: 0xd0c
CPU revision\t: 1

"""


class NoPlatform(Exception):
    """A platform that cannot be had here; the text says what is missing."""


@dataclass(frozen=True)
class Platform:
    """cpu: qemu's name of the processor; None for the one at hand."""

    name: str
    machine: str = ""
    cpu: str | None = None

    def command(self) -> list[str]:
        """What begins the command line of a Python there. Raises NoPlatform."""
        if self.cpu is None:
            return [sys.executable]
        qemu = shutil.which(f"qemu-{self.machine}")
        if qemu is None:
            raise NoPlatform(f"qemu-{self.machine} is missing: apt-get install qemu-user")
        if self.machine == "x86_64":
            return [qemu, "-cpu", self.cpu, sys.executable]
        need_aarch64_root()
        packages = f"PYTHONPATH={AARCH64_ROOT / 'packages'}"
        return [qemu, "-cpu", self.cpu, "-L", f"{AARCH64_ROOT}", "-E", packages, f"{AARCH64_ROOT}/usr/bin/{_PYTHON}"]


PLATFORMS = (
    Platform("native"),
    Platform("aarch64", "aarch64", "neoverse-n1"),
    Platform("SandyBridge", "x86_64", "SandyBridge"),
    Platform("Haswell", "x86_64", "Haswell"),
    Platform("Nehalem", "x86_64", "Nehalem"),
)
"""ARMv8.2 with dot products, AVX without AVX2, AVX2 without VNNI, and SSE4.2 alone."""


def need_aarch64_root() -> None:
    """Make the folder that stands for aarch64's root, with the very versions that are installed here. Raises NoPlatform."""
    versions = [f"{name}=={version(name)}" for name in ("onnxruntime", "numpy")]
    stamp = AARCH64_ROOT / "complete"
    if stamp.exists() and stamp.read_text().split() == versions:
        return
    for tool in ("apt-get", "dpkg"):
        if shutil.which(tool) is None:
            raise NoPlatform(f"{tool} is missing: aarch64's Python is taken from Debian's packages")
    shutil.rmtree(AARCH64_ROOT, ignore_errors=True)
    downloads = AARCH64_ROOT / "downloads"
    downloads.mkdir(parents=True)
    _unpack_debian(downloads)
    _unpack_wheels(downloads, versions)
    shutil.rmtree(downloads)
    # cpuinfo, a part of ONNX Runtime, takes the processor's features from here, and qemu would show it the host's
    (AARCH64_ROOT / "proc").mkdir()
    (AARCH64_ROOT / "proc" / "cpuinfo").write_text("".join(map(_CPU_INFO.format, range(os.cpu_count() or 1))))
    stamp.write_text("\n".join(versions))


def _unpack_debian(downloads: Path) -> None:
    state = downloads / "apt"
    for folder in ("lists/partial", "archives/partial"):
        (state / folder).mkdir(parents=True)
    (state / "status").touch()
    settings = {
        "Dir::State": state, "Dir::State::Lists": state / "lists", "Dir::State::status": state / "status",
        "Dir::Cache": state, "APT::Architecture": "arm64", "APT::Architectures": "arm64", "APT::Sandbox::User": "",
    }  # fmt: skip
    apt = ["apt-get", "-qq", *(f"-o{name}={value}" for name, value in settings.items())]
    _do([*apt, "update"], downloads)
    _do([*apt, "download", *_PACKAGES], downloads)
    for package in sorted(downloads.glob("*.deb")):
        _do(["dpkg", "--extract", f"{package}", f"{AARCH64_ROOT}"], downloads)


def _unpack_wheels(downloads: Path, versions: list[str]) -> None:
    kinds = [f"--platform=manylinux_2_{minor}_aarch64" for minor in (28, 27, 17)]
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check", "download", "--no-deps"]
    only = ["--only-binary=:all:", f"--python-version={_PYTHON.removeprefix('python')}", *kinds]
    _do([*pip, *only, *versions], downloads)
    for wheel in downloads.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(AARCH64_ROOT / "packages")


def _do(command: list[str], folder: Path) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    if done.returncode:
        raise NoPlatform(f"{' '.join(command[:2])} … failed: {done.stderr.strip()[-400:]}")
