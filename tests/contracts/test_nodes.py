"""Several nodes of one chain, some of which fail, lag or lie."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, nullcontext
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account
from web3 import Web3
from web3.contract import Contract

from contracts import abi
from contracts.endpoint import Call, ChainUnreachable, Endpoint, NodesDisagree, Rejected, WrongChain
from contracts.errors import Reverted
from contracts.nodes import AGREED_DEPTH, LIMIT_TRIES, LONGEST_REST, MOST_LAG, Nodes, split_urls
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys, running_chain
from tests.contracts.faulty_node import Answer, Fault, FaultyNode, faulty_node, once

HARNESS = abi.load(Path(__file__).parents[1] / "solidity" / "artifacts" / "RevertHarness.json")
SENDER = Account.from_key(dev_keys(1)[0])
Ask = Callable[[], dict[str, Any]]
DEAD = "http://127.0.0.1:1"


@pytest.fixture(scope="module")
def chain() -> Iterator[str]:
    with running_chain("py-evm") as url:
        yield url


@pytest.fixture(scope="module")
def harness(chain: str) -> Contract:
    """A contract whose only event lies deep enough for all to agree on it."""
    sender = Transactor(chain, SENDER)
    made = sender.send(sender.web3.eth.contract(abi=HARNESS.abi, bytecode=HARNESS.bytecode).constructor())
    contract = sender.web3.eth.contract(made["contractAddress"], abi=HARNESS.abi)
    sender.send(contract.functions.bump())
    sender.endpoint.ask("anvil_mine", hex(2 * AGREED_DEPTH), "0x1")
    return contract


@pytest.fixture
def nodes(chain: str) -> Iterator[list[FaultyNode]]:
    with ExitStack() as stack:
        yield [stack.enter_context(faulty_node(chain)) for _ in range(3)]


class Clock:
    """Time that passes when somebody sleeps, and at each look."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


def over(*urls: str, clock: Clock | None = None, **given: Any) -> Endpoint:
    """An endpoint over nodes that are compared before each request."""
    clock = clock or Clock()
    return Endpoint(Web3(Nodes(urls, survey_seconds=0, clock=clock, sleep=clock.sleep, **given)))


def all_of(nodes: list[FaultyNode], **given: Any) -> Endpoint:
    return over(*(node.url for node in nodes), **given)


def lying_about_hashes(given: list[Any], ask: Ask) -> Answer:
    answered = ask()
    answered["result"]["hash"] = "0x" + "66" * 32
    return answered


def behind(blocks: int) -> Fault:
    def answer(given: list[Any], ask: Ask) -> Answer:
        return {"result": hex(int(ask()["result"], 16) - blocks)}

    return answer


def said(what: Any) -> Fault:
    return lambda given, ask: what


def asked_for(node: FaultyNode, method: str = "eth_getBalance") -> int:
    return node.count(method)


def test_the_first_of_three_that_agree_is_asked_and_the_others_only_compared(nodes: list[FaultyNode]) -> None:
    balance = all_of(nodes).ask("eth_getBalance", SENDER.address, "latest")
    assert int(balance, 16) > 0
    assert [asked_for(node) for node in nodes] == [1, 0, 0]
    assert all(node.count("eth_blockNumber") for node in nodes)


def test_a_node_that_is_down_is_stood_in_for(nodes: list[FaultyNode], caplog: pytest.LogCaptureFixture) -> None:
    endpoint = over(DEAD, nodes[0].url)
    assert int(endpoint.ask("eth_getBalance", SENDER.address, "latest"), 16) > 0
    assert "does not answer" in caplog.text
    assert [standing.is_fit for standing in endpoint.standings()] == [False, True]


