"""A real chain with the real contracts, the wine model on it, and operators with keys, stakes and disks of their own."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from eth_account import Account as Keys
from eth_account.signers.local import LocalAccount
from numpy.typing import NDArray

from contracts.commitment import Seat
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import EXECUTION_GAS_LIMIT, Contracts, Deployment, deploy
from contracts.endpoint import Call, Endpoint
from contracts.fees import GWEI
from contracts.job import Job, JobState, Phase, Terms, data_uri_hash, quorum_bounds
from contracts.merkle import MerkleTree, input_leaf
from contracts.stake import Account
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, find_anvil, running_chain
from models import zoo
from models.network import IntegerNetwork
from models.program import compile_network, model_id
from oracle_worker import challenges, computing, duties, examination, settings
from oracle_worker.computing import Fetched
from oracle_worker.data_errors import DataNotHere
from oracle_worker.disputes import Action
from oracle_worker.inference import Inference, OnnxInference
from oracle_worker.model_store import Model
from oracle_worker.queues import COLLECT, UNAVAILABLE
from oracle_worker.result import Done, Nothing, Result
from oracle_worker.worker import RoleContexts

ETHER = 10**18
WINDOW = 600


class Liar:
    """The honest inference with some items falsified: what a lying operator injects."""

    def __init__(self, *items: int, by: int = 1) -> None:
        self.items = items
        self.by = by
        self.honest = OnnxInference()

    def run(self, model: Model, rows: NDArray[np.uint8], first: int) -> NDArray[np.int32]:
        logits = self.honest.run(model, rows, first)
        for item in self.items:
            if first <= item < first + len(rows):
                logits[item - first] += self.by
        return logits


@dataclass(frozen=True)
class Posted:
    """A job that is on the chain."""

    job: Job
    data_uri: str
    id: bytes


@dataclass
class Operator:
    """One operator; `roles` has its contexts."""

    stage: Stage
    account: LocalAccount
    folder: Path
    inference: Inference | None = None
    given: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """New processes on the same disk."""
        given = {"rpc_url": self.stage.url, "deployment": self.stage.deployment_file, "work_folder": self.folder}
        given |= {"data_folders": (self.stage.folder,), "confirmations": 0, **self.given}
        self.roles = RoleContexts(settings.load(**given), inference=self.inference, account=self.account)

    def lose_disk(self) -> None:
        """Everything the operator had on disk is gone, except its key."""
        shutil.rmtree(self.folder)
        self.restart()

    def fetch(self, posted: Posted) -> None:
        """What the fetching role does."""
        computing.fetch(self.roles.compute, posted.job, posted.data_uri)

    def try_in_vain(self, posted: Posted) -> Result:
        """A try to fetch data that cannot be had, and what the signer does on hearing of it."""
        self.restart()  # a process does not try again at once
        found = computing.fetch_for(self.roles.compute, posted.job, posted.data_uri, 0)
        assert isinstance(found, Fetched), found
        assert found.report is not None
        return self.hear(self.roles.compute.seal.close(UNAVAILABLE, found.report))

    def hear(self, message: dict[str, Any]) -> Result:
        """What the signer does on hearing that the data could not be had."""
        return duties.note_failed_try(self.roles.signer, self.roles.signer.seal.open(UNAVAILABLE, message))

    def messages(self, posted: Posted) -> list[dict[str, Any]]:
        """What compute sends to collect, for all chunks."""
        self.fetch(posted)
        compute = self.roles.compute
        found = [
            computing.infer(compute, posted.job, posted.data_uri, i) for i in range(compute.plan(posted.job).count)
        ]
        return [compute.seal.close(COLLECT, one) for one in found if not isinstance(one, Nothing)]

    def collect(self, message: dict[str, Any]) -> Result:
        """What the signer does with one."""
        return duties.collect(self.roles.signer, self.roles.signer.seal.open(COLLECT, message))

    def commit(self, posted: Posted) -> Result:
        """Compute everything and commit."""
        return [self.collect(message) for message in self.messages(posted)][-1]

    def due(self, posted: Posted) -> list[Action]:
        """What compute finds due in the disputes, once it has the data."""
        found = examination.examine(self.roles.compute, posted.job)
        if isinstance(found.held_up, DataNotHere):
            self.fetch(posted)
            found = examination.examine(self.roles.compute, posted.job)
        if found.held_up is not None:
            raise found.held_up
        return found.actions

    def dispute(self, posted: Posted) -> list[Result]:
        """One cycle of disputes. A liar's refutations of the truth fail, and it goes on all the same."""
        results = []
        for action in self.due(posted):
            try:
                results.append(challenges.act(self.roles.signer, posted.job, action))
            except challenges.OwnResultWrong:
                if not isinstance(self.inference, Liar):
                    raise
        return results

    def deposit(self, wei: int) -> None:
        signer = self.roles.signer
        signer.transactor.send(signer.contracts.oracle.deposit(wei))

    @property
    def books(self) -> Account:
        """Its entry in the oracle's books."""
        return self.stage.contracts.oracle.account(self.account.address)

    def seat(self, posted: Posted) -> Seat:
        """What the lane holds, or held last, in which it took seats in the job."""
        return self.stage.contracts.oracle.seat_at(self.account.address, self._lane(posted))

    def is_released(self, posted: Posted) -> bool:
        """Whether that lane is free again."""
        return not self.books.holds(self._lane(posted))

    def _lane(self, posted: Posted) -> int:
        view = self.roles.signer.view
        return view.history(view.sight(posted.job)).seats[self.account.address].lane

    def balance(self) -> int:
        """Wei in the wallet, staked, and credited."""
        books = self.books
        return self.roles.signer.transactor.balance() + books.bonded + books.unbonding + books.credit


