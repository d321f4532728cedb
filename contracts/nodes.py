"""Several nodes of one chain behind one provider. They must agree on what matters; one that fails, lags or lies is passed over.

    Web3(Nodes(["http://127.0.0.1:8545", "https://node.example/KEY"]))

One node answers each request, the first that is fit. Every few seconds all are compared: their chain id, and the hash of a
block that is deep enough to be the same for all. Those of the majority are fit, less those whose head is far behind. Where
the majority is no majority, nothing is believed. Logs are asked of a second node too, because a node without them answers
like one for which nothing happened, and so are calls, which tell of the contracts' state: the duties depend on it. A
transaction goes to all. One node alone is believed, whatever it says.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from eth_typing import URI
from web3 import HTTPProvider
from web3.exceptions import BadResponseFormat
from web3.providers.base import BaseProvider
from web3.providers.rpc.utils import ExceptionRetryConfiguration
from web3.types import RPCEndpoint, RPCResponse

log = logging.getLogger(__name__)

ANSWER_SECONDS = 10.0
GLANCE_SECONDS = 3.0
"""How long a node may take where others can be asked instead."""
SURVEY_SECONDS = 6.0
"""How old a comparison of the nodes may be."""
AGREED_DEPTH = 5
"""Blocks below the lowest fit head at which hashes are compared: what is less deep may still be another's for a moment."""
MOST_LAG = 3
"""Blocks that a node's head may be behind before another is asked."""
LONGEST_REST = 60.0
SHORTEST_REST = 0.25
WITNESSED = ("eth_getLogs", "eth_call")
"""What is asked of a second node too."""
LIMIT_TRIES = 4
"""How often a node that says we ask too much is asked, where there is no other."""

Failure = (requests.RequestException, BadResponseFormat, ValueError, OSError)


class NodesDisagree(Exception):
    """The nodes tell different things about what cannot have changed, and none of them has a majority."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How one node does. `shown`: its URL without what may be secret."""

    shown: str
    head: int | None
    is_fit: bool
    why: str
    """What is wrong with it; empty if nothing is."""


class Node:
    """One node, and how it did lately."""

    def __init__(self, url: str, *, is_alone: bool) -> None:
        if not url.startswith(("http://", "https://")):
            raise ValueError("a JSON-RPC URL begins with http:// or https://")
        self.shown = shown_url(url)
        self.head: int | None = None
        self.chain_id: int | None = None
        self.why = ""
        self.rests_until = 0.0
        self.takes_batches = True
        self._failures = 0
        retry = ExceptionRetryConfiguration(
            errors=(requests.ConnectionError, requests.Timeout), retries=3 if is_alone else 1, backoff_factor=0.125
        )
        seconds = ANSWER_SECONDS if is_alone else GLANCE_SECONDS
        self._provider = HTTPProvider(
            URI(url), request_kwargs={"timeout": ANSWER_SECONDS}, exception_retry_configuration=retry
        )
        self._glancing = HTTPProvider(URI(url), request_kwargs={"timeout": seconds}, exception_retry_configuration=None)

    def ask(self, method: str, params: Any) -> RPCResponse:
        """Its answer. Raises what requests raises, NodesDisagree never."""
        return self._provider.make_request(RPCEndpoint(method), params)

    def ask_batch(self, method: str, params: Sequence[Any]) -> list[RPCResponse]:
        """Its answers in order, of one request. Raises what requests raises, ValueError where it takes no batches."""
        answers = self._provider.make_batch_request([(RPCEndpoint(method), one) for one in params])
        if not isinstance(answers, list) or len(answers) != len(params):
            raise ValueError("it takes no batches")
        return answers

    def glance(self, method: str, *params: Any) -> Any:
        """The result of a short question. Raises what requests raises, ValueError where there is none."""
        answer = self._glancing.make_request(RPCEndpoint(method), list(params))
        if not isinstance(answer, dict) or answer.get("result") is None:
            raise ValueError("it has no answer")
        return answer["result"]

    def look(self) -> None:
        """Learn its chain id and its head. Raises what `glance` raises."""
        if self.chain_id is None:
            self.chain_id = int(self.glance("eth_chainId"), 16)
        self.head = int(self.glance("eth_blockNumber"), 16)

    def rest(self, now: float, why: str, least: float = 0.0) -> float:
        """Leave it alone for a while, longer each time; for how many seconds."""
        seconds = min(max(SHORTEST_REST * 2.0**self._failures, least), LONGEST_REST)
        self._failures = min(self._failures + 1, 16)
        self.rests_until, self.why = now + seconds, why
        return seconds

    def recover(self) -> None:
        """It answered."""
        self._failures, self.rests_until, self.why = 0, 0.0, ""


