"""The committed artifacts (ABI and bytecode of each contract and interface), read as package data."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib import resources
from importlib.resources.abc import Traversable
from typing import Any

from eth_typing import HexStr


@dataclass(frozen=True, slots=True, eq=False)
class Artifact:
    """One compiled contract; `bytecode` is 0x-prefixed creation code, "0x" for an interface."""

    name: str
    source: str
    abi: list[dict[str, Any]]
    bytecode: HexStr
    deployed_bytes: int

    def __repr__(self) -> str:
        return f"Artifact({self.name}, {self.deployed_bytes} bytes deployed)"


class UnknownArtifact(KeyError):
    """No contract of that name is compiled into this package."""

    def __init__(self, name: str, known: list[str]) -> None:
        super().__init__(name, known)
        self.name = name
        self.known = known

    def __str__(self) -> str:
        have = ", ".join(self.known) or "none at all: run `python -m contracts.compiler`"
        return f"no artifact is named {self.name!r}; there are: {have}"


class MalformedArtifact(ValueError):
    """A file that should be an artifact is not one."""

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path} is no artifact ({reason}); run `python -m contracts.compiler` to make it again")
        self.path = path


def load(path: Traversable) -> Artifact:
    """The artifact in one JSON file. Raises MalformedArtifact, OSError."""
    try:
        made = json.loads(path.read_text())
        return Artifact(
            made["contract"], made["source"], made["abi"], HexStr(made["bytecode"]), int(made["deployed_bytes"])
        )
    except (ValueError, KeyError, TypeError) as error:
        raise MalformedArtifact(str(path), repr(error)) from error


def _folder() -> Traversable:
    return resources.files("contracts") / "artifacts"


def names() -> list[str]:
    """The name of every artifact in the package, sorted; empty before the first compilation."""
    folder = _folder()
    if not folder.is_dir():
        return []
    return sorted(file.name.removesuffix(".json") for file in folder.iterdir() if file.name.endswith(".json"))


@cache
def artifact(name: str) -> Artifact:
    """The artifact of a contract or interface by its Solidity name. Raises UnknownArtifact, MalformedArtifact."""
    if name not in (known := names()):
        raise UnknownArtifact(name, known)
    return load(_folder() / f"{name}.json")
