"""The wheel, installed outside the tree: `contracts` and `models` are generic names, so nothing may lean on the tree."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import venv
from pathlib import Path

import pytest

PROJECT = Path(__file__).parent.parent

LOOK = """
import contracts, models, coordinator, oracle_worker
from contracts.abi import artifact
from models import zoo
assert not contracts.__file__.startswith({tree!r}), contracts.__file__
assert artifact("ComputeOracle").deployed_bytes > 0
for name in zoo.names():
    rows, logits = zoo.load(name).read_vectors()
    assert len(rows) == len(logits)
print(",".join(zoo.names()))
"""


@pytest.fixture(scope="module")
def outside(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtual environment with nothing but the wheel, and the dependencies of this one behind it."""
    folder = tmp_path_factory.mktemp("wheel")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation"]
    source = folder / "source"
    listing = subprocess.run(["git", "ls-files"], cwd=PROJECT, capture_output=True, text=True, check=True)
    for name in listing.stdout.splitlines():
        if (PROJECT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((PROJECT / name).read_bytes())
    subprocess.run([*build, "--wheel-dir", str(folder), str(source)], check=True, capture_output=True)
    venv.create(folder / "venv", with_pip=False)
    site = next((folder / "venv" / "lib").glob("python*/site-packages"))
    (wheel,) = folder.glob("quorate-*.whl")
    install = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--target", str(site)]
    subprocess.run([*install, str(wheel)], check=True, capture_output=True)
    # last on the path, and without its .pth files: the tree itself cannot come in through an editable install
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "venv"


def test_the_installed_wheel_brings_artifacts_and_zoo(outside: Path) -> None:
    python = outside / "bin" / "python"
    look = LOOK.format(tree=str(PROJECT))
    done = subprocess.run([python, "-c", look], cwd=outside, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "wine-grading" in done.stdout


def test_the_installed_wheel_brings_the_command_and_no_tests(outside: Path) -> None:
    site = next((outside / "lib").glob("python*/site-packages"))
    done = subprocess.run(
        [outside / "bin" / "python", "-m", "coordinator.cli", "--help"],
        cwd=outside,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "verdict" in done.stdout
    assert not (site / "tests").exists()
    assert not (site / "benchmarks").exists()
    assert (site / "contracts" / "py.typed").exists()
