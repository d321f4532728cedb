"""Disputes on a real chain: withheld wrong roots are demanded down and refuted, right ones are answered for."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from web3.types import TxReceipt

from contracts import gas_budget, merkle
from contracts.disputes import InputProof, Node, ResultProof
from contracts.job import Outcome, Phase
from coordinator.devnet import find_anvil
from oracle_worker import challenges, duties, settlement
from oracle_worker.challenges import OwnResultWrong
from oracle_worker.computing import prepare
from oracle_worker.disputes import GiveLeaf, GiveNodes, MakeDemand, MakeRefutation
from oracle_worker.job_codec import action_from_json, action_to_json, job_to_json
from oracle_worker.messages import ForgedMessage
from oracle_worker.policy import PolicyRefusal
from oracle_worker.queues import DISPUTE
from oracle_worker.result import Done
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, new_stage, nothing
from tests.requirements import missing

Rows = NDArray[np.uint8]


def challenged(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    """A job of the whole jury, all revealed."""
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    assert stage.phase(posted) == Phase.CHALLENGING
    return posted


def root_of(operator: Operator, posted: Posted) -> bytes:
    compute = operator.roles.compute
    operator.fetch(posted)
    return prepare(compute, compute.view.sight(posted.job)).tree().root


def names(operator: Operator, posted: Posted) -> list[str]:
    """The duties that one cycle of disputes did."""
    return [result.duty for result in operator.dispute(posted) if isinstance(result, Done)]


def finish(stage: Stage, posted: Posted, keeper: Operator) -> None:
    while stage.phase(posted) == Phase.CHALLENGING:
        stage.advance(WINDOW)
    done(settlement.settle(keeper.roles.signer, posted.job))
    settlement.release(keeper.roles.signer, posted.job)  # of whoever did not win


def test_one_honest_worker_demands_its_way_down_a_withheld_lie_and_wins_against_two(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(100, 150), Liar(100, 150)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [*liars, honest])
    lie, truth = root_of(liars[0], posted), root_of(honest, posted)
    assert names(honest, posted) == ["demand"]
    assert names(honest, posted) == []  # it waits for the answer
    assert names(liars[1], posted) == ["answer", "demand"]  # and demands its way down the truth
    assert names(liars[0], posted) == []
    assert names(honest, posted) == ["answer", "demand"]
    assert "answer" in names(liars[0], posted)
    assert "refute" in names(honest, posted)
    tally = stage.contracts.oracle.tally(posted.id, lie)
    assert tally.refuter == honest.account.address
    while names(honest, posted) or names(liars[0], posted):
        pass
    finish(stage, posted, honest)
    state = stage.state(posted)
    assert (state.outcome, state.root, state.root_seats) == (Outcome.ACCEPTED, truth, 1)
    credit = honest.books.credit
    done(settlement.release_bounty(honest.roles.signer, posted.job))
    bounty = honest.books.credit - credit
    assert bounty == 2 * (stage.seat_stake() // 2)
    done(settlement.release_bond(honest.roles.signer, posted.job))
    nothing(settlement.release_bond(honest.roles.signer, posted.job))
    assert honest.books.bonded == stage.seat_stake()
    assert [liar.books.bonded for liar in liars] == [0, 0]


def test_the_duel_costs_the_honest_worker_nothing_but_gas(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(3), Liar(3)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [*liars, honest])
    before = honest.balance()
    receipts: list[TxReceipt] = []
    for _ in range(6):
        for result in honest.dispute(posted):
            receipts += result.receipts if isinstance(result, Done) else []
        liars[0].dispute(posted)
    finish(stage, posted, liars[0])
    for duty in (settlement.release_bounty, settlement.release_bond):
        receipts += done(duty(honest.roles.signer, posted.job)).receipts
    gas = sum(receipt["gasUsed"] * receipt["effectiveGasPrice"] for receipt in receipts)
    answered = honest.roles.signer.view.history(honest.roles.signer.view.sight(posted.job))
    earned = sum(
        made.bond
        for node, made in answered.demands.items()
        if answered.payee(node) == honest.account.address and made.demander != honest.account.address
    )
    # it took part in the demands on its own root, and gets its own bonds back
    assert honest.balance() == before - gas + ETHER + 2 * (stage.seat_stake() // 2) + earned


@pytest.mark.parametrize("items", [1, 2, 16, 17, 178])
def test_a_lie_about_any_item_is_found_at_every_depth(stage: Stage, wine: Rows, items: int) -> None:
    liars = stage.jury(1, [Liar(items - 1)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine[:items], [*liars, honest], quorum=2)
    lie = root_of(liars[0], posted)
    for _ in range(5):
        for one in (honest, liars[0]):
            one.dispute(posted)
    history = honest.roles.signer.view.history(honest.roles.signer.view.sight(posted.job))
    assert history.refuter(lie) == honest.account.address
    demanded = sum(1 for node in history.demands if node.root == lie)
    assert demanded == (0 if history.executed else merkle.last_level(merkle.depth_of(items)))
    assert bool(history.executed) == (items == 2)  # cheaper, then, than a demand and a refutation


def test_a_lie_in_chunks_that_are_cut_elsewhere_is_found(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(37)], chunk_depth=3)
    (honest,) = stage.jury(1, chunk_depth=5)
    posted = challenged(stage, wine, [liar, honest], quorum=2)
    lie = root_of(liar, posted)
    for _ in range(4):
        for one in (honest, liar):
            one.dispute(posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == honest.account.address


def test_someone_without_a_seat_refutes_a_unanimous_lie(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(3, [Liar(7), Liar(7), Liar(7)])
    bystander = stage.operator()
    posted = challenged(stage, wine, liars)
    lie = root_of(liars[0], posted)
    for _ in range(4):
        bystander.dispute(posted)
        liars[2].dispute(posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == bystander.account.address
    finish(stage, posted, bystander)
    assert stage.state(posted).outcome == Outcome.HUNG
    before = bystander.balance()
    receipts = done(settlement.release_bounty(bystander.roles.signer, posted.job)).receipts
    gas = sum(receipt["gasUsed"] * receipt["effectiveGasPrice"] for receipt in receipts)
    assert bystander.balance() == before - gas + 3 * (stage.seat_stake() // 2)


def test_every_wrong_root_is_pursued_at_once(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(7), Liar(177, by=2)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [*liars, honest])
    demanded = {action.node.root for action in honest.due(posted) if isinstance(action, MakeDemand)}
    assert demanded == {root_of(liar, posted) for liar in liars}


def test_a_demand_on_the_right_root_is_answered_by_someone_without_a_seat(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(3)
    bystander = stage.operator()
    posted = challenged(stage, wine, jury)
    truth = root_of(jury[0], posted)
    disputes = stage.contracts.disputes
    for level, index in ((0, 0), (1, 11), (2, 177)):
        node = Node(truth, level, index)
        stage.owner.send(disputes.demand(posted.job, node, ETHER))
        assert names(bystander, posted) == ["answer" if level < 2 else "answer_leaf"]
        assert disputes.demand_of(posted.id, node).answerer == bystander.account.address
        assert names(jury[0], posted) == []
    finish(stage, posted, bystander)
    assert stage.state(posted).root == truth
    assert len(done(settlement.release_bond(bystander.roles.signer, posted.job)).receipts) == 3


def test_a_demand_whose_time_is_over_is_left_alone(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(1)
    posted = challenged(stage, wine, jury, challenge_window=WINDOW, response_window=10)
    truth = root_of(jury[0], posted)
    stage.owner.send(stage.contracts.disputes.demand(posted.job, Node(truth, 0, 0), ETHER))
    (late,) = jury[0].due(posted)
    stage.advance(10)
    assert stage.phase(posted) == Phase.CHALLENGING
    assert jury[0].due(posted) == []
    nothing(challenges.act(jury[0].roles.signer, posted.job, late))


def test_a_node_that_a_peer_demanded_is_not_demanded_again(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(20)])
    first, second = stage.jury(2)
    posted = challenged(stage, wine, [*liars, first, second])
    (demand,) = second.due(posted)
    assert names(first, posted) == ["demand"]
    assert second.due(posted) == []
    assert "AlreadyDemanded" in nothing(challenges.act(second.roles.signer, posted.job, demand)).reason
    assert "answer" in names(liars[0], posted)
    assert "demand" in names(second, posted)  # whoever is first goes on with it


def test_disputes_after_a_lost_disk_start_from_data_and_chain(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(20)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [*liars, honest], quorum=2)
    lie = root_of(liars[0], posted)
    for _ in range(4):
        honest.lose_disk()
        honest.dispute(posted)
        liars[0].dispute(posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == honest.account.address


def test_a_worker_whose_own_results_are_wrong_is_told_to_stop(stage: Stage, wine: Rows) -> None:
    honest, other = stage.jury(2)
    broken = stage.operator(inference=Liar(55))
    posted = challenged(stage, wine, [honest, other])
    for _ in range(2):
        assert names(broken, posted) == ["demand"]
        honest.dispute(posted)
    (action,) = broken.due(posted)
    with pytest.raises(OwnResultWrong, match="item 55") as caught:
        challenges.act(broken.roles.signer, posted.job, action)
    assert caught.value.index == 55


def test_bonds_beyond_the_operators_limits_are_not_paid(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(20)])
    careful, frugal = stage.operator(most_bond=10**12), stage.operator()
    posted = challenged(stage, wine, liars)
    with pytest.raises(PolicyRefusal, match="most_bond"):
        careful.dispute(posted)
    assert names(frugal, posted) == ["demand"]
    liars[0].dispute(posted)
    paid = stage.contracts.disputes.demand_of(posted.id, Node(root_of(liars[0], posted), 0, 0)).bond
    frugal.given["most_bonds_per_job"] = 3 * paid // 2
    frugal.restart()
    with pytest.raises(PolicyRefusal, match="most_bonds_per_job"):
        frugal.dispute(posted)


def test_a_bond_is_paid_at_twice_its_price_at_most(stage: Stage, wine: Rows) -> None:
    if find_anvil() is None:  # the Python chain's base fee cannot be set
        missing("anvil", "npm install --prefix .tools @foundry-rs/anvil")
    liars = stage.jury(1, [Liar(20)])
    one = stage.operator()
    posted = challenged(stage, wine, liars)
    stage.owner.endpoint.ask("anvil_setNextBlockBaseFeePerGas", hex(3 * 10**9))
    stage.mine(1)
    fee = one.roles.signer.view.head().base_fee
    (result,) = one.dispute(posted)
    sent = one.roles.signer.transactor.web3.eth.get_transaction(done(result).receipts[0]["transactionHash"])
    assert 0 < sent["value"] <= 2 * gas_budget.bond(0, 8, 13, max(fee, 10**9), 0)


def test_a_bond_leaves_room_for_a_liars_demand_just_before_it(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(20)])
    one = stage.operator()
    posted = challenged(stage, wine, liars)
    view = one.roles.signer.view
    price = max(view.head().base_fee, stage.contracts.oracle.bounds().reference_price)
    (result,) = one.dispute(posted)
    sent = one.roles.signer.transactor.web3.eth.get_transaction(done(result).receipts[0]["transactionHash"])
    assert sent["value"] >= gas_budget.bond(0, 8, 13, price, 1)


def test_a_large_job_is_examined_only_by_those_seated_in_it(stage: Stage, wine: Rows) -> None:
    (seated,) = stage.jury(1)
    bystander = stage.operator(most_bytes=1000)
    posted = challenged(stage, wine, [seated])
    seated.given["most_bytes"] = 1000
    seated.restart()
    stage.owner.send(stage.contracts.disputes.demand(posted.job, Node(root_of_seat(stage, posted), 0, 0), ETHER))
    with pytest.raises(PolicyRefusal, match="most_bytes"):
        bystander.due(posted)
    assert names(seated, posted) == ["answer"]


def root_of_seat(stage: Stage, posted: Posted) -> bytes:
    view = stage.operators[0].roles.signer.view
    (root,) = view.history(view.sight(posted.job)).revealed
    return root


def test_dispute_messages_are_believed_only_from_ones_own_compute(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(20)])
    one, enemy = stage.operator(), stage.operator()
    posted = challenged(stage, wine, liars)
    (action,) = one.due(posted)
    body = {"job": job_to_json(posted.job, posted.data_uri), "action": action_to_json(action)}
    good = one.roles.compute.seal.close(DISPUTE, body)
    for forged in (enemy.roles.compute.seal.close(DISPUTE, body), {**good, "body": {**body, "job": {}}}):
        with pytest.raises(ForgedMessage, match="secret"):
            one.roles.signer.seal.open(DISPUTE, forged)
    done(challenges.dispute(one.roles.signer, one.roles.signer.seal.open(DISPUTE, good)))
    nothing(challenges.dispute(one.roles.signer, one.roles.signer.seal.open(DISPUTE, good)))


def test_actions_survive_their_way_through_json() -> None:
    node = Node(b"\1" * 32, 1, 9)
    result = ResultProof(b"\2" * 32, 2**63, b"\3" * 32, (b"\4" * 32,))
    given = InputProof(b"\5\6", (b"\7" * 32, b"\x08" * 32))
    for action in (
        MakeDemand(node),
        GiveNodes(node, (b"\1" * 32,) * 16, ()),
        GiveLeaf(result, given),
        MakeRefutation(dataclasses.replace(result, siblings=()), InputProof(b"", ())),
    ):
        assert action_from_json(action_to_json(action)) == action


def test_the_liars_hold_out_on_the_python_chain_too(tmp_path: Any, wine: Rows) -> None:
    with new_stage(tmp_path, "py-evm") as stage:
        (liar,) = stage.jury(1, [Liar(5)])
        (honest,) = stage.jury(1)
        posted = challenged(stage, wine[:17], [liar, honest], quorum=2)
        lie = root_of(liar, posted)
        for _ in range(4):
            honest.dispute(posted)
            liar.dispute(posted)
        assert stage.contracts.oracle.tally(posted.id, lie).refuter == honest.account.address
