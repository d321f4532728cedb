"""The real contracts in one process: parties with stakes, a tiny real model, and one job played move by move.

    play = world.play({"ann": 1, "bob": 1, "cat": 1})
    play.commit("ann", play.truth)
    …
    play.settle()

Every call is made twice, to the contracts and to the specification (contracts.specification): they must refuse the same
calls with the same error, say the same events, show the same of all that changed, and hold the same money to the wei,
whatever the test is about.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from eth_typing import ChecksumAddress
from eth_utils import keccak

from contracts import commitment, errors, merkle, specification
from contracts.commitment import Seat, SeatStatus
from contracts.compute_oracle import Bounds, Opening, SeatRef
from contracts.disputes import Audit, Demand, Gold, InputProof, Node, ResultProof
from contracts.gold import GoldItem, GoldTree
from contracts.job import Job, JobState, Phase, Terms, data_uri_hash
from contracts.signed_commit import SignedCommit, sign, signer_of
from contracts.specification import Deployment, Environment, Refused, RegisteredModel, State
from contracts.specification import books as money
from contracts.stake import Account
from contracts.tally import Tally
from models import interpreter
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id
from tests.contracts.chain import NOBODY, Contract, Event, account_of, load, party
from tests.invariants.fast_chain import FastChain
from tests.invariants.observables import Observer

GWEI = 10**9
BOUNDS = Bounds(min_window=8, max_window=3600, unbonding_period=4000, block_time=1, max_item_count=2**20, max_seats=64)
BOUNDS_TYPE = "(uint32,uint32,uint32,uint32,uint32,uint8,uint96)"
CHAIN_ID = 1
DATA_URI = "ipfs://rows"
SEED_PROOF = b"proof"
EXECUTION_GAS_LIMIT = 1_000_000
STEPWISE_GAS_LIMIT = 4_000
"""The model takes more than this."""


class Model:
    """Three bytes in, two logits out."""

    def __init__(self) -> None:
        weights = np.array([[20, -2, 3], [-5, 8, 5]], np.int8)
        self.network = IntegerNetwork((Dense(weights, np.array([7, -11], np.int32), None),))
        self.program = compile_network(self.network)
        self.id = model_id(self.program)

    def run(self, row: bytes) -> bytes:
        """The output for one row."""
        logits = interpreter.run(self.network, np.frombuffer(row, np.uint8).reshape(1, -1))
        return logits.astype(">i4").tobytes()


MODEL = Model()


class DataSet:
    """Rows made of their numbers, except those given, and the input tree over them."""

    def __init__(self, item_count: int, given: Mapping[int, bytes] | None = None) -> None:
        self.rows = [sha256(b"row %d" % index).digest()[: MODEL.network.row_length] for index in range(item_count)]
        for index, row in (given or {}).items():
            self.rows[index] = row
        self.tree = merkle.MerkleTree([merkle.input_leaf(row) for row in self.rows])
        self.depth = self.tree.depth

    def proof(self, index: int) -> InputProof:
        """Of an item's row; empty for the padding."""
        return InputProof(self.rows[index], self.tree.proof(index)) if index < len(self.rows) else InputProof()


class Claim:
    """What somebody says the results are: outputs, leaves, and the tree over them."""

    def __init__(self, outputs: Sequence[bytes], leaves: Mapping[int, bytes] | None = None) -> None:
        self.outputs = list(outputs)
        self.leaves = changed = dict(leaves or {})
        all_leaves = [merkle.result_leaf(index, output) for index, output in enumerate(outputs)]
        all_leaves += [merkle.EMPTY_LEAF] * (max(changed, default=0) + 1 - len(all_leaves))
        for index, leaf in changed.items():
            all_leaves[index] = leaf
        self.tree = merkle.MerkleTree(all_leaves, depth=merkle.depth_of(len(outputs)))
        self.root = self.tree.root

    def lie(self, *indices: int) -> Claim:
        """The same with wrong leaves at these indices, which may be in the padding."""
        return Claim(self.outputs, {**self.leaves, **{index: sha256(b"lie %d" % index).digest() for index in indices}})

    def proof(self, index: int) -> ResultProof:
        """Of the leaf that this claim has there."""
        return ResultProof(self.root, index, self.tree.node(self.tree.depth, index), self.tree.proof(index))

    def nodes(self, level: int, index: int) -> tuple[list[bytes], list[bytes]]:
        """(the node's descendants at the next level, its path to the root)."""
        depth = self.tree.depth
        at, below = merkle.level_depth(level, depth), merkle.level_depth(level + 1, depth)
        step = below - at
        return self.tree.nodes(below, index << step, (index + 1) << step), self.tree.path(at, index)


