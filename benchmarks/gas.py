"""Gas of every entry point, from the receipts of real transactions on the embedded dev chain.

Addresses and salts differ in their zero bytes, so figures move by a few dozen gas between runs of different keys; the keys
here are fixed, and the snapshot test allows one part in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import numpy as np
from eth_utils import keccak
from numpy.typing import NDArray

from contracts import block_header, commitment
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import Contracts, deploy
from contracts.disputes import InputProof, Node, ResultProof
from contracts.endpoint import Endpoint
from contracts.job import NOBODY, Job, Terms, data_uri_hash, quorum_bounds, seed_block
from contracts.merkle import MerkleTree, input_leaf, last_level, level_depth, result_leaf
from contracts.stake import odds_factor, winning_tickets
from contracts.transactor import Receipt, Transactor
from coordinator.devnet import dev_accounts, dev_keys, running_chain
from models import zoo
from models.interpreter import run
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id

JURIES = (3, 5, 10, 31)
DISPUTE_ENTRIES = ("demand", "answer", "answer_leaf", "release_bounty", "release_bond", "withdraw")
WINDOW = 3600
DATA_URI = "file:///benchmark.rows"


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table. Takes some minutes."""
    with running_chain("py-evm", block_time=None, accounts=dev_accounts(max(JURIES) + 1)) as url, _mining(url):
        return [{"name": name, "value": gas, "unit": "gas"} for name, gas in _Stage(url).measure().items()]


@contextmanager
def _mining(url: str) -> Iterator[None]:
    """Blocks as fast as transactions come, instead of one a second."""
    endpoint, stop = Endpoint(url), Event()

    def mine() -> None:
        while not stop.wait(0.02):
            endpoint.ask("evm_mine")

    miner = Thread(target=mine, daemon=True)
    miner.start()
    try:
        yield
    finally:
        stop.set()
        miner.join()


@dataclass
class _Played:
    """One job's data, results and receipts."""

    job: Job
    job_id: bytes
    rows: list[bytes]
    outputs: list[bytes]
    inputs: MerkleTree
    results: MerkleTree
    gas: dict[str, list[int]]

    def note(self, entry: str, receipt: Receipt) -> None:
        """Keep what a transaction used."""
        self.gas.setdefault(entry, []).append(int(receipt["gasUsed"]))


