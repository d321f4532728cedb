"""A PostgreSQL server of the tests' own: on loopback, with a password, gone with them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from tests.requirements import missing

PASSWORD = "s3cret-of-the-tests"
_START_SECONDS = 30.0


@dataclass
class Server:
    """It runs."""

    folder: Path
    binaries: Path
    port: int
    process: subprocess.Popen[bytes]

    def url(self, schema: str | None = None, *, password: str = PASSWORD) -> str:
        """Of the database, as QUORATE_DATABASE takes it."""
        return f"postgresql://quorate:{password}@127.0.0.1:{self.port}/postgres" + (
            f"?schema={schema}" if schema else ""
        )

    def execute(self, statement: str) -> list[tuple[object, ...]]:
        """What an administrator does beside the store."""
        with psycopg.connect(self.url(), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def stop(self) -> None:
        """At once: as after a crash."""
        self.process.send_signal(signal.SIGQUIT)
        self.process.wait(30)

    def start(self) -> None:
        """Again, on the same port and content."""
        self.process = _start(self.binaries, self.folder, self.port)


@contextmanager
def postgres_server(port: int) -> Iterator[Server]:
    """A new server. Skips the test where there is none to start."""
    binaries = _binaries()
    folder = Path(tempfile.mkdtemp(prefix="quorate-postgres-"))
    try:
        secret = folder / "password"
        secret.write_text(PASSWORD)
        if os.geteuid() == 0:  # which it refuses to run as
            shutil.chown(folder, "postgres")
            shutil.chown(secret, "postgres")
        made = [binaries / "initdb", "-D", folder / "data", "-U", "quorate", "--auth", "scram-sha-256", "--no-sync"]
        subprocess.run(
            [*made, "--encoding", "UTF8", "--locale", "C", "--pwfile", secret],
            check=True,
            capture_output=True,
            **_as_its_user(),
        )
        server = Server(folder, binaries, port, _start(binaries, folder, port))
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _binaries() -> Path:
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    on_path = shutil.which("initdb")
    if on_path:
        return Path(on_path).parent
    if not found:
        missing("postgresql", "apt-get install postgresql")
    return found[-1].parent


def _as_its_user() -> dict[str, str]:
    return {"user": "postgres", "group": "postgres"} if os.geteuid() == 0 else {}


def _start(binaries: Path, folder: Path, port: int) -> subprocess.Popen[bytes]:
    settings = {
        "listen_addresses": "127.0.0.1",
        "unix_socket_directories": "",
        "fsync": "off",
        "shared_buffers": "16MB",
    }
    given = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    process = subprocess.Popen(
        [binaries / "postgres", "-D", folder / "data", "-p", str(port), *given],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd=folder,
        **_as_its_user(),
    )
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            psycopg.connect(f"postgresql://quorate:{PASSWORD}@127.0.0.1:{port}/postgres", connect_timeout=5).close()
            return process
        except psycopg.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                process.kill()
                raise
            time.sleep(0.1)
