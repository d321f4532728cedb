"""What a model costs, before anybody pays: registered on a chain of its own in this process, gas read from receipts."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from contracts.abi import artifact
from contracts.deployment import EXECUTION_GAS_LIMIT
from contracts.endpoint import Sendable
from contracts.model_registry import ModelRegistry, chunks_of
from contracts.transactor import Transactor

if TYPE_CHECKING:
    from models.network import IntegerNetwork


@dataclass(frozen=True, slots=True)
class Measured:
    """Gas units."""

    registration_gas: int
    """All transactions of the registration together."""
    transactions: int
    """How many those are."""
    execution_gas: int
    """One execution, as the registry recorded it; 0 if it is stepwise."""
    stepwise: bool
    """One call cannot execute it."""


@dataclass(frozen=True, slots=True)
class Planned:
    """An execution in steps."""

    steps: int
    """Transactions, that which begins it included."""
    largest: int
    """Gas of the largest, at most."""
    gas: int
    """Of all together, at most."""


def plan(network: IntegerNetwork) -> Planned:
    """What executing one row of a stepwise model takes. Raises ValueError if some value does not fit one transaction."""
    from models import stepwise

    gas = [stepwise.begin_gas(network), *(step.gas for step in stepwise.plan(network))]
    return Planned(len(gas), max(gas), sum(gas))


def measure(program: bytes, model_id: bytes) -> Measured:
    """Register the program on a fresh dev chain. Takes seconds. Raises what the registry refuses (contracts.errors)."""
    from coordinator.devnet import dev_keys, running_chain

    with running_chain("py-evm") as url:
        transactor = Transactor(url, dev_keys(1)[0])
        made = artifact("ModelRegistry")
        factory = transactor.web3.eth.contract(abi=made.abi, bytecode=made.bytecode)
        address = transactor.send(factory.constructor(EXECUTION_GAS_LIMIT))["contractAddress"]
        assert address is not None  # a creation has it
        registry = ModelRegistry(transactor.endpoint, address)
        gas = register(transactor, registry, program)
        made_of = registry.model(model_id)
        return Measured(gas, len(chunks_of(program)[0]) + 1, made_of.execution_gas, made_of.stepwise)


def register(transactor: Transactor, registry: ModelRegistry, program: bytes) -> int:
    """Send the transactions that register a program; their gas in all. Raises what Transactor.send raises."""
    pieces, last = chunks_of(program)
    chunk_ids, gas = [], 0
    for piece in pieces:
        call: Sendable = registry.store_chunk(piece)
        chunk_ids.append(transactor.simulate(call))
        gas += transactor.send(call)["gasUsed"]
    return gas + transactor.send(registry.register(chunk_ids, last))["gasUsed"]
