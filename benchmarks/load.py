"""Five operators on one machine, each four processes of its own, and 1,000 jobs open at once.

The operators are those of `quorate up`, on anvil with a block every two seconds, as on OP Mainnet. Each job has one seat and
16 rows of its own. All must be drawn, and all are watched; an address can hold seats of 24 jobs at a time, so that five are
full with 120, and the other jobs end without a seat, as they do wherever more is asked than there are operators for.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import memory
from contracts.deployment import Contracts, Deployment
from contracts.endpoint import Endpoint
from contracts.job import Job, Outcome, Phase, Terms, data_uri_hash, phase
from contracts.merkle import MerkleTree, input_leaf
from contracts.stake import LANES
from contracts.transactor import Transactor
from coordinator.clock import Clock
from coordinator.devnet import dev_keys, find_anvil
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.topology import OPERATORS, Running, Topology, running
from coordinator.watcher import Watcher
from models import zoo
from models.program import compile_network, model_id

JOBS = 1000
ROWS = 16
REWARD = 10**17
SETTLING_SECONDS = 20.0
"""Until processes that were started do nothing more."""
BLOCK_TIME = 2.0
"""Seconds."""
WINDOWS = {"commit_window": 300, "reveal_window": 300, "challenge_window": 300, "response_window": 1}
"""In seconds."""
LONGEST = 1800.0
"""Seconds after which a job that is not over counts as one that nobody ends."""


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table; none where there is no anvil. Takes some fifteen minutes."""
    if find_anvil() is None:
        sys.stderr.write("load: there is no anvil: npm install --prefix .tools @foundry-rs/anvil\n")
        return []
    with tempfile.TemporaryDirectory() as name:
        return _loaded(Path(name) / "loaded")


def _row(name: str, value: float, unit: str) -> dict[str, Any]:
    return {"name": f"load/{name}", "value": value, "unit": unit}


