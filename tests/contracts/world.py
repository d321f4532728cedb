"""The real contracts in one process: parties with stakes, a tiny real model, and one job played move by move.

    play = world.play({"ann": 1, "bob": 1, "cat": 1})
    play.commit("ann", play.truth)
    …
    play.settle()

Every move goes through the books (tests.contracts.books), so each is checked to the wei whatever the test is about.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any, Protocol

import numpy as np
from eth_typing import ChecksumAddress
from eth_utils import keccak

from contracts import commitment, merkle
from contracts.commitment import Seat
from contracts.compute_oracle import Bounds
from contracts.disputes import Demand
from contracts.job import Job, JobState, Phase, Terms, data_uri_hash
from contracts.tally import Tally
from models import interpreter
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id
from tests.contracts.books import Books
from tests.contracts.chain import NOBODY, Chain, Contract, Event, load, party

GWEI = 10**9
BOUNDS = Bounds(min_window=8, max_window=3600, unbonding_period=4000, block_time=1, max_item_count=2**20, max_seats=64)
BOUNDS_TYPE = "(uint32,uint32,uint32,uint32,uint40,uint16,uint96)"
DATA_URI = "ipfs://rows"
SEED_PROOF = b"proof"
EXECUTION_GAS_LIMIT = 1_000_000


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

    def proof(self, index: int) -> tuple[bytes, list[bytes]]:
        """An InputProof; empty for the padding."""
        return (self.rows[index], self.tree.proof(index)) if index < len(self.rows) else (b"", [])


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

    def proof(self, index: int) -> tuple[bytes, int, bytes, list[bytes]]:
        """A ResultProof."""
        return (self.root, index, self.tree.node(self.tree.depth, index), self.tree.proof(index))

    def nodes(self, level: int, index: int) -> tuple[list[bytes], list[bytes]]:
        """(the node's descendants at the next level, its path to the root)."""
        depth = self.tree.depth
        at, below = merkle.level_depth(level, depth), merkle.level_depth(level + 1, depth)
        step = below - at
        return self.tree.nodes(below, index << step, (index + 1) << step), self.tree.path(at, index)


class World:
    """A deployment with its own chain. `code` replaces the bytecode of contracts by name."""

    def __init__(
        self, code: Mapping[str, str] | None = None, bounds: Bounds = BOUNDS, seed_source: str = "FixedSeed"
    ) -> None:
        self.chain = Chain()
        self.code = dict(code or {})
        self.bounds = bounds
        registry = self.deploy("ModelRegistry", ("uint256",), (EXECUTION_GAS_LIMIT,))
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
        self.books = Books()
        self.forced = 0
        self.registry.send(party("registrant"), "register", [], MODEL.program)
        self.least_stake = int(self.oracle.read("minSeatStake", MODEL.id, 300))

    def deploy(self, name: str, types: tuple[str, ...] = (), values: tuple[Any, ...] = ()) -> str:
        """Create a contract by its name; its address."""
        return self.chain.deploy(self.code.get(name) or load(name)["bytecode"], types, values)

    def send(self, sender: str, name: str, *values: Any, value: int = 0) -> list[Event]:
        """Call the oracle as somebody (a name or an address), enter the events in the books and check those."""
        events = self.oracle.send(address_of(sender), name, *values, value=value)
        self.enter(events, value)
        return events

    def enter(self, events: list[Event], value: int = 0) -> None:
        """Enter events in the books; the oracle must hold exactly what they say, and say so of everyone touched."""
        self.books.apply(events, value)
        self.check_books()

    def check_books(self) -> None:
        """Accounted equals the balance, to the wei, and so does every account that changed since the last check."""
        books, oracle = self.books, self.oracle
        assert self.chain.balance(oracle.address) == books.accounted + self.forced, "the oracle does not hold its books"
        assert self.chain.balance(NOBODY) == books.burned, "burned wei did not leave for the zero address"
        assert oracle.read("totalStake") == books.total_stake
        for someone in books.touched:
            (bonded, locked, _), unbonding, _ = oracle.read("accountOf", someone)
            assert (bonded, locked) == (books.bonded[someone], books.locked(someone))
            assert unbonding == books.unbonding[someone]
            assert oracle.read("creditOf", someone) == books.credits[someone]
        books.touched.clear()

    def stake(self, worker: str, amount: int) -> None:
        """Deposit."""
        self.send(worker, "deposit", value=amount)

    def terms(self, data: DataSet, seats: int, quorum: int, **changes: Any) -> Terms:
        """Terms for a job over `data`; windows of 96, 48, 96 and 16 s, seat stake and reward as low as they can be."""
        terms = Terms(
            MODEL.id, data.tree.root, data_uri_hash(DATA_URI), len(data.rows), seats, quorum, self.least_stake,
            10**15 + 1, 0, bytes(32), 0, 0, 96, 48, 96, 16, NOBODY, 0,
        )  # fmt: skip
        return replace(terms, **changes)

    def create(self, requester: str, terms: Terms, nonce: int = 0, data_uri: str = DATA_URI) -> Job:
        """Create a job and pay its reward."""
        self.send(requester, "createJob", nonce, terms.as_tuple(), data_uri, value=terms.reward)
        return Job(address_of(requester), nonce, terms)

    def play(
        self,
        seats: Mapping[str, int],
        quorum: int | None = None,
        item_count: int = 5,
        drawn: bool = True,
        rows: Mapping[int, bytes] | None = None,
        **changes: Any,
    ) -> Play:
        """A job whose jury is exactly these workers: each is given the stake of its seats, and every ticket wins. `rows`
        stand in the data instead of its own, whatever their length.

        Only for a world without other stake (all tickets win because the jury takes all stake there is).
        """
        data = DataSet(item_count, rows)
        n = sum(seats.values())
        terms = self.terms(data, n, quorum if quorum is not None else n // 2 + 1, **changes)
        for worker, count in seats.items():
            self.stake(worker, count * terms.seat_stake)
        self.chain.roll()
        job = self.create("requester", terms)
        play = Play(self, job, data, dict(seats))
        if drawn:
            play.draw()
        return play


@dataclass(frozen=True)
class Sealed:
    """What a worker committed to."""

    root: bytes
    salt: bytes
    commitment: bytes


class Play:
    """One job, move by move; who does what is given by name."""

    def __init__(self, world: World, job: Job, data: DataSet, seats: dict[str, int]) -> None:
        self.world = world
        self.job = job
        self.data = data
        self.seats = seats
        outputs = [MODEL.run(row) if len(row) == MODEL.network.row_length else b"" for row in data.rows]
        self.truth = Claim(outputs, {index: merkle.EMPTY_LEAF for index, output in enumerate(outputs) if not output})
        self.id = job.id(1, ChecksumAddress(world.oracle.address))  # type: ignore[arg-type]
        self.sealed: dict[str, Sealed] = {}

    # Moves

    def draw(self, by: str = "keeper") -> None:
        self.world.chain.roll(seconds=3, blocks=3)
        self.world.send(by, "draw", self.id, SEED_PROOF)

    def commit(self, worker: str, root: Claim | bytes, tickets: Sequence[int] | None = None, salt: bytes = b"") -> None:
        """Seal a root with these tickets (default: all of the worker's)."""
        salt = salt or keccak(text=worker)
        value = root if isinstance(root, bytes) else root.root
        sealed = commitment.compute(self.id, party(worker), value, salt)
        numbers = list(range(self.seats[worker])) if tickets is None else list(tickets)
        self.world.send(worker, "commit", self.job.as_tuple(), sealed, bytes(32), numbers)
        self.sealed[worker] = Sealed(value, salt, sealed)

    def commit_all(self, **roots: Claim | bytes) -> None:
        """Everyone named commits, in this order."""
        for worker, root in roots.items():
            self.commit(worker, root)

    def reveal(self, worker: str, by: str = "") -> None:
        sealed = self.sealed[worker]
        self.world.send(by or worker, "reveal", self.job.as_tuple(), party(worker), sealed.root, sealed.salt)

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
        self.world.send(by, "refute", self.job.as_tuple(), claim.proof(index), self.data.proof(index))

    def bond(self, claim: Claim, level: int, index: int) -> int:
        """Wei that this demand costs now."""
        return int(self.world.oracle.read("bondFor", self.job.as_tuple(), (claim.root, level, index)))

    def demand(self, by: str, claim: Claim, level: int, index: int, extra: int = 0) -> int:
        """Demand a node, paying `extra` wei too much; the bond."""
        bond = self.bond(claim, level, index)
        node = (claim.root, level, index)
        self.world.send(by, "demand", self.job.as_tuple(), node, value=bond + extra)
        return bond

    def answer(self, by: str, claim: Claim, level: int, index: int) -> None:
        """Answer with what the claim has there, a leaf or nodes."""
        if level == merkle.last_level(self.data.depth):
            self.world.send(by, "answerLeaf", self.job.as_tuple(), claim.proof(index), self.data.proof(index))
        else:
            node = (claim.root, level, index)
            self.world.send(by, "answer", self.job.as_tuple(), node, *claim.nodes(level, index))

    def settle(self, root: Claim | bytes = bytes(32), by: str = "keeper") -> None:
        """Once every window is over."""
        value = root if isinstance(root, bytes) else root.root
        self.world.send(by, "settle", self.job.as_tuple(), value)

    def finish(self, root: Claim | bytes = bytes(32)) -> None:
        """Pass what is left of Challenging, settle and release every seat."""
        self.end_phase()
        self.settle(root)
        self.release(*self.sealed)

    def release(self, *workers: str) -> None:
        self.world.send("keeper", "release", self.job.as_tuple(), [party(worker) for worker in workers])

    def release_bounty(self, claim: Claim) -> None:
        self.world.send("keeper", "releaseBounty", self.job.as_tuple(), claim.root)

    def release_bond(self, claim: Claim, level: int, index: int) -> None:
        self.world.send("keeper", "releaseBond", self.job.as_tuple(), (claim.root, level, index))

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
        return Seat.of_tuple(self.world.oracle.read("seatOf", self.id, party(worker)))

    def demand_of(self, claim: Claim, level: int, index: int) -> Demand:
        return Demand(*self.world.oracle.read("demandOf", self.id, (claim.root, level, index)))

    def verdict(self, index: int, output: bytes, siblings: Sequence[bytes]) -> bool:
        return bool(self.world.oracle.read("verdict", self.id, index, output, list(siblings)))

    def stake_of(self, worker: str) -> int:
        """Wei the worker has bonded."""
        return self.world.books.bonded[party(worker)]

    def credit_of(self, someone: str) -> int:
        """Wei that somebody can withdraw."""
        return int(self.world.oracle.read("creditOf", address_of(someone)))


def address_of(someone: str) -> ChecksumAddress:
    """A party's address by name; an address is itself."""
    return ChecksumAddress(someone) if someone.startswith("0x") else party(someone)  # type: ignore[arg-type]


class NewWorld(Protocol):
    """Makes worlds; what a scenario is given, so that the same scenario can be played against changed contracts."""

    def __call__(self, *, bounds: Bounds = ..., seed_source: str = ...) -> World: ...
