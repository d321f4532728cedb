"""Three operators, a process each, that hand what they sign to a relay: one that posts it, and one that keeps it.

The first leaves the workers nothing to send but the draw; the second costs them the gas they would have spent anyway.
"""

from __future__ import annotations

import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account
from eth_typing import ChecksumAddress
from eth_utils import keccak
from eth_utils.abi import abi_to_signature

from contracts.abi import artifact
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import Contracts, deploy
from contracts.endpoint import Endpoint
from contracts.job import Job, Outcome, Terms, data_uri_hash, phase_end
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, free_port, running_chain
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.relay_server import RelayServer
from coordinator.watcher import Watcher
from models import zoo
from models.interpreter import run
from models.program import compile_network, model_id
from tests.end_to_end.services import Service

WORKERS = 3
WINDOW = 240
STEP_SECONDS = 120.0

pytestmark = pytest.mark.slow


class Keeper:
    """Behind a relay's door: says yes to everything, and keeps it."""

    kept = 0
    head = 0

    def __init__(self) -> None:
        self.commits: list[object] = []
        self.openings: list[object] = []

    def take_commit(self, body: object) -> None:
        self.commits.append(body)

    def take_opening(self, body: object) -> None:
        self.openings.append(body)


class Market:
    """The chain, the operators, and an observer of one job."""

    def __init__(self, folder: Path, rpc_url: str, stack: ExitStack) -> None:
        self.folder, self.url, self._stack = folder, rpc_url, stack
        self.keys = dev_keys(WORKERS + 2)
        self.requester = Transactor(rpc_url, self.keys[-2])
        self.contracts = Contracts(Endpoint(rpc_url), deploy(self.requester, DEV_BOUNDS))
        self.contracts.deployment.save(folder / "deployment.json")
        model = zoo.load("wine-grading")
        program = compile_network(model.network)
        self.model_id = model_id(program)
        self.requester.send(self.contracts.registry.register([], program))
        self.rows = zoo.wine_rows()[0][:20]
        logits = run(model.network, self.rows)
        leaves = [result_leaf(index, row.astype(">i4").tobytes()) for index, row in enumerate(logits)]
        self.right_root = MerkleTree(leaves).root
        deployment = self.contracts.deployment
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        self._store = stack.enter_context(JobStore(folder / "observer.sqlite", source))
        self._watcher = Watcher(self.contracts.endpoint, self._store, confirmations=0)
        self.services: list[Service] = []

    @property
    def workers(self) -> list[ChecksumAddress]:
        return [Account.from_key(key).address for key in self.keys[:WORKERS]]

    @property
    def payer(self) -> ChecksumAddress:
        """The relay's address."""
        return Account.from_key(self.keys[-1]).address

    def start_workers(self, relay_url: str) -> None:
        for number in range(WORKERS):
            settings = {
                "RELAY_URL": relay_url,
                "CONFIRMATIONS": 1,
                "POLL_SECONDS": 0.5,
                "RETRY_SECONDS": 3,
                "TURN_SECONDS": 2,
                "DATA_FOLDERS": self.folder / "data",
            }
            self._start(f"worker-{number}", ["worker", "--role", "all"], self.keys[number], settings)

    def start_relay(self) -> str:
        port = free_port()
        self._start("relay", ["relay", "--port", str(port)], self.keys[-1], {})
        return f"http://127.0.0.1:{port}"

    def _start(self, name: str, arguments: list[str], key: bytes, settings: dict[str, object]) -> None:
        given = {
            "HOME": self.folder / name,
            "RPC_URL": self.url,
            "DEPLOYMENT": self.folder / "deployment.json",
            "PRIVATE_KEY": key.hex(),
            **settings,
        }
        clean = {variable: value for variable, value in os.environ.items() if not variable.startswith("QUORATE_")}
        environment = {
            **clean,
            "OMP_NUM_THREADS": "1",
            **{f"QUORATE_{one}": str(value) for one, value in given.items()},
        }
        command = [sys.executable, "-m", "coordinator.cli.main", *arguments]
        service = Service(name, command, self.folder / f"{name}.log", environment)
        self.services.append(self._stack.enter_context(service))

    def create_job(self) -> None:
        """Every worker holds one seat's stake, and the job has as many seats."""
        least = self.contracts.oracle.min_seat_stake(self.model_id, len(self.rows))
        stake = -(-2 * least // 10**9) * 10**9
        for key in self.keys[:WORKERS]:
            Transactor(self.url, key).send(self.contracts.oracle.deposit(stake))
        self.contracts.endpoint.ask("evm_mine")
        data = self.folder / "data" / "wines.rows"
        data.parent.mkdir()
        data.write_bytes(np.ascontiguousarray(self.rows).tobytes())
        terms = Terms(
            model_id=self.model_id,
            data_root=MerkleTree([input_leaf(row.tobytes()) for row in self.rows]).root,
            data_uri_hash=data_uri_hash(data.as_uri()),
            item_count=len(self.rows),
            seats=WORKERS,
            quorum=WORKERS // 2 + 1,
            seat_stake=stake,
            reward=10**16,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=WINDOW,
        )
        job = Job(self.requester.sender, 1, terms)
        self.job_id = job.id(self.contracts.deployment.chain_id, self.contracts.deployment.oracle)
        self.requester.send(self.contracts.oracle.create_job(1, terms, data.as_uri()))

    def view(self) -> JobView:
        self._watcher.catch_up()
        view = self._store.view(self.job_id)
        assert view is not None
        return view

    def until(self, what: str, reached: Callable[[JobView], object]) -> JobView:
        """Wait for it; fail with the end of every log if it does not come."""
        end = time.monotonic() + STEP_SECONDS
        while not reached(view := self.view()):
            dead = [service.name for service in self.services if service.has_failed]
            if dead or time.monotonic() > end:
                logs = "\n".join(f"--- {service.name}\n{service.tail(12)}" for service in self.services)
                pytest.fail(f"{what}: not within {STEP_SECONDS:.0f} s; ended: {dead or 'nobody'}\n{logs}")
            time.sleep(0.25)
        return view

    def pass_time(self, seconds: int) -> None:
        self.contracts.endpoint.ask("evm_increaseTime", seconds)
        self.contracts.endpoint.ask("evm_mine")

    def end_of_phase(self) -> None:
        view, clock = self.view(), self._watcher.catch_up()
        self.pass_time(max(0, phase_end(view.state, view.terms, clock.now, clock.block_number) - clock.now))

    def sent(self) -> Counter[tuple[ChecksumAddress, str]]:
        """How many transactions of each function each address sent to the oracle since the job's creation."""
        names = {
            keccak(text=abi_to_signature(entry))[:4]: entry["name"]  # type: ignore[arg-type]
            for entry in artifact("ComputeOracle").abi
            if entry["type"] == "function"
        }
        found: Counter[tuple[ChecksumAddress, str]] = Counter()
        endpoint = self.contracts.endpoint
        for number in range(self.view().state.created_block, int(endpoint.ask("eth_blockNumber"), 16) + 1):
            for transaction in endpoint.ask("eth_getBlockByNumber", hex(number), True)["transactions"]:
                name = names.get(bytes.fromhex(transaction["input"][2:10]), "?")
                found[endpoint.web3.to_checksum_address(transaction["from"]), name] += 1
        return found


@contextmanager
def market(folder: Path) -> Iterator[Market]:
    with ExitStack() as stack:
        url = stack.enter_context(running_chain("auto"))
        yield Market(folder, url, stack)


def test_a_relay_sends_for_all_and_the_workers_pay_for_nothing_but_the_draw(tmp_path: Path) -> None:
    with market(tmp_path) as made:
        made.start_workers(made.start_relay())
        made.create_job()
        made.until("all seats are taken", lambda view: view.commit_ended_at)
        made.until("all roots are open", lambda view: view.reveal_ended_at)
        made.end_of_phase()
        view = made.until("it is settled and released", lambda view: view.is_closed)
        assert (view.state.outcome, view.state.root) == (Outcome.ACCEPTED, made.right_root)
        assert {seat.paid for seat in view.seats.values()} == {10**16 // WORKERS}
        sent = made.sent()
        assert sent[made.payer, "commitFor"] + sent[made.payer, "multicall"] >= 1
        assert sent[made.payer, "reveal"] >= 1
        of_workers = {name for worker, name in sent if worker in made.workers}
        assert not of_workers & {"commit", "reveal"}
        assert sum(count for (who, _), count in sent.items() if who == made.payer) <= 4


def test_a_relay_that_withholds_costs_no_stake_the_workers_send_themselves_at_half_of_each_window(
    tmp_path: Path,
) -> None:
    keeper = Keeper()
    with market(tmp_path) as made, RelayServer(keeper) as relay:  # type: ignore[arg-type]
        made.start_workers(relay.url)
        made.create_job()
        made.until("the relay has every commitment", lambda _: len(keeper.commits) >= WORKERS)
        assert made.view().state.granted_seats == 0
        made.pass_time(WINDOW // 2)
        made.until("all seats are taken", lambda view: view.commit_ended_at)
        made.until("the relay has every opening", lambda _: len(keeper.openings) >= WORKERS)
        assert made.view().state.sealed_seats == WORKERS
        made.pass_time(WINDOW // 2)
        made.until("all roots are open", lambda view: view.reveal_ended_at)
        made.end_of_phase()
        view = made.until("it is settled and released", lambda view: view.is_closed)
        assert (view.state.outcome, view.state.root) == (Outcome.ACCEPTED, made.right_root)
        assert not any(seat.forfeited for seat in view.seats.values())
        sent = made.sent()
        assert all(sent[worker, "commit"] == sent[worker, "reveal"] == 1 for worker in made.workers)
