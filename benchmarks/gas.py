"""Gas of every entry point and of whole jobs, from the receipts of real transactions on the embedded dev chain.

What the figures are:

- Entry points by their names, a transaction each, on a job of 178 items; what comes in batches has the batch's size behind
  its name. `deliver` is without what the consumer spends.
- job/direct/N, job/relayed/N, job/relayed_alone/N: a whole job with N seats of N workers, from its creation to the last
  worker's reward. Workers and requester had jobs before: their storage slots are not new. Direct: every worker commits and
  reveals by itself, the first to commit draws as well, one transaction settles and releases. Relayed, alone: one transaction
  draws and posts all signed commitments, one reveals, one settles and releases. Relayed: the same in a steady stream of jobs,
  where the relayer's one transaction settles a job, reveals the next but one, posts the commitments of the one after that and
  draws the next: the gas of one creation and one such transaction.
- execute/digit-tagging: one execution of the zoo's convolutional network, as the registry recorded it.
- verdict/depth10: what one verdict costs the contract that reads it, 1,000 items, nothing of the job read before.
- verdict/amortised/K: a verdict's share of everything if the job's K items are all read: (job/relayed/5 + K · one verdict
  read at the depth of K items) / K.

Addresses and salts differ in their zero bytes, so figures move by a few dozen gas between runs of different keys; the keys
here are fixed, and the snapshot test allows one part in a hundred.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise
from threading import Event, Thread
from typing import Any

import numpy as np
from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_utils import keccak, to_canonical_address
from numpy.typing import NDArray

from contracts import block_header, commitment
from contracts.compute_oracle import DEV_BOUNDS, Opening, SeatRef
from contracts.deployment import Contracts, deploy
from contracts.disputes import InputProof, Node, ResultProof
from contracts.endpoint import Call, Endpoint
from contracts.gold import GoldItem, GoldTree
from contracts.job import Job, Terms, commit_end, data_uri_hash, quorum_bounds, seed_block
from contracts.merkle import MerkleTree, input_leaf, last_level, level_depth, result_leaf
from contracts.signed_commit import SignedCommit, sign
from contracts.stake import odds_factor, seed_of, winning_tickets
from contracts.transactor import Receipt, Transactor
from coordinator.devnet import dev_accounts, dev_keys, running_chain
from models import zoo
from models.interpreter import run
from models.network import Dense, IntegerNetwork
from models.program import compile_network, model_id

JURIES = (3, 5, 10, 31)
BATCH = 5
ITEMS_READ = (1, 100, 10_000, 1_000_000)
WINDOW = 3600
DATA_URI = "file:///benchmark.rows"
SECRET = keccak(b"benchmark")
LANE = 0
STREAM = 3
"""Jobs of a stream in which a worker has seats at the same time."""
ROWS_AT_ONCE = 100_000
ROWS_EXECUTED = 32
"""By execute_job. The dev chain estimates a call by executing it several times, within the 10 s that a client waits."""


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


class _Data:
    """Rows and what the network makes of them."""

    def __init__(self, network: IntegerNetwork, rows: NDArray[np.uint8]) -> None:
        self.model_id = model_id(compile_network(network))
        self.rows = [row.tobytes() for row in rows]
        parts = (run(network, rows[at : at + ROWS_AT_ONCE]) for at in range(0, len(rows), ROWS_AT_ONCE))
        self.outputs = [output.astype(">i4").tobytes() for part in parts for output in part]
        self.inputs = MerkleTree([input_leaf(row) for row in self.rows])
        self.results = MerkleTree([result_leaf(i, output) for i, output in enumerate(self.outputs)])
        last = len(self.rows) - 1
        self.wrong = MerkleTree([*self.results.nodes(self.results.depth, 0, last), bytes(32)])

    def input(self, index: int) -> InputProof:
        return InputProof(self.rows[index], self.inputs.proof(index))

    def wrong_leaf(self) -> ResultProof:
        """The last leaf, where the wrong tree has nothing."""
        index = len(self.rows) - 1
        return ResultProof(self.wrong.root, index, bytes(32), self.wrong.proof(index))


@dataclass(frozen=True)
class _Worker:
    transactor: Transactor
    account: LocalAccount

    @property
    def seat(self) -> SeatRef:
        return self.seat_in(LANE)

    def seat_in(self, lane: int) -> SeatRef:
        return SeatRef(self.account.address, lane)


@dataclass
class _Played:
    """One job, its jury and its receipts."""

    job: Job
    job_id: bytes
    data: _Data
    jury: Sequence[_Worker]
    header: bytes
    seed: bytes
    total_stake: int
    lane: int = LANE
    gas: dict[str, list[int]] = field(default_factory=dict)

    def note(self, entry: str, receipt: Receipt) -> None:
        """Keep what a transaction used."""
        self.gas.setdefault(entry, []).append(int(receipt["gasUsed"]))

    @property
    def total(self) -> int:
        """All of it."""
        return sum(map(sum, self.gas.values()))

    @property
    def most(self) -> dict[str, int]:
        """Each entry's dearest transaction."""
        return {entry: max(gas) for entry, gas in self.gas.items()}


