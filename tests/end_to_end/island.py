"""One operator as it is deployed: a Redis of its own, and coordinator, signer and compute as processes of their own.

Each role has its own work folder, as on machines of its own; what they share is the broker's URL and the message secret.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from eth_account import Account
from eth_typing import ChecksumAddress

from contracts import keystore
from tests.end_to_end.services import RedisServer, Service

Role = Literal["coordinator", "signer", "compute"]
ROLES: tuple[Role, ...] = ("compute", "signer", "coordinator")
READY: dict[Role, tuple[bytes, int]] = {
    "compute": (b" ready.", 3),
    "signer": (b" ready.", 1),
    "coordinator": (b": following ", 1),
}
"""What a role's log says, and how often, once it works: compute is three Celery workers."""
PASSPHRASE = "an operator's passphrase"
WEAK_SCRYPT = 4096
"""Work factor of the keystores here: these keys are everybody's."""


@dataclass(frozen=True)
class Surroundings:
    """What all operators have in common."""

    rpc_url: str
    deployment: Path
    data_folder: Path


class Island:
    """One operator. `falsified_rows`: those that its compute lies about; none, if it is honest; `settings`: instead of those
    that it would have."""

    def __init__(
        self,
        name: str,
        key: bytes,
        folder: Path,
        around: Surroundings,
        falsified_rows: frozenset[bytes] = frozenset(),
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.key = key
        self.folder = folder
        self.falsified_rows = falsified_rows
        self.services: dict[Role, Service] = {}
        self._logged: dict[Role, int] = {}
        """How long a role's log was when it was last started."""
        self.environment: dict[str, str] = {}
        """Further variables of processes that are started from now on."""
        self._settings = dict(settings or {})
        self._around = around
        self._exit = ExitStack()
        folder.mkdir(parents=True)
        self._keystore = keystore.import_key(folder / "keys", key, PASSPHRASE, iterations=WEAK_SCRYPT).path
        (folder / "passphrase").touch(0o600)
        (folder / "passphrase").write_text(PASSPHRASE + "\n")
        (folder / "falsified.json").write_text(json.dumps([row.hex() for row in falsified_rows]))

    @property
    def address(self) -> ChecksumAddress:
        """The worker's address."""
        address: ChecksumAddress = Account.from_key(self.key).address
        return address

    def open_broker(self) -> None:
        """Start its Redis; again on the same port, with nothing in it."""
        port = self.broker.port if hasattr(self, "broker") else None
        self.broker = RedisServer(self.folder / "redis", port)
        self._exit.callback(self.broker.close)

    def start(self, role: Role) -> None:
        """Start one role; it need not be ready when this returns."""
        self._logged[role] = self.log(role).stat().st_size if self.log(role).exists() else 0
        service = Service(f"{self.name}'s {role}", self._command(role), self.log(role), self._environment(role))
        self._exit.callback(service.close)
        self.services[role] = service

    def is_ready(self, role: Role) -> bool:
        """Whether a role that was started says that it works."""
        with self.log(role).open("rb") as file:
            file.seek(self._logged[role])
            said = file.read()
        return said.count(READY[role][0]) >= READY[role][1]

    def log(self, role: Role) -> Path:
        """A role's log, of all its lives."""
        return self.folder / f"{role}.log"

    def wipe(self, role: Role) -> None:
        """Lose everything that a role had on disk."""
        shutil.rmtree(self.folder / role)

    def tell_to_stop(self) -> None:
        """Ask everything to end; `close` waits for it."""
        for service in self.services.values():
            service.tell_to_stop()

    def close(self) -> None:
        """End everything."""
        self._exit.close()

    def _command(self, role: Role) -> list[str]:
        program = ["-m", "coordinator.cli.main"]
        if role == "coordinator":
            return [sys.executable, *program, "coordinator", "--worker", self.address]
        if role == "compute" and self.falsified_rows:
            program = ["-m", "tests.end_to_end.lying_worker", str(self.folder / "falsified.json")]
        return [sys.executable, *program, "worker", "--role", role]

    def _environment(self, role: Role) -> dict[str, str]:
        """The surroundings' QUORATE_ variables do not reach it; only the signer knows of a key."""
        settings: dict[str, object] = {
            "HOME": self.folder / "home",
            "RPC_URL": self._around.rpc_url,
            "DEPLOYMENT": self._around.deployment,
            "BROKER_URL": self.broker.url,
            "CONFIRMATIONS": 1,
        }
        if role == "coordinator":
            settings |= {
                "DATABASE": self.folder / role / "coordinator.sqlite",
                "POLL_SECONDS": 0.5,
                "RETRY_SECONDS": 3,
                "TURN_SECONDS": 2,
            }
        else:
            settings |= {"WORK_FOLDER": self.folder / role, "MESSAGE_SECRET": self.folder / "message.secret"}
        if role == "signer":
            settings |= {"KEY": self._keystore, "PASSPHRASE_FILE": self.folder / "passphrase"}
            # a liar spends nothing on demanding what it knows to be right
            settings |= {"MOST_BOND": 0} if self.falsified_rows else {}
        if role == "compute":
            settings |= {"WORKER": self.address, "DATA_FOLDERS": self._around.data_folder}
        settings |= self._settings
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
        threads = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}  # twenty processes share the machine
        return {
            **clean,
            **threads,
            **self.environment,
            **{f"QUORATE_{name}": str(value) for name, value in settings.items()},
        }
