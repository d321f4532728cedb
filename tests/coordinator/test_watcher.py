"""The watcher on real chains: what it records is what the contracts hold, whatever the node does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from eth_utils import keccak

from contracts import tally as tallies
from contracts.block_header import HeaderMismatch
from contracts.commitment import DATA_UNAVAILABLE, Seat, digest_of, tag_of
from contracts.disputes import Audit, Node
from contracts.endpoint import ChainUnreachable, Endpoint, NoContract, Rejected, WrongChain
from contracts.gold import GoldItem, GoldTree
from contracts.job import Execution, Job, Outcome, data_uri_hash
from coordinator import watcher as watching
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.watcher import RECHECK_SECONDS, ChainMoved, NodeBehind, NodeMisanswers, Watcher
from tests.contracts.faulty_node import FaultyNode, faulty_node, once
from tests.coordinator.oracle_chain import STEPWISE_GAS_LIMIT, OracleChain, oracle_chain

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
    """Catch up, and hold everything in the view against what the contracts say at the same block."""
    clock = watcher.catch_up()
    block, job_id, contracts = clock.confirmed_block, chain.job_id(job), chain.contracts
    view = watcher.store.view(job_id)
    assert view is not None and view.job == job
    assert view.state == contracts.oracle.job_state(job_id, block)
    assert DATA_UNAVAILABLE not in view.roots
    for root, tally in view.roots.items():
        assert tally == contracts.oracle.tally(job_id, root, block)
    for made, demand in view.demands.items():
        assert demand == contracts.disputes.demand_of(job_id, made, block)
    assert view.executor == contracts.disputes.executor(job_id, block)
    assert view.audit == contracts.disputes.audit(job_id, block)
    for (position, root), accusation in view.accusations.items():
        assert accusation.is_open == contracts.disputes.is_accused(job_id, position, root, block)
    for sender in chain.workers:
        worker = sender.account.address
        account, ours = contracts.oracle.account(worker, block), watcher.store.account(worker)
        assert (ours.bonded, ours.locked, ours.lanes) == (account.bonded, account.locked, account.lanes)
        before = contracts.oracle.stake_before(worker, view.state.created_block)
        assert watcher.store.bonded_before(worker, view.state.created_block) == before
        if (seat := view.seat(worker)) is None:
            continue
        assert seat.is_held == account.holds(seat.lane)
        if seat.is_held:
            theirs = contracts.oracle.seat_at(worker, seat.lane, block)
            assert theirs == Seat(digest_of(job_id, seat.word), tag_of(view.state.seed), seat.count, seat.status)
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
        chain.commit(job, worker, tree.root, tickets, lane=worker + 20)
        agree(chain, watcher, job)
    chain.commit(job, 3, right.root)
    assert agree(chain, watcher, job).commit_ended_at != 0
    for worker, tree in ((1, wrong), (0, right), (2, wrong)):  # the first root is not the one that wins
        chain.reveal(job, worker, tree.root, lane=worker + 20)
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
    assert settled.state.root == right.root and settled.state.root_seats == 2
    chain.release(job, 1, right.root, [0], lane=20)
    chain.send(1, chain.contracts.oracle.release(job, wrong.root, chain.seats_of([1, 2], lambda worker: worker + 20)))
    agree(chain, watcher, job)
    chain.release(job, 1, settled.seats[chain.address(3)].commitment, [3])
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
    chain.play_to_challenging(job, {0: right.root, 1: right.root, 2: wrong.root, 3: wrong.root})
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


@BOTH_CHAINS
def test_relayed_batches_in_one_transaction_are_followed_like_single_ones(chain: OracleChain, store: JobStore) -> None:
    watcher, oracle = watch(chain, store), chain.contracts.oracle
    right, wrong = chain.results(), chain.results([3])
    job = chain.create()
    signed = [chain.sign_commit(job, 0, right.root, (0, 1), lane=7), chain.sign_commit(job, 1, wrong.root)]
    forged = replace(chain.sign_commit(job, 2, right.root), r=bytes(32))
    chain.requester.send(oracle.multicall([chain.draw_call(job), oracle.commit_for(job, [*signed, forged])]))
    view = agree(chain, watcher, job)
    assert (view.state.granted_seats, len(view.seats)) == (3, 2)
    assert [event.name for event in store.history(job_id=view.job_id)][-1] == "CommitSkipped"
    chain.requester.send(oracle.commit_for(job, [chain.sign_commit(job, worker, right.root) for worker in (2, 3)]))
    assert agree(chain, watcher, job).commit_ended_at != 0
    openings = [chain.opening(0, 7), chain.opening(1), chain.opening(2), chain.opening(3)]
    chain.requester.send(
        oracle.multicall([oracle.reveal(job, wrong.root, openings), oracle.reveal(job, right.root, openings)])
    )
    view = agree(chain, watcher, job)
    assert view.reveal_ended_at != 0 and view.state.root == wrong.root and view.state.root_seats == 1
    chain.advance(600)
    chain.requester.send(
        oracle.settle(job, right.root, chain.seats_of([0, 1, 2, 3], lambda worker: 0 if worker else 7))
    )
    view = agree(chain, watcher, job)
    assert [seat.is_released for seat in view.seats.values()] == [True, False, True, True]
    chain.release(job, 1, wrong.root, [1])
    assert agree(chain, watcher, job).is_closed


def test_abstentions_and_a_no_show_are_followed_to_an_unavailable_end(chain: OracleChain, store: JobStore) -> None:
    watcher = watch(chain, store)
    wrong = chain.results([3])
    job = chain.create(reward=10**15, call_out_fee=10**14)
    chain.draw(job)
    for worker, root in ((0, DATA_UNAVAILABLE), (1, DATA_UNAVAILABLE), (2, DATA_UNAVAILABLE), (3, wrong.root)):
        chain.commit(job, worker, root, (0,) if worker else (0, 1))
        agree(chain, watcher, job)
    for worker, root in ((3, wrong.root), (0, DATA_UNAVAILABLE), (1, DATA_UNAVAILABLE), (2, DATA_UNAVAILABLE)):
        chain.reveal(job, worker, root)
        agree(chain, watcher, job)
    chain.send(0, chain.contracts.disputes.refute(job, *chain.proofs(wrong, 3)))
    chain.advance(600)
    chain.send(0, chain.contracts.oracle.settle(job))
    view = agree(chain, watcher, job)
    assert (view.state.outcome, view.state.abstained_seats) == (Outcome.UNAVAILABLE, 4)
    chain.release(job, 0, DATA_UNAVAILABLE, [0, 1, 2])
    chain.release(job, 0, wrong.root, [3])
    chain.send(0, chain.contracts.disputes.release_bounty(job, wrong.root))
    view = agree(chain, watcher, job)
    assert view.is_closed
    assert view.seats[chain.address(0)].paid == 2 * (10**14 // 5) and view.seats[chain.address(3)].forfeited


@pytest.mark.parametrize("known", [True, False])
def test_a_job_executed_whole_is_over_at_once_and_owes_its_executor_what_the_contract_does(
    chain: OracleChain, store: JobStore, known: bool
) -> None:
    watcher, disputes = watch(chain, store), chain.contracts.disputes
    right, wrong, other = chain.results(), chain.results([3]), chain.results([5])
    job = chain.create(call_out_fee=10**14)
    last = right.root if known else DATA_UNAVAILABLE
    chain.play_to_challenging(job, {0: other.root, 1: wrong.root, 2: wrong.root, 3: last})
    asked = [Node(root, 0, 0) for root in ([right.root] if known else []) + [wrong.root, other.root]]
    for demanded in asked:
        chain.send(1, disputes.demand(job, demanded, disputes.bond_for(job, demanded)))
    chain.send(0, disputes.refute(job, *chain.proofs(other, 5)))
    agree(chain, watcher, job)
    chain.send(2, disputes.execute_job(job, b"".join(chain.rows)))
    view = agree(chain, watcher, job)
    assert (view.state.execution, view.state.root, view.state.root_seats) == (Execution.WHOLE, right.root, int(known))
    chain.send(0, chain.contracts.oracle.settle(job, right.root))
    agree(chain, watcher, job)
    owed = dict(store_view(store, chain, job).bounties_due())
    assert owed == {wrong.root: chain.address(2), other.root: chain.address(0)}
    for root, refuter in owed.items():
        amount = tallies.bounty(view.roots[root].seats, chain.seat_stake)
        assert chain.credited(refuter, disputes.release_bounty(job, root)) == amount
        agree(chain, watcher, job)
    for demanded in asked:
        payee, amount = store_view(store, chain, job).bond_due(demanded)
        assert payee == chain.address(1) and chain.credited(payee, disputes.release_bond(job, demanded)) == amount
    for root, workers in ((wrong.root, [1, 2]), (other.root, [0]), (last, [3])):
        assert not agree(chain, watcher, job).is_closed
        chain.release(job, 0, root, workers)
    assert agree(chain, watcher, job).is_closed


def test_accusations_are_followed_until_the_item_is_executed(chain: OracleChain, store: JobStore) -> None:
    watcher, disputes = watch(chain, store), chain.contracts.disputes
    right, wrong = chain.results(), chain.results([3])
    items = [GoldItem(3, chain.output(3), b"\x01" * 32), GoldItem(5, bytes(len(chain.output(5))), b"\x02" * 32)]
    gold = GoldTree(items)
    job = chain.create(gold_root=gold.root, gold_count=2, audit_bond=10**15, response_window=100)
    chain.play_to_challenging(job, {0: right.root, 1: wrong.root, 2: wrong.root, 3: right.root})
    for position, tree in ((0, wrong), (1, right), (1, wrong)):
        result, _ = chain.proofs(tree, items[position].index)
        chain.requester.send(disputes.accuse(job, gold.opening(position), result))
        agree(chain, watcher, job)
    for sender, position, tree in ((2, 0, wrong), (2, 1, right), (0, 1, wrong)):
        chain.send(sender, disputes.judge(job, gold.opening(position), *chain.proofs(tree, items[position].index)))
        agree(chain, watcher, job)
    view = store_view(store, chain, job)
    assert view.audit == Audit(chain.address(2), 0)
    assert [made.gold_right for made in view.accusations.values()] == [True, False, False]
    assert view.roots[wrong.root].refuter == chain.address(2)


def test_a_stepwise_execution_extends_the_challenge_phase_in_the_view_too(tmp_path: Path) -> None:
    with (
        oracle_chain(execution_gas_limit=STEPWISE_GAS_LIMIT) as chain,
        JobStore(tmp_path / "jobs.sqlite", chain.source) as store,
    ):
        watcher, wrong = watch(chain, store), chain.results([3])
        job = chain.create()
        chain.play_to_challenging(job, {0: chain.results().root, 1: wrong.root, 2: wrong.root, 3: wrong.root})
        chain.send(0, chain.contracts.disputes.extend_challenge(job, *chain.proofs(wrong, 3)))
        assert agree(chain, watcher, job).state.execution == Execution.EXTENDED


def test_a_delivery_is_followed(chain: OracleChain, store: JobStore) -> None:
    watcher = watch(chain, store)
    job = chain.create(consumer=chain.address(3), callback_gas=20_000)
    chain.draw(job)
    chain.advance(601)
    chain.send(0, chain.contracts.oracle.settle(job))
    view = agree(chain, watcher, job)
    assert view.is_closed and view.awaits_delivery and store.open_views() == [view]
    chain.send(1, chain.contracts.oracle.deliver(job))
    assert not agree(chain, watcher, job).awaits_delivery
    assert store.open_views() == []


def store_view(store: JobStore, chain: OracleChain, job: Job) -> JobView:
    view = store.view(chain.job_id(job))
    assert view is not None
    return view


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
    is_back = chain.contracts.oracle.job_state(chain.job_id(gone)).created_block != 0
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
        # of a fork that is not known here: else it would be noticed that they do not hash to their hash
        other = {"parentHash": "0x" + "cd" * 32, "newHash": "0x" + "ef" * 32}
        return answer if given[0] == "latest" else {"result": {**answer["result"], **other}}

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
    given = {**chain.endpoint.ask("eth_getBlockByNumber", "latest", False), "l1BlockNumber": "0x1"}
    other = {**given, "number": "0xffff", "hash": "0x" + "01" * 32, "parentHash": "0x" + "02" * 32, "timestamp": "0x1"}
    node.faults["eth_getBlockByNumber"] = lambda given, _: {
        "result": {**other, "number": "0xffff" if given[0] == "latest" else given[0]}
    }
    node.faults["eth_chainId"] = lambda *_: {"result": "0x1"}
    with pytest.raises(WrongChain):
        watcher.catch_up()
    assert store.view(chain.job_id(job)) is not None


def test_a_time_that_is_not_the_hashs_is_never_recorded(chain: OracleChain, store: JobStore, node: FaultyNode) -> None:
    """It would stay when the node is right again, and a window that seems open for a day longer costs the seat."""
    job = chain.create()

    def a_day_ahead(_: Any, ask: Callable[[], Any]) -> Any:
        said = ask()
        said["result"]["timestamp"] = hex(int(said["result"]["timestamp"], 16) + 86_400)
        return said

    watcher = watch(chain, store, url=node.url)
    node.faults["eth_getBlockByNumber"] = a_day_ahead
    with pytest.raises(HeaderMismatch):
        watcher.catch_up()
    assert store.cursor() is None
    node.faults.clear()
    agree(chain, watcher, job)


def test_headers_of_a_fork_that_is_not_known_here_are_read_all_the_same(
    chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    """They hash to something else with what we know of them: no seat shall be lost by that."""
    job = chain.create()

    def newer(_: Any, ask: Callable[[], Any]) -> Any:
        said = ask()
        said["result"] |= {"mixHash": "0x" + "77" * 32, "somethingHash": "0x" + "88" * 32}
        return said

    node.faults["eth_getBlockByNumber"] = newer
    agree(chain, watch(chain, store, url=node.url), job)


@pytest.mark.parametrize("lie", ["left out", "made up"])
def test_what_a_node_left_out_or_made_up_is_noticed_once_it_tells_the_truth(
    lie: str, chain: OracleChain, store: JobStore, node: FaultyNode, caplog: pytest.LogCaptureFixture
) -> None:
    now = [0.0]
    watcher = watch(chain, store, url=node.url, clock=lambda: now[0])
    watcher.catch_up()
    job = chain.create()
    chain.send(0, chain.contracts.oracle.deposit(chain.seat_stake))

    def twice(_: Any, ask: Callable[[], Any]) -> Any:
        said = ask()
        again = {**said["result"][-1], "logIndex": "0x50"}  # the deposit
        said["result"].append(again)
        return said

    node.faults["eth_getLogs"] = twice if lie == "made up" else lambda *_: {"result": []}
    watcher.catch_up()
    node.faults.clear()
    chain.mine(3)
    wrong = [event.name for event in store.history()]
    watcher.catch_up()
    assert [event.name for event in store.history()] == wrong  # it is not looked for all the time
    now[0] += RECHECK_SECONDS
    assert agree(chain, watcher, job).job == job
    assert "reading again from block" in caplog.text
    fresh = chain_events(chain)
    assert [(event.block, event.log_index) for event in store.history()] == fresh
    now[0] += RECHECK_SECONDS
    caplog.clear()
    watcher.catch_up()
    assert not caplog.text


def test_a_node_that_will_not_tell_the_past_anew_is_read_on(
    chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    now = [0.0]
    watcher = watch(chain, store, url=node.url, clock=lambda: now[0])
    watcher.catch_up()
    now[0] += RECHECK_SECONDS
    job = chain.create()
    node.faults["eth_getLogs"] = once(lambda *_: {"error": {"code": -32005, "message": "query returned too many"}})
    agree(chain, watcher, job)


@pytest.mark.parametrize("refusal", [400, {"error": {"code": -32600, "message": "no batches here"}}, "<html>"])
def test_many_headers_are_asked_for_at_once_and_one_by_one_of_a_node_that_takes_no_batches(
    refusal: Any, chain: OracleChain, store: JobStore, node: FaultyNode
) -> None:
    job = chain.create()
    chain.mine(20)
    watch(chain, store, url=node.url).catch_up()
    assert node.batches == 1
    batched = store.known_blocks()
    node.batch_refusal = refusal
    store.rewind(0)
    watcher = watch(chain, store, url=node.url)
    agree(chain, watcher, job)
    assert store.known_blocks() == batched
    store.rewind(0)
    watcher.catch_up()
    assert node.batches == 2  # and not asked for another


def chain_events(chain: OracleChain) -> list[tuple[int, int]]:
    """The places of all the oracle's logs, as the chain itself tells them."""
    wanted = {"address": chain.deployment.oracle, "fromBlock": hex(chain.deployment.block), "toBlock": "latest"}
    logs = chain.endpoint.ask("eth_getLogs", wanted)
    return [(int(one["blockNumber"], 16), int(one["logIndex"], 16)) for one in logs]


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
