"""When the chain executes every row: where that is cheaper, or all that is left; never where it does not fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.disputes import Node
from contracts.job import Execution, JobState, Outcome, Phase
from contracts.model_registry import Model
from oracle_worker import challenges, duties, settlement, whole_job
from oracle_worker.chain_view import Head, Sight
from oracle_worker.computing import prepare
from oracle_worker.disputes import Demand, ExecuteJob, MakeDemand, Refute, Step, Wait
from oracle_worker.job_codec import BadMessage, action_from_json, action_to_json
from tests.oracle_worker.stage import WINDOW, Liar, Operator, Posted, Stage, done, nothing
from tests.oracle_worker.test_relay import JOB

Rows = NDArray[np.uint8]
REFUTE = Refute(0, bytes(32), ())


def challenged(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    return posted


def test_a_small_job_with_many_liars_is_executed_whole_and_all_of_their_bounties_are_earned(
    stage: Stage, wine: Rows
) -> None:
    liars = stage.jury(3, [Liar(1), Liar(2), Liar(1, by=3)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine[:4], [*liars, honest], quorum=3)
    (action,) = honest.due(posted)
    assert isinstance(action, ExecuteJob)
    assert action.rows == wine[:4].tobytes()
    assert action_from_json(action_to_json(action)) == action
    assert done(challenges.act(honest.roles.signer, posted.job, action)).duty == "execute_job"
    assert stage.state(posted).execution == Execution.WHOLE
    assert stage.phase(posted) == Phase.SETTLING
    nothing(challenges.act(honest.roles.signer, posted.job, action))
    done(settlement.settle(liars[0].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    before = honest.books.credit
    assert len(done(settlement.release_bounty(honest.roles.signer, posted.job)).receipts) == 3
    assert honest.books.credit - before == 3 * (stage.seat_stake() // 2)
    nothing(settlement.release_bounty(honest.roles.signer, posted.job))
    done(settlement.release(honest.roles.signer, posted.job))
    assert [one.books.bonded for one in liars] == [0, 0, 0]


def test_a_truth_that_nobody_revealed_wins_and_is_settled(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(1), Liar(1)])
    bystander = stage.operator()
    posted = challenged(stage, wine[:2], liars, quorum=2)
    (action,) = bystander.due(posted)
    done(challenges.act(bystander.roles.signer, posted.job, action))
    done(settlement.settle(bystander.roles.signer, posted.job))
    state = stage.state(posted)
    assert (state.outcome, state.root_seats) == (Outcome.ACCEPTED, 0)
    done(settlement.release_bounty(bystander.roles.signer, posted.job))
    assert bystander.books.credit == 2 * (stage.seat_stake() // 2)


def test_bonds_of_demands_on_the_truth_are_void_once_every_row_is_executed(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(1)])
    (honest,) = stage.jury(1)
    demander = stage.operator()
    posted = challenged(stage, wine[:2], [liar, honest], quorum=2)
    signer = demander.roles.signer
    done(challenges.act(signer, posted.job, MakeDemand(Node(own_root(honest, posted), 0, 0))))
    (_, action) = honest.due(posted)  # the answer, which is not sent here, and then
    done(challenges.act(honest.roles.signer, posted.job, action))
    done(settlement.settle(signer, posted.job))
    made = signer.view.history(signer.view.sight(posted.job)).demands
    (demand,) = made.values()
    before = demander.books.credit
    nothing(settlement.release_bond(honest.roles.signer, posted.job))
    done(settlement.release_bond(signer, posted.job))
    assert demander.books.credit - before == demand.bond


def test_a_job_too_large_for_one_transaction_is_taken_apart(stage: Stage, wine: Rows, monkeypatch: Any) -> None:
    liars = stage.jury(1, [Liar(1)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine[:2], [*liars, honest], quorum=2)
    monkeypatch.setattr(whole_job, "MOST_GAS", 200_000)
    (action,) = honest.due(posted)
    assert isinstance(action, MakeDemand)


def test_what_can_no_longer_be_demanded_is_executed_whole(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(1, [Liar(177)])
    early, late = stage.jury(2)
    posted = challenged(stage, wine, [*liars, early, late], response_window=WINDOW)
    (first,) = early.due(posted)
    assert isinstance(first, MakeDemand)
    stage.advance(WINDOW - 5)
    truth = own_root(early, posted)
    stage.owner.send(
        stage.contracts.disputes.demand(posted.job, Node(truth, 0, 0), 10**18)
    )  # Challenging lasts longer by that
    stage.advance(10)
    actions = late.due(posted)
    assert [type(action).__name__ for action in actions] == ["GiveNodes", "ExecuteJob"]
    for action in actions:
        done(challenges.act(late.roles.signer, posted.job, action))
    history = late.roles.signer.view.history(late.roles.signer.view.sight(posted.job))
    assert history.refuter(own_root(liars[0], posted)) == late.account.address


def own_root(operator: Operator, posted: Posted) -> bytes:
    operator.fetch(posted)
    compute = operator.roles.compute
    return prepare(compute, compute.view.sight(posted.job)).tree().root


# ----------------------------------------------------------------------------------------------------------------- the rule

MODEL = Model(row_length=13, output_length=3, execution_gas=35_000, program_length=1_000, stepwise=False)


def sight(items: int, now: int = 0) -> Sight:
    job = replace(JOB, terms=replace(JOB.terms, item_count=items))
    return Sight(job, bytes(32), JobState(created_block=1, started_at=1), Head(10, now, 10**9))


@pytest.mark.parametrize(
    ("items", "steps", "better"),
    [
        (1, [], False),
        (1, [REFUTE], False),
        (1, [REFUTE, REFUTE], True),
        (2, [REFUTE], False),
        (2, [Demand(0, 0)], True),
        (178, [Demand(0, 0)], False),
        (178, [Demand(0, 0)] * 20, True),
        (178, [Wait(1, 0)] * 20, False),
        (1000, [Demand(0, 0)] * 200, False),  # it does not fit, whatever it would save
    ],
)
def test_the_cheaper_way_is_taken(items: int, steps: list[Step], better: bool) -> None:
    assert whole_job.is_better(sight(items), MODEL, steps) == better


def test_a_stepwise_model_is_never_executed_whole() -> None:
    assert not whole_job.is_better(sight(1), replace(MODEL, stepwise=True), [REFUTE] * 100)


def test_a_demand_that_comes_too_late_leaves_no_other_way() -> None:
    end = 1 + 3 * 60
    assert not whole_job.is_better(sight(178, end - 1), MODEL, [Demand(0, 0)])
    assert whole_job.is_better(sight(178, end), MODEL, [Demand(0, 0)])
    assert not whole_job.is_better(sight(178, end), MODEL, [Demand(1, 0)])
    assert not whole_job.is_better(sight(178, end), MODEL, [Wait(0, 0)])
    assert not whole_job.is_better(sight(178, end), MODEL, [REFUTE])


@pytest.mark.parametrize("items", [1, 3, 60, 178])
def test_the_gas_is_bounded_by_what_is_reckoned_with(stage: Stage, wine: Rows, items: int) -> None:
    jury = stage.jury(1)
    posted = challenged(stage, wine[:items], jury)
    call = stage.contracts.disputes.execute_job(posted.job, wine[:items].tobytes())
    receipt = stage.owner.send(call)
    model = stage.contracts.registry.model(stage.model_id)
    assert whole_job.gas(items, model) / 2 < receipt["gasUsed"] < whole_job.gas(items, model)


def test_more_rows_than_a_transaction_carries_are_no_message() -> None:
    action = action_to_json(ExecuteJob(bytes(500_000)))
    with pytest.raises(BadMessage, match="rows"):
        action_from_json(action)
