"""Real Redis, real anvil, and five operators whose coordinator, signer and compute are processes of their own.

Three of the five lie in unison and publish nothing but their root. The two honest ones demand their way down that root and
have the chain execute an item that differs; the minority wins. One of the honest signers is killed between commit and
reveal and comes back with an empty disk.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from eth_typing import ChecksumAddress
from numpy.typing import NDArray

from contracts import tally as tallies
from contracts.commitment import SeatStatus
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import Contracts, deploy
from contracts.endpoint import Endpoint
from contracts.job import NOBODY, Job, Outcome, Terms, data_uri_hash, phase_end
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from contracts.transactor import Transactor
from coordinator.devnet import DEV_BALANCE, dev_accounts, dev_keys, find_anvil, running_chain
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.watcher import Watcher
from models import zoo
from models.interpreter import run
from models.program import compile_network, model_id
from tests.end_to_end.island import ROLES, Island, Surroundings
from tests.requirements import missing

HONEST, LIARS = ("Ada", "Ben"), ("Cyd", "Dan", "Eve")
SEATS, QUORUM = 5, 3
WINDOW, RESPONSE_WINDOW = 240, 120
REWARD = 10**17 + 1
"""Odd, so that two winners leave a remainder for the requester."""
STEP_SECONDS = 120.0

pytestmark = pytest.mark.slow


class Theatre:
    """The chain, the job, the operators, and an observer of the chain."""

    def __init__(self, folder: Path, rpc_url: str, stack: ExitStack) -> None:
        self.folder = folder
        keys = dev_keys(7)
        self.requester, deployer = (Transactor(rpc_url, key) for key in keys[5:])
        self.contracts = Contracts(Endpoint(rpc_url), deploy(deployer, DEV_BOUNDS))
        self.contracts.deployment.save(folder / "deployment.json")
        self.around = Surroundings(rpc_url, folder / "deployment.json", folder / "data")
        model = zoo.load("wine-grading")
        program = compile_network(model.network)
        self.model_id = model_id(program)
        deployer.send(self.contracts.registry.register([], program))
        self.rows: NDArray[np.uint8] = zoo.wine_rows()[0]
        self.logits = run(model.network, self.rows)
        self.around.data_folder.mkdir()
        self.data = self.around.data_folder / "shipment.rows"
        self.data.write_bytes(self.rows.tobytes())
        deployment = self.contracts.deployment
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        self._store = stack.enter_context(JobStore(folder / "observer.sqlite", source))
        self._watcher = Watcher(self.contracts.endpoint, self._store, confirmations=0)
        least = self.contracts.oracle.min_seat_stake(self.model_id, len(self.rows))
        self.seat_stake = -(-2 * least // 10**9) * 10**9  # stake comes in whole gwei
        falsified = frozenset(row.tobytes() for row in self.rows[7::20])
        lies = dict.fromkeys(LIARS, falsified)
        self.islands = {
            name: Island(name, key, folder / name, self.around, lies.get(name, frozenset()))
            for name, key in zip(HONEST + LIARS, keys, strict=False)
        }
        for island in self.islands.values():
            stack.callback(island.close)
        stack.callback(self._stop)

    def _stop(self) -> None:
        for island in self.islands.values():  # all at once, before each is waited for
            island.tell_to_stop()

    @property
    def right_root(self) -> bytes:
        """What the specification, run by the slow interpreter, says of the shipment."""
        outputs = [row.astype(">i4").tobytes() for row in self.logits]
        return MerkleTree([result_leaf(index, output) for index, output in enumerate(outputs)]).root

    def stake(self) -> None:
        """Every operator holds exactly one seat's stake: each has one ticket, and all of them win."""
        for island in self.islands.values():
            Transactor(self.around.rpc_url, island.key).send(self.contracts.oracle.deposit(self.seat_stake))
        self.contracts.endpoint.ask("evm_mine")  # stake counts from the block after

    def create_job(self) -> None:
        """The requester asks for the shipment's grades."""
        uri = self.data.as_uri()
        terms = Terms(
            model_id=self.model_id,
            data_root=MerkleTree([input_leaf(row.tobytes()) for row in self.rows]).root,
            data_uri_hash=data_uri_hash(uri),
            item_count=len(self.rows),
            seats=SEATS,
            quorum=QUORUM,
            seat_stake=self.seat_stake,
            reward=REWARD,
            commit_window=WINDOW,
            reveal_window=WINDOW,
            challenge_window=WINDOW,
            response_window=RESPONSE_WINDOW,
        )
        job = Job(self.requester.sender, 1, terms)
        self.job_id = job.id(self.contracts.deployment.chain_id, self.contracts.deployment.oracle)
        self.requester.send(self.contracts.oracle.create_job(job.nonce, terms, uri))

    def view(self) -> JobView:
        """The job as the chain has it now."""
        self._watcher.catch_up()
        view = self._store.view(self.job_id)
        assert view is not None
        return view

    def until(self, what: str, reached: Callable[[JobView], bool]) -> JobView:
        """Wait for the job to get there; fail with the end of every log if it does not."""
        end = time.monotonic() + STEP_SECONDS
        while not reached(view := self.view()):
            dead = [s.name for i in self.islands.values() for s in i.services.values() if s.has_failed]
            if dead or time.monotonic() > end:
                pytest.fail(f"{what}: not within {STEP_SECONDS:.0f} s; ended: {dead or 'nobody'}\n{self._logs()}")
            time.sleep(0.25)
        return view

    def skip_to_end_of_phase(self) -> None:
        """Nobody has anything left to do: move the chain's clock on."""
        view, clock = self.view(), self._watcher.catch_up()
        end = phase_end(view.state, view.terms, clock.now, clock.block_number)
        self.contracts.endpoint.ask("evm_increaseTime", max(0, end - clock.now))
        self.contracts.endpoint.ask("evm_mine")

    def gas_spent(self) -> Mapping[ChecksumAddress, int]:
        """Wei that each address paid for gas since the chain began, from all receipts."""
        ask, spent = self.contracts.endpoint.ask, dict[ChecksumAddress, int]()
        for number in range(int(ask("eth_blockNumber"), 16) + 1):
            for receipt in ask("eth_getBlockReceipts", hex(number)):
                sender = self.contracts.endpoint.web3.to_checksum_address(receipt["from"])
                paid = int(receipt["gasUsed"], 16) * int(receipt["effectiveGasPrice"], 16)
                spent[sender] = spent.get(sender, 0) + paid
        return spent

    def holds(self, address: ChecksumAddress) -> int:
        """Wei that an address has in its wallet, as stake and as credit."""
        oracle = self.contracts.oracle
        account = oracle.account(address)
        return self.balance(address) + account.bonded + account.unbonding + account.credit

    def balance(self, address: ChecksumAddress) -> int:
        """Wei in the wallet."""
        return int(self.contracts.endpoint.ask("eth_getBalance", address, "latest"), 16)

    def _logs(self) -> str:
        services = [service for island in self.islands.values() for service in island.services.values()]
        return "\n".join(f"--- {service.name}\n{service.tail(8)}" for service in services)


