"""`quorate dashboard` as a person starts and stops it."""

from __future__ import annotations

import importlib.util
import socket
import time
from pathlib import Path

import httpx
import pytest

from coordinator.cli.failures import ExitCode
from coordinator.devnet import free_port
from tests.coordinator.cli.conftest import Chain, Cli
from tests.coordinator.cli.test_cli_operate import process


def test_a_dashboard_follows_the_chain_without_any_key_until_it_is_told_to_stop(home: Path, network: Chain) -> None:
    with process("dashboard", "--port", 0, "--confirmations", 0, "--json", home=home) as started:
        told = started.read_document()
        assert told["oracle"] == network.deployment.oracle
        assert told["url"].startswith("http://127.0.0.1:") and Path(told["database"]).is_relative_to(home)
        assert not (home / "keys").exists()
        overview = httpx.get(told["api"], timeout=60).json()
        assert overview["totals"]["jobs"] == 0
        assert "Quorate" in httpx.get(told["url"], timeout=60).text
        until = time.monotonic() + 90
        while httpx.get(f"{told['url']}/api/v1/health", timeout=60).status_code != 200:
            assert time.monotonic() < until
            time.sleep(0.2)
        for path in ("/", "/api/v1/overview"):
            assert httpx.get(told["url"] + path, headers={"host": "evil.example"}, timeout=60).status_code in (403, 421)
        code, err = started.stop()
        assert code == 0 and "Traceback" not in err


def test_a_name_that_it_is_reached_by_is_let_in_by_its_option(home: Path, network: Chain) -> None:
    with process("dashboard", "--port", 0, "--allow-host", "quorate.example", "--json", home=home) as started:
        url = started.read_document()["url"]
        for host, status in (("quorate.example", 200), ("localhost", 200), ("evil.example", 403)):
            assert httpx.get(url, headers={"host": host}, timeout=60).status_code == status, host


@pytest.mark.usefixtures("network")
def test_a_port_that_is_taken_is_said_with_what_to_do(cli: Cli) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        ran = cli("dashboard", "--port", taken.getsockname()[1])
    assert ran.code == ExitCode.USAGE and "choose --port" in ran.err


@pytest.mark.usefixtures("network")
@pytest.mark.parametrize("option", ["--data-folder", "--passport-folder"])
def test_a_folder_that_is_none_is_bad_input(cli: Cli, option: str, tmp_path: Path) -> None:
    ran = cli("dashboard", "--port", 0, option, tmp_path / "nowhere")
    assert ran.code == ExitCode.BAD_INPUT and option in ran.err


@pytest.mark.usefixtures("network")
def test_a_node_that_does_not_answer_is_said_at_once(cli: Cli) -> None:
    ran = cli("--network", "test", "--rpc", f"http://127.0.0.1:{free_port()}", "dashboard", "--port", 0)
    assert ran.code != 0 and "is the node running" in ran.err


@pytest.mark.usefixtures("network")
def test_what_is_not_installed_is_named_with_how_to_get_it(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *more: None if name == "nicegui" else find(name, *more)
    )
    ran = cli("dashboard", "--port", 0)
    assert ran.code == ExitCode.USAGE and "pip install 'quorate[dashboard]'" in ran.err
