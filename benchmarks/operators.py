"""What one of five operators takes when nothing happens, and how many blocks each duty takes when little does.

The operators are those of `quorate up`, on anvil with a block every six seconds; one confirmation is waited for. Latency is
counted in blocks, from the first in which a duty can be in a block.
"""

from __future__ import annotations

import sys
import tempfile
import time
from bisect import bisect_left
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benchmarks import memory
from benchmarks.load import SETTLING_SECONDS, Market, operators_at_work
from contracts.job import challenge_end, seed_block
from coordinator.devnet import find_anvil
from coordinator.event_log import Event
from coordinator.job_view import JobView
from coordinator.topology import OPERATORS

BLOCK = 6.0
JOBS = 6
SEATS = 5
WINDOWS = {"commit_window": 120, "reveal_window": 120, "challenge_window": 120, "response_window": 1}
"""In seconds."""


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table; none where anvil is missing. Takes some seven minutes."""
    if find_anvil() is None:
        sys.stderr.write("operators: there is no anvil: npm install --prefix .tools @foundry-rs/anvil\n")
        return []
    with tempfile.TemporaryDirectory() as name, operators_at_work(Path(name) / "quiet", BLOCK) as market:
        time.sleep(SETTLING_SECONDS)
        own = {pid for process, pid in market.processes.pids.items() if process.startswith(f"{OPERATORS[0]}-")}
        idle = memory.together(own)
        ids: list[bytes] = []
        for _ in range(JOBS):
            ids += market.create(1, SEATS, WINDOWS)
            time.sleep(3 * BLOCK)
        market.until_over(ids)
        late = _latencies(market, ids)
    rows = [{"name": "operators/idle_memory_of_one", "value": round(idle / 1e6), "unit": "MB"}]
    return rows + [{"name": f"operators/latency/{duty}", "value": max(late[duty]), "unit": "blocks"} for duty in late]


def _latencies(market: Market, ids: Sequence[bytes]) -> dict[str, list[int]]:
    """Blocks that each duty took beyond the first that could have held it. A settlement's first is the one that ends the
    challenges: only what comes after that can be sent."""
    times = _block_times(market)
    late: dict[str, list[int]] = {"draw": [], "commit": [], "reveal": [], "settle": []}
    for job_id in ids:
        view, events = market.store.view(job_id), market.store.history(job_id=job_id)
        assert view is not None
        (drawn,) = [event for event in events if event.name == "Drawn"]
        late["draw"].append(drawn.block - seed_block(view.state) - 1)
        commits = [event for event in events if event.name == "Committed"]
        at_once = [event for event in commits if 2 * (event.time - drawn.time) < view.terms.commit_window]
        late["commit"] += [event.block - drawn.block - 1 for event in at_once]
        closed = commits[-1].block
        late["reveal"] += [event.block - closed - 1 for event in events if event.name == "Revealed"]
        late["settle"] += _settled_late(view, events, times)
    return late


def _settled_late(view: JobView, events: Sequence[Event], times: Sequence[tuple[int, int]]) -> list[int]:
    first = times[bisect_left(times, (challenge_end(view.state, view.terms), 0))][1]
    return [event.block - first for event in events if event.name == "Settled"]


def _block_times(market: Market) -> list[tuple[int, int]]:
    """(time, number) of all blocks."""
    ask = market.contracts.endpoint.ask
    count = int(ask("eth_blockNumber"), 16) + 1
    return [(int(ask("eth_getBlockByNumber", hex(number), False)["timestamp"], 16), number) for number in range(count)]