@dataclass(frozen=True)
class Played:
    """The theatre after the play, and the job as it ended."""

    theatre: Theatre
    view: JobView
    killed_while: SeatStatus
    """What the killed signer's seat was when it was killed."""


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Played]:
    """The job from creation to the last release; every process is ended afterwards."""
    if find_anvil() is None:
        missing("anvil", "npm install --prefix .tools @foundry-rs/anvil")
    folder = tmp_path_factory.mktemp("processes")
    with ExitStack() as stack:
        url = stack.enter_context(running_chain("anvil", accounts=dev_accounts(7)))
        theatre = Theatre(folder, url, stack)
        yield play(theatre)


def play(theatre: Theatre) -> Played:
    """Start everybody, kill one, and follow the job to its end."""
    victim, last = theatre.islands["Ben"], theatre.islands["Eve"]
    for island in theatre.islands.values():
        island.open_broker()
        for role in ROLES:
            if (island, role) != (last, "signer"):  # without its seat the commit phase cannot close
                island.start(role)
    theatre.stake()
    theatre.create_job()
    view = theatre.until("four of five commit", lambda view: view.state.granted_seats == SEATS - 1)
    victim.services["signer"].kill()
    victim.wipe("signer")
    killed_while = view.seats[victim.address].status
    last.start("signer")
    theatre.until("the fifth commits", lambda view: view.state.granted_seats == SEATS)
    theatre.until("the others reveal", lambda view: view.state.sealed_seats == 1)
    victim.start("signer")
    theatre.until("the killed signer reveals", lambda view: view.state.sealed_seats == 0)
    theatre.until("a root is refuted", lambda view: any(tally.refuted for tally in view.roots.values()))
    theatre.skip_to_end_of_phase()
    theatre.until("it is settled", lambda view: view.state.outcome != Outcome.OPEN)
    return Played(theatre, theatre.until("everything is released", lambda view: view.is_closed), killed_while)


