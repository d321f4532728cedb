"""The watcher on real chains: what it records is what the contracts hold, whatever the node does."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from eth_utils import keccak

from contracts.commitment import SeatStatus
from contracts.disputes import Node
from contracts.endpoint import ChainUnreachable, Endpoint, NoContract, Rejected, WrongChain
from contracts.job import Job, Outcome, data_uri_hash
from coordinator import watcher as watching
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.watcher import ChainMoved, NodeBehind, NodeMisanswers, Watcher
from tests.contracts.faulty_node import FaultyNode, faulty_node, once
from tests.coordinator.oracle_chain import OracleChain, oracle_chain

BOTH_CHAINS = pytest.mark.parametrize("chain", ["py-evm", "anvil"], indirect=True)


@pytest.fixture
def chain(request: pytest.FixtureRequest) -> Iterator[OracleChain]:
    with oracle_chain(getattr(request, "param", "auto")) as made:
        yield made


@pytest.fixture
def store(chain: OracleChain, tmp_path: Path) -> Iterator[JobStore]:
    with JobStore(tmp_path / "jobs.sqlite", chain.source) as opened:
        yield opened


@pytest.fixture
def node(chain: OracleChain) -> Iterator[FaultyNode]:
    with faulty_node(chain.url) as between:
        yield between


def watch(chain: OracleChain, store: JobStore, confirmations: int = 0, url: str | None = None, **more: Any) -> Watcher:
    return Watcher(Endpoint(url or chain.url), store, confirmations=confirmations, **more)


def agree(chain: OracleChain, watcher: Watcher, job: Job) -> JobView:
    """Catch up, and hold everything in the view against what the contract says at the same block."""
    clock = watcher.catch_up()
    block, job_id, oracle = clock.confirmed_block, chain.job_id(job), chain.contracts.oracle
    view = watcher.store.view(job_id)
    assert view is not None and view.job == job
    assert view.state == oracle.job_state(job_id, block)
    for root, tally in view.roots.items():
        assert tally == oracle.tally(job_id, root, block)
    for made, demand in view.demands.items():
        assert demand == chain.contracts.disputes.demand_of(job_id, made, block)
    for sender in chain.workers:
        worker, seat = sender.account.address, view.seat(sender.account.address)
        theirs = oracle.seat(job_id, worker, block)
        assert (theirs.count, theirs.status) == ((seat.count, seat.status) if seat else (0, SeatStatus.NONE))
        account, _, _ = oracle.account(worker, block)
        ours = watcher.store.account(worker)
        assert (ours.bonded, ours.locked) == (account.bonded, account.locked)
        before = oracle.stake_before(worker, view.state.created_block)
        assert watcher.store.bonded_before(worker, view.state.created_block) == before
    return view


@BOTH_CHAINS
def test_at_every_step_of_a_disputed_job_the_view_is_what_the_contracts_hold(
    chain: OracleChain, store: JobStore
) -> None:
    watcher, disputes = watch(chain, store), chain.contracts.disputes
    right, wrong = chain.results(), chain.results([3])
    job = chain.create()
    agree(chain, watcher, job)
    chain.draw(job)
    for worker, tree, tickets in ((0, right, (0,)), (0, right, (0, 1)), (1, wrong, (0,)), (2, wrong, (0,))):
        chain.commit(job, worker, tree.root, tickets)
        agree(chain, watcher, job)
    chain.commit(job, 3, right.root)
    assert agree(chain, watcher, job).state.commit_ended_at != 0
    for worker, tree in ((0, right), (1, wrong), (2, wrong)):
        chain.reveal(job, worker, tree.root)
        agree(chain, watcher, job)
    chain.advance(600)
    top, below = Node(wrong.root, 0, 0), Node(wrong.root, 1, 1)
    doubted = Node(right.root, 0, 0)
    for demander, demanded in ((0, top), (2, doubted)):
        chain.send(demander, disputes.demand(job, demanded, disputes.bond_for(job, demanded) * 2))
        agree(chain, watcher, job)
    for answerer, tree, answered in ((2, wrong, top), (0, right, doubted)):
        chain.send(answerer, disputes.answer(job, answered, tree.nodes(4, 0, 16), []))
        agree(chain, watcher, job)
    chain.send(0, disputes.demand(job, below, disputes.bond_for(job, below)))
    agree(chain, watcher, job)
    result, given = chain.proofs(wrong, 3)
    chain.send(0, disputes.refute(job, result, given))
    agree(chain, watcher, job)
    chain.advance(600 * 9)
    chain.send(1, chain.contracts.oracle.settle(job, right.root))
    settled = agree(chain, watcher, job)
    assert settled.state.outcome == Outcome.ACCEPTED and not settled.is_closed
    chain.send(1, chain.contracts.oracle.release(job, [sender.account.address for sender in chain.workers]))
    chain.send(1, disputes.release_bounty(job, wrong.root))
    agree(chain, watcher, job)
    for demanded in (top, doubted):
        chain.send(1, disputes.release_bond(job, demanded))
        assert not agree(chain, watcher, job).is_closed
    chain.send(1, disputes.release_bond(job, below))
    assert agree(chain, watcher, job).is_closed
    assert store.open_views() == []


def test_a_leaf_that_is_answered_and_a_silenced_root_are_followed_too(chain: OracleChain, store: JobStore) -> None:
    watcher, disputes = watch(chain, store), chain.contracts.disputes
    right, wrong = chain.results(), chain.results([16])
    job = chain.create()
    chain.draw(job)
    for worker, tree in ((0, right), (1, right), (2, wrong)):
        chain.commit(job, worker, tree.root, (0, 1) if worker == 0 else (0,))
    chain.commit(job, 3, wrong.root)
    for worker, tree in ((0, right), (1, right), (2, wrong), (3, wrong)):
        chain.reveal(job, worker, tree.root)
    for demanded in (Node(right.root, 0, 0), Node(wrong.root, 0, 0)):
        chain.send(2, disputes.demand(job, demanded, disputes.bond_for(job, demanded)))
    chain.send(0, disputes.answer(job, Node(right.root, 0, 0), right.nodes(4, 0, 16), []))
    leaf = Node(right.root, 2, 16)
    middle = Node(right.root, 1, 8)
    chain.send(2, disputes.demand(job, middle, disputes.bond_for(job, middle)))
    chain.send(1, disputes.answer(job, middle, right.nodes(5, 16, 18), right.path(4, 8)))
    chain.send(2, disputes.demand(job, leaf, disputes.bond_for(job, leaf)))
    agree(chain, watcher, job)
    chain.send(1, disputes.answer_leaf(job, *chain.proofs(right, 16)))
    agree(chain, watcher, job)
    chain.advance(600 * 12)
    chain.send(0, chain.contracts.oracle.settle(job, right.root))
    assert agree(chain, watcher, job).state.outcome == Outcome.ACCEPTED
    chain.send(0, disputes.release_bond(job, Node(wrong.root, 0, 0)))
    agree(chain, watcher, job)


def test_only_confirmed_blocks_are_recorded(chain: OracleChain, store: JobStore) -> None:
    watcher = watch(chain, store, confirmations=3)
    job = chain.create()
    clock = watcher.catch_up()
    assert clock.confirmed_block == clock.block_number - 3
    assert store.view(chain.job_id(job)) is None
    chain.mine(3)
    clock = watcher.catch_up()
    assert store.view(chain.job_id(job)) is not None
    assert clock.now >= clock.confirmed_time > 0 and clock.delay == clock.now - clock.confirmed_time


@BOTH_CHAINS
def test_what_a_reorganisation_removed_is_forgotten_and_the_new_chain_is_followed(
    chain: OracleChain, store: JobStore
) -> None:
    watcher = watch(chain, store)
    kept = chain.create(nonce=1)
    gone = chain.create(nonce=2)
    chain.mine(2)
    agree(chain, watcher, gone)
    chain.reorganise(3)
    agree(chain, watcher, kept)
    assert store.view(chain.job_id(gone)) is None
    chain.mine(1)  # one kind of chain mines the removed transaction again, the other dropped it
    agree(chain, watcher, chain.create(nonce=3))
    is_back = chain.contracts.oracle.job_state(chain.job_id(gone)).created_at != 0
    assert (store.view(chain.job_id(gone)) is not None) == is_back


@BOTH_CHAINS
def test_a_chain_that_starts_over_empties_the_projection(chain: OracleChain, store: JobStore) -> None:
    watcher = watch(chain, store)
    job = chain.create()
    chain.mine(1)
    watcher.catch_up()
    depth = int(chain.endpoint.ask("eth_blockNumber"), 16) - chain.deployment.block
    chain.reorganise(depth)
    watcher.catch_up()
    assert store.view(chain.job_id(job)) is None
    assert store.stakers() == []


def test_a_node_that_lags_changes_nothing(chain: OracleChain, store: JobStore, node: FaultyNode) -> None:
    job = chain.create()
    behind = chain.endpoint.ask("eth_getBlockByNumber", hex(chain.deployment.block + 1), False)
    watch(chain, store).catch_up()
    before = store.cursor()

    def lag(given: list[Any], ask: Any) -> Any:
        if given[0] != "latest" and int(given[0], 16) <= chain.deployment.block + 1:
            return ask()
        return {"result": behind if given[0] == "latest" else None}

    node.faults["eth_getBlockByNumber"] = lag
    with pytest.raises(NodeBehind, match="looking again"):
        watch(chain, store, url=node.url).catch_up()
    assert store.cursor() == before and store.view(chain.job_id(job)) is not None


def test_logs_of_a_block_that_is_no_longer_there_are_not_recorded(
    chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    chain.create()

    def of_another_fork(given: list[Any], ask: Any) -> Any:
        answer = ask()
        return {"result": [{**log, "blockHash": "0x" + "ab" * 32} for log in answer["result"]]}

    node.faults["eth_getLogs"] = once(of_another_fork)
    watcher = watch(chain, store, url=node.url)
    with pytest.raises(ChainMoved):
        watcher.catch_up()
    assert store.cursor() is None
    watcher.catch_up()
    assert len(store.open_views()) == 1


@BOTH_CHAINS
@pytest.mark.parametrize("linked_blocks", [64, 0])
def test_a_reorganisation_while_a_range_is_read_is_noticed(
    chain: OracleChain, store: JobStore, node: FaultyNode, linked_blocks: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watching, "LINKED_BLOCKS", linked_blocks)
    watcher = watch(chain, store, url=node.url)
    watcher.catch_up()
    job = chain.create()
    chain.mine(2)

    def reorganise_first(_: list[Any], ask: Any) -> Any:
        chain.reorganise(3)
        return ask()

    node.faults["eth_getLogs"] = once(reorganise_first)
    with pytest.raises(ChainMoved):
        watcher.catch_up()
    assert store.view(chain.job_id(job)) is None
    clock = watcher.catch_up()
    assert clock.confirmed_block == clock.block_number and store.open_views() == []


def test_headers_that_do_not_chain_are_refused(chain: OracleChain, store: JobStore, node: FaultyNode) -> None:
    watcher = watch(chain, store, url=node.url)
    watcher.catch_up()
    chain.mine(2)

    def orphan(given: list[Any], ask: Any) -> Any:
        answer = ask()
        return answer if given[0] == "latest" else {"result": {**answer["result"], "parentHash": "0x" + "cd" * 32}}

    node.faults["eth_getBlockByNumber"] = orphan
    with pytest.raises(ChainMoved):
        watcher.catch_up()


def test_a_node_that_refuses_long_ranges_is_asked_for_shorter_ones(
    chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    chain.create()
    chain.mine(8)

    def at_most_three(given: list[Any], ask: Any) -> Any:
        blocks = int(given[0]["toBlock"], 16) - int(given[0]["fromBlock"], 16) + 1
        return (
            ask() if blocks <= 3 else {"error": {"code": -32005, "message": "query returned more than 10000 results"}}
        )

    node.faults["eth_getLogs"] = at_most_three
    watcher = watch(chain, store, url=node.url)
    clock = watcher.catch_up()
    assert clock.confirmed_block == clock.block_number and len(store.open_views()) == 1
    node.faults["eth_getLogs"] = lambda *_: {"error": {"code": -32005, "message": "no"}}
    chain.mine(1)
    with pytest.raises(Rejected):
        watcher.catch_up()


def test_history_in_long_ranges_comes_to_the_same(
    chain: OracleChain, store: JobStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = chain.create()
    chain.draw(job)
    chain.commit(job, 0, b"\x07" * 32)
    watch(chain, store).catch_up()
    monkeypatch.setattr(watching, "LINKED_BLOCKS", 0)
    with JobStore(tmp_path / "other.sqlite", chain.source) as other:
        watch(chain, other, most_blocks=5).catch_up()
        assert other.history() == store.history()
        assert other.open_views() == store.open_views()


@pytest.mark.parametrize(
    "answer",
    [
        {"result": [{"nonsense": 1}]},
        {"result": "0x"},
        {"result": [{"address": None}]},
        {"result": None},
    ],
)
def test_logs_that_make_no_sense_are_refused_by_name(
    chain: OracleChain, store: JobStore, node: FaultyNode, answer: dict[str, Any]
) -> None:
    node.faults["eth_getLogs"] = lambda *_: answer
    with pytest.raises(NodeMisanswers, match="the logs of blocks"):
        watch(chain, store, url=node.url).catch_up()
    assert store.cursor() is None


def test_logs_of_other_contracts_are_not_ours(chain: OracleChain, store: JobStore, node: FaultyNode) -> None:
    chain.create()

    def foreign(given: list[Any], ask: Any) -> Any:
        return {"result": [{**log, "address": "0x" + "11" * 20} for log in ask()["result"]]}

    node.faults["eth_getLogs"] = foreign
    watch(chain, store, url=node.url).catch_up()
    assert store.history() == []


def test_no_node_no_oracle_and_another_chain_are_told_apart(
    chain: OracleChain, store: JobStore, node: FaultyNode, tmp_path: Path
) -> None:
    node.faults["eth_getLogs"] = lambda *_: 503
    with pytest.raises(ChainUnreachable):
        watch(chain, store, url=node.url).catch_up()
    elsewhere = Source(chain.deployment.chain_id, chain.requester.account.address, chain.deployment.block)
    with JobStore(tmp_path / "elsewhere.sqlite", elsewhere) as other, pytest.raises(NoContract):
        watch(chain, other).catch_up()
    with pytest.raises(WrongChain):
        Watcher(Endpoint(chain.url, chain_id=1), store, confirmations=0).catch_up()


def test_another_chain_behind_the_same_url_does_not_empty_the_projection(
    chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    watcher = watch(chain, store, url=node.url)
    job = chain.create()
    watcher.catch_up()
    other = {"number": "0xffff", "hash": "0x" + "01" * 32, "parentHash": "0x" + "02" * 32, "timestamp": "0x1"}
    node.faults["eth_getBlockByNumber"] = lambda given, _: {
        "result": {**other, "number": "0xffff" if given[0] == "latest" else given[0]}
    }
    node.faults["eth_chainId"] = lambda *_: {"result": "0x1"}
    with pytest.raises(WrongChain):
        watcher.catch_up()
    assert store.view(chain.job_id(job)) is not None


def test_a_data_uri_that_is_no_text_stops_nothing(chain: OracleChain, store: JobStore) -> None:
    uri = "file:rows"
    job = chain.create(nonce=9, uri=uri)
    call = chain.contracts.oracle.create_job(10, job.terms, uri)
    raw = call.data.replace(uri.encode(), b"file:\xff\xfe\x00s")
    # the chain checks the hash of the bytes, so the terms must commit to them
    raw = raw.replace(data_uri_hash(uri), keccak(b"file:\xff\xfe\x00s"))
    chain.requester.send(call._replace(data=raw))
    watch(chain, store).catch_up()
    views = store.open_views()
    assert len(views) == 2
    assert [view.is_workable for view in views] == [True, False]