class Stage:
    """The chain and who is on it. `owner` deploys, requests and keeps."""

    def __init__(self, url: str, folder: Path, execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> None:
        self.url = url
        self.folder = folder
        self.owner = Transactor(url, Keys.from_key(dev_keys(1)[0]))
        self.deployment_file = folder / "deployment.json"
        deployment: Deployment = deploy(self.owner, DEV_BOUNDS, execution_gas_limit)
        deployment.save(self.deployment_file)
        self.contracts = Contracts(Endpoint(url), deployment)
        self.network = zoo.load("wine-grading").network
        self.model_id = self.register(self.network)
        self.operators: list[Operator] = []

    def register(self, network: IntegerNetwork) -> bytes:
        program = compile_network(network)
        self.owner.send(self.contracts.registry.register([], program))
        return model_id(program)

    def operator(self, *, inference: Inference | None = None, funds: int = 100 * ETHER, **given: Any) -> Operator:
        account = Keys.create()
        folder = self.folder / f"operator-{len(self.operators)}"
        made = Operator(self, account, folder, inference, given)
        self.operators.append(made)
        if funds:
            self.owner.send(Call(account.address, b"", funds))
        return made

    def seat_stake(self, items: int = 178) -> int:
        least = self.contracts.oracle.min_seat_stake(self.model_id, items)
        return -(-least // GWEI) * GWEI

    def store(self, rows: NDArray[np.uint8], name: str = "rows") -> tuple[str, bytes]:
        """(URI, data root) of rows in a file."""
        path = self.folder / f"{name}.bin"
        path.write_bytes(rows.tobytes())
        return path.as_uri(), MerkleTree([input_leaf(row.tobytes()) for row in rows]).root

    def post(
        self, rows: NDArray[np.uint8], seats: int, *, data_uri: str = "", name: str = "rows", **changes: Any
    ) -> Posted:
        """Create a job over rows and wait until its jury can be drawn."""
        uri, root = self.store(rows, name)
        uri = data_uri or uri
        stake = changes.pop("seat_stake", self.seat_stake())
        windows = dict.fromkeys(("commit_window", "reveal_window", "challenge_window", "response_window"), WINDOW)
        terms = Terms(
            **{
                "model_id": self.model_id,
                "data_root": root,
                "data_uri_hash": data_uri_hash(uri),
                "item_count": len(rows),
                "seats": seats,
                "quorum": quorum_bounds(seats)[1],
                "seat_stake": stake,
                "reward": ETHER,
                **windows,
                **changes,
            }
        )
        self.mine(1)  # stake counts from the end of its block
        nonce = self.owner.endpoint.web3.eth.block_number
        self.owner.send(self.contracts.oracle.create_job(nonce, terms, uri))
        job = Job(self.owner.sender, nonce, terms)
        self.mine(3)
        deployment = self.contracts.deployment
        return Posted(job, uri, job.id(deployment.chain_id, deployment.oracle))

    def mine(self, blocks: int) -> None:
        self.owner.endpoint.ask("anvil_mine", hex(blocks))

    def advance(self, seconds: int) -> None:
        self.owner.endpoint.ask("evm_increaseTime", seconds)
        self.mine(1)

    def state(self, posted: Posted) -> JobState:
        return self.contracts.oracle.job_state(posted.id)

    def phase(self, posted: Posted) -> Phase:
        return self.contracts.oracle.phase(posted.job)

    def jury(self, count: int, liars: Sequence[Inference | None] = (), **given: Any) -> list[Operator]:
        """Operators with a stake of one seat each: all of them are drawn for a job of so many seats."""
        made = [self.operator(inference=one, **given) for one in [*liars, *[None] * (count - len(liars))]]
        for one in made:
            one.deposit(self.seat_stake())
        return made


@contextmanager
def new_stage(folder: Path, kind: str = "auto", execution_gas_limit: int = EXECUTION_GAS_LIMIT) -> Iterator[Stage]:
    """A stage of its own; on anvil a transaction is a block, on the Python chain blocks come ten a second."""
    anvil = kind == "anvil" or (kind == "auto" and find_anvil() is not None)
    with running_chain("anvil" if anvil else "py-evm", block_time=None) as url, ExitStack() as running:
        if anvil:
            Endpoint(url).ask("evm_setAutomine", True)
        else:
            running.enter_context(_blocks(url))
        yield Stage(url, folder, execution_gas_limit)


@contextmanager
def _blocks(url: str) -> Iterator[None]:
    """Blocks faster than the chain's own clock makes them."""
    ended = threading.Event()

    def mine() -> None:
        endpoint = Endpoint(url)
        while not ended.wait(0.1):
            endpoint.ask("evm_mine")

    miner = threading.Thread(target=mine)
    miner.start()
    try:
        yield
    finally:
        ended.set()
        miner.join()


def done(result: Result) -> Done:
    """The result, which must be of something done."""
    assert isinstance(result, Done), result
    return result


def nothing(result: Result) -> Nothing:
    """The result, which must be that nothing was done."""
    assert isinstance(result, Nothing), result
    return result
