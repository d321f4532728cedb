"""Where random play happens: a deployment in both forms, with models, data, and contracts that do as they like."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

import numpy as np
from eth_typing import ChecksumAddress
from eth_utils import keccak

from contracts import merkle, signed_commit
from contracts import specification as spec
from contracts.compute_oracle import Bounds
from contracts.job import NOBODY, Terms, data_uri_hash
from contracts.signed_commit import SignedCommit
from contracts.specification import Deployment, Refused, RegisteredModel, State
from models import interpreter
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id
from models.stepwise import first_state
from tests.contracts.chain import Contract, account_of, load, party
from tests.contracts.world import Claim, DataSet
from tests.invariants.calldata import word
from tests.invariants.fast_chain import FastChain
from tests.invariants.lockstep import Lockstep

GWEI = 10**9
BOUNDS = Bounds(min_window=8, max_window=3600, unbonding_period=4000, block_time=1, max_item_count=2**20, max_seats=64)
BOUNDS_TYPE = "(uint32,uint32,uint32,uint32,uint32,uint8,uint96)"
CHAIN_ID = 1
DATA_URI = "ipfs://rows"
SEED_PROOF = b"proof"
EXECUTION_GAS_LIMIT = 30_000
EVERY_CHANNEL = 2**32 - 1
LISTENER = "5a600052366000602037366020016000a000"
"""A payee or consumer that logs the gas it has (less the 2 of asking) and what it was called with."""
REFUSER = "60006000fd"
"""One that reverts."""
BURNER = "fe"
"""One that burns all the gas it is given."""
MALFORMED_ROW = b"no row"
ROW_LENGTH = 3

WORKERS = tuple(account_of(f"worker {number}").address for number in range(6))
KEYS = {account_of(f"worker {number}").address: account_of(f"worker {number}") for number in range(6)}
REQUESTERS = tuple(party(f"requester {number}") for number in range(2))
CHALLENGERS = tuple(party(f"challenger {number}") for number in range(2))
EVERYBODY = WORKERS + REQUESTERS + CHALLENGERS


class Model:
    """A network with its program, and its outputs by our own interpreter."""

    def __init__(self, *layers: Dense) -> None:
        self.network = IntegerNetwork(layers)
        self.program = compile_network(self.network)
        self.id = model_id(self.program)

    def run(self, row: bytes) -> bytes:
        """The output for one row."""
        logits = interpreter.run(self.network, np.frombuffer(row, np.uint8).reshape(1, -1))
        return logits.astype(">i4").tobytes()


def _dense(outputs: int, inputs: int, shifted: bool) -> Dense:
    """Some layer of that size."""
    weights = (np.arange(outputs * inputs).reshape(outputs, inputs) * 7 % 41 - 20).astype(np.int8)
    bias = (np.arange(outputs) * 13 % 29 - 11).astype(np.int32)
    return Dense(weights, bias, np.full(outputs, 4, np.uint8) if shifted else None)


SMALL = Model(_dense(2, ROW_LENGTH, False))
"""One transaction executes it."""
LARGE = Model(_dense(96, ROW_LENGTH, True), _dense(2, 96, False))
"""One transaction does not: it is stepwise."""


@cache
def data_of(item_count: int, malformed: int | None = None) -> DataSet:
    """Some rows; one of them may be no row of either model."""
    return DataSet(item_count, {} if malformed is None else {malformed: MALFORMED_ROW})


@cache
def truth_of(model: Model, item_count: int, malformed: int | None = None) -> Claim:
    """The right results."""
    rows = data_of(item_count, malformed).rows
    outputs = [model.run(row) if len(row) == ROW_LENGTH else b"" for row in rows]
    return Claim(outputs, {} if malformed is None else {malformed: merkle.EMPTY_LEAF})


@cache
def lie_of(model: Model, item_count: int, malformed: int | None, index: int) -> Claim:
    """The right results, but for one leaf, which may be in the padding."""
    return truth_of(model, item_count, malformed).lie(index)


class Models:
    """The registry as the specification asks it. What is registered and how far executions have come is for the chain to
    say; outputs are our own."""

    def __init__(self, registry: Contract) -> None:
        self.registry = registry
        self.known: dict[bytes, tuple[RegisteredModel, Model]] = {}
        self.rows: dict[bytes, bytes] = {}

    def add(self, model: Model) -> None:
        """Take over what the chain measured of a model."""
        row_length, _, execution_gas, _, is_stepwise = self.registry.read("model", model.id)
        self.known[model.id] = (RegisteredModel(row_length, execution_gas, is_stepwise), model)

    def model(self, model_id: bytes) -> RegisteredModel:
        if model_id not in self.known:
            raise Refused("UnknownModel", model_id)
        return self.known[model_id][0]

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        return self.known[model_id][1].run(row)

    def output_of(self, model_id: bytes, row_leaf: bytes) -> bytes:
        if not self.is_finished(model_id, row_leaf):
            raise Refused("ExecutionUnfinished", model_id, row_leaf)
        return self.execute(model_id, self.rows[row_leaf])

    def is_finished(self, model_id: bytes, row_leaf: bytes) -> bool:
        """Whether the chain has the output of a stepwise execution."""
        _, finished, _, _ = self.registry.read("progressOf", model_id, row_leaf)
        return bool(finished)


class Arena:
    """One deployment. `code` replaces the bytecode of contracts by name."""

    def __init__(self, code: Mapping[str, str] | None = None) -> None:
        self.chain = FastChain()
        self.code = dict(code or {})
        registry = self._deploy("ModelRegistry", ("uint256",), (EXECUTION_GAS_LIMIT,))
        seeds = self._deploy("FixedSeed")
        disputes = self._deploy("Disputes", ("address", "uint256"), (registry, BOUNDS.reference_price))
        oracle = self._deploy(
            "ComputeOracle",
            ("address", "address", "address", BOUNDS_TYPE),
            (registry, seeds, disputes, BOUNDS.as_tuple()),
        )
        self.oracle = ChecksumAddress(oracle)  # type: ignore[arg-type]
        self.registry = Contract(self.chain, registry, "ModelRegistry")
        self.models = Models(self.registry)
        for model in (SMALL, LARGE):
            self.registry.send(party("registrant"), "register", [], model.program)
        self.execute_in_steps(LARGE, b"\xff" * ROW_LENGTH)
        for model in (SMALL, LARGE):
            self.models.add(model)
        assert not self.models.model(SMALL.id).is_stepwise and self.models.model(LARGE.id).is_stepwise
        signer_of = cache(partial(signer_on, self.oracle))
        deployment = Deployment(CHAIN_ID, self.oracle, BOUNDS, self.models, fixed_randomness, signer_of)
        self.lockstep = Lockstep(self.chain, self.oracle, spec.deploy(deployment))
        self.listener, self.refuser, self.burner = map(self._raw, (LISTENER, REFUSER, BURNER))
        self.lockstep.listener = self.listener

    @property
    def state(self) -> State:
        """What the oracle should be."""
        return self.lockstep.state

    def least_stake(self, model: Model) -> int:
        """Least wei a seat, in whole gwei, for the play's item counts."""
        least = int.from_bytes(self.chain.ask(self.oracle, MIN_SEAT_STAKE + model.id + word(20)))
        return -(-least // GWEI) * GWEI

    def terms(self, model: Model, data: DataSet, seats: int, quorum: int, seat_stake: int) -> Terms:
        """The least that a job must say."""
        return Terms(
            model_id=model.id,
            data_root=data.tree.root,
            data_uri_hash=data_uri_hash(DATA_URI),
            item_count=len(data.rows),
            seats=seats,
            quorum=quorum,
            seat_stake=seat_stake,
            reward=0,
            commit_window=BOUNDS.min_window,
            reveal_window=BOUNDS.min_window,
            challenge_window=BOUNDS.min_window,
            response_window=BOUNDS.min_window,
            consumer=NOBODY,
        )

    def execute_in_steps(self, model: Model, row: bytes) -> None:
        """Bring the stepwise execution of a row to its end."""
        row_hash = merkle.input_leaf(row)
        self.models.rows[row_hash] = row
        begun, finished, _, _ = self.registry.read("progressOf", model.id, row_hash)
        if finished:
            return
        if not begun:
            self.registry.send(party("executor"), "begin", model.id, row)
        state = first_state(model.network, row).encode()
        self.registry.send(party("executor"), "advance", model.id, row_hash, state, EVERY_CHANNEL)

    def _deploy(self, name: str, types: tuple[str, ...] = (), values: tuple[Any, ...] = ()) -> str:
        return self.chain.deploy(self.code.get(name) or load(name)["bytecode"], types, values)

    def _raw(self, runtime: str) -> ChecksumAddress:
        """A contract with this code."""
        length = len(runtime) // 2
        creation = f"60{length:02x}600c60003960{length:02x}6000f3" + runtime
        return ChecksumAddress(self.chain.deploy(creation))


MIN_SEAT_STAKE = keccak(text="minSeatStake(bytes32,uint256)")[:4]


def fixed_randomness(block_number: int, proof: bytes) -> bytes:
    """What tests/solidity/FixedSeed.sol answers."""
    if proof != SEED_PROOF:
        raise Refused("WrongProof", proof)
    return keccak(word(block_number))


def signer_on(oracle: ChecksumAddress, signed: SignedCommit, job_id: bytes) -> ChecksumAddress | None:
    return signed_commit.signer_of(signed, CHAIN_ID, oracle, job_id)