@dataclass(frozen=True, slots=True)
class Question:
    """What a second node is asked. `block`: the last that it must have; `told_by`: what of an answer must be the same, None
    where it says nothing."""

    method: str
    params: Any
    block: int | None
    told_by: Callable[[RPCResponse], Hashable | None]
    what: str


class Nodes(BaseProvider):
    """A web3 provider over one or more nodes, in the operator's order of preference. Safe for several threads.

    chain_id: of whoever serves another nothing is believed; depth: blocks below which all must agree. Raises ValueError for
    what is no URL.
    """

    def __init__(
        self,
        urls: Sequence[str],
        *,
        chain_id: int | None = None,
        depth: int = AGREED_DEPTH,
        survey_seconds: float = SURVEY_SECONDS,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        super().__init__()
        if not urls:
            raise ValueError("no URL of a node is given")
        self._nodes = [Node(url, is_alone=len(urls) == 1) for url in urls]
        self.shown = ", ".join(node.shown for node in self._nodes)
        self._chain_id = chain_id
        self._depth = depth
        self._survey_seconds = survey_seconds
        self._clock = clock
        self._sleep = sleep
        self._surveyed_at: float | None = None
        self._fit: list[Node] = list(self._nodes)
        self._lock = threading.Lock()

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """As web3 asks. Raises what requests raises, NodesDisagree."""
        if len(self._nodes) == 1:
            return self._ask_patiently(self._nodes[0], method, params)
        self._survey_if_due()
        if method == "eth_sendRawTransaction":
            return self._tell_all(method, params)
        node, answer = self._ask_fit(method, params)
        return self._witnessed(node, answer, method, params) if method in WITNESSED else answer

    def make_batch(self, method: str, params: Sequence[Any]) -> list[RPCResponse]:
        """The answers of the first fit node in order; none where it does not take that many at once, or has no answer at all.

        What a second node is asked too, that one must answer alike: of calls there are none where it does not, or where
        there is none. Then they are asked one at a time, as always. Raises NodesDisagree, and what requests raises where no
        node answers.
        """
        if len(self._nodes) > 1:
            self._survey_if_due()
        first, *others = self._in_turn()
        answers = self._batch_of(first, method, params)
        if method not in WITNESSED or len(self._nodes) == 1:
            return answers
        assert method == "eth_call"
        told = [_outcome(answer) for answer in answers]
        if not others or None in told:
            return []
        return answers if [_outcome(said) for said in self._batch_of(others[0], method, params)] == told else []

    @staticmethod
    def _batch_of(node: Node, method: str, params: Sequence[Any]) -> list[RPCResponse]:
        if not node.takes_batches:
            return []
        try:
            return node.ask_batch(method, params)
        except Failure as error:
            if _refuses_for_good(error):
                node.takes_batches = False
                log.info("%s: one at a time from now on (%s)", node.shown, type(error).__name__)
            return []

    def is_connected(self, show_traceback: bool = False) -> bool:
        """Whether any node answers."""
        try:
            return "result" in self.make_request(RPCEndpoint("eth_chainId"), [])
        except (*Failure, NodesDisagree):
            if show_traceback:
                raise
            return False

    def standings(self) -> list[Standing]:
        """How each node does, as of the last comparison; one alone is not looked at until it is asked."""
        with self._lock:
            return [Standing(node.shown, node.head, node in self._fit, node.why) for node in self._nodes]

    # ---- Asking ----

    def _ask_patiently(self, node: Node, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Of a node that has no stand-in: where it says that we ask too much, wait and ask again."""
        for left in reversed(range(LIMIT_TRIES)):
            try:
                answer, least = node.ask(method, params), 0.0
            except requests.HTTPError as error:
                if not left or error.response is None or error.response.status_code != 429:
                    raise
                least = _retry_after(error)
            else:
                if not left or not _is_limited(answer):
                    node.recover()
                    return answer
            self._sleep(node.rest(self._clock(), "it says that we ask too much", least))
        raise AssertionError("unreachable: the last try returns or raises")

    def _ask_fit(self, method: RPCEndpoint, params: Any) -> tuple[Node, RPCResponse]:
        """The first fit node's answer; of those that rest only if no other has one."""
        failure: Exception | None = None
        limited: tuple[Node, RPCResponse] | None = None
        for node in self._in_turn():
            try:
                answer = node.ask(method, params)
            except Failure as error:
                failure = error
                self._note(node, error)
                continue
            if _is_limited(answer):
                limited = node, answer
                node.rest(self._clock(), "it says that we ask too much")
                continue
            if node.rests_until:
                node.recover()
            return node, answer
        if limited is not None:
            return limited
        assert failure is not None
        raise failure

    def _in_turn(self) -> list[Node]:
        now = self._clock()
        with self._lock:
            fit = list(self._fit)
        return sorted(fit, key=lambda node: node.rests_until > now)  # stable: the operator's order

    def _note(self, node: Node, error: Exception) -> None:
        least = _retry_after(error) if isinstance(error, requests.HTTPError) else 0.0
        seconds = node.rest(self._clock(), f"it does not answer ({type(error).__name__})", least)
        log.warning("%s does not answer (%s): others are asked for %.1f s", node.shown, type(error).__name__, seconds)

    def _tell_all(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """Hand a transaction to every node; the first that takes it answers for all."""
        refused: RPCResponse | None = None
        taken: RPCResponse | None = None
        failure: Exception | None = None
        for node in self._in_turn():
            try:
                answer = node.ask(method, params)
            except Failure as error:
                failure = error
                self._note(node, error)
                continue
            if "result" in answer:
                taken = taken or answer
            else:
                refused = refused or answer
        if taken is not None or refused is not None:
            return taken if taken is not None else refused  # type: ignore[return-value]
        assert failure is not None
        raise failure

    # ---- Comparing ----

    def _survey_if_due(self) -> None:
        """Compare the nodes, unless that was done a moment ago. Raises NodesDisagree, what requests raises."""
        with self._lock:
            now = self._clock()
            if self._surveyed_at is not None and now < self._surveyed_at + self._survey_seconds:
                return
            self._fit = self._compare(self._looked_at(now))
            self._surveyed_at = self._clock()

    def _looked_at(self, now: float) -> list[Node]:
        """The nodes that answer. Raises what requests raises if none does."""
        there: list[Node] = []
        failure: Exception | None = None
        for node in sorted(self._nodes, key=lambda one: one.rests_until):
            if node.rests_until > now and there:
                continue
            try:
                node.look()
            except Failure as error:
                failure = error
                node.head = None
                self._note(node, error)
            else:
                node.recover()
                there.append(node)
        if not there:
            assert failure is not None
            raise failure
        ours = [node for node in there if self._chain_id in (None, node.chain_id)]
        for node in there:
            if ours and node not in ours:
                node.why = f"it serves chain {node.chain_id}"
                log.error("%s is passed over: %s, not %s", node.shown, node.why, self._chain_id)
        there = ours or there  # whoever asks for the chain's id is told, if nobody serves the right one
        return [node for node in self._nodes if node in there]

    def _compare(self, there: list[Node]) -> list[Node]:
        """Those of the majority that do not lag. Raises NodesDisagree."""
        heads = sorted((_head(node) for node in there), reverse=True)
        # one node that claims to be ahead makes no other lag, where there are enough to know
        newest = heads[1] if len(heads) > 2 else heads[0]
        current = [node for node in there if _head(node) >= newest - MOST_LAG]
        height = max(0, min(_head(node) for node in current) - self._depth)
        told = {node: _block_told(node, height) for node in there if _head(node) >= height}
        counted = Counter(told.values()).most_common()
        # a node that lags too far to have the block has no say
        if not counted or 2 * counted[0][1] <= len(told):
            differing = "; ".join(f"{node.shown} says {said}" for node, said in told.items())
            raise NodesDisagree(f"the nodes disagree on block {height}, and none is believed: {differing}")
        fit = []
        for node in there:
            why = _unfitness(node, told.get(node, counted[0][0]) == counted[0][0], node in current, newest, height)
            if why and why != node.why:
                log.error("%s is passed over: %s", node.shown, why)
            node.why = why
            if not why:
                fit.append(node)
        return fit

    def _witnessed(self, first: Node, answer: RPCResponse, method: str, params: Any) -> RPCResponse:
        """What tells of contracts, once a second fit node says the same. Raises NodesDisagree."""
        if method == "eth_getLogs":
            start, end = (_number(params[0].get(name)) for name in ("fromBlock", "toBlock"))
            question = Question(method, params, end, _logs_told, f"events in blocks {start} to {end}")
        else:
            question = Question(method, params, _number(params[1]) if len(params) > 1 else None, _outcome, "state")
        if question.told_by(answer) is None or (method == "eth_getLogs" and question.block is None):
            return answer
        until = self._clock() + GLANCE_SECONDS
        while (believed := self._seconded(first, answer, question)) is None:
            if self._clock() >= until:
                first.rest(self._clock(), f"it tells of block {question.block}, which no other has")
                raise NodesDisagree(f"{first.shown} tells of block {question.block}, which no other node has yet")
            self._sleep(GLANCE_SECONDS / 12)
        return answer if believed is first else believed.ask(method, params)

    def _seconded(self, first: Node, answer: RPCResponse, question: Question) -> Node | None:
        """The first of two fit nodes that tell the same; `first` where nobody else can say; None where others do not have the
        block yet. Raises NodesDisagree."""
        with self._lock:
            others = [node for node in self._fit if node is not first]
        told = {first: question.told_by(answer)}
        is_awaited = False
        for node in others:
            try:
                if not self._has(node, question.block):
                    is_awaited = True
                    continue
                said = question.told_by(node.ask(question.method, question.params))
            except Failure as error:
                self._note(node, error)
                continue
            if said is None:
                continue
            believed = next((other for other, heard in told.items() if heard == said), None)
            if believed is not None and believed is not first and not self._says_now(first, question, said):
                self._disbelieve(first, question.what)
            if believed is not None:
                return believed
            told[node] = said
        if len(told) > 1:
            shown = "; ".join(f"{node.shown} has {_shown(said)}" for node, said in told.items())
            raise NodesDisagree(f"the nodes tell of different {question.what}, and none is believed: {shown}")
        return None if is_awaited else first

    def _has(self, node: Node, block: int | None) -> bool:
        """Whether a node has come to a block. Raises what requests raises, ValueError."""
        if block is None or (node.head is not None and block <= node.head):
            return True
        node.head = int(node.glance("eth_blockNumber"), 16)
        return block <= node.head

    def _says_now(self, node: Node, question: Question, said: Hashable) -> bool:
        """Whether a node, asked again, says what others say: a block, or a reorganisation, came between the answers."""
        try:
            return question.told_by(node.ask(question.method, question.params)) == said
        except Failure:
            return False

    def _disbelieve(self, node: Node, what: str) -> None:
        log.error("%s tells of other %s than two other nodes", node.shown, what)
        node.rest(self._clock(), f"it tells of other {what.split()[0]} than two other nodes", LONGEST_REST)


def _unfitness(node: Node, agrees: bool, is_current: bool, newest: int, height: int) -> str:
    if not agrees:
        return f"it is on another chain than the majority at block {height}"
    if not is_current:
        return f"its head is block {node.head}, that of others block {newest}"
    return ""


def _head(node: Node) -> int:
    return node.head or 0


def _block_told(node: Node, height: int) -> str:
    """What a node says that must be the same for all: its chain id, and the block's hash and time, which decides phases."""
    try:
        block = node.glance("eth_getBlockByNumber", hex(height), False)
        said = f"{block['hash']} at {int(block['timestamp'], 16)}"
    except (*Failure, KeyError, TypeError):
        said = "that it has none"
    return f"{said} of chain {node.chain_id}"


def _outcome(answer: RPCResponse) -> str | None:
    """What a call returned, or that it reverted; None where the node only says that it cannot tell, of a block that it does
    not have yet or any more, say."""
    if "result" in answer:
        return str(answer["result"]).lower()
    error: Any = answer.get("error")
    if not isinstance(error, dict):
        return None
    is_revert = error.get("code") == 3 or "revert" in str(error.get("message", "")).lower()
    return f"reverted {error.get('data')}".lower() if is_revert else None


def _shown(told: Hashable) -> str:
    """How many events, or the beginning of what a call returned."""
    return str(len(told)) if isinstance(told, frozenset) else str(told)[:42]


def _logs_told(answer: RPCResponse) -> frozenset[tuple[str, ...]] | None:
    """What identifies each log and what it says; None where a node refuses so many."""
    if "result" not in answer:
        return None
    try:
        logs: Iterator[Any] = iter(answer["result"])
        return frozenset(
            (str(one["blockHash"]).lower(), str(one["logIndex"]), str(one["data"]).lower(), *map(str, one["topics"]))
            for one in logs
        )
    except (KeyError, TypeError, ValueError):
        return frozenset({("not logs",)})


def _number(given: Any) -> int | None:
    if isinstance(given, int):
        return given
    try:
        return int(given, 16)
    except (TypeError, ValueError):
        return None


def _is_limited(answer: Any) -> bool:
    """Whether a node says that it is asked too much, and not that one answer would be too big."""
    error = answer.get("error") if isinstance(answer, dict) else None
    if not isinstance(error, dict):
        return False
    message = str(error.get("message", "")).lower()
    if any(word in message for word in ("range", "result", "block", "logs")):
        return False
    return error.get("code") == 429 or any(
        phrase in message for phrase in ("rate limit", "too many requests", "request limit", "capacity", "slow down")
    )


def _refuses_for_good(error: Exception) -> bool:
    """Whether it is the asking for many at once that a node refuses, not that it is down or busy now."""
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return 400 <= error.response.status_code < 500 and error.response.status_code != 429
    return isinstance(error, ValueError)


def _retry_after(error: requests.HTTPError) -> float:
    """Seconds that a server asks us to wait, as far as we do so."""
    asked = error.response.headers.get("Retry-After", "") if error.response is not None else ""
    return min(float(asked), LONGEST_REST) if asked.isascii() and asked.isdigit() else 0.0


def shown_url(url: str) -> str:
    """A URL without what may be secret in it."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "the given URL"
    hidden = "/…" if parts.path.strip("/") or parts.query else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{hidden}"


def split_urls(text: str) -> list[str]:
    """The URLs of a setting: separated by commas, each begins with its scheme."""
    urls: list[str] = []
    for part in text.split(","):
        if urls and part.strip() and "://" not in part:
            urls[-1] += f",{part.strip()}"  # a comma of its own
        elif part.strip():
            urls.append(part.strip())
    return urls
