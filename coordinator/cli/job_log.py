"""Jobs as the chain tells them, without a daemon: their events, read in bounded ranges and folded into a JobView."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from contracts.abi import artifact
from contracts.deployment import Contracts
from contracts.endpoint import Rejected
from coordinator.cli.failures import ExitCode, Refusal
from coordinator.cli.output import Tick
from coordinator.event_log import Event, decode
from coordinator.job_view import JobView, fold

RANGE = 2_000
"""Blocks asked for at a time; halved where a node finds that too much."""


def read_job(contracts: Contracts, job_id: bytes, tick: Tick | None = None) -> tuple[JobView, list[Event]]:
    """The job and its events up to now. Raises Refusal if there is no such job, ChainError."""
    state = contracts.oracle.job_state(job_id)
    if state.created_block == 0:
        raise Refusal(
            ExitCode.NOT_FOUND, f"there is no job 0x{job_id.hex()} on this deployment: check the job id and the network"
        )
    topics = [None, "0x" + job_id.hex()]
    events = list(read_events(contracts, topics, state.created_block, tick))
    return fold(events), events


def read_events(
    contracts: Contracts, topics: list[str | None], first: int, tick: Tick | None = None
) -> Iterator[Event]:
    """The oracle's events with these topics from block `first` to the newest, in order. Raises ChainError."""
    endpoint = contracts.endpoint
    last = int(endpoint.ask("eth_blockNumber"), 16)
    times: dict[int, int] = {}
    start, span = first, RANGE
    while start <= last:
        stop = min(start + span - 1, last)
        wanted = {
            "address": contracts.deployment.oracle,
            "topics": topics,
            "fromBlock": hex(start),
            "toBlock": hex(stop),
        }
        try:
            logs = endpoint.ask("eth_getLogs", wanted)
        except Rejected:
            if span == 1:
                raise
            span //= 2
            continue
        for log in logs:
            event = decode(log, _time(contracts, log, times))
            if event is not None:
                yield event
        start = stop + 1
        if tick is not None:
            tick(start - first, last - first + 1)


def topic_of(event: str) -> str:
    """The first topic of an event of the oracle, as hex."""
    from eth_utils import keccak
    from eth_utils.abi import abi_to_signature

    for entry in artifact("ComputeOracle").abi:
        if entry["type"] == "event" and entry["name"] == event:
            return "0x" + keccak(text=abi_to_signature(entry)).hex()  # type: ignore[arg-type]
    raise KeyError(event)


def _time(contracts: Contracts, log: dict[str, Any], times: dict[int, int]) -> int:
    """A log's block's time; asked for once a block where the node does not tell it with the log."""
    if log.get("blockTimestamp"):
        return int(log["blockTimestamp"], 16)
    number = int(log["blockNumber"], 16)
    if number not in times:
        times[number] = int(contracts.endpoint.ask("eth_getBlockByNumber", hex(number), False)["timestamp"], 16)
    return times[number]
