"""The chain, and the nodes that tell of it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from random import Random
from typing import Any

from eth_utils import keccak

from contracts.endpoint import Rejected
from tests.chaos.fault import Harm, fault, lasting, working
from tests.chaos.stage import CONFIRMATIONS, Stage
from tests.contracts.faulty_node import Answer, Behaviour, FaultyNode

CHAIN, FEES, NODES = "chain", "fees", "nodes"
GWEI = 10**9
LONGEST_HANG = 15.0
Ask = Callable[..., dict[str, Any]]


@contextmanager
def behaving(nodes: Sequence[FaultyNode], behaviour: Behaviour) -> Iterator[None]:
    """Nodes that answer so for a while."""
    for node in nodes:
        node.behaviour = behaviour
    try:
        yield
    finally:
        for node in nodes:
            node.behaviour = None


# ---- The chain ----


def _reorganised(depth: int, *, returned: bool) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        raw = _raw_transactions(at, depth) if returned else []
        at.endpoint.ask("anvil_reorg", depth, [])
        for one in raw:
            _hand_in(at, one)
        yield

    return harm


for _depth in range(1, CONFIRMATIONS + 1):
    fault(f"{_depth} blocks reorganised, transactions back in the mempool", CHAIN, seconds=(0, 0))(
        _reorganised(_depth, returned=True)
    )
    fault(f"{_depth} blocks reorganised, transactions lost", CHAIN, seconds=(0, 0))(
        _reorganised(_depth, returned=False)
    )


def _raw_transactions(at: Stage, depth: int) -> list[str]:
    head = at.block_number()
    hashes = [
        sent
        for number in range(head - depth + 1, head + 1)
        for sent in at.endpoint.ask("eth_getBlockByNumber", hex(number), False)["transactions"]
    ]
    return [at.endpoint.ask("debug_getRawTransaction", one) for one in hashes]


def _hand_in(at: Stage, raw: str) -> None:
    try:
        at.endpoint.ask("eth_sendRawTransaction", raw)
    except Rejected:
        return  # one of the stage's own, which no key has signed; or overtaken


@fault("transactions dropped from the mempool", CHAIN)
def dropped(at: Stage, chance: Random) -> Iterator[None]:
    def drop(ended: threading.Event) -> None:
        while not ended.wait(0.05):
            pool = at.endpoint.ask("txpool_content")
            for group in pool.values():
                for sender, by_nonce in group.items():
                    if sender.lower() == at.operator.address.lower():
                        for one in by_nonce.values():
                            at.endpoint.ask("anvil_dropTransaction", one["hash"])

    yield from working(drop)


@fault("transactions held back and handed over late", CHAIN)
def stuck(at: Stage, chance: Random) -> Iterator[None]:
    """The nodes say yes, and pass on nothing until it is over; then everything, the latest first."""
    kept: list[str] = []

    def hold(method: str, given: list[Any], ask: Ask) -> Answer:
        if method != "eth_sendRawTransaction":
            return ask()
        kept.append(given[0])
        return {"result": "0x" + keccak(hexstr=given[0]).hex()}

    with behaving(at.nodes, hold):
        try:
            yield from lasting()
        finally:
            for raw in dict.fromkeys(reversed(kept)):
                _hand_in(at, raw)


@fault("no new block", CHAIN)
def standing(at: Stage, chance: Random) -> Iterator[None]:
    at.endpoint.ask("evm_setIntervalMining", 0)
    try:
        yield from lasting()
    finally:
        at.endpoint.ask("evm_setIntervalMining", 1)


def _spike(gwei: int) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        try:
            while True:
                at.endpoint.ask("anvil_setNextBlockBaseFeePerGas", hex(gwei * GWEI))
                yield
        finally:
            at.endpoint.ask("anvil_setNextBlockBaseFeePerGas", hex(GWEI))

    return harm


fault("fees times a hundred", FEES)(_spike(100))
fault("fees times six hundred, beyond the ceiling", FEES)(_spike(600))


# ---- Nodes ----


def _all(behaviour: Callable[[Stage], Behaviour]) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        with behaving(at.nodes, behaviour(at)):
            yield from lasting()

    return harm


def _first(behaviour: Callable[[Stage], Behaviour]) -> Harm:
    def harm(at: Stage, chance: Random) -> Iterator[None]:
        with behaving(at.nodes[:1], behaviour(at)):
            yield from lasting()

    return harm


def _saying(said: Answer) -> Callable[[Stage], Behaviour]:
    return lambda _: lambda method, given, ask: said


def _after(seconds: float) -> Callable[[Stage], Behaviour]:
    def made(_: Stage) -> Behaviour:
        def answer(method: str, given: list[Any], ask: Ask) -> Answer:
            time.sleep(seconds)
            return ask()

        return answer

    return made


def _hanging(at: Stage) -> Behaviour:
    """No answer while it lasts."""

    def answer(method: str, given: list[Any], ask: Ask) -> Answer:
        end = time.monotonic() + LONGEST_HANG
        while at.nodes[0].behaviour is not None and time.monotonic() < end:
            time.sleep(0.1)
        return 503

    return answer


def _lagging(at: Stage) -> Behaviour:
    """As if no block had come since."""
    head = at.block_number()

    def answer(method: str, given: list[Any], ask: Ask) -> Answer:
        if method == "eth_blockNumber":
            return {"result": hex(head)}
        if method in ("eth_getTransactionReceipt", "eth_getTransactionByHash"):
            said = ask()
            block = (said.get("result") or {}).get("blockNumber")
            return {"result": None} if block and int(block, 16) > head else said
        if method == "eth_getBlockByNumber" and given[0].startswith("0x") and int(given[0], 16) > head:
            return {"result": None}
        return ask(_as_of(method, given, head))

    return answer


def _as_of(method: str, given: list[Any], head: int) -> list[Any]:
    """Parameters that ask of no later block."""
    if method == "eth_estimateGas":
        return [given[0], hex(head)]
    if method == "eth_getLogs":
        ends = {name: hex(min(int(given[0].get(name, hex(head)), 16), head)) for name in ("fromBlock", "toBlock")}
        return [{**given[0], **ends}]
    return [hex(head) if one in ("latest", "pending") else one for one in given]


def _other_hashes(at: Stage) -> Behaviour:
    """Blocks of another chain: each hash is another one."""

    def answer(method: str, given: list[Any], ask: Ask) -> Answer:
        said = ask()
        if method == "eth_getBlockByNumber" and said.get("result"):
            block = said["result"]
            block |= {name: "0x" + block[name][2:][::-1] for name in ("hash", "parentHash")}
        return said

    return answer


def _without_logs(at: Stage) -> Behaviour:
    return lambda method, given, ask: {"result": []} if method == "eth_getLogs" else ask()


def _false_states(at: Stage) -> Behaviour:
    """Whatever contracts are asked, they say zero."""

    def answer(method: str, given: list[Any], ask: Ask) -> Answer:
        said = ask()
        if method == "eth_call" and "result" in said:
            said["result"] = "0x" + "0" * (len(said["result"]) - 2)
        return said

    return answer


def _late_clock(at: Stage) -> Behaviour:
    """Heads whose time is a day ahead."""

    def answer(method: str, given: list[Any], ask: Ask) -> Answer:
        said = ask()
        if method == "eth_getBlockByNumber" and said.get("result"):
            said["result"]["timestamp"] = hex(int(said["result"]["timestamp"], 16) + 86_400)
        return said

    return answer


for _name, _behaviour in {
    "one node of three down": _saying(503),
    "one node of three hangs": _hanging,
    "one node of three lags": _lagging,
    "one node of three on another chain": _other_hashes,
    "one node of three hides events": _without_logs,
    "one node of three lies about state": _false_states,
    "one node of three lies about the time": _late_clock,
}.items():
    fault(_name, NODES, seconds=None)(_first(_behaviour))
LIMIT = {"error": {"code": -32005, "message": "rate limit exceeded"}}
for _name, _behaviour in {
    "all nodes down": _saying(503),
    "all nodes answer with errors": _saying({"error": {"code": -32603, "message": "internal error"}}),
    "all nodes answer with a web page": _saying("<html>Welcome</html>"),
    "all nodes limit the rate": _saying(LIMIT),
    "all nodes hang": _hanging,
    "all nodes slow": _after(1.0),
    "all nodes lag": _lagging,
    "all nodes hide events": _without_logs,
    "all nodes lie about state": _false_states,
    "all nodes lie about the time": _late_clock,
}.items():
    fault(_name, NODES)(_all(_behaviour))
