"""The command line as a person uses it, on a real chain: `cli(...)` runs one command line in this process."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest
from eth_account import Account

from contracts import deployment as deployments
from contracts import keystore
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import Contracts, Deployment
from contracts.endpoint import Endpoint
from contracts.transactor import Transactor
from coordinator import profiles
from coordinator.cli.main import main
from coordinator.devnet import dev_keys, running_chain
from models import zoo

PASSPHRASE = "correct horse"
CHAIN_ID = 31_337


@dataclass(frozen=True)
class Ran:
    """What one command line did."""

    code: int
    out: str
    err: str

    @property
    def data(self) -> Any:
        """Stdout as the one JSON document it must be."""
        assert self.out, self.err
        return json.loads(self.out)


class Cli(Protocol):
    def __call__(self, *arguments: object) -> Ran: ...


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home of its own, and none of the surroundings' QUORATE_ variables."""
    import os

    for name in list(os.environ):
        if name.startswith("QUORATE_") and name not in ("QUORATE_ANVIL", "QUORATE_SOLC", "QUORATE_REQUIRE_ALL"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("QUORATE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str]) -> Cli:
    def run(*arguments: object) -> Ran:
        capsys.readouterr()
        code = main([str(one) for one in arguments])
        captured = capsys.readouterr()
        return Ran(code, captured.out, captured.err)

    return run


@dataclass(frozen=True)
class Chain:
    """A running chain with the contracts and the wine model on it."""

    url: str
    deployment: Deployment
    deployment_file: Path

    def transactor(self, key: int) -> Transactor:
        """Sends with the dev key of that number."""
        return Transactor(self.url, dev_keys(key + 1)[key], chain_id=CHAIN_ID)

    @property
    def contracts(self) -> Contracts:
        return Contracts(Endpoint(self.url, chain_id=CHAIN_ID), self.deployment)

    def nonce(self, key: int) -> int:
        """How many transactions the dev key has sent."""
        address = Account.from_key(dev_keys(key + 1)[key]).address
        return int(self.contracts.endpoint.ask("eth_getTransactionCount", address, "latest"), 16)

    def pass_time(self, seconds: int) -> None:
        """Let the chain's clock run ahead, and mine a block there."""
        self.contracts.endpoint.ask("evm_increaseTime", seconds)
        self.contracts.endpoint.ask("evm_mine")


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chain]:
    with running_chain() as url:
        deployer = Transactor(url, dev_keys(20)[19])
        made = deployments.deploy(deployer, DEV_BOUNDS)
        path = tmp_path_factory.mktemp("deployment") / "deployment.json"
        made.save(path)
        yield Chain(url, made, path)


@pytest.fixture(scope="module")
def wine_id(chain: Chain) -> bytes:
    """The id of wine-grading, registered."""
    from models.program import compile_network, model_id

    program = compile_network(zoo.load("wine-grading").network)
    transactor = chain.transactor(19)
    transactor.send(chain.contracts.registry.register([], program))
    return model_id(program)


@pytest.fixture
def network(chain: Chain, home: Path) -> Chain:
    """The chain as the default profile of this home."""
    profile = profiles.Network("test", chain.url, CHAIN_ID, chain.deployment_file)
    profiles.save(home / profiles.FILE_NAME, profile)
    return chain


@pytest.fixture
def requester(home: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Dev key 0 in the keystore, its passphrase in the environment; its address."""
    return keep_key(home, monkeypatch, 0)


def keep_key(home: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> str:
    """Put a dev key into the home's keystore."""
    monkeypatch.setenv("QUORATE_PASSPHRASE", PASSPHRASE)
    return keystore.import_key(home / "keys", dev_keys(number + 1)[number], PASSPHRASE, iterations=2).address


@pytest.fixture
def wine_csv(tmp_path: Path) -> Path:
    """Twenty rows of features for wine-grading, with a header."""
    return write_wine(tmp_path / "wine.csv", 20)


def write_wine(path: Path, count: int) -> Path:
    model = zoo.load("wine-grading")
    rows, _ = model.read_vectors()
    features = model.card.scaling.to_features(rows[:count])
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(model.card.scaling.features)
        table.writerows(features.tolist())
    return path
