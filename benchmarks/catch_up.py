"""A coordinator's first look at a chain on which the oracle has been busy: 100,000 events, read from anvil.

The events are those of whole jobs, as the contracts would emit them, by code that is set at the oracle's address for each
block. Everything from there on is the coordinator's own way: `quorate coordinator --once`, with an empty database.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

from eth_abi import encode
from eth_typing import ABIEvent
from eth_utils import keccak
from eth_utils.abi import abi_to_signature

from benchmarks import memory
from benchmarks.dashboard import ETHER, EVENTS_OF_A_JOB, OPERATORS, address, life
from contracts.abi import artifact
from contracts.compute_oracle import DEV_BOUNDS
from contracts.deployment import deploy
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, find_anvil, free_port
from coordinator.devnet.anvil import AnvilProcess, start_anvil

EVENTS = 100_000
EVENTS_OF_A_BLOCK = 10
OPEN_JOBS = 100
_ABI: dict[str, Any] = {
    entry["name"]: entry
    for contract in ("ComputeOracle", "Disputes")
    for entry in artifact(contract).abi
    if entry["type"] == "event"
}


def measure() -> list[dict[str, Any]]:
    """The rows {"name", "value", "unit"} of this table; none where there is no anvil. Takes some five minutes."""
    if find_anvil() is None:
        sys.stderr.write("catch_up: there is no anvil: npm install --prefix .tools @foundry-rs/anvil\n")
        return []
    with tempfile.TemporaryDirectory() as name, start_anvil(free_port(), block_time=None) as anvil:
        folder = Path(name)
        anvil.ask("anvil_setIntervalMining", 1)
        deployment = deploy(Transactor(anvil.url, dev_keys(1)[0]), DEV_BOUNDS)
        anvil.ask("anvil_setIntervalMining", 0)
        deployment.save(folder / "deployment.json")
        count, blocks = _write(anvil, deployment.oracle)
        seconds, most = _read(anvil.url, folder)
    return [
        {"name": "catch_up/events", "value": count, "unit": f"in {blocks:,} blocks"},
        {"name": "catch_up/time", "value": round(seconds, 1), "unit": "s"},
        {"name": "catch_up/memory", "value": round(most / 1e6), "unit": "MB"},
    ]


def _write(anvil: AnvilProcess, oracle: str) -> tuple[int, int]:
    """Have the oracle's address emit the events; how many, in how many blocks."""
    code = anvil.ask("eth_getCode", oracle, "latest")
    sender = "0x" + "11" * 20
    anvil.ask("anvil_setBalance", sender, hex(10**24))
    anvil.ask("anvil_impersonateAccount", sender)
    anvil.ask("anvil_setBlockTimestampInterval", 12)
    written = blocks = 0
    for block in _blocks():
        anvil.ask("anvil_setCode", oracle, "0x" + _emitting([_log(name, args) for name, args in block]).hex())
        anvil.ask("eth_sendTransaction", {"from": sender, "to": oracle, "gas": hex(15_000_000)})
        anvil.ask("anvil_mine", hex(1))
        written, blocks = written + len(block), blocks + 1
    anvil.ask("anvil_setCode", oracle, code)
    anvil.ask("anvil_mine", hex(10))
    return written, blocks


def _blocks() -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Several jobs' lives side by side, one event of each in a block."""
    workers = [address(number) for number in range(OPERATORS)]
    yield [("StakeDeposited", {"worker": worker, "amount": 100 * ETHER}) for worker in workers]
    jobs = iter(range(round(EVENTS / EVENTS_OF_A_JOB)))
    lives: list[Iterator[tuple[str, dict[str, Any]]]] = []
    while True:
        block: list[tuple[str, dict[str, Any]]] = []
        while len(block) < EVENTS_OF_A_BLOCK:
            if len(lives) <= len(block):
                number = next(jobs, None)
                if number is None:
                    break
                lives.append(life(number, workers, number < OPEN_JOBS))
            if (event := next(lives[len(block)], None)) is None:
                del lives[len(block)]
            else:
                block.append(event)
        if not block:
            return
        yield block


def _log(name: str, args: dict[str, Any]) -> tuple[list[bytes], bytes]:
    """An event's topics and data."""
    entry = _ABI[name]
    topics, kinds, values = [keccak(text=abi_to_signature(cast(ABIEvent, entry)))], [], []
    for given in entry["inputs"]:
        kind, value = _kind(given), args[given["name"]]
        if given["indexed"]:
            topics.append(encode([kind], [value]))
        else:
            kinds.append(kind)
            values.append(value)
    return topics, encode(kinds, values)


def _kind(given: dict[str, Any]) -> str:
    if not given["type"].startswith("tuple"):
        return str(given["type"])
    return f"({','.join(map(_kind, given['components']))}){given['type'].removeprefix('tuple')}"


def _emitting(logs: list[tuple[list[bytes], bytes]]) -> bytes:
    """Code that emits them: for each, data is copied from behind the code, topics are pushed, LOG is called."""
    datas = b"".join(data for _, data in logs)
    code, at = b"", sum(_LOG_BYTES + 33 * len(topics) for topics, _ in logs) + 1
    for topics, data in logs:
        size, start = len(data).to_bytes(4, "big"), at.to_bytes(4, "big")
        code += b"\x63" + size + b"\x63" + start + b"\x5f\x39"  # PUSH4 size, PUSH4 start, PUSH0, CODECOPY
        code += b"".join(b"\x7f" + topic for topic in reversed(topics))  # PUSH32
        code += b"\x63" + size + b"\x5f" + bytes([0xA0 + len(topics)])  # PUSH4 size, PUSH0, LOGn
        at += len(data)
    return code + b"\x00" + datas


_LOG_BYTES = 19


def _read(url: str, folder: Path) -> tuple[float, int]:
    """Seconds that the coordinator takes from its start to its end, and bytes of memory at most."""
    program = [sys.executable, "-m", "coordinator.cli.main", "--rpc", url]
    command = [*program, "coordinator", "--once", "--worker", address(0), "--database", str(folder / "jobs.sqlite")]
    environment = {"QUORATE_DEPLOYMENT": str(folder / "deployment.json"), "QUORATE_HOME": str(folder)}
    began, most = time.monotonic(), 0
    with subprocess.Popen(command, env=environment) as process:
        while process.poll() is None:
            most = max(most, memory.peak(process.pid))
            time.sleep(0.05)
        if process.returncode:
            raise RuntimeError(f"the coordinator ended with exit code {process.returncode}")
    return time.monotonic() - began, most
