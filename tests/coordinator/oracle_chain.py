"""A real chain with the real contracts, mined on demand, on which tests play out a job's life step by step."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import Any, cast

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_typing import ChecksumAddress

from contracts import block_header
from contracts.commitment import compute, seal
from contracts.compute_oracle import DEV_BOUNDS, Opening, SeatRef
from contracts.deployment import EXECUTION_GAS_LIMIT, Contracts, Deployment, deploy
from contracts.disputes import InputProof, ResultProof
from contracts.endpoint import Call, Endpoint, call_of
from contracts.job import Job, Terms, data_uri_hash
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from contracts.model_registry import chunks_of
from contracts.signed_commit import SignedCommit, sign
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, find_anvil, running_chain
from coordinator.job_store import Source
from models.interpreter import run
from models.program import compile_network, model_id
from models.stepwise import first_state
from tests.models.random_networks import random_networks
from tests.requirements import missing

GWEI = 10**9
ITEMS = 17
SALT = b"\x05" * 32
URI = "file:rows"
STEPWISE_GAS_LIMIT = 10_000
"""Of a deployment to which any model is too dear for one transaction."""


class Sender:
    """Signs, sends and mines at once: the part of a Transactor that `deploy` uses."""

    def __init__(self, endpoint: Endpoint, account: LocalAccount) -> None:
        self.endpoint, self.web3, self.account = endpoint, endpoint.web3, account

    def send(self, what: Any) -> Any:
        call = call_of(what)
        fields: dict[str, Any] = {
            "chainId": 31_337,
            "nonce": self.web3.eth.get_transaction_count(self.account.address),
            "gas": 12_000_000,
            "maxFeePerGas": 10 * GWEI,
            "maxPriorityFeePerGas": GWEI,
            "value": call.value,
            "data": call.data,
        }
        if call.to is not None:
            fields["to"] = call.to
        sent = self.web3.eth.send_raw_transaction(self.account.sign_transaction(fields).raw_transaction)
        self.endpoint.ask("evm_mine")
        receipt = self.web3.eth.get_transaction_receipt(sent)
        assert receipt["status"] == 1, self.endpoint.simulate(call, self.account.address)
        return receipt


class OracleChain:
    """The chain, four workers with the stake of 2, 1, 1 and 1 seats, a registered model and its 17 rows."""

    def __init__(self, url: str, execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> None:
        self.url = url
        self.endpoint = Endpoint(url)
        accounts = [Account.from_key(key) for key in dev_keys(6)]
        self.requester = Sender(self.endpoint, accounts[0])
        self.workers = [Sender(self.endpoint, account) for account in accounts[1:5]]
        self.deployment: Deployment = deploy(
            cast(Transactor, self.requester), replace(DEV_BOUNDS, max_seats=16), execution_gas_limit
        )
        self.contracts = Contracts(self.endpoint, self.deployment)
        self.network = min(random_networks(7, 12), key=lambda made: made.row_length)
        program = compile_network(self.network)
        self.model = model_id(program)
        stored, last = chunks_of(program)
        assert not stored
        self.requester.send(self.contracts.registry.register([], last))
        if execution_gas_limit == STEPWISE_GAS_LIMIT:
            self._measure()
        # stake comes in whole gwei
        self.seat_stake = -(-self.contracts.oracle.min_seat_stake(self.model, ITEMS) // GWEI) * GWEI
        for worker, seats in zip(self.workers, (2, 1, 1, 1), strict=True):
            worker.send(self.contracts.oracle.deposit(seats * self.seat_stake))

    def _measure(self) -> None:
        """A stepwise model can be used once its row of 255s was executed."""
        functions, row = self.contracts.registry.contract.functions, b"\xff" * self.network.row_length
        self.requester.send(functions.begin(self.model, row))
        state = first_state(self.network, row).encode()
        self.requester.send(functions.advance(self.model, sha256(row).digest(), state, 2**32 - 1))

    @property
    def source(self) -> Source:
        return Source(self.deployment.chain_id, self.deployment.oracle, self.deployment.block)

    @cached_property
    def rows(self) -> list[bytes]:
        made = np.random.default_rng(3).integers(0, 256, (ITEMS, self.network.row_length), dtype=np.uint8)
        return [row.tobytes() for row in made]

    @cached_property
    def inputs(self) -> MerkleTree:
        return MerkleTree([input_leaf(row) for row in self.rows])

    def results(self, wrong: Sequence[int] = ()) -> MerkleTree:
        """The result tree, with other outputs for the items of `wrong`."""
        rows = np.frombuffer(b"".join(self.rows), np.uint8).reshape(ITEMS, -1)
        outputs = run(self.network, rows).copy()
        outputs[list(wrong)] += 1
        leaves = [result_leaf(i, output.astype(">i4").tobytes()) for i, output in enumerate(outputs)]
        return MerkleTree(leaves)

    def output(self, index: int) -> bytes:
        row = np.frombuffer(self.rows[index], np.uint8).reshape(1, -1)
        return run(self.network, row)[0].astype(">i4").tobytes()

    def proofs(self, tree: MerkleTree, index: int) -> tuple[ResultProof, InputProof]:
        leaf = tree.node(tree.depth, index)
        result = ResultProof(tree.root, index, leaf, tree.proof(index))
        return result, InputProof(self.rows[index], self.inputs.proof(index))

    # ---- A job's life ----

    def create(self, nonce: int = 0, uri: str = URI, **terms: Any) -> Job:
        given = Terms(
            model_id=self.model,
            data_root=self.inputs.root,
            data_uri_hash=data_uri_hash(uri),
            item_count=ITEMS,
            seats=5,
            quorum=3,
            seat_stake=self.seat_stake,
            reward=10**15 + 1,
            commit_window=600,
            reveal_window=600,
            challenge_window=600,
            response_window=600,
        )
        job = Job(self.requester.account.address, nonce, replace(given, **terms))
        self.requester.send(self.contracts.oracle.create_job(nonce, job.terms, uri))
        return job

    def job_id(self, job: Job) -> bytes:
        return job.id(self.deployment.chain_id, self.deployment.oracle)

    def draw_call(self, job: Job) -> Call:
        """The draw of a job that was just created, once its seed is there."""
        seed_block = self.contracts.oracle.job_state(self.job_id(job)).created_block + 2
        self.mine(3)
        return self.contracts.oracle.draw(self.job_id(job), block_header.fetch(self.endpoint, seed_block))

    def draw(self, job: Job) -> None:
        self.requester.send(self.draw_call(job))

    def play_to_challenging(self, job: Job, roots: Mapping[int, bytes]) -> None:
        """Draw; each worker takes a seat, the first one two, and reveals its root."""
        self.draw(job)
        for worker, root in roots.items():
            self.commit(job, worker, root, (0,) if worker else (0, 1))
        for worker, root in roots.items():
            self.reveal(job, worker, root)

    def commit(self, job: Job, worker: int, root: bytes, tickets: Sequence[int] = (0,), lane: int = 0) -> None:
        sender = self.workers[worker]
        commitment = compute(self.job_id(job), sender.account.address, root, SALT)
        sender.send(self.contracts.oracle.commit(job, lane, commitment, seal(root, SALT, commitment), tickets))

    def sign_commit(
        self, job: Job, worker: int, root: bytes, tickets: Sequence[int] = (0,), lane: int = 0
    ) -> SignedCommit:
        account = self.workers[worker].account
        commitment = compute(self.job_id(job), account.address, root, SALT)
        return sign(
            account,
            self.deployment.chain_id,
            self.deployment.oracle,
            self.job_id(job),
            lane,
            commitment,
            seal(root, SALT, commitment),
            tickets,
            2**40,
        )

    def reveal(self, job: Job, worker: int, root: bytes, lane: int = 0) -> None:
        sender = self.workers[worker]
        sender.send(self.contracts.oracle.reveal(job, root, [Opening(sender.account.address, lane, SALT)]))

    def release(self, job: Job, sender: int, word: bytes, workers: Sequence[int], lane: int = 0) -> None:
        self.send(sender, self.contracts.oracle.release(job, word, self.seats_of(workers, lambda _: lane)))

    def seats_of(self, workers: Sequence[int], lane_of: Callable[[int], int]) -> list[SeatRef]:
        return [SeatRef(self.address(worker), lane_of(worker)) for worker in workers]

    def opening(self, worker: int, lane: int = 0) -> Opening:
        return Opening(self.address(worker), lane, SALT)

    def address(self, worker: int) -> ChecksumAddress:
        return self.workers[worker].account.address

    def credited(self, party: ChecksumAddress, call: Call) -> int:
        """What a call, sent by the requester, credits somebody with."""
        before = self.contracts.oracle.credit(party)
        self.requester.send(call)
        return self.contracts.oracle.credit(party) - before

    def mine(self, count: int) -> None:
        for _ in range(count):
            self.endpoint.ask("evm_mine")

    def advance(self, seconds: int) -> None:
        """One block, so much later."""
        self.endpoint.ask("evm_increaseTime", seconds)
        self.mine(1)

    def reorganise(self, depth: int) -> None:
        """The last blocks are replaced by empty ones."""
        self.endpoint.ask("anvil_reorg", depth, [])

    def send(self, worker: int, call: Call) -> None:
        self.workers[worker].send(call)


@contextmanager
def oracle_chain(kind: Any = "auto", execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> Iterator[OracleChain]:
    if kind == "anvil" and find_anvil() is None:
        missing("anvil", "npm install @foundry-rs/anvil")
    with running_chain(kind, block_time=None) as url:
        yield OracleChain(url, execution_gas_limit)
