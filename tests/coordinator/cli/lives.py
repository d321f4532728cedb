"""Takes a job through its phases as its one worker, which has all the stake there is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from contracts import block_header, commitment
from contracts.compute_oracle import Opening, SeatRef
from contracts.job import seed_block
from contracts.merkle import MerkleTree, result_leaf
from coordinator.cli.job_log import read_job
from coordinator.job_view import JobView
from models import zoo
from models.runtime import Runtime
from tests.coordinator.cli.conftest import Chain, Cli

WORKER = 9
"""The dev key that sits on every jury."""
LANE = 5
SHORT = ("--commit-window", 300, "--reveal-window", 300, "--challenge-window", 300, "--response-window", 1)


@dataclass(frozen=True)
class Life:
    """One job."""

    chain: Chain
    job_id: bytes

    def view(self) -> JobView:
        return read_job(self.chain.contracts, self.job_id)[0]

    def draw(self) -> None:
        view, transactor = self.view(), self.chain.transactor(WORKER)
        while int(transactor.endpoint.ask("eth_blockNumber"), 16) <= seed_block(view.state):
            transactor.endpoint.ask("evm_mine")
        header = block_header.fetch(transactor.endpoint, seed_block(view.state))
        transactor.send(self.chain.contracts.oracle.draw(self.job_id, header))

    def reveal(self, root: bytes) -> None:
        """Draw, commit and reveal this root; both phases end early."""
        self.draw()
        job, oracle, transactor = self.view().job, self.chain.contracts.oracle, self.chain.transactor(WORKER)
        sealed = commitment.compute(self.job_id, transactor.sender, root, bytes(32))
        transactor.send(oracle.commit(job, LANE, sealed, bytes(32), [0]))
        transactor.send(oracle.reveal(job, root, [Opening(transactor.sender, LANE, bytes(32))]))

    def release(self) -> None:
        transactor, view = self.chain.transactor(WORKER), self.view()
        seat = view.seats[transactor.sender]
        refs = [SeatRef(transactor.sender, seat.lane)]
        transactor.send(self.chain.contracts.oracle.release(view.job, seat.word, refs))


def stake_everything(chain: Chain, amount: int) -> None:
    """The worker stakes it: a job of one seat of that much draws it for certain."""
    transactor = chain.transactor(WORKER)
    missing = amount - chain.contracts.oracle.account(transactor.sender).bonded
    if missing > 0:
        transactor.send(chain.contracts.oracle.deposit(missing))
        chain.pass_time(1)  # stake counts from the next block on


def submit(cli: Cli, data: Path, folder: Path, stake: int, *more: object) -> bytes:
    """Create a wine job of one seat that holds all the stake; its id."""
    seat = ("--seats", 1, "--quorum", 1, "--seat-stake", stake)
    where = ("--data", data, "--publish", folder)
    ran = cli(
        "job", "submit", "--model", "wine-grading", *where, "--reward", "0.01 ether", *seat, *SHORT, "--json", *more
    )
    assert ran.code == 0, ran.err
    return bytes.fromhex(ran.data["job_id"][2:])


def wine_rows(count: int) -> np.ndarray:
    return zoo.load("wine-grading").read_vectors()[0][:count]


def outputs_of(rows: np.ndarray) -> list[bytes]:
    logits = Runtime(zoo.load("wine-grading").network).run(rows)
    return [row.astype(">i4").tobytes() for row in logits]


def result_tree(outputs: list[bytes]) -> MerkleTree:
    return MerkleTree([result_leaf(i, output) for i, output in enumerate(outputs)])


def true_root(rows: np.ndarray) -> bytes:
    return result_tree(outputs_of(rows)).root