class _Stage:
    """A deployment with 31 workers, on which jobs are played through."""

    def __init__(self, url: str) -> None:
        keys = dev_keys(max(JURIES) + 1)
        self.endpoint = Endpoint(url)
        self.requester, *self.workers = (Transactor(Endpoint(url), key) for key in keys)
        self.contracts = Contracts(self.endpoint, deploy(self.requester, DEV_BOUNDS))
        self.oracle, self.disputes = self.contracts.oracle, self.contracts.disputes
        self.nonce = 0

    def measure(self) -> dict[str, float]:
        wine = zoo.load("wine-grading").network
        rows, _ = zoo.wine_rows()
        figures: dict[str, float] = {"register/13-32-16-3": self._register(wine)}
        seat_stake = 8 * self.oracle.min_seat_stake(model_id(compile_network(wine)), 1000)
        figures |= {"stake": self._fund(seat_stake), "unbond": self._unbond()}
        for seats in JURIES:
            self._play(wine, rows, seats, seat_stake)  # warms every worker's slots
            played = self._play(wine, rows, seats, seat_stake)
            figures[f"job/direct/{seats}"] = sum(map(sum, played.gas.values()))
            if seats == 3:
                figures |= {name: max(gas) for name, gas in played.gas.items()}
        disputed = self._play(wine, rows, 3, seat_stake, lie=True)
        figures |= {name: max(disputed.gas[name]) for name in DISPUTE_ENTRIES}
        figures["refute/wine-grading"] = disputed.gas["refute"][0]
        random = np.random.default_rng(0).integers(0, 256, (1000, 13), dtype=np.uint8)
        figures["refute/13-32-16-3/1000"] = self._play(wine, random, 3, seat_stake, lie=True).gas["refute"][0]
        figures["verdict/depth10"] = self._verdict(wine, random, seat_stake)
        figures["execute/13-32-16-3"] = self.contracts.registry.model(model_id(compile_network(wine))).execution_gas
        wide = _network((64, 128, 64, 10))
        self._register(wide)
        execution = self.contracts.registry.model(model_id(compile_network(wide))).execution_gas
        figures["gas_per_mac/64-128-64-10"] = round(execution / wide.macs, 2)
        return figures

    def _register(self, network: IntegerNetwork) -> int:
        receipt = self.requester.send(self.contracts.registry.register([], compile_network(network)))
        return int(receipt["gasUsed"])

    def _fund(self, stake: int) -> int:
        receipts = [worker.send(self.oracle.deposit(stake)) for worker in self.workers]
        return receipts[-1]["gasUsed"]

    def _unbond(self) -> int:
        return int(self.workers[-1].send(self.oracle.unbond(1))["gasUsed"])

    def _play(
        self, network: IntegerNetwork, rows: NDArray[np.uint8], seats: int, stake: int, *, lie: bool = False
    ) -> _Played:
        """One job from creation to the last release; with `lie`, one seat's root is wrong and is refuted."""
        jury = self.workers[:seats]
        self._fit_stake(jury, stake)
        played = self._create(network, rows, seats, stake)
        self._draw(played)
        wrong = MerkleTree([*played.results.nodes(played.results.depth, 0, len(rows) - 1), bytes(32)]) if lie else None
        trees = [wrong if wrong and worker is jury[-1] else played.results for worker in jury]
        for worker, tree in zip(jury, trees, strict=True):
            played.note("commit", self._commit(played, worker, tree.root))
        for worker, tree in zip(jury, trees, strict=True):
            opening = self.oracle.reveal(played.job, worker.sender, tree.root, _salt(played.job_id, tree.root))
            played.note("reveal", worker.send(opening))
        if wrong:
            self._dispute(played, wrong, jury)
        self._advance(WINDOW * 4)
        played.note("settle", self.requester.send(self.oracle.settle(played.job, played.results.root)))
        release = self.oracle.release(played.job, [worker.sender for worker in jury])
        played.note("release", self.requester.send(release))
        if wrong:
            self._collect(played, wrong)
        return played

    def _fit_stake(self, jury: Sequence[Transactor], seat_stake: int) -> None:
        """Leave exactly the jury's stake bonded, so that every ticket wins and nobody else's does."""
        for worker in self.workers:
            account, _, _ = self.oracle.account(worker.sender)
            wanted = seat_stake if worker in jury else 0
            if account.bonded < wanted:
                worker.send(self.oracle.deposit(wanted - account.bonded))
            elif account.bonded > wanted:
                worker.send(self.oracle.unbond(account.bonded - wanted))

    def _create(self, network: IntegerNetwork, rows: NDArray[np.uint8], seats: int, stake: int) -> _Played:
        given = [row.tobytes() for row in rows]
        outputs = [output.astype(">i4").tobytes() for output in run(network, rows)]
        inputs = MerkleTree([input_leaf(row) for row in given])
        results = MerkleTree([result_leaf(i, output) for i, output in enumerate(outputs)])
        terms = Terms(
            model_id=model_id(compile_network(network)),
            data_root=inputs.root,
            data_uri_hash=data_uri_hash(DATA_URI),
            item_count=len(given),
            seats=seats,
            quorum=quorum_bounds(seats)[0],
            seat_stake=stake,
            reward=10**15,
            call_out_fee=0,
            gold_root=bytes(32),
            gold_count=0,
            audit_bond=0,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=WINDOW // 60,
            consumer=NOBODY,
            callback_gas=0,
        )
        self.nonce += 1
        job = Job(self.requester.sender, self.nonce, terms)
        job_id = job.id(self.endpoint.chain_id, self.oracle.address)
        played = _Played(job, job_id, given, outputs, inputs, results, {})
        played.note("create", self.requester.send(self.oracle.create_job(self.nonce, terms, DATA_URI)))
        return played

    def _draw(self, played: _Played) -> None:
        state = self.oracle.job_state(played.job_id)
        for _ in range(3):
            self.endpoint.ask("evm_mine")
        header = block_header.fetch(self.endpoint, seed_block(state))
        played.note("draw", self.requester.send(self.oracle.draw(played.job_id, header)))

    def _commit(self, played: _Played, worker: Transactor, root: bytes) -> Receipt:
        state, terms = self.oracle.job_state(played.job_id), played.job.terms
        expected = odds_factor(WINDOW, WINDOW) * terms.seats * terms.seat_stake
        tickets = self.oracle.stake_before(worker.sender, state.created_block) // terms.seat_stake
        won = list(winning_tickets(state.seed, worker.sender, tickets, expected, state.total_stake))
        sealed = commitment.compute(played.job_id, worker.sender, root, _salt(played.job_id, root))
        hidden = commitment.seal(root, keccak(b"benchmark"), sealed)
        return worker.send(self.oracle.commit(played.job, sealed, hidden, won))

    def _dispute(self, played: _Played, wrong: MerkleTree, jury: Sequence[Transactor]) -> None:
        """Demand the wrong root's way down to its last leaf, have all of it answered, and refute that leaf."""
        job, index, depth = played.job, len(played.rows) - 1, wrong.depth
        given = InputProof(played.rows[index], played.inputs.proof(index))
        leaf = ResultProof(wrong.root, index, bytes(32), wrong.proof(index))
        demander, answerer = jury[0], jury[-1]
        for level in range(last_level(depth) + 1):
            at = level_depth(level, depth)
            node = Node(wrong.root, level, index >> (depth - at))
            bond = 2 * self.disputes.bond_for(job, node)
            played.note("demand", demander.send(self.disputes.demand(job, node, bond)))
            if level == last_level(depth):
                played.note("answer_leaf", answerer.send(self.disputes.answer_leaf(job, leaf, given)))
                break
            below = level_depth(level + 1, depth)
            first = node.index << (below - at)
            nodes = wrong.nodes(below, first, first + (1 << (below - at)))
            answer = self.disputes.answer(job, node, nodes, wrong.path(at, node.index))
            played.note("answer", answerer.send(answer))
        refuter = Transactor(self.endpoint, keccak(b"refuter"))
        self.endpoint.ask("anvil_setBalance", refuter.sender, hex(10**20))
        played.note("refute", refuter.send(self.disputes.refute(job, leaf, given)))

    def _collect(self, played: _Played, wrong: MerkleTree) -> None:
        """What a refuted root leaves to be pulled."""
        played.note("release_bounty", self.requester.send(self.disputes.release_bounty(played.job, wrong.root)))
        bond = self.disputes.release_bond(played.job, Node(wrong.root, 0, 0))
        played.note("release_bond", self.requester.send(bond))
        refuter = Transactor(self.endpoint, keccak(b"refuter"))
        played.note("withdraw", refuter.send(self.oracle.withdraw(refuter.sender)))

    def _verdict(self, network: IntegerNetwork, rows: NDArray[np.uint8], stake: int) -> int:
        """Execution gas of a verdict read at depth 10, as a consumer's call pays it: cold storage, no transaction."""
        played = self._play(network, rows, 3, stake)
        proof = [bytes(sibling) for sibling in played.results.proof(7)]
        function = self.oracle.contract.functions.verdict(played.job_id, 7, played.outputs[7], proof)
        data = function._encode_transaction_data()
        raw = bytes.fromhex(data[2:])
        zeros = raw.count(0)
        execution = int(self.endpoint.ask("eth_estimateGas", {"to": self.oracle.address, "data": data}), 16)
        return execution - 21_000 - 4 * zeros - 16 * (len(raw) - zeros)

    def _advance(self, seconds: int) -> None:
        self.endpoint.ask("evm_increaseTime", seconds)
        self.endpoint.ask("evm_mine")


def _salt(job_id: bytes, root: bytes) -> bytes:
    return keccak(job_id + root)


def _network(widths: Sequence[int]) -> IntegerNetwork:
    """A dense network of these widths with small seeded weights."""
    random = np.random.default_rng(1)
    layers = []
    for inputs, outputs in pairwise(widths):
        layers.append(
            Dense(
                random.integers(-20, 21, (outputs, inputs)).astype(np.int8),
                random.integers(-1000, 1001, outputs).astype(np.int32),
                np.full(outputs, 7, np.uint8),
            )
        )
    return IntegerNetwork((*layers[:-1], replace(layers[-1], shifts=None)))
