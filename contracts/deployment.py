"""A deployment: its addresses, how it is made, and the file that describes it."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

from eth_typing import ChecksumAddress
from web3.types import TxReceipt

from contracts.abi import artifact
from contracts.compute_oracle import Bounds, ComputeOracle
from contracts.disputes import Disputes
from contracts.endpoint import Endpoint
from contracts.model_registry import ModelRegistry
from contracts.transactor import Transactor

EXECUTION_GAS_LIMIT = 10_000_000
"""Most gas that one execution may take: what the registry allows at most, so that a whole refutation fits."""


class BadDeployment(Exception):
    """A deployment file that is missing, malformed or for another chain."""


@dataclass(frozen=True)
class Deployment:
    """Where the contracts are. `block` is the block of the oracle's creation: nothing happened before it."""

    chain_id: int
    oracle: ChecksumAddress
    disputes: ChecksumAddress
    registry: ChecksumAddress
    seed_source: ChecksumAddress
    block: int

    def save(self, path: Path) -> None:
        """Write the deployment file."""
        path.write_text(json.dumps(asdict(self), indent=2) + "\n")

    @classmethod
    def load(cls, path: Path) -> Deployment:
        """Read a deployment file. Raises BadDeployment."""
        try:
            return cls(**json.loads(path.read_text()))
        except FileNotFoundError as error:
            raise BadDeployment(
                f"{path} does not exist: run `quorate deploy`, or name another deployment file"
            ) from error
        except (TypeError, ValueError) as error:
            raise BadDeployment(f"{path} is not a deployment file: {error}") from error


class Contracts:
    """The clients of one deployment over one endpoint."""

    def __init__(self, endpoint: Endpoint, deployment: Deployment) -> None:
        self.endpoint = endpoint
        self.deployment = deployment

    @cached_property
    def oracle(self) -> ComputeOracle:
        """Stake, jobs, verdicts."""
        return ComputeOracle(self.endpoint, self.deployment.oracle)

    @cached_property
    def disputes(self) -> Disputes:
        """Refute, demand, answer: at the oracle's address."""
        return Disputes(self.endpoint, self.deployment.oracle)

    @cached_property
    def registry(self) -> ModelRegistry:
        """Models."""
        return ModelRegistry(self.endpoint, self.deployment.registry)


def deploy(transactor: Transactor, bounds: Bounds, execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> Deployment:
    """Create the four contracts, one transaction each. Raises what Transactor.send raises, errors.BadBound."""
    registry, _ = _create(transactor, "ModelRegistry", execution_gas_limit)
    seed_source, _ = _create(transactor, "PrevrandaoSeed")
    disputes, _ = _create(transactor, "Disputes", registry, bounds.reference_price)
    oracle, receipt = _create(transactor, "ComputeOracle", registry, seed_source, disputes, bounds.as_tuple())
    chain_id = transactor.endpoint.chain_id
    return Deployment(chain_id, oracle, disputes, registry, seed_source, receipt["blockNumber"])


def _create(transactor: Transactor, name: str, *values: object) -> tuple[ChecksumAddress, TxReceipt]:
    made = artifact(name)
    factory = transactor.web3.eth.contract(abi=made.abi, bytecode=made.bytecode)
    receipt = transactor.send(factory.constructor(*values))
    address = receipt["contractAddress"]
    assert address is not None  # a creation has it
    return address, receipt
