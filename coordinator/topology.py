"""The processes of docker-compose.yml as plain processes: a chain, the dashboard, each operator's island of four.

Everything lies in one folder: logs, secrets (mode 600), databases, results. What ends is started again, as Compose would; all
are ended by their own pids.
"""

from __future__ import annotations

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

import redis
from eth_utils import to_checksum_address

from contracts.deployment import BadDeployment, Deployment
from contracts.endpoint import ChainError, Endpoint
from coordinator.devnet import free_port
from coordinator.devnet.anvil import need_anvil
from coordinator.devnet.secret_files import write as write_secrets

log = logging.getLogger(__name__)

START_SECONDS = 120.0
STOP_SECONDS = 30.0
"""How long a process may take to finish what it does."""
RESTART_SECONDS = (1.0, 30.0)
"""How long after its end a process is started again: at first, and at most."""
OPERATORS = ("ada", "ben", "cyd", "dan", "eve")


class NotStarted(Exception):
    """A process did not get ready; the text has the end of its log."""


@dataclass(frozen=True)
class Process:
    """One process to run. Its secrets are files that its environment names."""

    name: str
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    is_ready: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class Topology:
    """Where everything is. Ports are free ones on 127.0.0.1."""

    folder: Path
    operators: Sequence[str] = OPERATORS
    chain_port: int = 8545
    chain: str = "py-evm"
    """Which kind of development chain."""
    block_time: float = 1.0
    redis_server: str = "redis-server"
    ports: Mapping[str, int] = field(default_factory=dict)
    """Of the dashboard, of each Redis, and of each coordinator's and signer's monitoring, by process."""

    @classmethod
    def at(
        cls,
        folder: Path,
        operators: Sequence[str] = OPERATORS,
        chain_port: int = 8545,
        *,
        chain: str = "py-evm",
        block_time: float = 1.0,
    ) -> Topology:
        """A topology with ports of its own. Raises FileNotFoundError where there is no Redis, or not the chain wanted."""
        server = shutil.which("redis-server")
        if server is None:
            raise FileNotFoundError("redis-server is not installed: each operator needs its own (Debian: redis-server)")
        if chain == "anvil":
            need_anvil()
        names = ["dashboard", *(f"{one}-{role}" for one in operators for role in ("redis", "coordinator", "signer"))]
        ports = {name: free_port() for name in names}
        return cls(folder, tuple(operators), chain_port or free_port(), chain, block_time, server, ports)

    @property
    def deployment(self) -> Path:
        """The deployment file, which the chain writes."""
        return self.folder / "deployment" / "deployment.json"

    @property
    def rpc_url(self) -> str:
        """The chain's URL."""
        return f"http://127.0.0.1:{self.chain_port}"

    def secret(self, operator: str, kind: str) -> Path:
        """A secret file: keystore.json, passphrase, message."""
        return self.folder / "secrets" / f"{operator}.{kind}"

    def prepare(self) -> None:
        """Make folders and secrets, which are left alone where they are; what was known of an earlier chain is not."""
        shutil.rmtree(self.folder / "state", ignore_errors=True)  # the chain begins anew
        for name in ("logs", "deployment", "data", *(f"state/{one}" for one in self.operators), "state/dashboard"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        write_secrets(self.folder / "secrets", [*self.operators, "requester"], iterations=1 << 12)

    def processes(self) -> Iterator[Process]:
        """All of them, in the order in which they are started."""
        arguments = ["--port", str(self.chain_port), "--deploy", "--deployment-file", str(self.deployment)]
        if (self.chain, self.block_time) != ("py-evm", 1.0):  # else as docker-compose.yml says it
            arguments += ["--chain", self.chain, "--block-time", str(self.block_time)]
        home = {"QUORATE_HOME": str(self.folder / "home")}
        yield Process("chain", _quorate("devnet", *arguments), home, self._is_deployed)
        settings = {
            **home,
            "QUORATE_RPC_URL": self.rpc_url,
            "QUORATE_DEPLOYMENT": str(self.deployment),
            "QUORATE_CONFIRMATIONS": "1",  # a development chain does not reorganise
        }
        database = str(self.folder / "state" / "dashboard" / "dashboard.sqlite")
        shown = {"QUORATE_DATABASE": database, "QUORATE_DATA_FOLDERS": str(self.folder / "data")}
        command = _quorate("dashboard", "--port", str(self.ports["dashboard"]))
        yield Process("dashboard", command, {**settings, **shown})
        for operator in self.operators:
            address = json.loads(self.secret(operator, "keystore.json").read_text())["address"]
            yield from self._island(operator, to_checksum_address(address), settings)

    def _island(self, operator: str, address: str, settings: Mapping[str, str]) -> Iterator[Process]:
        port, state = self.ports[f"{operator}-redis"], self.folder / "state" / operator
        url = f"redis://127.0.0.1:{port}/0"
        bounds = ["--save", "", "--appendonly", "no", "--maxmemory", "256mb", "--maxmemory-policy", "noeviction"]
        command = [self.redis_server, "--bind", "127.0.0.1", "--port", str(port), "--dir", str(state), *bounds]
        yield Process(f"{operator}-redis", command, is_ready=lambda: _answers(url))
        shared = {**settings, "QUORATE_BROKER_URL": url}
        secret = {"QUORATE_MESSAGE_SECRET": str(self.secret(operator, "message"))}
        yield Process(
            f"{operator}-coordinator",
            _quorate("coordinator"),
            {
                **shared,
                "QUORATE_WORKER": address,
                "QUORATE_DATABASE": str(state / "coordinator.sqlite"),
                **self._port(f"{operator}-coordinator"),
            },
        )
        yield Process(
            f"{operator}-signer",
            _quorate("worker", "--role", "signer"),
            {
                **shared,
                **secret,
                "QUORATE_WORK_FOLDER": str(state / "signer"),
                "QUORATE_KEY": str(self.secret(operator, "keystore.json")),
                "QUORATE_PASSPHRASE_FILE": str(self.secret(operator, "passphrase")),
                **self._port(f"{operator}-signer"),
            },
        )
        yield Process(
            f"{operator}-compute",
            _quorate("worker", "--role", "compute"),
            {
                **shared,
                **secret,
                "QUORATE_WORKER": address,
                "QUORATE_WORK_FOLDER": str(state / "compute"),
                "QUORATE_DATA_FOLDERS": str(self.folder / "data"),
            },
        )

    def _port(self, name: str) -> dict[str, str]:
        return {"QUORATE_MONITORING_PORT": str(self.ports[name])}

    def _is_deployed(self) -> bool:
        try:
            code = Endpoint(self.rpc_url).ask("eth_getCode", Deployment.load(self.deployment).oracle, "latest")
        except (BadDeployment, ChainError):
            return False
        return len(code) > len("0x")


class Running:
    """The processes of a topology. `watch` starts again what ends; leaving the block ends all."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._running: dict[str, tuple[Process, subprocess.Popen[bytes]]] = {}
        self._again: dict[str, tuple[float, float]] = {}
        """When a process that ended is started again, and how long it waited for that."""

    @property
    def pids(self) -> dict[str, int]:
        """Process id by name."""
        return {name: made.pid for name, (_, made) in self._running.items()}

    def start(self, process: Process) -> None:
        """Start one and wait until it is ready. Raises NotStarted."""
        self._launch(process)
        until = time.monotonic() + START_SECONDS
        while not process.is_ready():
            ended = self._running[process.name][1].poll() is not None
            if ended or time.monotonic() > until:
                raise NotStarted(f"{process.name} did not start; its log ends: {self._tail(process.name)}")
            time.sleep(0.1)

    def watch(self, stop: threading.Event) -> None:
        """Start again what ends, until `stop` is set."""
        while not stop.wait(0.5):
            now = time.monotonic()
            for name, (process, made) in list(self._running.items()):
                if made.poll() is None:
                    continue
                if name not in self._again or self._again[name][0] < now - RESTART_SECONDS[1]:
                    self._again[name] = (now + RESTART_SECONDS[0], RESTART_SECONDS[0])
                    log.warning("%s ended with exit code %s; it is started again", name, made.returncode)
                if now >= self._again[name][0]:
                    _, waited = self._again[name]
                    self._launch(process)
                    longer = min(2 * waited, RESTART_SECONDS[1])
                    self._again[name] = (now + longer, longer)

    def close(self) -> None:
        """End all, the last started first: each is told, then waited for, then killed with all that it forked."""
        made = [popen for _, popen in reversed(self._running.values())]
        for one in made:
            if one.poll() is None:
                one.terminate()
        until = time.monotonic() + STOP_SECONDS
        for one in made:
            try:
                one.wait(max(0.1, until - time.monotonic()))
            except subprocess.TimeoutExpired:
                log.warning("process %d does not end: it is killed", one.pid)
            with suppress(ProcessLookupError):
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()
        self._running.clear()

    def _launch(self, process: Process) -> None:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
        with (self.folder / "logs" / f"{process.name}.log").open("ab") as output:
            made = subprocess.Popen(
                process.command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**clean, "PYTHONUNBUFFERED": "1", **process.environment},
                start_new_session=True,  # Ctrl-C reaches us alone, and we end the others in order
            )
        self._running[process.name] = (process, made)

    def _tail(self, name: str) -> str:
        lines = (self.folder / "logs" / f"{name}.log").read_text(errors="replace").splitlines()
        return " | ".join(lines[-10:])


@contextmanager
def running(topology: Topology) -> Iterator[Running]:
    """All processes of a topology, until the block ends. Raises NotStarted, OSError."""
    topology.prepare()
    made = Running(topology.folder)
    try:
        for process in topology.processes():
            made.start(process)
        yield made
    finally:
        made.close()


def _quorate(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "coordinator.cli.main", *arguments]


def _answers(url: str) -> bool:
    try:
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    except redis.RedisError:
        return False