class _Stage:
    """A deployment with 31 workers, on which jobs are played through."""

    def __init__(self, url: str) -> None:
        requester, *workers = dev_keys(max(JURIES) + 1)
        self.endpoint = Endpoint(url)
        self.requester = Transactor(Endpoint(url), requester)
        self.workers = [_Worker(Transactor(Endpoint(url), key), Account.from_key(key)) for key in workers]
        self.contracts = Contracts(self.endpoint, deploy(self.requester, DEV_BOUNDS))
        self.oracle, self.disputes = self.contracts.oracle, self.contracts.disputes
        self.nonce = 0
        self.seat_stake = 0

    def measure(self) -> dict[str, float]:
        network = zoo.load("wine-grading").network
        wine = _Data(network, zoo.wine_rows()[0])
        random = np.random.default_rng(0)
        thousand = _Data(network, random.integers(0, 256, (1000, 13), dtype=np.uint8))
        figures: dict[str, float] = {"register/13-32-16-3": self._register(network)}
        self.seat_stake = 8 * self.oracle.min_seat_stake(wine.model_id, 1000)
        figures |= {"stake": self._fund(), "unbond": self._unbond()}
        for seats in JURIES:
            self._direct(wine, seats)  # so that every worker's slots have been written before
            figures[f"job/direct/{seats}"] = self._direct(wine, seats).total
            figures[f"job/relayed_alone/{seats}"] = self._relayed(wine, seats).total
            figures[f"job/relayed/{seats}"] = self._streamed(wine, seats)
        figures |= self._singles(wine) | self._batches(wine) | self._disputed(wine) | self._audited(wine)
        figures[f"execute_job/{ROWS_EXECUTED}"] = self._executed(_Data(network, zoo.wine_rows()[0][:ROWS_EXECUTED]))
        figures["refute/13-32-16-3/1000"] = self._refuted(thousand)
        figures["verdict/depth10"] = self._verdict(thousand)
        for count in ITEMS_READ:
            read = self._verdict(_Data(network, random.integers(0, 256, (count, 13), dtype=np.uint8)))
            figures[f"verdict/amortised/{count}"] = round(figures["job/relayed/5"] / count + read)
        figures["execute/13-32-16-3"] = self.contracts.registry.model(wine.model_id).execution_gas
        wide = _network((64, 128, 64, 10))
        self._register(wide)
        execution = self.contracts.registry.model(model_id(compile_network(wide))).execution_gas
        figures["gas_per_mac/64-128-64-10"] = round(execution / wide.macs, 2)
        image = zoo.load("digit-tagging").network
        self._register(image)
        figures["execute/digit-tagging"] = self.contracts.registry.model(model_id(compile_network(image))).execution_gas
        return figures

    def _register(self, network: IntegerNetwork) -> int:
        receipt = self.requester.send(self.contracts.registry.register([], compile_network(network)))
        return int(receipt["gasUsed"])

    def _fund(self) -> int:
        receipts = [worker.transactor.send(self.oracle.deposit(self.seat_stake)) for worker in self.workers]
        return receipts[-1]["gasUsed"]

    def _unbond(self) -> int:
        return int(self.workers[-1].transactor.send(self.oracle.unbond(10**9))["gasUsed"])

    # ---- Whole jobs ----

    def _direct(self, data: _Data, seats: int) -> _Played:
        """Everybody for itself."""
        played = self._create(data, seats)
        first, *others = played.jury
        committed = self._commit(played, first, data.results.root)
        played.note("draw", first.transactor.send(self.oracle.multicall([self._draw(played), committed])))
        for worker in others:
            played.note("commit", worker.transactor.send(self._commit(played, worker, data.results.root)))
        for worker in played.jury:
            opening = self._opening(played, worker, data.results.root)
            played.note("reveal", worker.transactor.send(self.oracle.reveal(played.job, data.results.root, [opening])))
        self._settle(played, [worker.seat for worker in played.jury])
        return played

    def _relayed(self, data: _Data, seats: int) -> _Played:
        """Everything by one relayer, which is the requester here."""
        played = self._create(data, seats)
        root = data.results.root
        committed = self.oracle.commit_for(played.job, [self._signed(played, worker, root) for worker in played.jury])
        played.note("draw", self.requester.send(self.oracle.multicall([self._draw(played), committed])))
        openings = [self._opening(played, worker, root) for worker in played.jury]
        played.note("reveal", self.requester.send(self.oracle.reveal(played.job, root, openings)))
        self._settle(played, [worker.seat for worker in played.jury])
        return played

    def _streamed(self, data: _Data, seats: int) -> int:
        """A job's gas in a relayer's steady stream of jobs."""
        stream: list[_Played] = []
        jobs = 4 * STREAM
        for number in range(jobs + 4):
            self._advance(WINDOW * 8 // 10)  # late enough in the commit window that every ticket wins
            if number < jobs:
                stream.append(self._create(data, seats, lane=number % STREAM))
            step = self.requester.send(self.oracle.multicall(list(self._steps(stream, number))))
            if number == jobs - 1:
                total = stream[-1].total + int(step["gasUsed"])
        return total

    def _steps(self, stream: Sequence[_Played], number: int) -> Iterator[Call]:
        """What is due once the job of this number is there, or would be."""
        root = stream[0].data.results.root
        for job in stream[max(0, number - 4) : max(0, number - 3)]:
            yield self.oracle.settle(job.job, root, [worker.seat_in(job.lane) for worker in job.jury])
        for job in stream[max(0, number - 2) : max(0, number - 1)]:
            yield self.oracle.reveal(job.job, root, [self._opening(job, worker, root) for worker in job.jury])
        for job in stream[max(0, number - 1) : number]:
            yield self.oracle.commit_for(job.job, [self._signed(job, worker, root) for worker in job.jury])
        for job in stream[number : number + 1]:
            yield self._draw(job)

    # ---- Entry points ----

    def _singles(self, data: _Data) -> dict[str, int]:
        """One call a transaction."""
        played = self._create(data, 3, consumer=self.requester.sender, callback_gas=50_000)
        self._vote(played)
        self._settle(played)
        for worker in played.jury:
            released = self.oracle.release(played.job, data.results.root, [worker.seat])
            played.note("release", self.requester.send(released))
        played.note("deliver", self.requester.send(self.oracle.deliver(played.job)))
        payee = played.jury[0].transactor
        played.note("withdraw", payee.send(self.oracle.withdraw(payee.sender)))
        return played.most

    def _batches(self, data: _Data) -> dict[str, int]:
        """A call for five workers."""
        played, root = self._create(data, BATCH), data.results.root
        self.requester.send(self._draw(played))
        commits = [self._signed(played, worker, root) for worker in played.jury]
        played.note(f"commit_for/{BATCH}", self.requester.send(self.oracle.commit_for(played.job, commits)))
        openings = [self._opening(played, worker, root) for worker in played.jury]
        played.note(f"reveal/{BATCH}", self.requester.send(self.oracle.reveal(played.job, root, openings)))
        self._settle(played)
        seats = [worker.seat for worker in played.jury]
        played.note(f"release/{BATCH}", self.requester.send(self.oracle.release(played.job, root, seats)))
        return {entry: gas for entry, gas in played.most.items() if entry.endswith(f"/{BATCH}")}

    def _disputed(self, data: _Data) -> dict[str, int]:
        """Demand the wrong root's way down to its last leaf, have all of it answered, and refute that leaf."""
        played, index, depth = self._lied(data), len(data.rows) - 1, data.results.depth
        job, demander, answerer = played.job, played.jury[0].transactor, played.jury[-1].transactor
        for level in range(last_level(depth) + 1):
            at = level_depth(level, depth)
            node = Node(data.wrong.root, level, index >> (depth - at))
            bond = 2 * self.disputes.bond_for(job, node)
            played.note("demand", demander.send(self.disputes.demand(job, node, bond)))
            if level == last_level(depth):
                opened = self.disputes.answer_leaf(job, data.wrong_leaf(), data.input(index))
                played.note("answer_leaf", answerer.send(opened))
                break
            below = level_depth(level + 1, depth)
            first = node.index << (below - at)
            nodes = data.wrong.nodes(below, first, first + (1 << (below - at)))
            opened = self.disputes.answer(job, node, nodes, data.wrong.path(at, node.index))
            played.note("answer", answerer.send(opened))
        refuter = self._refute(played)
        self._settle(played)
        played.note("release_bounty", refuter.send(self.disputes.release_bounty(job, data.wrong.root)))
        released = self.disputes.release_bond(job, Node(data.wrong.root, 0, 0))
        played.note("release_bond", self.requester.send(released))
        self._release_all(played)
        kept = ("demand", "answer", "answer_leaf", "refute", "release_bounty", "release_bond")
        return {{"refute": "refute/wine-grading"}.get(entry, entry): played.most[entry] for entry in kept}

    def _refuted(self, data: _Data) -> int:
        played = self._lied(data)
        self._refute(played)
        self._settle(played)
        self._release_all(played)
        return played.most["refute"]

    def _refute(self, played: _Played) -> Transactor:
        """By somebody who never had to do with the oracle before."""
        refuter = self._stranger(b"refuter" + played.job_id)
        data = played.data
        refutation = self.disputes.refute(played.job, data.wrong_leaf(), data.input(len(data.rows) - 1))
        played.note("refute", refuter.send(refutation))
        return refuter

    def _audited(self, data: _Data) -> dict[str, int]:
        """The requester opens the last item of sixteen, and somebody executes it."""
        indices = range(len(data.rows) - 16, len(data.rows))
        gold = GoldTree([GoldItem(index, data.outputs[index], keccak(b"salt %d" % index)) for index in indices])
        bond = self.seat_stake
        played = self._lied(data, gold_root=gold.root, gold_count=gold.count, audit_bond=bond)
        opened, result = gold.opening(15), data.wrong_leaf()
        played.note("accuse", self.requester.send(self.disputes.accuse(played.job, opened, result)))
        judged = self.disputes.judge(played.job, opened, result, data.input(len(data.rows) - 1))
        played.note("judge", self._stranger(b"judge").send(judged))
        self._settle(played)
        self._release_all(played)
        return {entry: played.most[entry] for entry in ("accuse", "judge")}

    def _executed(self, data: _Data) -> int:
        """Every row, in one transaction."""
        played = self._lied(data)
        executor = self._stranger(b"executor")
        played.note("execute_job", executor.send(self.disputes.execute_job(played.job, b"".join(data.rows))))
        self._settle(played)
        self._release_all(played)
        return played.most["execute_job"]

    def _verdict(self, data: _Data) -> int:
        """Gas of reading one verdict of an accepted job, as the EVM counts it around the call."""
        played = self._relayed(data, 3)
        index = len(data.rows) // 2
        read = self.oracle.contract.functions.verdict(
            played.job_id, index, data.outputs[index], data.results.proof(index)
        )
        calldata = bytes.fromhex(read._encode_transaction_data()[2:])
        answer = bytes.fromhex(self.endpoint.ask("eth_call", {"data": _metered(self.oracle.address, calldata)})[2:])
        gas, verdict = int.from_bytes(answer[:32], "big"), int.from_bytes(answer[32:], "big")
        assert verdict == 1, "the verdict that was read is not true"
        return gas

    # ---- Steps ----

    def _create(self, data: _Data, seats: int, lane: int | None = None, **changes: Any) -> _Played:
        """A job whose jury is the first `seats` workers, with its seed's block in the past.

        lane: of a stream's job. Its workers have stake for STREAM jobs, all others for one.
        """
        jury = self.workers[:seats]
        self._fit_stake(jury, 1 if lane is None else STREAM)
        terms = Terms(
            model_id=data.model_id,
            data_root=data.inputs.root,
            data_uri_hash=data_uri_hash(DATA_URI),
            item_count=len(data.rows),
            seats=seats,
            quorum=quorum_bounds(seats)[0],
            seat_stake=self.seat_stake,
            reward=10**15 + 1,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=WINDOW // 60,
        )
        self.nonce += 1
        job = Job(self.requester.sender, self.nonce, replace(terms, **changes))
        job_id = job.id(self.endpoint.chain_id, self.oracle.address)
        receipt = self.requester.send(self.oracle.create_job(self.nonce, job.terms, DATA_URI))
        for _ in range(3):
            self.endpoint.ask("evm_mine")
        number = seed_block(self.oracle.job_state(job_id))
        header = block_header.fetch(self.endpoint, number)
        randomness = bytes.fromhex(self.endpoint.ask("eth_getBlockByNumber", hex(number), False)["mixHash"][2:])
        total = self.oracle.total_stake(block=receipt["blockNumber"] - 1)
        played = _Played(job, job_id, data, jury, header, seed_of(randomness, job_id), total, lane or LANE)
        played.note("create", receipt)
        return played

    def _fit_stake(self, jury: Sequence[_Worker], jobs: int) -> None:
        """Leave exactly the jury's stake for so many jobs bonded, so that its tickets win and nobody else's do."""
        for worker in self.workers:
            bonded = self.oracle.account(worker.account.address).bonded
            wanted = jobs * self.seat_stake if worker in jury else 0
            if bonded < wanted:
                worker.transactor.send(self.oracle.deposit(wanted - bonded))
            elif bonded > wanted:
                worker.transactor.send(self.oracle.unbond(bonded - wanted))
        self.endpoint.ask("evm_mine")  # stake counts from the next block on

    def _lied(self, data: _Data, **changes: Any) -> _Played:
        """A job in Challenging in which the last worker's root is wrong."""
        played = self._create(data, 3, **changes)
        self._vote(played, lie=True)
        return played

    def _vote(self, played: _Played, *, lie: bool = False) -> None:
        """Draw, and everybody commits and reveals, a transaction each."""
        data = played.data
        roots = [data.wrong.root if lie and worker is played.jury[-1] else data.results.root for worker in played.jury]
        played.note("draw", self.requester.send(self._draw(played)))
        for worker, root in zip(played.jury, roots, strict=True):
            played.note("commit", worker.transactor.send(self._commit(played, worker, root)))
        for worker, root in zip(played.jury, roots, strict=True):
            opening = self._opening(played, worker, root)
            played.note("reveal", worker.transactor.send(self.oracle.reveal(played.job, root, [opening])))

    def _draw(self, played: _Played) -> Call:
        return self.oracle.draw(played.job_id, played.header)

    def _commit(self, played: _Played, worker: _Worker, root: bytes) -> Call:
        sealed, hidden = _sealed(played, worker, root)
        return self.oracle.commit(played.job, played.lane, sealed, hidden, self._tickets(played, worker))

    def _signed(self, played: _Played, worker: _Worker, root: bytes) -> SignedCommit:
        sealed, hidden = _sealed(played, worker, root)
        where = (self.endpoint.chain_id, self.oracle.address)
        tickets = self._tickets(played, worker)
        return sign(worker.account, *where, played.job_id, played.lane, sealed, hidden, tickets, 2**40)

    def _tickets(self, played: _Played, worker: _Worker) -> list[int]:
        terms, who, state = played.job.terms, worker.account.address, self.oracle.job_state(played.job_id)
        now = int(self.endpoint.ask("eth_getBlockByNumber", "latest", False)["timestamp"], 16)
        left = commit_end(state, terms) - now if state.started_at else WINDOW
        expected = odds_factor(WINDOW, left) * terms.seats * terms.seat_stake
        owned = self.oracle.stake_before(who, state.created_block) // terms.seat_stake
        return list(winning_tickets(played.seed, who, owned, expected, played.total_stake))[:1]

    def _opening(self, played: _Played, worker: _Worker, root: bytes) -> Opening:
        return Opening(worker.account.address, played.lane, _salt(played, root))

    def _settle(self, played: _Played, seats: Sequence[SeatRef] = ()) -> None:
        self._advance(WINDOW * 4)
        settled = self.oracle.settle(played.job, played.data.results.root, seats)
        played.note("settle", self.requester.send(settled))

    def _release_all(self, played: _Played) -> None:
        """After a job in which the last worker lied."""
        *honest, liar = [worker.seat for worker in played.jury]
        self.requester.send(self.oracle.release(played.job, played.data.results.root, honest))
        self.requester.send(self.oracle.release(played.job, played.data.wrong.root, [liar]))

    def _stranger(self, name: bytes) -> Transactor:
        stranger = Transactor(self.endpoint, keccak(name))
        self.endpoint.ask("anvil_setBalance", stranger.sender, hex(10**20))
        return stranger

    def _advance(self, seconds: int) -> None:
        self.endpoint.ask("evm_increaseTime", seconds)
        self.endpoint.ask("evm_mine")


def _sealed(played: _Played, worker: _Worker, root: bytes) -> tuple[bytes, bytes]:
    """(commitment, sealed root)."""
    made = commitment.compute(played.job_id, worker.account.address, root, _salt(played, root))
    return made, commitment.seal(root, SECRET, made)


def _salt(played: _Played, root: bytes) -> bytes:
    return keccak(SECRET + played.job_id + root)


def _metered(address: str, calldata: bytes) -> str:
    """Creation code that calls the address, warm, and returns (gas that the call took, first word of the answer)."""
    target = b"\x73" + to_canonical_address(address)
    length = b"\x61" + len(calldata).to_bytes(2, "big")
    warm = target + b"\x31\x50"  # BALANCE, POP
    copy = length + length + b"\x38\x03\x60\x00\x39"  # CODECOPY of what follows this code: CODESIZE, SUB
    call = (
        b"\x5a\x60\x20\x60\x00" + length + b"\x60\x00" + target + b"\x5a\xfa\x50\x5a\x90\x03"
    )  # STATICCALL, GAS around
    answer = b"\x60\x00\x51\x60\x20\x52\x60\x00\x52\x60\x40\x60\x00\xf3"  # RETURN of gas and word
    return "0x" + (warm + copy + call + answer + calldata).hex()


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
