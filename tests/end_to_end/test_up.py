"""`quorate up`: everything starts, what dies is started again, Ctrl-C ends all, and no secret is anywhere but in its file."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
import requests

from contracts import keystore
from coordinator.devnet import dev_keys
from tests.requirements import missing

PATIENCE = 300.0


@pytest.fixture
def process(tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    if shutil.which("redis-server") is None:
        missing("redis-server", "install Debian's redis-server")
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    command = [sys.executable, "-m", "coordinator.cli.main", "--json", "up", "--operators", "1", "--port", "0"]
    started = subprocess.Popen(
        [*command, "--folder", str(tmp_path / "up")],
        env={**kept, "QUORATE_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    yield started
    if started.poll() is None:
        started.terminate()
        started.wait(90)


def until(holds: Callable[[], bool], what: str) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end, what
        time.sleep(0.2)


def is_running(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b"Z" not in Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[:1]


def is_healthy(port: int, path: str = "healthz") -> bool:
    try:
        return requests.get(f"http://127.0.0.1:{port}/{path}", timeout=5).status_code == 200
    except requests.ConnectionError:
        return False


def document(process: subprocess.Popen[bytes]) -> Any:
    assert process.stdout is not None
    text = ""
    while True:
        line = process.stdout.readline().decode()
        assert line, process.stderr.read().decode() if process.stderr else ""
        text += line
        try:
            return json.loads(text)
        except ValueError:
            continue


def everything_said(folder: Path, pids: list[int], broker: str) -> dict[str, bytes]:
    """Logs, arguments of processes, and all that is in the operator's Redis."""
    said = {str(path): path.read_bytes() for path in (folder / "logs").iterdir()}
    said |= {f"/proc/{pid}": Path(f"/proc/{pid}/cmdline").read_bytes() for pid in pids if is_running(pid)}
    with redis.Redis.from_url(broker) as client:
        for key in client.scan_iter():
            said[f"redis {key!r}"] = client.dump(key) or b""
    return said


def test_a_whole_topology_runs_as_plain_processes(process: subprocess.Popen[bytes], tmp_path: Path) -> None:
    facts = document(process)
    made = {one["process"]: one for one in facts["processes"]}
    assert set(made) == {"chain", "dashboard", "ada-redis", "ada-coordinator", "ada-signer", "ada-compute"}
    pids = [one["pid"] for one in made.values()]
    until(lambda: is_healthy(made["dashboard"]["port"], "api/v1/health"), "the dashboard is not healthy")
    for name in ("ada-coordinator", "ada-signer"):
        until(lambda name=name: is_healthy(made[name]["port"]), f"{name} is not healthy")  # type: ignore[misc]

    os.kill(made["ada-signer"]["pid"], signal.SIGKILL)
    until(lambda: not is_healthy(made["ada-signer"]["port"]), "the signer is dead")
    until(lambda: is_healthy(made["ada-signer"]["port"]), "the signer is started again")

    folder = tmp_path / "up"
    secrets = folder / "secrets"
    assert secrets.stat().st_mode & 0o077 == 0
    said = everything_said(folder, pids, f"redis://127.0.0.1:{made['ada-redis']['port']}/0")
    key = dev_keys(1)[0].hex()
    passphrase = (secrets / "ada.passphrase").read_text().strip()
    message = (secrets / "ada.message").read_text().strip()
    assert keystore.unlock(secrets / "ada.keystore.json", passphrase).key.hex().removeprefix("0x") == key
    for where, text in said.items():
        for secret in (key, passphrase, message):
            assert secret.encode() not in text, where
            assert bytes.fromhex(secret) not in text, where

    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == 0
    until(lambda: not any(map(is_running, pids)), "every process has ended")
    with pytest.raises(redis.ConnectionError):
        redis.Redis(port=made["ada-redis"]["port"]).ping()