def test_a_node_that_fails_is_left_alone_longer_each_time_and_taken_back(nodes: list[FaultyNode]) -> None:
    clock = Clock()
    endpoint = over(nodes[0].url, nodes[1].url, clock=clock)
    for method in ("eth_getBalance", "eth_blockNumber"):
        nodes[0].faults[method] = said(500)
    for _ in range(20):
        endpoint.ask("eth_getBalance", SENDER.address, "latest")
        clock.now += 0.2
    assert nodes[0].count("eth_getBalance") + nodes[0].count("eth_blockNumber") <= 5  # not each of twenty times
    nodes[0].faults.clear()
    clock.now += LONGEST_REST
    before = asked_for(nodes[0])
    endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert asked_for(nodes[0]) == before + 1


def test_a_node_that_lags_is_noticed_and_not_believed(
    nodes: list[FaultyNode], harness: Contract, caplog: pytest.LogCaptureFixture
) -> None:
    nodes[0].faults["eth_blockNumber"] = behind(MOST_LAG + 1)
    endpoint = all_of(nodes)
    endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert [asked_for(node) for node in nodes] == [0, 1, 0]
    lagging = endpoint.standings()[0]
    assert not lagging.is_fit
    assert "its head is block" in lagging.why
    assert "is passed over" in caplog.text


def test_a_node_a_block_or_two_behind_is_fit(nodes: list[FaultyNode], harness: Contract) -> None:
    nodes[0].faults["eth_blockNumber"] = behind(MOST_LAG - 1)
    all_of(nodes).ask("eth_getBalance", SENDER.address, "latest")
    assert asked_for(nodes[0]) == 1


def test_one_node_that_claims_to_be_far_ahead_makes_no_other_lag(nodes: list[FaultyNode], harness: Contract) -> None:
    nodes[0].faults["eth_blockNumber"] = behind(-(10**6))
    endpoint = all_of(nodes)
    endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert [standing.is_fit for standing in endpoint.standings()][1:] == [True, True]


def lying_about_the_time(given: list[Any], ask: Ask) -> Answer:
    answered = ask()
    answered["result"]["timestamp"] = hex(int(answered["result"]["timestamp"], 16) + 86_400)
    return answered


@pytest.mark.parametrize("lying", [lying_about_hashes, lying_about_the_time])
def test_a_node_that_lies_about_the_chain_is_outvoted(
    nodes: list[FaultyNode], harness: Contract, caplog: pytest.LogCaptureFixture, lying: Fault
) -> None:
    nodes[0].faults["eth_getBlockByNumber"] = lying
    endpoint = all_of(nodes)
    endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert [asked_for(node) for node in nodes] == [0, 1, 0]
    assert "another chain than the majority" in endpoint.standings()[0].why
    assert nodes[0].url in caplog.text


def test_where_no_majority_agrees_nobody_is_believed(nodes: list[FaultyNode], harness: Contract) -> None:
    nodes[0].faults["eth_getBlockByNumber"] = lying_about_hashes
    with pytest.raises(NodesDisagree, match="none is believed") as caught:
        all_of(nodes[:2]).ask("eth_getBalance", SENDER.address, "latest")
    assert nodes[0].url in str(caught.value)
    assert [asked_for(node) for node in nodes[:2]] == [0, 0]


def test_a_node_of_another_chain_is_not_asked(nodes: list[FaultyNode]) -> None:
    nodes[0].faults["eth_chainId"] = said({"result": "0x1"})
    endpoint = Endpoint(Web3(Nodes([node.url for node in nodes[:2]], chain_id=31_337)), chain_id=31_337)
    endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert [asked_for(node) for node in nodes[:2]] == [0, 1]
    assert "serves chain 1" in endpoint.standings()[0].why
    for node in nodes:
        node.faults["eth_chainId"] = said({"result": "0x1"})
    with pytest.raises(WrongChain):
        Endpoint(",".join(node.url for node in nodes), chain_id=31_337).ask("eth_blockNumber")


