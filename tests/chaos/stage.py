"""One lane of the campaign: a chain, the operator under fault, a peer, and the parties that the stage plays itself.

The operator under fault is an island: a Redis of its own, coordinator, signer and compute as processes, three nodes that each
can be told to misbehave. The peer is the same software in one process (`quorate worker --role all`). All of them stay alive
from run to run; only what a fault ends is started again.
"""

from __future__ import annotations

import os
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from contracts.compute_oracle import DEV_BOUNDS, SeatRef
from contracts.deployment import Contracts, deploy
from contracts.endpoint import Endpoint
from contracts.job import Job, Outcome, Phase, Terms, data_uri_hash, phase, phase_end
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from contracts.transactor import Transactor
from coordinator.clock import Clock
from coordinator.devnet import dev_accounts, dev_keys, running_chain
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.watcher import Watcher
from models import zoo
from models.interpreter import run
from models.program import compile_network, model_id
from tests.chaos.data_server import DataServer
from tests.chaos.hand import Hand
from tests.chaos.liar import Liar
from tests.contracts.faulty_node import FaultyNode, faulty_node
from tests.end_to_end.island import ROLES, Island, Role, Surroundings
from tests.end_to_end.services import Service

CONFIRMATIONS = 2
WINDOW = 180
"""Seconds of each window: minutes or hours elsewhere; an outage here is as much shorter."""
RESPONSE_WINDOW = 20
QUORUM = LIES = 3
SEATS = LIES + 2
"""The liars' and one of each honest operator."""
MOST_ITEMS = 12
REWARD = 10**18 + 1
VISIBILITY_SECONDS = 6
RESTART_SECONDS = 1.0
"""How long whoever looks after the processes (systemd, Docker) waits before it starts one again that ended."""
NODES = 3
SETTINGS = {
    "CONFIRMATIONS": CONFIRMATIONS,
    "RETRY_SECONDS": 3,
    "TURN_SECONDS": 2,
    "DATA_PRIVATE_ADDRESSES": True,
    "DATA_SECONDS": 8,
    "VISIBILITY_TIMEOUT": VISIBILITY_SECONDS,
}