class Market:
    """The requester, and an observer of the chain."""

    def __init__(self, topology: Topology, processes: Running, stack: ExitStack) -> None:
        self.processes = processes
        deployment = Deployment.load(topology.deployment)
        self.contracts = Contracts(Endpoint(topology.rpc_url), deployment)
        *operators, requester = dev_keys(len(OPERATORS) + 1)  # in the order in which the secrets are written
        self.requester = Transactor(topology.rpc_url, requester)
        network = zoo.load("wine-grading").network
        program = compile_network(network)
        self._model, self._row_length = model_id(program), network.row_length
        self.requester.send(self.contracts.registry.register([], program))
        least = self.contracts.oracle.min_seat_stake(self._model, ROWS)
        self.seat_stake = -(-2 * least // 10**9) * 10**9  # stake comes in whole gwei
        for key in operators:
            deposit = self.contracts.oracle.deposit((LANES + 6) * self.seat_stake)
            Transactor(topology.rpc_url, key).send(deposit)
        source = Source(deployment.chain_id, deployment.oracle, deployment.block)
        self.store = stack.enter_context(JobStore(topology.folder / "observer.sqlite", source))
        self.watcher = Watcher(self.contracts.endpoint, self.store, confirmations=0)
        self._data, self._jobs = topology.folder / "data", 0

    def create(self, count: int, seats: int, windows: dict[str, int]) -> list[bytes]:
        """So many jobs, sent without waiting in between; their ids."""
        made = [self._job(seats, windows) for _ in range(count)]
        self.requester.send_many([self.contracts.oracle.create_job(job.nonce, job.terms, uri) for job, uri in made])
        deployment = self.contracts.deployment
        return [job.id(deployment.chain_id, deployment.oracle) for job, _ in made]

    def _job(self, seats: int, windows: dict[str, int]) -> tuple[Job, str]:
        self._jobs += 1
        rows = np.random.default_rng(self._jobs).integers(0, 256, (ROWS, self._row_length), np.uint8)
        path = self._data / f"{self._jobs}.rows"
        path.write_bytes(rows.tobytes())
        terms = Terms(
            model_id=self._model,
            data_root=MerkleTree([input_leaf(row.tobytes()) for row in rows]).root,
            data_uri_hash=data_uri_hash(path.as_uri()),
            item_count=ROWS,
            seats=seats,
            quorum=seats // 2 + 1,
            seat_stake=self.seat_stake,
            reward=REWARD,
            **windows,  # type: ignore[arg-type]
        )
        return Job(self.requester.sender, self._jobs, terms), path.as_uri()

    def views(self, ids: Sequence[bytes]) -> list[JobView]:
        """The jobs as the chain has them now."""
        self.watcher.catch_up()
        found = [self.store.view(job_id) for job_id in ids]
        return [view for view in found if view is not None]

    def until_over(self, ids: Sequence[bytes], look: Callable[[list[JobView]], None] = lambda _: None) -> None:
        """Wait until each is settled, or can have no seat any more; no longer than LONGEST."""
        end = time.monotonic() + LONGEST
        while time.monotonic() < end:
            views, clock = self.views(ids), self.watcher.catch_up()
            look(views)
            if all(_is_over(view, clock) for view in views):
                return
            time.sleep(2.0)


def _is_over(view: JobView, clock: Clock) -> bool:
    now = phase(view.state, view.terms, clock.now, clock.block_number)
    return now == Phase.SETTLED or (now == Phase.SETTLING and not view.seats)


@contextmanager
def operators_at_work(folder: Path, block_time: float) -> Iterator[Market]:
    """Five operators with their stake, and a requester, until the block ends. block_time: seconds."""
    topology = Topology.at(folder, chain_port=0, chain="anvil", block_time=block_time)
    with ExitStack() as stack:
        yield Market(topology, stack.enter_context(running(topology)), stack)


# ---- 1,000 jobs ----


def _loaded(folder: Path) -> list[dict[str, Any]]:
    with operators_at_work(folder, BLOCK_TIME) as market:
        time.sleep(SETTLING_SECONDS)
        began = time.monotonic()
        ids = market.create(JOBS, 1, WINDOWS)
        created = time.monotonic() - began
        most_open, most_memory = 0, 0
        groups = {pid for name, pid in market.processes.pids.items() if name.startswith(f"{OPERATORS[0]}-")}

        def look(views: list[JobView]) -> None:
            nonlocal most_open, most_memory
            still = [view for view in views if view.state.outcome is Outcome.OPEN]
            most_open, most_memory = max(most_open, len(still)), max(most_memory, memory.together(groups))
            drawn, seated = sum(1 for view in views if view.state.started_at), sum(1 for view in views if view.seats)
            passed = time.monotonic() - began
            sys.stderr.write(f"load: {len(still)} open, {drawn} drawn, {seated} with a seat after {passed:.0f} s\n")

        market.until_over(ids, look)
        views = market.views(ids)
        seats = [(view, seat) for view in views for seat in view.seats.values()]
        drawn = [event for event in market.store.history(limit=20 * JOBS) if event.name == "Drawn"]
        created_in = {view.job_id: view.state.created_block for view in views}
        blocks = [event.block - created_in[event.job_id] for event in drawn if event.job_id in created_in]
        return [
            _row("1000/open_at_once", most_open, f"of {JOBS} jobs"),
            _row("1000/created", round(created), "s"),
            _row("1000/drawn", len(blocks), f"of {JOBS} jobs"),
            _row("1000/latest_draw", max(blocks), "blocks after its job"),
            _row("1000/seats_taken", len(seats), f"in {len(OPERATORS) * LANES} lanes"),
            _row("1000/seats_paid", sum(1 for _, seat in seats if seat.paid), f"of {len(seats)}"),
            _row("1000/seats_forfeited", sum(1 for _, seat in seats if seat.forfeited), f"of {len(seats)}"),
            _row("1000/seats_released", sum(1 for _, seat in seats if not seat.is_held), f"of {len(seats)}"),
            _row(
                "1000/latest_reveal",
                round(max(_share_of_window(market, view) for view, seat in seats if seat.root), 3),
                "of its window",
            ),
            _row("1000/memory_of_an_operator", round(most_memory / 1e6), "MB"),
        ]


def _share_of_window(market: Market, view: JobView) -> float:
    """How much of the reveal window was over when the last root was opened."""
    events = market.store.history(job_id=view.job_id)
    closed = max(event.time for event in events if event.name == "Committed")
    return max(event.time - closed for event in events if event.name == "Revealed") / view.terms.reveal_window
