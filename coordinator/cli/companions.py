"""Where the contracts are that stand beside an oracle and are no part of its deployment: TokenJobs and StandingOrders.

An option names one, or an environment variable, or the file `NAME.companions.json` beside the deployment's `NAME.json`, which
their `deploy` writes. Whichever it was, the contract there must say that it is for this deployment's oracle.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from enum import Enum
from pathlib import Path
from typing import Protocol, TypeVar

from eth_typing import ChecksumAddress

from contracts import errors
from contracts.endpoint import Call, Endpoint, NoContract
from coordinator.cli.context import Setup, parse_address, receipt_facts
from coordinator.cli.failures import ExitCode, Refusal


class Companion(Enum):
    """A contract's name, and the group of commands that uses it."""

    TOKEN_JOBS = ("TokenJobs", "token")
    STANDING_ORDERS = ("StandingOrders", "order")

    @property
    def variable(self) -> str:
        """The environment variable that names its address."""
        return f"QUORATE_{self.name}"


class Client(Protocol):
    """What the clients of these contracts have in common."""

    def oracle(self) -> ChecksumAddress:
        """The oracle that the contract was deployed for."""


Made = TypeVar("Made", bound=Client)


def find(
    setup: Setup, which: Companion, given: str | None, client: Callable[[Endpoint, ChecksumAddress], Made]
) -> Made:
    """The client of the contract that is named. Raises Refusal where none is, or it is for another oracle; ChainError."""
    contract, group = which.value
    oracle = setup.deployment.oracle
    named = given or os.environ.get(which.variable) or _kept(_file(setup)).get(contract)
    if named is None:
        option = "--" + which.name.lower().replace("_", "-")
        raise Refusal(
            ExitCode.USAGE,
            f"no {contract} is named: run `quorate {group} deploy`, or give the address of one with {option} or "
            f"{which.variable}",
        )
    made = client(setup.endpoint, parse_address(named))
    try:
        its_oracle = made.oracle()
    except (NoContract, errors.Reverted) as error:
        raise Refusal(ExitCode.CHAIN, f"{named} is no {contract}: {error}") from error
    if its_oracle != oracle:
        raise Refusal(
            ExitCode.BAD_INPUT, f"the {contract} at {named} is for the oracle {its_oracle}, the network's is {oracle}"
        )
    return made


def kept(setup: Setup, which: Companion) -> str | None:
    """The address that the file beside the deployment names. Raises Refusal, OSError."""
    return _kept(_file(setup)).get(which.value[0])


def deploy(setup: Setup, which: Companion, creation: Call) -> dict[str, object]:
    """Deploy one for the deployment's oracle, and write its address beside the deployment; the facts."""
    contract, _ = which.value
    path = _file(setup)
    kept = _kept(path)
    if contract in kept:
        raise Refusal(
            ExitCode.USAGE, f"{path} names a {contract}, {kept[contract]}: move the file away to deploy another"
        )
    receipt = setup.send(creation, f"deploying {contract}")
    address = receipt["contractAddress"]
    path.write_text(json.dumps({**kept, contract: address}, indent=2) + "\n")
    return {"contract": address, "oracle": setup.deployment.oracle, **receipt_facts(receipt), "file": path}


def _file(setup: Setup) -> Path:
    _ = setup.deployment  # refuses where none is named
    path = setup.network.deployment
    assert path is not None  # a deployment was read from it
    return path.with_suffix(".companions.json")


def _kept(path: Path) -> dict[str, str]:
    """Address by contract. Raises Refusal, OSError."""
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except ValueError as error:
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no file of addresses: {error}") from error
    if not isinstance(kept, dict) or not all(isinstance(one, str) for one in kept.values()):
        raise Refusal(ExitCode.BAD_INPUT, f"{path} is no file of addresses: contract names and addresses are wanted")
    return kept