def test_a_node_without_its_logs_is_noticed(nodes: list[FaultyNode], harness: Contract) -> None:
    wanted = {"address": harness.address, "fromBlock": "0x0", "toBlock": "latest"}
    head = int(Endpoint(nodes[0].upstream).ask("eth_blockNumber"), 16)
    wanted["toBlock"] = hex(head)
    nodes[0].faults["eth_getLogs"] = said({"result": []})
    endpoint = all_of(nodes)
    assert len(endpoint.ask("eth_getLogs", wanted)) == 1
    assert endpoint.standings()[0].why == "it tells of other events than two other nodes"
    with pytest.raises(NodesDisagree, match=f"{nodes[0].url} has 0; {nodes[1].url} has 1"):
        all_of(nodes[:2]).ask("eth_getLogs", wanted)


LIE = "0x" + "0" * 63 + "7"


def count_of(harness: Contract, endpoint: Endpoint, block: str = "latest") -> int:
    call = {"to": harness.address, "data": harness.functions.count()._encode_transaction_data()}
    return int(endpoint.ask("eth_call", call, block), 16)


@pytest.mark.parametrize(
    "lie", [{"result": LIE}, {"error": {"code": 3, "message": "execution reverted", "data": "0x"}}]
)
def test_a_node_that_lies_about_state_is_outvoted_and_not_asked_first_any_more(
    nodes: list[FaultyNode], harness: Contract, lie: Answer
) -> None:
    nodes[0].faults["eth_call"] = said(lie)
    endpoint = all_of(nodes)
    assert count_of(harness, endpoint) == 1
    assert endpoint.standings()[0].why == "it tells of other state than two other nodes"
    assert count_of(harness, endpoint) == 1
    assert nodes[0].count("eth_call") == 2  # and once more before it was judged
    with pytest.raises(NodesDisagree, match="different state, and none is believed"):
        count_of(harness, all_of(nodes[:2]))


def test_a_node_that_was_only_a_block_behind_is_not_judged(nodes: list[FaultyNode], harness: Contract) -> None:
    nodes[0].faults["eth_call"] = once(said({"result": LIE}))
    endpoint = all_of(nodes)
    assert count_of(harness, endpoint) == 1
    assert endpoint.standings()[0].why == ""


def test_a_lie_about_state_of_whoever_is_not_asked_first_changes_nothing(
    nodes: list[FaultyNode], harness: Contract
) -> None:
    nodes[1].faults["eth_call"] = said({"result": LIE})
    assert count_of(harness, all_of(nodes)) == 1


def test_who_does_not_have_the_block_has_no_say_about_state(nodes: list[FaultyNode], harness: Contract) -> None:
    head = Endpoint(nodes[0].upstream).ask("eth_blockNumber")
    for node in nodes[1:]:
        node.faults["eth_call"] = said({"error": {"code": -32001, "message": "block not found"}})
    assert count_of(harness, all_of(nodes), head) == 1


@pytest.mark.parametrize("liar", [None, 0, 1, 2])
def test_many_calls_in_one_request_are_witnessed_like_single_ones(
    nodes: list[FaultyNode], harness: Contract, liar: int | None
) -> None:
    if liar is not None:
        nodes[liar].faults["eth_call"] = said({"result": LIE})
    counts = [harness.functions.count()] * 3
    assert all_of(nodes).read_each(counts, "latest") == [1, 1, 1]
    assert [node.batches for node in nodes] == [1, 1, 0]
    # where those two told the same, nobody was asked one call at a time
    assert [node.count("eth_call") > 3 for node in nodes[:2]] == [liar in (0, 1)] * 2
    with pytest.raises(NodesDisagree) if liar in (0, 1) else nullcontext():
        assert all_of(nodes[:2]).read_each(counts, "latest") == [1, 1, 1]