class TwinRegistry:
    """The model registry as the specification sees it: facts from the real one, executions by Python."""

    def __init__(self, registry: Contract) -> None:
        self.registry = registry

    def model(self, model_id: bytes) -> RegisteredModel:
        row_length, _, execution_gas, _, stepwise = self._read("model", model_id)
        return RegisteredModel(row_length, execution_gas, stepwise)

    def execute(self, model_id: bytes, row: bytes) -> bytes:
        assert model_id == MODEL.id
        return MODEL.run(row)

    def output_of(self, model_id: bytes, row_leaf: bytes) -> bytes:
        return bytes(self._read("outputOf", model_id, row_leaf))

    def begin(self, model_id: bytes, row: bytes) -> None:
        """The contracts begin it: the registry is no part of the specification."""

    def _read(self, name: str, *values: Any) -> Any:
        with as_refusal():
            return self.registry.read(name, *values)


class as_refusal:  # noqa: N801
    """A contract's typed error becomes the specification's."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, errors.OracleRevert):
            raise Refused(error.name, *error.args) from error


class World:
    """A deployment with its own chain. `code` replaces the bytecode of contracts by name."""

    def __init__(
        self,
        code: Mapping[str, str] | None = None,
        bounds: Bounds = BOUNDS,
        seed_source: str = "FixedSeed",
        execution_gas_limit: int = EXECUTION_GAS_LIMIT,
        measured: bool = True,
    ) -> None:
        self.chain = FastChain()
        self.code = dict(code or {})
        self.bounds = bounds
        registry = self.deploy("ModelRegistry", ("uint256",), (execution_gas_limit,))
        seeds = self.deploy(seed_source)
        disputes = self.deploy("Disputes", ("address", "uint256"), (registry, bounds.reference_price))
        address = self.deploy(
            "ComputeOracle",
            ("address", "address", "address", BOUNDS_TYPE),
            (registry, seeds, disputes, bounds.as_tuple()),
        )
        self.registry = Contract(self.chain, registry, "ModelRegistry")
        self.seed_source = Contract(self.chain, seeds, seed_source)
        self.disputes = Contract(self.chain, disputes, "Disputes")
        self.oracle = Contract(self.chain, address, "ComputeOracle", "Disputes")
        self.observer = Observer(self.chain, self.address)
        self.forced = 0
        self.registry.send(party("registrant"), "register", [], MODEL.program)
        if execution_gas_limit == STEPWISE_GAS_LIMIT and measured:
            self.execute_in_steps(b"\xff" * MODEL.network.row_length)  # which measures the model
        self.least_stake = int(self.oracle.read("minSeatStake", MODEL.id, 300)) if measured else GWEI
        self.twin: State = specification.deploy(
            Deployment(CHAIN_ID, self.address, bounds, TwinRegistry(self.registry), self._randomness, self._signer_of)
        )

    @property
    def address(self) -> ChecksumAddress:
        """The oracle's."""
        return self.oracle.address

    def deploy(self, name: str, types: tuple[str, ...] = (), values: tuple[Any, ...] = ()) -> ChecksumAddress:
        """Create a contract by its name; its address."""
        return self.chain.deploy(self.code.get(name) or load(name)["bytecode"], types, values)

    # Calls, each made to the contracts and to the specification

    def send(self, sender: str, name: str, *values: Any, value: int = 0, gas: int | None = None) -> list[Event]:
        """Call the oracle as somebody (a name or an address) with the twins' types; its events.

        Raises what the oracle reverts with, once the specification has refused the call for the same reason.
        """
        calldata = self.encode(name, *values)
        return self.follow(
            sender, name, *values, value=value,
            call=lambda: self.chain.call(address_of(sender), self.address, calldata, value, gas=gas),
        )  # fmt: skip

    def send_by(self, payee: Contract, name: str, *values: Any, value: int = 0) -> list[Event]:
        """The same by a contract (Payee), which calls the oracle itself."""
        calldata = payee.encode("act", self.address, self.encode(name, *values))
        return self.follow(
            payee.address, name, *values, value=value,
            call=lambda: self.chain.call(party("puppeteer"), payee.address, calldata, value),
        )  # fmt: skip

    def follow(self, sender: str, name: str, *values: Any, value: int, call: Callable[[], bytes]) -> list[Event]:
        """Make the call, whose effect on the oracle should be that of `name` by `sender`."""
        env = Environment(address_of(sender), self.chain.time, self.chain.number, value)
        expected = self._specified(env, name, values)
        try:
            call()
        except errors.Reverted as error:
            if not isinstance(expected, Refused):
                expected = self._specified(env, name, values, **foreign(error))
            assert isinstance(expected, Refused), f"{name} was refused with {error}, which the specification allows"
            assert refusal_of(error) == (expected.name, plain(expected.values))
            self.check_money()
            raise
        events = self.oracle.decode_logs()
        assert not isinstance(expected, Refused), f"{name} passed; the specification says {expected}"
        assert plain(events) == plain(expected.events)
        changes = self.observer.changes(self.twin, expected, env)
        self.twin = expected
        self.observer.compare(changes)
        self.check_money()
        return events

    def encode(self, name: str, *values: Any) -> bytes:
        """Calldata of a function from the twins' types; of multicall, from a list of (name, value, …)."""
        if name == "multicall":
            values = ([self.encode(*call) for call in values[0]],)
        return self.oracle.encode(name, *as_abi(values))

    def _specified(self, env: Environment, name: str, values: Sequence[Any], **more: Any) -> State | Refused:
        """What the specification makes of the call."""
        entry_point, *arguments = self._entry(name, values)
        try:
            return specification.transact(
                self.twin, env, partial(entry_point, **more) if more else entry_point, *arguments
            )
        except Refused as refused:
            return refused

    def _entry(self, name: str, values: Sequence[Any]) -> tuple[Any, ...]:
        if name == "multicall":
            values = ([(each[0], each[1:]) for each in (self._entry(one, rest) for one, *rest in values[0])],)
        return (getattr(specification, snake_case(name)), *values)

    def _randomness(self, block_number: int, proof: bytes) -> bytes:
        with as_refusal():
            return bytes(self.seed_source.read("randomness", block_number, proof))

    def _signer_of(self, signed: SignedCommit, job_id: bytes) -> ChecksumAddress | None:
        return signer_of(signed, CHAIN_ID, self.address, job_id)

    def execute_in_steps(self, row: bytes) -> None:
        """A row's execution in the registry, from its beginning to its end."""
        (begun,) = self.registry.send(party("anyone"), "begin", MODEL.id, row)
        state = begun.args["state"]
        self.registry.send(party("anyone"), "advance", MODEL.id, merkle.input_leaf(row), state, 2**32 - 1)

    # What must hold after each call

    def check_money(self) -> None:
        """The oracle holds exactly what it owes, to the wei, and what was burned left for the zero address."""
        assert self.chain.balance(self.address) == self.accounted + self.forced, "the oracle does not hold what it owes"
        assert self.chain.balance(NOBODY) == self.burned, "burned wei did not leave for the zero address"

    # Reading

    @property
    def accounted(self) -> int:
        """Wei that the oracle must hold."""
        return money.accounted(self.twin)

    @property
    def burned(self) -> int:
        """Wei that left for the zero address."""
        return self.twin.burned

    def account(self, someone: str) -> Account:
        """Somebody's entry in the books, by name or address."""
        return Account(*self.oracle.read("accountOf", address_of(someone)))

    # Moves

    def stake(self, worker: str, amount: int) -> None:
        """Deposit."""
        self.send(worker, "deposit", value=amount)

    def terms(self, data: DataSet, seats: int, quorum: int, **changes: Any) -> Terms:
        """Terms for a job over `data`; windows of 96, 48, 96 and 16 s, seat stake and reward as low as they can be."""
        terms = Terms(
            model_id=MODEL.id,
            data_root=data.tree.root,
            data_uri_hash=data_uri_hash(DATA_URI),
            item_count=len(data.rows),
            seats=seats,
            quorum=quorum,
            seat_stake=self.least_stake,
            reward=10**15 + 1,
            commit_window=96,
            reveal_window=48,
            challenge_window=96,
            response_window=16,
        )
        return replace(terms, **changes)

    def create(self, requester: str, terms: Terms, nonce: int = 0, data_uri: str = DATA_URI) -> Job:
        """Create a job and pay its reward and its audit bond."""
        self.send(requester, "createJob", nonce, terms, data_uri, value=terms.payment)
        return Job(address_of(requester), nonce, terms)

    def play(
        self,
        seats: Mapping[str, int],
        quorum: int | None = None,
        item_count: int = 5,
        drawn: bool = True,
        rows: Mapping[int, bytes] | None = None,
        gold: GoldTree | None = None,
        **changes: Any,
    ) -> Play:
        """A job whose jury is exactly these workers: each is given the stake of its seats, and every ticket wins. `rows`
        stand in the data instead of its own, whatever their length; `gold` is the requester's verification set.

        Only for a world without other stake (all tickets win because the jury takes all stake there is).
        """
        data = DataSet(item_count, rows)
        n = sum(seats.values())
        if gold:
            changes |= {"gold_root": gold.root, "gold_count": gold.count}
        terms = self.terms(data, n, quorum if quorum is not None else n // 2 + 1, **changes)
        for worker, count in seats.items():
            self.stake(worker, count * terms.seat_stake)
        self.chain.roll()
        job = self.create("requester", terms)
        play = Play(self, job, data, dict(seats), gold)
        if drawn:
            play.draw()
        return play


def foreign(error: errors.Reverted) -> dict[str, Any]:
    """What only the chain knows, and the specification must be told: another contract's refusal, the gas that is left."""
    if not isinstance(error, errors.OracleRevert):
        return {}
    if error.name in ("PaymentRefused", "DeliveryFailed"):
        return {"is_accepted": False}
    return {"available_gas": error.args[0]} if error.name == "NotEnoughGasToDeliver" else {}


def refusal_of(error: errors.Reverted) -> tuple[str, Any]:
    """(name, arguments) as the specification has them; no name for a revert without a reason."""
    return (error.name, plain(error.args)) if isinstance(error, errors.OracleRevert) else ("", ())


def as_abi(value: Any) -> Any:
    """The twins' types as tuples, however deep."""
    if hasattr(value, "as_tuple"):
        return value.as_tuple()
    return [as_abi(each) for each in value] if isinstance(value, list | tuple) else value


def plain(value: Any) -> Any:
    """Comparable whoever made it: sequences as tuples, addresses in lower case."""
    if isinstance(value, Event | specification.Event):
        return (value.name, {name: plain(each) for name, each in value.args.items()})
    if isinstance(value, list | tuple):
        return tuple(plain(each) for each in value)
    return value.lower() if isinstance(value, str) else value


def snake_case(name: str) -> str:
    return "".join("_" + letter.lower() if letter.isupper() else letter for letter in name)


@dataclass(frozen=True)
class Sealed:
    """What a worker committed to."""

    root: bytes
    salt: bytes
    commitment: bytes


class Play:
    """One job, move by move; who does what is given by name."""

    def __init__(
        self, world: World, job: Job, data: DataSet, seats: dict[str, int], gold: GoldTree | None = None
    ) -> None:
        self.world = world
        self.job = job
        self.data = data
        self.seats = seats
        self.gold = gold
        self.truth = truth_of(data)
        self.id = job.id(CHAIN_ID, world.address)
        self.sealed: dict[str, Sealed] = {}
        self.lanes: dict[str, int] = {}

    def another(self, nonce: int = 1) -> Play:
        """A second job by the same terms, for the same workers."""
        return Play(self.world, self.world.create("requester", self.job.terms, nonce), self.data, dict(self.seats))

    # Moves

    def draw(self, by: str = "keeper") -> None:
        self.world.chain.roll(seconds=3, blocks=3)
        self.world.send(by, "draw", self.id, SEED_PROOF)

    def seal(self, worker: str, root: Claim | bytes, salt: bytes = b"", lane: int | None = None) -> Sealed:
        """What the worker commits to, in a lane that is free unless one is given."""
        salt = salt or keccak(text=worker)
        value = root if isinstance(root, bytes) else root.root
        sealed = Sealed(value, salt, commitment.compute(self.id, party(worker), value, salt))
        self.sealed[worker] = sealed
        if lane is not None:
            self.lanes[worker] = lane
        elif worker not in self.lanes:
            self.lanes[worker] = next(self.world.account(worker).free_lanes())
        return sealed

    def tickets(self, worker: str) -> list[int]:
        """All that the worker has, if its seats are all its stake."""
        return list(range(self.seats[worker]))

    def commit(
        self,
        worker: str,
        root: Claim | bytes,
        tickets: Sequence[int] | None = None,
        salt: bytes = b"",
        lane: int | None = None,
    ) -> None:
        """Seal a root with these tickets (default: all of the worker's)."""
        sealed = self.seal(worker, root, salt, lane)
        numbers = self.tickets(worker) if tickets is None else list(tickets)
        self.world.send(worker, "commit", self.job, self.lanes[worker], sealed.commitment, bytes(32), numbers)

    def commit_all(self, **roots: Claim | bytes) -> None:
        """Everyone named commits, in this order."""
        for worker, root in roots.items():
            self.commit(worker, root)

    def sign(
        self,
        worker: str,
        root: Claim | bytes,
        tickets: Sequence[int] | None = None,
        lane: int | None = None,
        deadline: int = 2**40,
        chain_id: int = CHAIN_ID,
    ) -> SignedCommit:
        """The worker's commitment for somebody else to post."""
        sealed = self.seal(worker, root, lane=lane)
        numbers = self.tickets(worker) if tickets is None else list(tickets)
        signer, lane = account_of(worker), self.lanes[worker]
        where = (chain_id, self.world.address, self.id)
        return sign(signer, *where, lane, sealed.commitment, bytes(32), numbers, deadline)

    def commit_for(self, *signed: SignedCommit, by: str = "relayer") -> list[Event]:
        return self.world.send(by, "commitFor", self.job, list(signed))

    def opening(self, worker: str) -> Opening:
        return Opening(party(worker), self.lanes[worker], self.sealed[worker].salt)

    def reveal(self, worker: str, by: str = "") -> None:
        sealed = self.sealed[worker]
        self.world.send(by or worker, "reveal", self.job, sealed.root, [self.opening(worker)])

    def reveal_all(self, *workers: str) -> None:
        """These workers, or all that committed."""
        for worker in workers or list(self.sealed):
            self.reveal(worker)

    def vote(self, **roots: Claim | bytes) -> None:
        """Commits and reveals of everyone named: both phases end early when that is the whole jury."""
        self.commit_all(**roots)
        if self.phase() == Phase.COMMITTING:
            self.end_phase()
        self.reveal_all()
        if self.phase() == Phase.REVEALING:
            self.end_phase()

    def refute(self, by: str, claim: Claim, index: int) -> None:
        self.world.send(by, "refute", self.job, claim.proof(index), self.data.proof(index))

    def node(self, claim: Claim, level: int, index: int) -> Node:
        return Node(claim.root, level, index)

    def bond(self, claim: Claim, level: int, index: int) -> int:
        """Wei that this demand costs now."""
        return int(self.world.oracle.read("bondFor", self.job.as_tuple(), (claim.root, level, index)))

    def demand(self, by: str, claim: Claim, level: int, index: int, extra: int = 0) -> int:
        """Demand a node, paying `extra` wei too much; the bond."""
        bond = self.bond(claim, level, index)
        self.world.send(by, "demand", self.job, self.node(claim, level, index), value=bond + extra)
        return bond

    def answer(self, by: str, claim: Claim, level: int, index: int) -> None:
        """Answer with what the claim has there, a leaf or nodes."""
        if level == merkle.last_level(self.data.depth):
            self.world.send(by, "answerLeaf", self.job, claim.proof(index), self.data.proof(index))
        else:
            node = self.node(claim, level, index)
            self.world.send(by, "answer", self.job, node, *claim.nodes(level, index))

    def execute(self, by: str) -> None:
        """Every row."""
        self.world.send(by, "executeJob", self.job, b"".join(self.data.rows))

    def opened(self, index: int) -> Gold:
        """The item of the verification set with this index."""
        assert self.gold is not None
        return self.gold.opening([item.index for item in self.gold.items].index(index))

    def accuse(self, claim: Claim, index: int, by: str = "requester") -> list[Event]:
        return self.world.send(by, "accuse", self.job, self.opened(index), claim.proof(index))

    def judge(self, by: str, claim: Claim, index: int) -> None:
        self.world.send(by, "judge", self.job, self.opened(index), claim.proof(index), self.data.proof(index))

    def is_accused(self, claim: Claim, index: int) -> bool:
        return bool(self.world.oracle.read("isAccused", self.id, self.opened(index).position, claim.root))

    def settle(self, root: Claim | bytes = bytes(32), *workers: str, by: str = "keeper") -> None:
        """Once every window is over; the workers' seats are released along with it."""
        value = root if isinstance(root, bytes) else root.root
        self.world.send(by, "settle", self.job, value, [self.ref(worker) for worker in workers])

    def finish(self, root: Claim | bytes = bytes(32)) -> None:
        """Pass what is left of Challenging, settle and release every seat."""
        if self.end:
            self.end_phase()
        self.settle(root)
        self.release(*self.sealed)

    def ref(self, worker: str) -> SeatRef:
        return SeatRef(party(worker), self.lanes.get(worker, 0))

    def word(self, worker: str) -> bytes:
        """What names the worker's seats: the root, or the commitment that was never opened."""
        sealed = self.sealed[worker]
        return sealed.root if self.seat(worker).status == SeatStatus.REVEALED else sealed.commitment

    def release(self, *workers: str) -> None:
        """A transaction for each group that shares a word."""
        groups: dict[bytes, list[SeatRef]] = defaultdict(list)
        for worker in workers:
            groups[self.word(worker)].append(self.ref(worker))
        for word, seats in groups.items():
            self.world.send("keeper", "release", self.job, word, seats)

    def release_bounty(self, claim: Claim) -> None:
        self.world.send("keeper", "releaseBounty", self.job, claim.root)

    def release_bond(self, claim: Claim, level: int, index: int) -> None:
        self.world.send("keeper", "releaseBond", self.job, self.node(claim, level, index))

    # Clock

    @property
    def end(self) -> int:
        """Seconds at which the current phase ends."""
        return int(self.world.oracle.read("phaseEnd", self.job.as_tuple()))

    def end_phase(self) -> None:
        """Let the current phase's window pass."""
        self.world.chain.roll_to(self.end)

    # Reading

    def phase(self) -> Phase:
        return Phase(self.world.oracle.read("phaseOf", self.job.as_tuple()))

    @property
    def state(self) -> JobState:
        return JobState.of_tuple(self.world.oracle.read("jobState", self.id))

    def tally(self, claim: Claim | bytes) -> Tally:
        root = claim if isinstance(claim, bytes) else claim.root
        return Tally.of_tuple(self.world.oracle.read("tallyOf", self.id, root))

    def seat(self, worker: str) -> Seat:
        """What the worker's lane holds, or held last."""
        return Seat.of_tuple(self.world.oracle.read("seatAt", party(worker), self.lanes[worker]))

    def holds_seats(self, worker: str) -> bool:
        """Whether the worker's lane is taken."""
        return self.world.account(worker).holds(self.lanes[worker])

    def demand_of(self, claim: Claim, level: int, index: int) -> Demand:
        return Demand(*self.world.oracle.read("demandOf", self.id, (claim.root, level, index)))

    def audit(self) -> Audit:
        return Audit(*self.world.oracle.read("auditOf", self.id))

    def verdict(self, index: int, output: bytes, siblings: Sequence[bytes]) -> bool:
        return bool(self.world.oracle.read("verdict", self.id, index, output, list(siblings)))

    def stake_of(self, worker: str) -> int:
        """Wei the worker has bonded."""
        return self.world.account(worker).bonded

    def credit_of(self, someone: str) -> int:
        """Wei that somebody can withdraw."""
        return self.world.account(someone).credit


def truth_of(data: DataSet) -> Claim:
    """The right results."""
    outputs = [MODEL.run(row) if len(row) == MODEL.network.row_length else b"" for row in data.rows]
    return Claim(outputs, {index: merkle.EMPTY_LEAF for index, output in enumerate(outputs) if not output})


def gold_of(truth: Claim, *indices: int, wrong: Sequence[int] = ()) -> GoldTree:
    """A verification set of these items of a claim; those of `wrong` differ in a bit."""
    outputs = {index: truth.outputs[index] for index in indices}
    for index in wrong:
        outputs[index] = outputs[index][:-1] + bytes([outputs[index][-1] ^ 1])
    return GoldTree([GoldItem(index, output, keccak(b"salt %d" % index)) for index, output in outputs.items()])


def address_of(someone: str) -> ChecksumAddress:
    """A party's address by name; an address is itself."""
    return ChecksumAddress(someone) if someone.startswith("0x") else party(someone)  # type: ignore[arg-type]


class NewWorld(Protocol):
    """Makes worlds; what a scenario is given, so that the same scenario can be played against changed contracts."""

    def __call__(
        self, *, bounds: Bounds = ..., seed_source: str = ..., execution_gas_limit: int = ..., measured: bool = ...
    ) -> World: ...