def test_the_honest_minority_wins_with_the_root_that_the_specification_gives(played: Played) -> None:
    state = played.view.state
    assert state.outcome == Outcome.ACCEPTED
    assert state.root == played.theatre.right_root
    assert state.root_seats == len(HONEST)
    liars = {played.theatre.islands[name].address for name in LIARS}
    assert {worker for worker, seat in played.view.seats.items() if seat.forfeited} == liars


def test_the_liars_were_made_to_show_their_results_and_refuted_by_execution(played: Played) -> None:
    theatre = played.theatre
    honest = {theatre.islands[name].address for name in HONEST}
    liars = {theatre.islands[name].address for name in LIARS}
    (wrong,) = [root for root, tally in played.view.roots.items() if root != theatre.right_root]
    demands = {node: demand for node, demand in played.view.demands.items() if node.root == wrong}
    assert {node.level for node in demands} >= {0, 1}
    assert {demand.demander for demand in demands.values()} <= honest
    assert {demand.answerer for demand in demands.values() if demand.answered} <= liars
    assert played.view.roots[wrong].refuter in honest
    assert played.view.roots[wrong].seats == len(LIARS)


def test_a_signer_killed_after_its_commit_reveals_from_key_and_chain_alone(played: Played) -> None:
    ben = played.theatre.islands["Ben"]
    seat = played.view.seats[ben.address]
    assert played.killed_while == SeatStatus.SEALED
    assert seat.root == played.theatre.right_root
    assert seat.paid
    assert not seat.forfeited


def test_every_balance_adds_up_to_the_wei(played: Played) -> None:
    theatre, view = played.theatre, played.view
    share = REWARD // len(HONEST)
    bounty = tallies.bounty(len(LIARS), theatre.seat_stake)
    (refuter,) = [tally.refuter for tally in view.roots.values() if tally.refuted]
    gas = theatre.gas_spent()
    for name, island in theatre.islands.items():
        earned = share if name in HONEST else -theatre.seat_stake
        earned += bounty if island.address == refuter else 0
        assert theatre.holds(island.address) == DEV_BALANCE + earned - gas[island.address], name
    requester = theatre.requester.sender
    assert theatre.holds(requester) == DEV_BALANCE - len(HONEST) * share - gas[requester]
    assert theatre.balance(NOBODY) == len(LIARS) * theatre.seat_stake - bounty
    workers = [island.address for island in theatre.islands.values()]
    oracle = theatre.contracts.oracle
    owed = oracle.total_stake() + sum(oracle.credit(one) for one in [*workers, requester])
    assert theatre.balance(oracle.address) == owed


def test_only_the_signers_ever_saw_a_key(played: Played) -> None:
    """On Linux a process's environment and command line can be read while it runs: no other role names key or passphrase."""
    for island in played.theatre.islands.values():
        for role, service in island.services.items():
            seen = Path(f"/proc/{service.pid}/environ").read_bytes() + Path(f"/proc/{service.pid}/cmdline").read_bytes()
            assert (b"PASSPHRASE" in seen) == (role == "signer"), service.name
            assert island.key.hex().encode() not in seen
