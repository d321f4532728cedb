"""Where the demo plays: a dev chain, the contracts, five operators and two jobs, watched by an observing coordinator."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import Contracts, deploy
from contracts.endpoint import Endpoint
from contracts.job import NOBODY, Job, Outcome, Terms, data_uri_hash, phase_end
from contracts.merkle import MerkleTree, input_leaf
from contracts.transactor import Transactor
from coordinator.clock import Clock
from coordinator.demo.crew import Character, Operator, dismiss, tell_all
from coordinator.demo.report import Report
from coordinator.devnet import ChainKind, dev_accounts, dev_keys, free_port, running_chain
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.relay import Relay
from coordinator.relay_desk import Desk
from coordinator.relay_server import RelayServer
from coordinator.watcher import Watcher
from models import zoo
from models.integer_ops import compute_verdicts
from models.interpreter import run
from models.program import compile_network, model_id

SEATS, QUORUM = 5, 3
WINDOW, RESPONSE_WINDOW = 120, 60
REWARD = 10**17 + 1
"""Not a multiple of anything, so that there is a remainder to account for."""
STEP_SECONDS = 90.0
GWEI = 10**9
GRADE = 0
"""The cultivar that the sale pays for."""


class DemoFailed(RuntimeError):
    """The play did not go on as it should."""


@dataclass(frozen=True)
class Shipment:
    """Bottles to be graded, and what the specification says of each."""

    rows: NDArray[np.uint8]
    logits: NDArray[np.int32]
    path: Path

    @property
    def tree(self) -> MerkleTree:
        """The input tree."""
        return MerkleTree([input_leaf(row.tobytes()) for row in self.rows])

    def bribed(self, count: int) -> frozenset[bytes]:
        """Rows of some bottles that are not of the agreed grade."""
        wrong = np.flatnonzero(compute_verdicts(self.logits) != GRADE)[:: max(1, len(self.rows) // count)]
        return frozenset(self.rows[index].tobytes() for index in wrong)


class Stage:
    """The whole set. A context manager: everything is stopped at the end, whatever happened."""

    def __init__(self, folder: Path, chain: str, report: Report) -> None:
        self.folder = folder
        self.chain = cast(ChainKind, chain)
        self.report = report
        self._exit = ExitStack()

    def __enter__(self) -> Stage:
        try:
            self._set_up()
        except BaseException:
            self._exit.close()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._exit.close()

    # ---- Setting up ----

    def _set_up(self) -> None:
        keys = dev_keys(9)
        with self.report.step("dev chain and five operators"):
            accounts = dev_accounts(len(keys))
            self.url = self._exit.enter_context(running_chain(self.chain, accounts=accounts))
            self.model = zoo.load("wine-grading")
            rows, _ = zoo.wine_rows()
            self.shipments = [self._load(f"shipment-{i + 1}", rows[i::2]) for i in range(2)]
            self.operators = [
                Operator(character, key, self.folder / character.name)
                for character, key in zip(self._characters(), keys, strict=False)
            ]
            deployment_file = self.folder / "deployment.json"
            self._relay_port = free_port()
            config = {
                "rpc_url": self.url,
                "deployment": str(deployment_file),
                "data_folder": str(self.folder / "data"),
                "relay_url": f"http://127.0.0.1:{self._relay_port}",
            }
            self._exit.callback(dismiss, self.operators)
            for operator in self.operators:
                operator.start(config)
            self.requester, self.supplier, self.deployer, self.relay = (Transactor(self.url, key) for key in keys[5:9])
            self.contracts = Contracts(Endpoint(self.url), deploy(self.deployer, DEV_BOUNDS))
            program = compile_network(self.model.network)
            self.model_id = model_id(program)
            self.deployer.send(self.contracts.registry.register([], program))
            partial = deployment_file.with_suffix(".part")
            self.contracts.deployment.save(partial)
            partial.rename(deployment_file)
            for operator in self.operators:
                operator.wait("ready")
        self._observe()
        self.jobs: list[bytes] = []

    def _load(self, name: str, rows: NDArray[np.uint8]) -> Shipment:
        path = self.folder / "data" / f"{name}.rows"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(rows.tobytes())
        return Shipment(rows, run(self.model.network, rows), path)

    def _characters(self) -> list[Character]:
        first, second = (shipment.bribed(12) for shipment in self.shipments)
        return [
            Character("Ada", "honest"),
            Character("Ben", "honest"),
            Character("Cyd", "honest in job 1, lies in job 2", second),
            Character("Dan", "falsifies job 1 and hides, lies in job 2", first | second, frozenset({_examines(1)})),
            Character("Eve", "never reveals in job 1, lies in job 2", second, frozenset({("reveal", "1")})),
        ]

    def _observe(self) -> None:
        deployment = self.contracts.deployment
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        self._store = self._exit.enter_context(JobStore(self.folder / "observer.sqlite", source))
        self._watcher = Watcher(self.contracts.endpoint, self._store, confirmations=0)
        least = self.contracts.oracle.min_seat_stake(self.model_id, len(self.shipments[0].rows))
        self.seat_stake = -(-2 * least // GWEI) * GWEI  # stake comes in whole gwei

    # ---- The play ----

    def play(self) -> None:
        """Both jobs, from stake to the last release. Raises DemoFailed."""
        self._stake()
        with self.report.step("job 1: the vote settles it"):
            self._play_first(self._create(self.shipments[0]))
        self._stake()
        self._open_relay()
        with self.report.step("job 2: three of five lie in unison, and a relay sends for all"):
            self._play_second(self._create(self.shipments[1]))

    def _open_relay(self) -> None:
        """From now on somebody takes in what operators sign, and sends it for all of them."""
        deployment, block_time = self.contracts.deployment, self.contracts.oracle.bounds().block_time
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        store = self._exit.enter_context(JobStore(self.folder / "relay.sqlite", source))
        desk = Desk(deployment.chain_id, deployment.oracle, store, block_time=block_time)
        relay, stop = Relay(self.contracts, self.relay, store, desk), threading.Event()
        cycling = threading.Thread(target=relay.run, args=(stop, 0.3), name="relay")
        cycling.start()
        self._exit.callback(cycling.join)
        self._exit.callback(stop.set)
        self._exit.enter_context(RelayServer(desk, port=self._relay_port))

    def _stake(self) -> None:
        """Every operator holds exactly one seat's stake: each has one ticket, and all of them win."""
        missing = [self.seat_stake - self.bonded(operator) for operator in self.operators]
        short = [(operator, wei) for operator, wei in zip(self.operators, missing, strict=True) if wei]
        tell_all([operator for operator, _ in short], (f"stake {wei}" for _, wei in short))
        self.rpc("evm_mine")  # stake counts from the block after

    def _create(self, shipment: Shipment) -> bytes:
        uri = shipment.path.as_uri()
        terms = Terms(
            model_id=self.model_id,
            data_root=shipment.tree.root,
            data_uri_hash=data_uri_hash(uri),
            item_count=len(shipment.rows),
            seats=SEATS,
            quorum=QUORUM,
            seat_stake=self.seat_stake,
            reward=REWARD,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=RESPONSE_WINDOW,
        )
        job = Job(self.requester.sender, len(self.jobs) + 1, terms)
        job_id = job.id(self.contracts.deployment.chain_id, self.contracts.deployment.oracle)
        self.jobs.append(job_id)
        self.requester.send(self.contracts.oracle.create_job(job.nonce, terms, uri))
        return job_id

    def _play_first(self, job_id: bytes) -> None:
        def silent_root_is_demanded(view: JobView) -> bool:
            return any(not demand.answered for demand in view.demands.values())

        self._until(job_id, "five seats are committed", lambda view: view.state.granted_seats == SEATS)
        self._until(job_id, "all but Eve reveal", lambda view: view.state.sealed_seats == 1)
        self._skip_to_end(job_id)  # Eve's time runs out
        self._until(job_id, "Dan's root is demanded", silent_root_is_demanded)
        self._skip_to_end(job_id)  # nobody answers
        self._finish(job_id, "the root of the three")

    def _play_second(self, job_id: bytes) -> None:
        def refuted(view: JobView) -> bool:
            return any(view.refuter(root) != NOBODY for root in view.roots)

        self._until(job_id, "five seats are committed", lambda view: view.state.granted_seats == SEATS)
        self._until(job_id, "all reveal", lambda view: view.state.sealed_seats == 0)
        self._until(job_id, "the liars' root is refuted by execution", refuted)
        self._skip_to_end(job_id)
        self._finish(job_id, "the root of the two")

    def _finish(self, job_id: bytes, winner: str) -> None:
        self._until(job_id, f"settled: {winner}", lambda view: view.state.outcome != Outcome.OPEN)
        self._until(job_id, "all is released", lambda view: view.is_closed)
        if (outcome := self.view(job_id).state.outcome) != Outcome.ACCEPTED:
            raise DemoFailed(f"the job ended {outcome.name}")

    def withdraw_all(self) -> None:
        """Every operator and the requester take what is theirs; stakes stay bonded."""
        with self.report.step("everybody withdraws"):
            tell_all(self.operators, ["withdraw"] * len(self.operators))
            if self.contracts.oracle.credit(self.requester.sender):
                self.requester.send(self.contracts.oracle.withdraw(self.requester.sender))

    # ---- Looking ----

    def view(self, job_id: bytes) -> JobView:
        """The job as the chain has it now."""
        self.clock()
        view = self._store.view(job_id)
        if view is None:
            raise DemoFailed(f"job 0x{job_id.hex()} is not on the chain")
        return view

    def clock(self) -> Clock:
        """Catch up with the chain."""
        return self._watcher.catch_up()

    def bonded(self, operator: Operator) -> int:
        """The operator's stake, in wei."""
        return self.contracts.oracle.account(operator.address).bonded

    def rpc(self, method: str, *params: Any) -> Any:
        """A raw JSON-RPC request."""
        return self.contracts.endpoint.ask(method, *params)

    def _until(self, job_id: bytes, what: str, reached: Callable[[JobView], bool]) -> None:
        end = time.monotonic() + STEP_SECONDS
        self.report.say(f"waiting until {what}")
        while not reached(self.view(job_id)):
            if time.monotonic() > end:
                raise DemoFailed(f"not within {STEP_SECONDS:.0f} s: {what}")
            time.sleep(0.3)

    def _skip_to_end(self, job_id: bytes) -> None:
        """Nobody has anything left to do in this phase: move the chain's clock to its end."""
        view, clock = self.view(job_id), self.clock()
        end = phase_end(view.state, view.terms, clock.now, clock.block_number)
        self.rpc("evm_increaseTime", max(0, end - clock.now))
        self.rpc("evm_mine")


def _examines(nonce: int) -> tuple[str, str]:
    return ("quorate.examine", str(nonce))
