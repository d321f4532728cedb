"""No ONNX file, whoever made it, costs its reader much time or memory, or reads another file: it is refused, and says why."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from models.canonical import from_onnx
from models.float_constants import CannotQuantize
from models.float_model import FloatNetwork
from models.float_reader import read_float_model
from models.form import NotCanonical
from tests.models import hostile_canonical_files
from tests.models.exported_models import EXPORTS
from tests.models.hostile_files import FILES

MOST_SECONDS = 20  # of CPU time, for any one file; most take milliseconds
SAID = {
    "external data by absolute path": "stored in the file itself",
    "external data by relative path": "stored in the file itself",
    "external data of an endless device": "stored in the file itself",
    "external data of a constant": "stored in the file itself",
    "declared shape of exabytes": "holds more than 33554432 elements",
    "input of exabytes": "at most 98304 numbers",
    "cycle": "not computed from the features before it",
    "unknown domain": "'com.evil' is not accepted",
    "unnamed domain": "'com.evil' is not accepted",
    "giant initializer": "more than 67108864 bytes",
    "shared weights": "read too often",
    "doubling constants": "too large",
    "gathered constants": "too large",
    "broadcast constants": "too large",
    "doubling calls": "NaN or infinity",  # it came as far as the node after them
    "nested calls": "NaN or infinity",
    "branching tail": "values a row: at most",
    "doubling values": "values a row: at most",
    "pools of everything": "more than 4294967296 operations",
    "thousand images": "more than 16777216 activations",
    "huge dilation": "with its holes is too large",
    "overflowing scales": "NaN or infinity",
}


CANONICAL_SAID = {
    "packed numbers": "bias (4,) beside weights",
    "weights of exabytes": "holds more than 33554432 elements",
    "overflowing shape": "holds more than 33554432 elements",
    "compressed looking": "does not fit its type and shape",
    "external": "stored in the file itself",
    "empty tensor pieces": "more than 1048576 bytes besides tensor data",
    "padded to death": "1048576 in 5 are possible",
    "doubling concat": "1048576 in 5 are possible",
    "pools of everything": "more than 4294967296 operations",
    "many values": "more than 16777216 activations",
    "shared weights": "read over and over",
    "cycle": "no block before it gives",
    "unknown domain": "'com.evil' is not accepted",
    "huge stride": "at most 1048576",
}


@pytest.fixture(scope="module")
def answers() -> dict[str, dict[str, Any]]:
    return answers_of("hostile_files")


@pytest.fixture(scope="module")
def canonical_answers() -> dict[str, dict[str, Any]]:
    return answers_of("hostile_canonical_files")


def answers_of(module: str) -> dict[str, dict[str, Any]]:
    """What a process of limited memory said of each file."""
    command = [sys.executable, "-m", f"tests.models.{module}"]
    root = Path(__file__).parents[2]
    ran = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300, cwd=root)
    assert ran.returncode == 0, ran.stderr
    return {answer["file"]: answer for answer in map(json.loads, ran.stdout.splitlines())}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_soon_with_the_reason(answers: dict[str, dict[str, Any]], name: str) -> None:
    answer = answers[name]
    assert answer["kind"] == "refused", answer
    assert SAID.get(name, "") in answer["said"]
    assert answer["said"].isprintable() and len(answer["said"]) < 600
    assert answer["seconds"] < MOST_SECONDS


@pytest.mark.parametrize("name", hostile_canonical_files.FILES)
def test_a_hostile_canonical_file_is_refused_soon_with_the_reason(
    canonical_answers: dict[str, dict[str, Any]], name: str
) -> None:
    """By the one gate at registration, at a worker's start and in CI: from_onnx."""
    answer = canonical_answers[name]
    assert answer["kind"] == "refused", answer
    assert CANONICAL_SAID[name] in answer["said"]
    assert answer["said"].isprintable() and len(answer["said"]) < 600
    assert answer["seconds"] < MOST_SECONDS


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_float_file_is_not_canonical_either(name: str) -> None:
    with pytest.raises(NotCanonical):
        from_onnx(FILES[name]())


@pytest.mark.parametrize("name", EXPORTS)
def test_no_mutation_of_an_export_escapes_the_float_reader(name: str) -> None:
    """Whatever bytes come in, either CannotQuantize goes out or a network whose shapes fit."""
    good = EXPORTS[name]()
    chance = random.Random(int(os.environ.get("QUORATE_TEST_SEED", "6")))
    structure = [place for place in range(len(good)) if good[place] < 128]
    accepted = refused = 0
    for _ in range(400):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            place = min(chance.choice(structure), len(data) - 1)
            kind = chance.randrange(3)
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                del data[place : place + chance.randint(1, 8)]
            else:
                data[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
        try:
            network, _ = read_float_model(bytes(data))
        except CannotQuantize:
            refused += 1
        else:
            assert isinstance(network, FloatNetwork) and len(network.shapes[-1]) == 1
            accepted += 1
    assert refused > 50 and accepted > 0
