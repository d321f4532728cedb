"""The verification set: whoever can execute an accused item does, if the root is wrong, or the requester's own verdict."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from contracts.disputes import Gold, InputProof, ResultProof
from contracts.gold import GoldItem, GoldTree
from contracts.job import NOBODY, Outcome, Phase
from models import interpreter
from oracle_worker import challenges, duties, settlement
from oracle_worker.computing import prepare
from oracle_worker.disputes import ExecuteJob, MakeJudgement
from oracle_worker.job_codec import action_from_json, action_to_json
from oracle_worker.result import Done
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]
BOND = ETHER // 5


def gold_of(stage: Stage, rows: Rows, right: list[int], wrong: list[int]) -> GoldTree:
    """Items with the specification's verdicts, and some with others."""
    outputs = interpreter.run(stage.network, rows)
    changed = outputs + 1
    items = [GoldItem(index, outputs[index].astype(">i4").tobytes(), bytes([index]) * 32) for index in right]
    items += [GoldItem(index, changed[index].astype(">i4").tobytes(), bytes([index]) * 32) for index in wrong]
    return GoldTree(items)


def challenged(stage: Stage, rows: Rows, jury: list[Operator], gold: GoldTree, **changes: Any) -> Posted:
    """A job with a verification set, of the whole jury, all revealed."""
    audit = {"gold_root": gold.root, "gold_count": gold.count, "audit_bond": BOND, "response_window": WINDOW // 4}
    posted = stage.post(rows, len(jury), **{**audit, **changes})
    done(duties.draw(jury[0].roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    assert stage.phase(posted) == Phase.CHALLENGING
    return posted


def accuse(stage: Stage, posted: Posted, gold: Gold, operator: Operator) -> bytes:
    """The requester opens an item against an operator's root, whose tree it learned somehow; the root."""
    operator.fetch(posted)
    compute = operator.roles.compute
    tree = prepare(compute, compute.view.sight(posted.job)).tree()
    leaf = tree.nodes(tree.depth, gold.index, gold.index + 1)[0]
    result = ResultProof(tree.root, gold.index, leaf, tree.path(tree.depth, gold.index))
    stage.owner.send(stage.contracts.disputes.accuse(posted.job, gold, result))
    return tree.root


def names(results: list[Any]) -> list[str]:
    return [result.duty for result in results if isinstance(result, Done)]


def finish(stage: Stage, posted: Posted, keeper: Operator) -> None:
    while stage.phase(posted) == Phase.CHALLENGING:
        stage.advance(WINDOW)
    done(settlement.settle(keeper.roles.signer, posted.job))


def test_a_wrong_root_that_is_accused_is_refuted_without_a_single_demand(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(100), Liar(100)])
    (honest,) = stage.jury(1)
    gold = gold_of(stage, wine, [7, 100], [])
    posted = challenged(stage, wine, [*liars, honest], gold)
    lie = accuse(stage, posted, gold.opening(1), liars[0])
    assert names(honest.dispute(posted)) == ["judge"]
    assert honest.due(posted) == []
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == honest.account.address
    assert stage.contracts.disputes.audit(posted.id).open_accusations == 0
    requester = stage.contracts.oracle.credit(stage.owner.sender)
    finish(stage, posted, honest)
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    assert stage.contracts.oracle.credit(stage.owner.sender) - requester == BOND
    before = honest.books.credit
    done(settlement.release_bounty(honest.roles.signer, posted.job))
    assert honest.books.credit - before == 2 * (stage.seat_stake() // 2)


def test_a_wrong_gold_costs_its_requester_and_half_is_the_executors(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(3)
    bystander = stage.operator()
    gold = gold_of(stage, wine, [7], [100])
    posted = challenged(stage, wine, jury, gold)
    truth = accuse(stage, posted, gold.opening(1), jury[0])
    assert names(bystander.dispute(posted)) == ["judge"]
    assert not stage.contracts.oracle.tally(posted.id, truth).refuted
    assert stage.contracts.disputes.audit(posted.id).executor == bystander.account.address
    finish(stage, posted, bystander)
    assert stage.state(posted).root == truth
    assert bystander.books.credit == BOND // 2


def test_gold_and_root_can_both_be_wrong(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(100, by=5)])
    (honest,) = stage.jury(1)
    gold = gold_of(stage, wine, [], [100])
    posted = challenged(stage, wine, [*liars, honest], gold, quorum=2)
    lie = accuse(stage, posted, gold.opening(0), liars[0])
    assert names(honest.dispute(posted)) == ["judge"]
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == honest.account.address
    assert stage.contracts.disputes.audit(posted.id).executor == honest.account.address


def test_an_accusation_is_judged_once_and_by_whoever_is_first(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(2)
    gold = gold_of(stage, wine, [], [100])
    posted = challenged(stage, wine, jury, gold, quorum=2)
    accuse(stage, posted, gold.opening(0), jury[0])
    (first,), (second,) = (one.due(posted) for one in jury)
    assert first == second
    assert isinstance(first, MakeJudgement)
    assert action_from_json(action_to_json(first)) == first
    done(challenges.act(jury[1].roles.signer, posted.job, second))
    assert "judged" in nothing(challenges.act(jury[0].roles.signer, posted.job, first)).reason


def test_nobody_pays_to_judge_what_earns_nothing(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(2)
    gold = gold_of(stage, wine, [], [100, 101])
    posted = challenged(stage, wine, jury, gold, quorum=2)
    for position in range(2):
        accuse(stage, posted, gold.opening(position), jury[0])
    first, second = jury[0].due(posted)
    done(challenges.act(jury[0].roles.signer, posted.job, first))
    late = nothing(challenges.act(jury[1].roles.signer, posted.job, second))
    assert "earn 0 wei" in late.reason  # half of the bond is the first one's


def test_nobody_pays_more_to_judge_than_it_earns(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(2)
    gold = gold_of(stage, wine, [], [100])
    posted = challenged(stage, wine, jury, gold, quorum=2, audit_bond=10**9)
    accuse(stage, posted, gold.opening(0), jury[0])
    (action,) = jury[0].due(posted)
    assert "may cost" in nothing(challenges.act(jury[0].roles.signer, posted.job, action)).reason


def test_a_root_that_was_refuted_meanwhile_is_not_judged_for_right_gold(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(100, 150)])
    honest, other = stage.jury(2)
    gold = gold_of(stage, wine, [100, 150], [])
    posted = challenged(stage, wine, [*liars, honest, other], gold)
    for position in range(2):
        accuse(stage, posted, gold.opening(position), liars[0])
    first, second = honest.due(posted)
    done(challenges.act(honest.roles.signer, posted.job, first))
    assert other.due(posted) == []
    assert "earn 0 wei" in nothing(challenges.act(other.roles.signer, posted.job, second)).reason


def test_a_worker_whose_own_results_are_wrong_judges_nobody_by_them(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(2)
    broken = stage.operator(inference=Liar(100))
    gold = gold_of(stage, wine, [], [100])
    posted = challenged(stage, wine, jury, gold, quorum=2)
    accuse(stage, posted, gold.opening(0), jury[0])
    (action,) = (action for action in broken.due(posted) if isinstance(action, MakeJudgement))
    result = challenges.act(
        broken.roles.signer, posted.job, action
    )  # the chain's own execution decides what it is worth
    assert names([result]) == ["judge"]
    assert stage.contracts.disputes.audit(posted.id).executor == broken.account.address
    assert not stage.contracts.oracle.tally(posted.id, action.result.root).refuted


def test_the_whole_job_is_not_executed_over_an_open_accusation(stage: Stage, wine: Rows) -> None:
    rows = wine[:2]
    liars = stage.jury(2, [Liar(1), Liar(1, by=2)])
    (honest,) = stage.jury(1)
    gold = gold_of(stage, rows, [1], [])
    posted = challenged(stage, rows, [*liars, honest], gold)
    accuse(stage, posted, gold.opening(0), liars[0])
    first = honest.due(posted)
    assert isinstance(first[0], MakeJudgement)
    assert not any(isinstance(action, ExecuteJob) for action in first)
    done(challenges.act(honest.roles.signer, posted.job, first[0]))
    (second,) = honest.due(posted)
    assert isinstance(second, ExecuteJob)
    done(challenges.act(honest.roles.signer, posted.job, second))


def test_a_lost_disk_keeps_nobody_from_judging(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(1)
    gold = gold_of(stage, wine, [], [3])
    posted = challenged(stage, wine, jury, gold)
    accuse(stage, posted, gold.opening(0), jury[0])
    jury[0].lose_disk()
    assert names(jury[0].dispute(posted)) == ["judge"]
    assert stage.contracts.disputes.audit(posted.id).executor != NOBODY


def test_without_an_accusation_nothing_is_due(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(2)
    posted = challenged(stage, wine, jury, gold_of(stage, wine, [5], [9]), quorum=2)
    assert [one.due(posted) for one in jury] == [[], []]
    opened = gold_of(stage, wine, [5], [9]).opening(1)
    invented = MakeJudgement(opened, ResultProof(bytes(32), 9, bytes(32), ()), InputProof())
    assert "nobody accused" in nothing(challenges.act(jury[0].roles.signer, posted.job, invented)).reason
