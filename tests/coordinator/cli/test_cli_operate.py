"""`devnet`, `deploy`, `worker`, `coordinator` and `doctor`: as processes where they are processes."""

from __future__ import annotations

import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from contracts.deployment import Contracts, Deployment
from contracts.endpoint import Endpoint
from coordinator import profiles
from coordinator.cli.failures import ExitCode
from coordinator.devnet import free_port
from tests.coordinator.cli.conftest import PASSPHRASE, Chain, Cli, keep_key
from tests.postgres_server import PASSWORD, Server
from tests.requirements import missing

PATIENCE = 90.0


class Process:
    """`quorate` in a process of its own; what it prints is read without waiting for its end."""

    def __init__(self, *arguments: object, home: Path, **environment: str) -> None:
        kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
        self._process = subprocess.Popen(
            [sys.executable, "-m", "coordinator.cli.main", *map(str, arguments)],
            env={**kept, "QUORATE_HOME": str(home), "PYTHONUNBUFFERED": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )

    def read_document(self) -> Any:
        """The first JSON document on stdout."""
        assert self._process.stdout is not None
        text = b""
        until = time.monotonic() + PATIENCE
        while time.monotonic() < until:
            ready, _, _ = select.select([self._process.stdout], [], [], 1)
            piece = os.read(self._process.stdout.fileno(), 65_536) if ready else b""
            text += piece
            try:
                return json.loads(text)
            except ValueError:
                if ready and not piece:
                    break
        self._process.kill()
        raise AssertionError(f"no JSON document: {text!r}, {self._process.communicate()[1].decode()[-2000:]}")

    def stop(self, number: signal.Signals = signal.SIGINT) -> tuple[int, str]:
        """Send the signal; the exit code and what was written to stderr."""
        self._process.send_signal(number)
        try:
            _, err = self._process.communicate(timeout=PATIENCE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            _, err = self._process.communicate()
            raise AssertionError(f"it did not stop: {err.decode()[-2000:]}") from None
        return self._process.returncode, err.decode()

    def close(self) -> None:
        """Leave nothing behind."""
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


@contextmanager
def process(*arguments: object, home: Path, **environment: str) -> Iterator[Process]:
    started = Process(*arguments, home=home, **environment)
    try:
        yield started
    finally:
        started.close()


# ---- devnet and deploy ----


def test_a_devnet_serves_with_contracts_and_a_profile_until_it_is_told_to_stop(home: Path, cli: Cli) -> None:
    with process("devnet", "--deploy", "--port", free_port(), "--json", home=home) as devnet:
        facts = devnet.read_document()
        assert profiles.load(home / profiles.FILE_NAME).choose(None).rpc_url == facts["url"]
        deployment = Deployment.load(Path(facts["file"]))
        contracts = Contracts(Endpoint(facts["url"], chain_id=31_337), deployment)
        assert contracts.oracle.bounds().min_window == 1
        assert len(facts["accounts"]) == 10 and "key" not in facts["accounts"][0]
        shown = cli("stake", "show", facts["accounts"][0]["account"], "--json").data
        assert shown["wallet"] == facts["balance_of_each"]
        code, _ = devnet.stop()
        assert code == 0
    gone = cli("stake", "show", facts["accounts"][0]["account"])
    assert gone.code == ExitCode.CHAIN


def test_a_port_that_is_taken_is_said_so(cli: Cli, network: Chain) -> None:
    port = network.url.rpartition(":")[2]
    ran = cli("devnet", "--port", port)
    assert ran.code == ExitCode.USAGE and "choose --port" in ran.err


def test_a_deployment_is_made_with_the_bounds_asked_for_and_never_overwritten(
    cli: Cli, network: Chain, requester: str, home: Path
) -> None:
    ran = cli("deploy", "--name", "mine", "--min-window", 7, "--max-window", 700, "--block-time", 1, "--json")
    assert ran.code == 0, ran.err
    assert cli("stake", "show", requester, "--network", "mine").code == 0
    made = Deployment.load(Path(ran.data["file"]))
    bounds = Contracts(Endpoint(network.url), made).oracle.bounds()
    assert (bounds.min_window, bounds.max_window) == (7, 700)
    before = network.nonce(0)
    again = cli("deploy", "--name", "mine")
    assert again.code == ExitCode.USAGE and "exists" in again.err
    assert network.nonce(0) == before


def test_bounds_that_make_no_sense_are_refused_by_name(cli: Cli, network: Chain, requester: str, home: Path) -> None:
    ran = cli("deploy", "--name", "bad", "--unbonding-period", 10)
    assert ran.code == ExitCode.REFUSED and "BadBound (name unbondingPeriod)" in ran.err
    assert "bad" not in profiles.load(home / profiles.FILE_NAME).networks


# ---- coordinator and worker ----


def test_a_topology_on_a_chain_that_is_not_here_does_not_start(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if shutil.which("redis-server") is None:
        missing("redis-server", "install Debian's redis-server")
    monkeypatch.setattr("coordinator.devnet.anvil.find_anvil", lambda: None)
    ran = cli("up", "--chain", "anvil", "--folder", tmp_path / "up")
    assert ran.code == ExitCode.BAD_INPUT and "npm install @foundry-rs/anvil" in ran.err
    assert not (tmp_path / "up").exists()


def test_an_observing_coordinator_catches_up_once(cli: Cli, network: Chain, home: Path) -> None:
    ran = cli("coordinator", "--once", "--confirmations", 0, "--json")
    assert ran.code == 0, ran.err
    assert ran.data["head"] is not None and ran.data["dispatched"] == 0
    assert list((home / "coordinator").glob("*.sqlite"))


def test_a_coordinator_keeps_its_database_on_a_server_and_never_says_the_password(
    cli: Cli, network: Chain, postgres: Server
) -> None:
    for url in (postgres.url("cli"), postgres.url("cli")):  # the second time it is there
        ran = cli("coordinator", "--once", "--confirmations", 0, "--database", url, "--json")
        assert ran.code == 0 and ran.data["head"] is not None, ran.err
    assert postgres.execute("SELECT value FROM cli.identity WHERE name = 'oracle'") == [(network.deployment.oracle,)]
    for wrong in (postgres.url("cli", password="wrong-" + PASSWORD), f"mysql://ada:{PASSWORD}@db/quorate"):
        ran = cli("coordinator", "--once", "--database", wrong)
        assert ran.code == ExitCode.BAD_INPUT and "QUORATE_DATABASE" in ran.err
        assert PASSWORD not in ran.err + ran.out


def test_a_corrupted_database_is_moved_aside_and_rebuilt(cli: Cli, network: Chain, tmp_path: Path) -> None:
    database = tmp_path / "c.sqlite"
    database.write_bytes(b"this is no database" * 1000)
    ran = cli("coordinator", "--once", "--confirmations", 0, "--database", database, "--json")
    assert ran.code == 0, ran.err
    assert "moved to" in ran.err and "c.sqlite.aside-" in ran.err
    (aside,) = tmp_path.glob("c.sqlite.aside-*")
    assert aside.read_bytes().startswith(b"this is no database"), "nothing is lost"
    assert database.read_bytes().startswith(b"SQLite format 3")


def test_a_coordinator_runs_until_it_is_told_to_stop(home: Path, network: Chain) -> None:
    with process("coordinator", "--json", home=home) as daemon:
        assert daemon.read_document()["watching"] == network.deployment.oracle
        code, err = daemon.stop(signal.SIGTERM)
        assert code == 0 and "Traceback" not in err


def test_a_coordinator_of_an_unreachable_or_wrong_chain_does_not_start(cli: Cli, network: Chain) -> None:
    ran = cli("coordinator", "--rpc", "http://127.0.0.1:1", "--network", "test")
    assert ran.code == ExitCode.CHAIN


def test_settings_that_cannot_be_are_named(cli: Cli, network: Chain, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUORATE_POLL_SECONDS", "often")
    ran = cli("coordinator", "--once")
    assert ran.code == ExitCode.BAD_INPUT and "QUORATE_POLL_SECONDS" in ran.err


@pytest.mark.parametrize("role", ["signer", "compute"])
def test_one_role_alone_needs_a_broker(cli: Cli, network: Chain, requester: str, role: str) -> None:
    ran = cli("worker", "--role", role)
    assert ran.code == ExitCode.USAGE and "--broker" in ran.err


def test_a_compute_process_without_a_key_must_be_told_whose_it_is(
    cli: Cli, network: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = cli("worker", "--role", "compute")
    assert ran.code == ExitCode.USAGE and "QUORATE_WORKER" in ran.err
    monkeypatch.setenv("QUORATE_WORKER", "0x" + "11" * 20)
    ran = cli("worker", "--role", "compute")
    assert ran.code == ExitCode.USAGE and "--broker" in ran.err


@pytest.mark.parametrize("option", ["--data-folder", "--model-folder"])
def test_a_folder_that_is_not_there_stops_a_worker_before_it_starts(
    cli: Cli, network: Chain, requester: str, tmp_path: Path, option: str
) -> None:
    ran = cli("worker", option, tmp_path / "nowhere")
    assert ran.code == ExitCode.BAD_INPUT and f"{tmp_path / 'nowhere'} is no folder" in ran.err


def test_a_worker_without_a_key_or_with_a_wrong_passphrase_does_not_start(
    cli: Cli, network: Chain, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran = cli("worker")
    assert ran.code == ExitCode.KEY and "quorate keys new" in ran.err
    keep_key(home, monkeypatch, 0)
    monkeypatch.setenv("QUORATE_PASSPHRASE", "wrong")
    ran = cli("worker")
    assert ran.code == ExitCode.KEY and "wrong passphrase" in ran.err


def test_a_whole_operator_starts_and_stops_in_one_process(
    home: Path, network: Chain, monkeypatch: pytest.MonkeyPatch
) -> None:
    address = keep_key(home, monkeypatch, 3)
    with process("worker", "--json", home=home, QUORATE_PASSPHRASE=PASSPHRASE) as worker:
        facts = worker.read_document()
        assert facts["worker"] == address
        code, err = worker.stop()
        assert code == 0 and "Traceback" not in err, err
        assert "Nothing is staked" in err and "No hostname was supplied" not in err


# ---- doctor ----


def test_a_healthy_set_up_has_no_problem(cli: Cli, network: Chain, requester: str) -> None:
    ran = cli("doctor", "--json")
    states = {check["check"]: check["state"] for check in ran.data["checks"]}
    assert ran.code == 0 and ran.data["problems"] == 0, ran.data
    assert {"python", "packages", "onnx runtime", "node", "deployment", "key", "balance", "stake", "broker"} <= set(
        states
    )
    assert "ok" in cli("doctor").out


def test_each_fault_of_a_set_up_is_found_and_the_others_are_still_looked_for(
    cli: Cli, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    profiles.save(home / profiles.FILE_NAME, profiles.Network("dead", "http://127.0.0.1:1", 1, tmp_path / "none.json"))
    folder = tmp_path / "models"
    folder.mkdir()
    (folder / "broken.onnx").write_bytes(b"broken")
    monkeypatch.setenv("QUORATE_MODEL_FOLDERS", f"{folder},{tmp_path / 'absent'}")
    monkeypatch.setenv("QUORATE_BROKER_URL", "redis://:hidden@127.0.0.1:1/0")
    ran = cli("doctor", "--json")
    found = {check["check"]: check for check in ran.data["checks"]}
    assert ran.code == ExitCode.FAILED
    assert found["node"]["state"] == "problem" and "127.0.0.1:1" in found["node"]["detail"]
    assert found["deployment"]["state"] == "skipped"
    assert found["key"]["state"] == "problem" and "quorate keys new" in found["key"]["advice"]
    assert found["broker"]["state"] == "problem" and "hidden" not in ran.out
    assert found["folders"]["state"] == "problem" and "absent" in found["folders"]["detail"]
    assert "broken.onnx" in ran.out


def test_the_doctor_sees_an_empty_wallet_a_readable_key_and_a_chain_that_was_reset(
    cli: Cli, network: Chain, home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUORATE_PASSPHRASE", PASSPHRASE)
    cli("keys", "new")
    (key,) = (home / "keys").iterdir()
    key.chmod(0o644)
    reset = json.loads(network.deployment_file.read_text()) | {"oracle": "0x" + "98" * 20}
    found = {check["check"]: check for check in cli("doctor", "--json").data["checks"]}
    assert found["balance"]["state"] == "problem" and "forfeited" in found["balance"]["advice"]
    assert found["key"]["state"] == "warning" and "chmod 600" in found["key"]["advice"]
    assert found["stake"]["state"] == "warning"
    (tmp_path / "reset.json").write_text(json.dumps(reset))
    monkeypatch.setenv("QUORATE_DEPLOYMENT", str(tmp_path / "reset.json"))
    found = {check["check"]: check for check in cli("doctor", "--json").data["checks"]}
    assert found["deployment"]["state"] == "problem" and "no code at oracle" in found["deployment"]["detail"]
