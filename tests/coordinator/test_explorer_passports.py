"""Passports that the dashboard shows: only what a worker's own key has signed, held against the specification here."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from coordinator.explorer import passports
from coordinator.explorer.passports import LONGEST_NAME, MOST_STAMPS, Passports, SignedPassport, StampState
from models import zoo
from models.program import compile_network, model_id
from oracle_worker.inference import OnnxInference
from oracle_worker.machine import this_machine
from oracle_worker.model_store import Model
from oracle_worker.passport import Passport, PassportStore, Stamp

NETWORK = zoo.load("wine-grading").network
MODEL = Model(model_id(compile_network(NETWORK)), NETWORK, Path("wine.onnx"))
KEY, OTHER = Account.from_key("0x" + "17" * 32), Account.from_key("0x" + "18" * 32)


@pytest.fixture(scope="module")
def stamp(tmp_path_factory: pytest.TempPathFactory) -> Stamp:
    """Of this machine."""
    made = OnnxInference(1, PassportStore(tmp_path_factory.mktemp("stamps"))).stamp(MODEL)
    assert made is not None
    return made


@pytest.fixture
def shelf(tmp_path: Path) -> Passports:
    return Passports(tmp_path, lambda: [MODEL])


def put(
    folder: Path, passport: Passport, name: str = "one", change: Callable[[dict[str, Any]], Any] | None = None
) -> None:
    content = passport.to_json()
    if change:
        change(content)
    (folder / f"{name}.json").write_text(json.dumps(content))


def signed(*stamps: Stamp, at: int = 1_800_000_000, key: Any = KEY) -> Passport:
    return Passport(this_machine(1), stamps).signed(key, at)


def shown(shelf: Passports, worker: Any = KEY) -> SignedPassport | None:
    shelf.look()
    return shelf.of(worker.address)


def test_a_passport_is_shown_under_its_signer_and_its_models_are_compared(
    shelf: Passports, tmp_path: Path, stamp: Stamp
) -> None:
    wrong, strange = replace(stamp, outputs_hash=bytes(32)), replace(stamp, model_id=b"\x07" * 32)
    put(tmp_path, signed(stamp, wrong, strange))
    found = shown(shelf)
    assert found is not None and found.issued_at == 1_800_000_000
    assert [one.state for one in found.stamps] == [StampState.EQUAL, StampState.DIFFERS, StampState.UNKNOWN]
    assert shown(shelf, OTHER) is None


def test_nobody_can_show_a_passport_for_another(shelf: Passports, tmp_path: Path, stamp: Stamp) -> None:
    put(tmp_path, signed(stamp), "renamed", lambda one: one.update(worker=OTHER.address))
    put(tmp_path, Passport(this_machine(1), (stamp,)), "unsigned")
    put(tmp_path, Passport(this_machine(1), (stamp,)), "claimed", lambda one: one.update(worker=OTHER.address))
    put(tmp_path, signed(stamp, key=OTHER), "changed", lambda one: one["machine"].update(cpu="a better one"))
    (tmp_path / "noise.json").write_bytes(os.urandom(1000))
    (tmp_path / "deep.json").write_text("[" * 100_000)
    (tmp_path / "huge.json").write_bytes(b" " * (1 << 21))
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "loop.json").symlink_to("loop.json")
    assert shown(shelf) is None and shown(shelf, OTHER) is None


def test_the_latest_passport_counts_and_one_that_was_taken_away_is_gone(
    shelf: Passports, tmp_path: Path, stamp: Stamp
) -> None:
    put(tmp_path, signed(stamp, at=20), "a")
    put(tmp_path, signed(stamp, at=10), "b")
    found = shown(shelf)
    assert found is not None and found.issued_at == 20
    (tmp_path / "a.json").unlink()
    found = shown(shelf)
    assert found is not None and found.issued_at == 10
    (tmp_path / "b.json").unlink()
    assert shown(shelf) is None


def test_whatever_a_signer_writes_is_bounded_text(shelf: Passports, tmp_path: Path, stamp: Stamp) -> None:
    machine = replace(this_machine(1), cpu="<script>\ud800" + "x" * 10_000, numpy=[["y"]])  # type: ignore[arg-type]
    strange = [replace(stamp, model_id=bytes([number]) * 32) for number in range(200)]
    put(tmp_path, Passport(machine, tuple(strange)).signed(KEY, 10**4000))
    found = shown(shelf)
    assert found is not None and len(found.cpu) == LONGEST_NAME and len(found.stamps) == MOST_STAMPS
    found.cpu.encode()
    assert found.numpy == "[['y']]"
    assert found.issued_at < 2**63


def test_the_specification_runs_once_a_model_however_many_passports_name_it(
    shelf: Passports, tmp_path: Path, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    import oracle_worker.passport as worker_passports

    ran: list[bytes] = []
    monkeypatch.setattr(worker_passports, "expected_stamp", lambda model: ran.append(model.id) or stamp)
    for number in range(5):
        put(tmp_path, signed(stamp, key=Account.create()), str(number))
        shelf.look()
    put(tmp_path, signed(replace(stamp, model_id=b"\x07" * 32)), "strange")
    shelf.look()
    assert ran == [MODEL.id]


def test_the_folder_is_followed_while_the_dashboard_runs(
    shelf: Passports, tmp_path: Path, stamp: Stamp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(passports, "LOOK_SECONDS", 0.02)
    with shelf.kept_current():
        put(tmp_path, signed(stamp))
        while shelf.of(KEY.address) is None:
            time.sleep(0.01)
    Passports().look()  # without a folder there are none, and nothing fails
    assert Passports().of(KEY.address) is None