def test_many_calls_of_a_node_that_takes_no_batches_or_that_is_alone(
    nodes: list[FaultyNode], harness: Contract
) -> None:
    counts = [harness.functions.count()] * 3
    alone = over(nodes[0].url)
    assert alone.read_each([], "latest") == []
    assert alone.read_each(counts, "latest") == [1, 1, 1]
    assert (nodes[0].batches, nodes[0].count("eth_call")) == (1, 3)
    nodes[1].batch_refusal = 400
    for _ in range(2):
        assert over(nodes[1].url).read_each(counts, "latest") == [1, 1, 1]
    assert all_of(nodes[1:]).read_each(counts, "latest") == [1, 1, 1]


@pytest.mark.parametrize(
    "refusal", [503, 429, 400, 413, "<html>", {"error": {"code": -32600, "message": "no batches here"}}]
)
def test_a_node_that_is_busy_is_asked_many_things_at_once_again_and_one_that_never_takes_them_is_not(
    nodes: list[FaultyNode], harness: Contract, refusal: Answer
) -> None:
    endpoint, counts = over(nodes[0].url), [harness.functions.count()] * 3
    nodes[0].batch_refusal = refusal
    assert endpoint.read_each(counts, "latest") == [1, 1, 1]
    nodes[0].batch_refusal, asked = None, nodes[0].batches
    assert endpoint.read_each(counts, "latest") == [1, 1, 1]
    assert nodes[0].batches - asked == (1 if refusal in (503, 429) else 0)


def test_a_call_among_many_that_reverts_says_so(nodes: list[FaultyNode], harness: Contract) -> None:
    nodes[0].faults["eth_call"] = once(said({"error": {"code": -32000, "message": "header not found"}}))
    assert over(nodes[0].url).read_each([harness.functions.count()] * 2, "latest") == [1, 1]  # asked again
    nodes[0].faults["eth_call"] = said({"error": {"code": 3, "message": "execution reverted", "data": "0x"}})
    with pytest.raises(Reverted):
        over(nodes[0].url).read_each([harness.functions.count()] * 2, "latest")


def test_the_newest_events_are_witnessed_too(nodes: list[FaultyNode], chain: str) -> None:
    """Whoever follows the chain asks for each block once: what is hidden then stays unknown."""
    sender = Transactor(chain, SENDER)
    made = sender.send(sender.web3.eth.contract(abi=HARNESS.abi, bytecode=HARNESS.bytecode).constructor())
    nodes[0].faults["eth_getLogs"] = said({"result": []})
    endpoint = Endpoint(Web3(Nodes([node.url for node in nodes])))
    assert endpoint.ask("eth_blockNumber")  # compared now, and not again for a while
    bumped = sender.send(sender.web3.eth.contract(made["contractAddress"], abi=HARNESS.abi).functions.bump())
    block = hex(bumped["blockNumber"])
    wanted = {"address": made["contractAddress"], "fromBlock": block, "toBlock": block}
    assert len(endpoint.ask("eth_getLogs", wanted)) == 1


@pytest.mark.parametrize("comes", [True, False])
def test_what_only_one_node_has_yet_is_believed_once_another_has_it(
    nodes: list[FaultyNode], harness: Contract, comes: bool
) -> None:
    head = int(Endpoint(nodes[0].upstream).ask("eth_blockNumber"), 16)
    clock = Clock()
    endpoint = all_of(nodes, clock=clock)

    def late(given: list[Any], ask: Ask) -> Answer:
        return ask() if comes and clock.slept else {"result": hex(head - 1)}

    for node in nodes[1:]:
        node.faults["eth_blockNumber"] = late
    wanted = {"address": harness.address, "fromBlock": hex(head), "toBlock": hex(head)}
    if comes:
        assert endpoint.ask("eth_getLogs", wanted) == []
        assert 0 < sum(clock.slept) < 1
    else:
        with pytest.raises(NodesDisagree, match=f"{nodes[0].url} tells of block {head}, which no other node has yet"):
            endpoint.ask("eth_getLogs", wanted)
        assert "no other has" in endpoint.standings()[0].why


