"""The demo's five operators as processes: started, told what to do, watched, and stopped by pid."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from select import select
from typing import IO, Any

from eth_account import Account
from eth_typing import ChecksumAddress

from contracts.keystore import ENVIRONMENT_KEY

ANSWER_SECONDS = 120.0
LEAVE_SECONDS = 15.0


class OperatorFailed(RuntimeError):
    """An operator's process ended or does not answer."""


@dataclass(frozen=True)
class Character:
    """Who an operator is in the play."""

    name: str
    part: str
    """What it does, in words."""
    falsified_rows: frozenset[bytes] = frozenset()
    withheld: frozenset[tuple[str, str]] = frozenset()
    """Duties it leaves undone: (action or task, job nonce)."""


@dataclass
class Operator:
    """One running operator."""

    character: Character
    key: bytes = field(repr=False)
    folder: Path
    process: subprocess.Popen[str] | None = None

    @property
    def address(self) -> ChecksumAddress:
        """The worker's address."""
        address: ChecksumAddress = Account.from_key(self.key).address
        return address

    def start(self, config: dict[str, Any]) -> None:
        """Start the process; it waits for the deployment file by itself."""
        self.folder.mkdir()
        path = self.folder / "config.json"
        path.write_text(
            json.dumps(
                {
                    **config,
                    "folder": str(self.folder),
                    "worker": self.address,
                    "falsified_rows": [row.hex() for row in self.character.falsified_rows],
                    "withheld": list(self.character.withheld),
                }
            )
        )
        # one thread each: five processes share the machine
        environment = {**os.environ, ENVIRONMENT_KEY: "0x" + self.key.hex(), "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "coordinator.demo.operator", str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=(self.folder / "stderr.log").open("w"),
            text=True,
            bufsize=1,
            env=environment,
        )

    def tell(self, command: str) -> None:
        """Send a command; `wait` for its answer."""
        _pipe(self.process.stdin if self.process else None).write(command + "\n")

    def wait(self, word: str) -> None:
        """Wait for a word from the process. Raises OperatorFailed with the end of what it logged."""
        output = _pipe(self.process.stdout if self.process else None)
        ready, _, _ = select([output], [], [], ANSWER_SECONDS)
        said = output.readline().strip() if ready else ""
        if said != word:
            end = "\n".join((self.folder / "stderr.log").read_text().splitlines()[-15:])
            raise OperatorFailed(f"{self.character.name} said {said!r} instead of {word!r}:\n{end}")

    def leave(self) -> None:
        """Wait until the process has ended; end it by pid if it does not."""
        if self.process is None:
            return
        try:
            self.process.wait(LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe:
                pipe.close()


def dismiss(operators: Sequence[Operator]) -> None:
    """End all of the processes, at once."""
    for operator in operators:
        if operator.process is not None and operator.process.poll() is None:
            with suppress(OSError):
                operator.tell("stop")
    for operator in operators:
        operator.leave()


def tell_all(operators: Sequence[Operator], commands: Iterable[str]) -> None:
    """Give each operator its command, then wait until all have done it."""
    for operator, command in zip(operators, commands, strict=True):
        operator.tell(command)
    for operator in operators:
        operator.wait("done")


def _pipe(pipe: IO[str] | None) -> IO[str]:
    if pipe is None:
        raise OperatorFailed("the operator is not running")
    return pipe
