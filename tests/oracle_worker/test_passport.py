"""A machine that is not exact gets no passport, and an operator without one computes and stakes nothing."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from numpy.typing import NDArray

from models import zoo
from models.probe import make_probe
from models.program import compile_network, model_id
from models.runtime import Runtime
from oracle_worker import duties, passport
from oracle_worker.inference import OnnxInference
from oracle_worker.machine import this_machine
from oracle_worker.model_store import Model
from oracle_worker.passport import BadPassport, Passport, PassportRefused, PassportStore, Stamp, expected_stamp
from oracle_worker.worker import RoleContexts
from tests.oracle_worker.stage import Stage

NETWORK = zoo.load("wine-grading").network
MODEL = Model(model_id(compile_network(NETWORK)), NETWORK, Path("wine.onnx"))
KEY = Account.from_key("0x" + "17" * 32)


class OffByOne(Runtime):
    """A processor that rounds one logit of one kind of row otherwise: what is wrong in one row of thousands."""

    def run(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        logits = super().run(rows)
        logits[(rows == 255).all(axis=1), 0] += 1
        return logits


class WrongAlone(Runtime):
    """Wrong only where a row is computed by itself: another kernel than for batches."""

    def run(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        logits = super().run(rows)
        return logits + 1 if len(rows) == 1 else logits


class Counting(Runtime):
    """Counts how many were made."""

    made = 0

    def __init__(self, *given: Any) -> None:
        Counting.made += 1
        super().__init__(*given)


def stamped(folder: Path, runtime: type[Runtime] = Runtime) -> Stamp | None:
    return OnnxInference(1, PassportStore(folder), runtime).stamp(MODEL)


def test_a_machine_that_is_exact_gets_a_stamp_of_what_the_specification_says(tmp_path: Path) -> None:
    stamp = stamped(tmp_path)
    assert stamp == expected_stamp(MODEL)
    assert stamp is not None and stamp.rows == len(make_probe(NETWORK).rows)


@pytest.mark.parametrize("runtime", [OffByOne, WrongAlone])
def test_a_runtime_that_is_off_by_one_is_refused_and_nothing_is_kept(tmp_path: Path, runtime: type[Runtime]) -> None:
    inference = OnnxInference(1, PassportStore(tmp_path), runtime)
    for _ in range(2):
        with pytest.raises(PassportRefused, match="must not stake"):
            inference.run(MODEL, np.zeros((1, NETWORK.row_length), np.uint8), 0)
    assert not list(tmp_path.iterdir())


def test_a_refused_machine_loses_the_stamp_that_it_had(tmp_path: Path) -> None:
    stamped(tmp_path)
    (kept,) = tmp_path.iterdir()
    content = json.loads(kept.read_text())
    content["machine"]["onnxruntime"] = "0.0.1"
    kept.write_text(json.dumps(content))
    with pytest.raises(PassportRefused):
        stamped(tmp_path, OffByOne)
    assert not kept.exists()


def test_what_passed_is_not_examined_again_until_the_machine_changes(tmp_path: Path) -> None:
    Counting.made = 0
    stamped(tmp_path, Counting)
    assert stamped(tmp_path, Counting) == expected_stamp(MODEL) and Counting.made == 1
    other = PassportStore(tmp_path)
    other.machine = replace(other.machine, onnxruntime="99.0")
    OnnxInference(1, other, Counting).stamp(MODEL)
    assert Counting.made == 2
    OnnxInference(2, PassportStore(tmp_path, threads=2), Counting).stamp(MODEL)
    assert Counting.made == 3


@pytest.mark.parametrize(
    "content", ["", "[]", "{}", '{"determinism_passport": 1}', "[" * 100_000, '{"determinism_passport": 9}']
)
def test_a_damaged_file_counts_as_none(tmp_path: Path, content: str) -> None:
    stamped(tmp_path)
    (kept,) = tmp_path.iterdir()
    kept.write_text(content)
    assert stamped(tmp_path) == expected_stamp(MODEL)


def test_a_stamp_of_another_model_under_this_ones_name_counts_as_none(tmp_path: Path) -> None:
    stamp = stamped(tmp_path)
    assert stamp is not None
    (kept,) = tmp_path.iterdir()
    kept.write_text(json.dumps(Passport(this_machine(1), (replace(stamp, model_id=bytes(32)),)).to_json()))
    assert stamped(tmp_path) == expected_stamp(MODEL)


def test_an_operator_whose_runtime_is_wrong_computes_nothing_to_commit_to(
    stage: Stage, wine: NDArray[np.uint8]
) -> None:
    wrong = OnnxInference(1, PassportStore(stage.folder / "passports"), OffByOne)
    wrong_one, right_one = stage.operator(inference=wrong), stage.operator()
    for operator in (wrong_one, right_one):
        operator.deposit(stage.seat_stake())
    posted = stage.post(wine, seats=1)
    duties.draw(right_one.roles.signer, posted.job)
    with pytest.raises(PassportRefused):
        wrong_one.messages(posted)
    assert right_one.messages(posted)
    assert "chunks are missing" in str(duties.commit(wrong_one.roles.signer, posted.job))


def test_a_worker_whose_machine_is_wrong_does_not_start(stage: Stage) -> None:
    operator = stage.operator()
    operator.roles.check_passports()
    names = {path.stem for path in operator.roles.settings.passport_folder.iterdir()}
    assert names == {model_id(compile_network(zoo.load(name).network)).hex() for name in zoo.names()}
    wrong = OnnxInference(1, PassportStore(stage.folder / "other"), OffByOne)
    with pytest.raises(PassportRefused):
        RoleContexts(operator.roles.settings, inference=wrong, account=operator.account).check_passports()


def test_a_worker_examines_only_the_models_that_it_serves(stage: Stage) -> None:
    operator = stage.operator(allowed_models=MODEL.id.hex())
    operator.roles.check_passports()
    (kept,) = operator.roles.settings.passport_folder.iterdir()
    assert kept.stem == MODEL.id.hex()


def signed() -> Passport:
    return Passport(this_machine(1), (expected_stamp(MODEL),)).signed(KEY, now=1_800_000_000)


def test_a_signed_passport_is_read_back_and_holds() -> None:
    back = Passport.from_json(json.loads(json.dumps(signed().to_json())))
    assert back == signed() and back.worker == KEY.address
    back.check_signature()


CHANGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "another worker": lambda one: one.update(worker=Account.from_key("0x" + "18" * 32).address),
    "another time": lambda one: one.update(issued_at=one["issued_at"] + 1),
    "another runtime": lambda one: one["machine"].update(onnxruntime="1.0"),
    "another processor": lambda one: one["machine"].update(cpu="a better one"),
    "a feature less": lambda one: one["machine"]["features"].pop(),
    "other outputs": lambda one: one["models"][0].update(outputs_hash="0x" + "00" * 32),
    "a model twice": lambda one: one["models"].append(one["models"][0]),
    "no signature": lambda one: one.update(signature=None),
    "half a signature": lambda one: one.update(signature=one["signature"][:40]),
    "zeros": lambda one: one.update(signature="0x" + "00" * 65),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=list(CHANGES))
def test_a_passport_that_was_changed_does_not_hold(change: Callable[[dict[str, Any]], Any]) -> None:
    content = signed().to_json()
    change(content)
    with pytest.raises(BadPassport):
        Passport.from_json(content).check_signature()


GARBLED: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no models": lambda one: one.pop("models"),
    "a hash too short": lambda one: one["models"][0].update(rows_hash="0x00"),
    "no hex": lambda one: one["models"][0].update(outputs_hash="zz"),
    "models of text": lambda one: one.update(models=["x"]),
    "no address": lambda one: one.update(worker="0x12"),
    "a machine too many": lambda one: one["machine"].update(more=1),
    "a list": lambda one: one.update(machine=[]),
    "a time beyond numbers": lambda one: one.update(issued_at=math.inf),
    "rows beyond numbers": lambda one: one["models"][0].update(rows=math.inf),
}


@pytest.mark.parametrize("change", GARBLED.values(), ids=list(GARBLED))
def test_a_garbled_passport_is_refused_with_what_is_wrong(change: Callable[[dict[str, Any]], Any]) -> None:
    content = signed().to_json()
    change(content)
    with pytest.raises(BadPassport):
        Passport.from_json(content)


def test_a_huge_file_is_not_read(tmp_path: Path) -> None:
    (tmp_path / "huge").write_bytes(b" " * (passport.MOST_BYTES + 1))
    with pytest.raises(BadPassport, match="more than"):
        passport.read(tmp_path / "huge")
    with pytest.raises(BadPassport):
        passport.read(Path("/dev/zero"))
