"""A small part of `make determinism`, for every day: two emulated processors, whose ordinary int8 results differ."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnxruntime.quantization.quant_utils import QuantType

from benchmarks.ordinary_int8 import to_int8
from models import zoo
from tests.determinism.__main__ import SWEEP
from tests.determinism.cases import Case, exact
from tests.determinism.platforms import PLATFORMS, NoPlatform
from tests.determinism.table import markdown
from tests.models.random_graphs import OPERATORS, random_graph
from tests.requirements import missing

ROWS = 64
PLATFORM = {platform.name: platform for platform in PLATFORMS}


def sweep(name: str, folders: list[Path], *options: str) -> dict[str, dict[str, Any]]:
    """The lines of sweep.py on a platform, by case."""
    try:
        command = PLATFORM[name].command()
    except NoPlatform as lacking:
        missing("qemu", str(lacking))
    done = subprocess.run(
        [*command, f"{SWEEP}", *map(str, folders), *options], capture_output=True, text=True, timeout=550, check=False
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return {line["case"]: line for line in map(json.loads, done.stdout.splitlines())}


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, dict[str, Any]]]:
    """By platform and case: two exact models, one that is not, and one whose expected logits are wrong in one bit."""
    folder = tmp_path_factory.mktemp("cases")
    wine = zoo.load("wine-grading").network
    rows = np.random.default_rng(2).integers(0, 256, (ROWS, wine.row_length), dtype=np.uint8)
    int8 = Case("ordinary-int8-wine-grading", to_int8(wine, rows, QuantType.QUInt8), rows.astype(np.float32))
    made = [exact("zoo-wine-grading", wine, ROWS), exact("graph", random_graph(4, "extreme", list(OPERATORS)), ROWS)]
    folders = [case.write(folder) for case in [*made, int8, exact("broken", wine, 16)]]
    logits = np.load(folders[-1] / "logits.npy")
    logits[3, 1] ^= 1
    np.save(folders[-1] / "logits.npy", logits)
    first = sweep("SandyBridge", folders, "--levels=all,none", f"--keep={folders[2]}")
    return {"SandyBridge": first, "Haswell": sweep("Haswell", folders, "--levels=all,none")}


@pytest.mark.slow
@pytest.mark.parametrize("platform", ["SandyBridge", "Haswell"])
@pytest.mark.parametrize("case", ["zoo-wine-grading", "graph"])
def test_an_emulated_processor_gives_the_specifications_bits_at_every_setting(
    lines: dict[str, dict[str, dict[str, Any]]], platform: str, case: str
) -> None:
    line = lines[platform][case]
    assert line["different"] == {}
    assert line["runs"] == 16 and line["rows"] == ROWS and line["values"] > 0


def test_ordinary_int8_gives_other_results_on_the_other_processor(
    lines: dict[str, dict[str, dict[str, Any]]],
) -> None:
    """The reason for the canonical form, and proof that the emulated processors take different ways."""
    assert max(lines["Haswell"]["ordinary-int8-wine-grading"]["different"].values()) > 0


def test_one_bit_in_one_row_is_a_difference_at_every_setting_that_has_the_row(
    lines: dict[str, dict[str, dict[str, Any]]],
) -> None:
    for platform in lines.values():
        different = platform["broken"]["different"]  # one by one only one of the four has it
        assert set(different.values()) == {1} and len(different) == 3 * 4 + 1


def test_the_table_counts_what_differs() -> None:
    of = {"rows": 5, "runs": 2, "values": 30, "seconds": 1}
    told = [
        {"platform": "native", "case": "zoo-a", "different": {}, **of},
        {"platform": "here", "case": "zoo-a", "different": {"all": 2, "none": 1}, **of},
        {"platform": "native", "case": "ordinary-int8-a", "different": {}, **of},
        {"platform": "here", "case": "ordinary-int8-a", "different": {"all": 4}, **of},
    ]
    text = markdown(told)
    assert (
        "| here | 1 | 2 settings | 5 | 30 | **3** |" in text and "| native | 1 | 2 settings | 5 | 30 | **0** |" in text
    )
    assert "ordinary static int8, a | 4 of 5 |" in text