class Stage:
    """A lane. `stack` ends everything on it."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        keys = dev_keys(5)
        self.chain_url = stack.enter_context(running_chain("anvil", accounts=dev_accounts(5)))
        self.endpoint = Endpoint(self.chain_url)
        deployer = Transactor(self.chain_url, keys[4])
        self.contracts = Contracts(self.endpoint, deploy(deployer, DEV_BOUNDS))
        self.contracts.deployment.save(folder / "deployment.json")
        self._network = zoo.load("wine-grading").network
        program = compile_network(self._network)
        self._model_id = model_id(program)
        deployer.send(self.contracts.registry.register([], program))
        least = self.contracts.oracle.min_seat_stake(self._model_id, MOST_ITEMS)
        self.seat_stake = -(-2 * least // 10**9) * 10**9  # stake comes in whole gwei
        self.data = DataServer()
        stack.enter_context(self.data.running())
        self.nodes: list[FaultyNode] = [stack.enter_context(faulty_node(self.chain_url)) for _ in range(NODES)]
        self.requester = Hand(self.endpoint, Transactor(self.chain_url, keys[3]).sender)
        self.liar = Liar(self.contracts, Hand(self.endpoint, Transactor(self.chain_url, keys[2]).sender), LIES)
        self._liars_hand = Hand(self.endpoint, self.liar.address)
        self._observe(stack)
        self._start_operators(keys, stack)
        self._nonce = 0
        self._seen: tuple[str, bytes, JobView | None, Clock] | None = None
        """What `look` saw last: the head, the job asked for, and the answer."""
        self.restarts: list[str] = []
        """What ended by itself and was started again, since the list was last emptied."""
        self._ended_at: dict[str, float] = {}

    def _observe(self, stack: ExitStack) -> None:
        deployment = self.contracts.deployment
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        self._store = stack.enter_context(JobStore(self.folder / "observer.sqlite", source))
        self._watcher = Watcher(self.endpoint, self._store, confirmations=0)

    def _start_operators(self, keys: list[bytes], stack: ExitStack) -> None:
        deployment, model = self.folder / "deployment.json", self._model_id.hex()
        around = Surroundings(",".join(node.url for node in self.nodes), deployment, self.folder)
        settings: dict[str, object] = {**SETTINGS, "POLL_SECONDS": 1.0, "RECHECK_SECONDS": 3, "ALLOWED_MODELS": model}
        self.operator = Island("operator", keys[0], self.folder / "operator", around, settings=settings)
        stack.callback(self.operator.close)
        self.operator.open_broker()
        for role in ROLES:
            self.operator.start(role)
        self._peer_key = keys[1]
        self._peer_settings = {
            **settings,
            "RPC_URL": self.chain_url,
            "DEPLOYMENT": deployment,
            "HOME": self.folder / "peer",
            "PRIVATE_KEY": self._peer_key.hex(),
        }
        self.peer_address = Transactor(self.chain_url, self._peer_key).sender
        self.peer = self._start_peer()
        stack.callback(lambda: self.peer.close())

    def _start_peer(self) -> Service:
        clean = {name: value for name, value in os.environ.items() if not name.startswith("QUORATE_")}
        given = {f"QUORATE_{name}": str(value) for name, value in self._peer_settings.items()}
        command = [sys.executable, "-m", "coordinator.cli.main", "worker", "--role", "all"]
        return Service("peer", command, self.folder / "peer.log", {**clean, "OMP_NUM_THREADS": "1", **given})

    # ---- The chain ----

    def pass_time(self, seconds: int) -> None:
        """Move the chain's clock on."""
        if seconds > 0:
            self.endpoint.ask("evm_increaseTime", seconds)
            self.endpoint.ask("evm_mine")

    def look(self) -> tuple[JobView | None, Clock]:
        """The job as the chain has it now; None where it has none. Raises ChainError while the chain is being reorganised."""
        head = self.endpoint.ask("eth_getBlockByNumber", "latest", False)["hash"]
        if self._seen is None or self._seen[:2] != (head, self.job_id):
            clock = self._watcher.catch_up()
            self._seen = head, self.job_id, self._store.view(self.job_id), clock
        return self._seen[2:]

    def block_number(self) -> int:
        """The head's."""
        return int(self.endpoint.ask("eth_blockNumber"), 16)

    def bonded(self, worker: str) -> int:
        """Wei of stake."""
        return self.contracts.oracle.account(self.endpoint.web3.to_checksum_address(worker)).bonded

    # ---- A job ----

    def prepare(self, items: int, seed: int) -> None:
        """Everybody has its stake, and there is a job to be created, of random rows."""
        self.endpoint.ask("anvil_setNextBlockBaseFeePerGas", hex(10**9))
        self._top_up(self.operator.key, 1)
        self._top_up(self._peer_key, 1)
        missing = LIES * self.seat_stake - self.bonded(self.liar.address)
        if missing > 0:
            self._liars_hand.forget()
            self._liars_hand.send("deposit", self.contracts.oracle.deposit(missing))
        self.endpoint.ask("anvil_mine", hex(CONFIRMATIONS + 1))
        self._nonce += 1
        random = np.random.default_rng(seed)
        rows = random.integers(0, 256, (items, self._network.row_length), dtype=np.uint8)
        outputs = [row.astype(">i4").tobytes() for row in run(self._network, rows)]
        self.right_root = MerkleTree([result_leaf(index, output) for index, output in enumerate(outputs)]).root
        given = [row.tobytes() for row in rows]
        self.liar.prepare(given, outputs, int(random.integers(items)))
        path = f"/{self._nonce}.rows"
        self.data.files = {path: b"".join(given)}
        self._uri = self.data.url + path
        self._terms = self._terms_of(given)
        self._job = Job(self.requester.address, self._nonce, self._terms)
        deployment = self.contracts.deployment
        self.job_id = self._job.id(deployment.chain_id, deployment.oracle)
        self.requester.forget()

    def create(self) -> None:
        """The requester creates the job; it may be asked again."""
        self.requester.send("create", self.contracts.oracle.create_job(self._nonce, self._terms, self._uri))

    def _terms_of(self, rows: list[bytes]) -> Terms:
        return Terms(
            model_id=self._model_id,
            data_root=MerkleTree([input_leaf(row) for row in rows]).root,
            data_uri_hash=data_uri_hash(self._uri),
            item_count=len(rows),
            seats=SEATS,
            quorum=QUORUM,
            seat_stake=self.seat_stake,
            reward=REWARD,
            call_out_fee=REWARD // 10,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=RESPONSE_WINDOW,
        )

    def _top_up(self, key: bytes, seats: int) -> None:
        sender = Transactor(self.chain_url, key)
        missing = seats * self.seat_stake - self.bonded(sender.sender)
        if missing > 0:
            sender.send(self.contracts.oracle.deposit(missing))

    # ---- Processes ----

    def supervise(self) -> None:
        """Start again what ended by itself, as a service manager does."""
        services = [(self.operator.services[role], role) for role in ROLES]
        for service, role in services:
            if service.has_failed and self._has_waited(service):
                self.restarts.append(f"{role}: {service.tail(1)[-120:]}")
                self.operator.start(role)
        if self.operator.broker.has_failed and self._has_waited(self.operator.broker):
            self.operator.open_broker()
        if self.peer.has_failed and self._has_waited(self.peer):
            self.restarts.append(f"peer: {self.peer.tail(1)[-120:]}")
            self.peer = self._start_peer()

    def _has_waited(self, service: Service) -> bool:
        since = self._ended_at.setdefault(f"{service.name} {service.pid}", time.monotonic())
        return time.monotonic() - since > RESTART_SECONDS

    @property
    def is_ready(self) -> bool:
        """Whether every process of the operator works."""
        return all(self.operator.is_ready(role) for role in ROLES)

    def running(self, role: Role) -> Service:
        """A role's process."""
        return self.operator.services[role]

    def has_seat(self) -> bool:
        """Whether the operator has committed in the job of now."""
        view, _ = self.look()
        return view is not None and view.seat(self.operator.address) is not None

    def is_ended(self, view: JobView) -> bool:
        """Whether the job is settled and the honest operators have all that is theirs: seats, bounties, bonds."""
        honest = {self.operator.address, self.peer_address}
        return (
            view.state.outcome != Outcome.OPEN
            and not any(seat.is_held for worker, seat in view.seats.items() if worker in honest)
            and not any(refuter in honest for _, refuter in view.bounties_due())
            and not any(payee in honest and wei for payee, wei in map(view.bond_due, view.demands))
        )

    def keep(self, view: JobView, clock: Clock) -> None:
        """One step of what any keeper may do to end a job."""
        oracle = self.contracts.oracle
        now = phase(view.state, view.terms, clock.now, clock.block_number)
        if now == Phase.SETTLING:
            self.requester.send("settle", oracle.settle(view.job, view.winner or bytes(32)))
        elif now == Phase.SETTLED:
            for worker, seat in view.seats.items():
                if seat.is_held:
                    call = oracle.release(view.job, seat.word, [SeatRef(worker, seat.lane)])
                    self.requester.send(("release", worker), call)
            for root, _ in view.bounties_due():
                self.requester.send(root, self.contracts.disputes.release_bounty(view.job, root))
            for node in view.demands:
                if view.bond_due(node)[1]:
                    self.requester.send(node, self.contracts.disputes.release_bond(view.job, node))
        else:
            self.pass_time(phase_end(view.state, view.terms, clock.now, clock.block_number) - clock.now)