def test_a_node_that_cannot_give_logs_does_not_hold_up_one_that_can(nodes: list[FaultyNode], harness: Contract) -> None:
    head = int(Endpoint(nodes[0].upstream).ask("eth_blockNumber"), 16)
    for fault in (said(500), said({"error": {"code": -32005, "message": "query returned more than 1 results"}})):
        nodes[1].faults["eth_getLogs"] = fault
        wanted = {"address": harness.address, "fromBlock": "0x0", "toBlock": hex(head)}
        assert len(all_of(nodes[:2]).ask("eth_getLogs", wanted)) == 1


def test_a_transaction_is_told_to_every_node_and_one_that_takes_it_is_enough(
    nodes: list[FaultyNode], harness: Contract
) -> None:
    nodes[0].faults["eth_sendRawTransaction"] = said({"error": {"code": -1, "message": "pool is closed"}})
    nodes[1].faults["eth_sendRawTransaction"] = said(500)
    receipt = Transactor(all_of(nodes), SENDER).send(Call(SENDER.address, b"", 1))
    assert receipt["status"] == 1
    assert all(node.count("eth_sendRawTransaction") == 1 for node in nodes)


@pytest.mark.parametrize(
    "limited",
    [429, {"error": {"code": 429, "message": "compute units"}}, {"error": {"code": -32005, "message": "rate limit"}}],
)
def test_a_lone_node_that_is_asked_too_much_is_asked_again_a_few_times_later(
    nodes: list[FaultyNode], limited: Answer
) -> None:
    clock = Clock()
    endpoint = over(nodes[0].url, clock=clock)
    _ = endpoint.chain_id
    times = [3]

    def at_first(given: list[Any], ask: Ask) -> Answer:
        times[0] -= 1
        return limited if times[0] >= 0 else ask()

    nodes[0].faults["eth_getBalance"] = at_first
    assert int(endpoint.ask("eth_getBalance", SENDER.address, "latest"), 16) > 0
    assert clock.slept == sorted(set(clock.slept))  # longer each time
    assert len(clock.slept) == 3
    nodes[0].faults["eth_getBalance"] = said(limited)
    with pytest.raises((ChainUnreachable, Rejected)):
        endpoint.ask("eth_getBalance", SENDER.address, "latest")
    assert len(clock.slept) == 3 + LIMIT_TRIES - 1


def test_among_several_one_that_is_asked_too_much_is_not_waited_for(nodes: list[FaultyNode]) -> None:
    clock = Clock()
    nodes[0].faults["eth_getBalance"] = said(429)
    endpoint = over(nodes[0].url, nodes[1].url, clock=clock)
    assert int(endpoint.ask("eth_getBalance", SENDER.address, "latest"), 16) > 0
    assert clock.slept == []


def test_too_many_results_are_no_rate_limit(nodes: list[FaultyNode]) -> None:
    clock = Clock()
    nodes[0].faults["eth_getLogs"] = said({"error": {"code": -32005, "message": "block range limit exceeded"}})
    with pytest.raises(Rejected):
        over(nodes[0].url, clock=clock).ask("eth_getLogs", {})
    assert clock.slept == []


def test_a_url_with_a_key_is_shown_without_it(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    endpoint = over("http://127.0.0.1:1/v3/hunter2", "http://user:hunter2@127.0.0.1:2/")
    with pytest.raises(ChainUnreachable) as caught:
        endpoint.ask("eth_blockNumber")
    shown = repr(endpoint) + str(caught.value) + caplog.text + str(endpoint.standings())
    assert "127.0.0.1:1/…" in shown
    assert "hunter2" not in shown


def test_urls_are_separated_by_commas() -> None:
    assert split_urls("http://a, https://b/x?y=1,2, http://c,") == ["http://a", "https://b/x?y=1,2", "http://c"]
    assert split_urls("http://a") == ["http://a"]
    assert split_urls("http://a,http://b") == ["http://a", "http://b"]
    assert split_urls(" ") == []
