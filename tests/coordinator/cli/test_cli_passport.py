"""`quorate worker passport`, and staking, which asks for one."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from coordinator.cli.failures import ExitCode
from models import zoo
from models.runtime import Runtime
from oracle_worker import inference
from tests.coordinator.cli.conftest import Chain, Cli


@pytest.fixture
def wrong_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime as it is on a processor that saturates: a logit of the brightest row is off by one."""
    honest = Runtime.run

    def run(self: Runtime, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        logits = honest(self, rows)
        logits[(rows == 255).all(axis=1), 0] += 1
        return logits

    monkeypatch.setattr(Runtime, "run", run)


def test_a_machine_shows_that_it_is_exact_on_every_model_it_serves(cli: Cli, tmp_path: Path) -> None:
    ran = cli("worker", "passport", "--json", "--output", tmp_path / "passport.json")
    assert ran.code == 0, ran.err
    assert len(ran.data["models"]) == len(zoo.names()) and ran.data["machine"]["features"]
    assert json.loads((tmp_path / "passport.json").read_text()) == ran.data
    checked = cli("worker", "passport", "--verify", tmp_path / "passport.json", "--json")
    assert checked.code == 0 and checked.data["valid"] is True and "not signed" in checked.err
    assert {one["state"] for one in checked.data["models"]} == {"equals the specification"}


def test_a_passport_is_signed_with_the_operators_key(cli: Cli, requester: str, tmp_path: Path) -> None:
    file = tmp_path / "passport.json"
    assert cli("worker", "passport", "wine-grading", "--sign", "--output", file).code == 0
    ran = cli("worker", "passport", "--verify", file, "--json")
    assert ran.code == 0 and ran.data["worker"] == requester
    content = json.loads(file.read_text())
    content["machine"]["cpu"] = "another"
    file.write_text(json.dumps(content))
    forged = cli("worker", "passport", "--verify", file)
    assert forged.code == ExitCode.BAD_INPUT and "it was changed, or signed by another" in forged.err


def test_a_passport_of_other_outputs_is_seen_through(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "passport.json"
    cli("worker", "passport", "wine-grading", "--output", file)
    content = json.loads(file.read_text())
    content["models"][0]["outputs_hash"] = "0x" + "11" * 32
    file.write_text(json.dumps(content))
    ran = cli("worker", "passport", "--verify", file)
    assert ran.code == ExitCode.FAILED and "1 models differ" in ran.err


def test_a_file_that_is_no_passport_is_bad_input(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("hello")
    ran = cli("worker", "passport", "--verify", tmp_path / "file")
    assert ran.code == ExitCode.BAD_INPUT and "is no passport: not JSON" in ran.err
    assert cli("worker", "passport", "--verify", tmp_path / "none").code == ExitCode.BAD_INPUT
    assert cli("worker", "passport", "wine-grading", "--verify", tmp_path / "file").code == ExitCode.USAGE


@pytest.mark.usefixtures("wrong_machine")
def test_a_machine_that_is_not_exact_gets_none(cli: Cli, tmp_path: Path) -> None:
    ran = cli("worker", "passport", "--output", tmp_path / "passport.json")
    assert ran.code == ExitCode.FAILED and "must not stake" in ran.err and "probe row 1" in ran.err
    assert not (tmp_path / "passport.json").exists()


@pytest.mark.usefixtures("wrong_machine", "requester")
def test_who_computes_otherwise_does_not_stake(cli: Cli, network: Chain) -> None:
    before = network.nonce(0)
    ran = cli("stake", "deposit", "1 ether")
    assert ran.code == ExitCode.FAILED and "must not stake" in ran.err
    assert network.nonce(0) == before


@pytest.mark.usefixtures("wrong_machine", "requester")
def test_a_worker_that_computes_otherwise_does_not_start(cli: Cli, network: Chain) -> None:
    ran = cli("worker")
    assert ran.code == ExitCode.FAILED and "must not stake" in ran.err
    alone = cli("worker", "--role", "compute", "--broker", "redis://127.0.0.1:1/0")
    assert alone.code == ExitCode.FAILED and "must not stake" in alone.err


@pytest.mark.usefixtures("requester")
def test_stake_is_bonded_by_the_passport_of_the_machine_that_computes(
    cli: Cli, network: Chain, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "passport.json"
    assert cli("worker", "passport", "wine-grading", "--sign", "--output", file).code == 0
    monkeypatch.setattr(inference, "Runtime", None)  # the signer's own machine runs nothing
    before = network.nonce(0)
    assert cli("stake", "deposit", "1 gwei", "--passport", file).code == 0
    monkeypatch.setenv("QUORATE_PRIVATE_KEY", "42" * 32)
    ran = cli("stake", "deposit", "1 gwei", "--passport", file)
    assert ran.code == ExitCode.BAD_INPUT and "is the passport of" in ran.err
    assert network.nonce(0) == before + 1
