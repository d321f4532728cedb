"""Models that one transaction cannot execute: lies are carried to the end in steps, whoever else takes part."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.disputes import Gold
from contracts.gold import GoldItem, GoldTree
from contracts.job import Execution, Phase, challenge_end
from models import stepwise
from oracle_worker import challenges, duties, stepping
from oracle_worker.disputes import (
    Action,
    AdvanceExecution,
    BeginExecution,
    ExtendChallenge,
    MakeRefutation,
)
from oracle_worker.job_codec import action_from_json, action_to_json, job_to_json
from oracle_worker.queues import ACT, EXAMINE
from oracle_worker.result import Done
from oracle_worker.worker import embedded
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, new_stage, nothing
from tests.oracle_worker.test_audit import accuse
from tests.oracle_worker.test_tasks import until

Rows = NDArray[np.uint8]


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """A registry that lets nothing of the wine model's size be executed in one go."""
    with new_stage(tmp_path, execution_gas_limit=20_000) as made:
        execute(made, bytes([255]) * 13)  # which is how it is measured
        assert made.contracts.registry.model(made.model_id).stepwise
        yield made


def execute(stage: Stage, row: bytes) -> None:
    """Anybody, in one step."""
    registry = stage.contracts.registry
    stage.owner.send(registry.begin(stage.model_id, row))
    state = stepwise.first_state(stage.network, row).encode()
    stage.owner.send(registry.advance(stage.model_id, sha256(row).digest(), state, 2**32 - 1))


def lied_about(stage: Stage, rows: Rows, liar: Operator, honest: list[Operator], **changes: Any) -> Posted:
    """A job of one item, in which the liar's leaf is its root."""
    jury = [liar, *honest]
    posted = stage.post(rows[:1], len(jury), quorum=len(jury) // 2 + 1, **changes)
    done(duties.draw(liar.roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    assert stage.phase(posted) == Phase.CHALLENGING
    return posted


def small_steps(monkeypatch: pytest.MonkeyPatch, stage: Stage) -> None:
    """As if a transaction carried no more than the dearest channel."""
    cap = stepwise.plan(stage.network)[0].gas
    with pytest.raises(ValueError, match="takes"):
        while stepwise.plan(stage.network, None, cap - 100):
            cap -= 100
    assert len(stepwise.plan(stage.network, None, cap)) >= 2
    monkeypatch.setattr(stepping, "STEP_GAS", cap)


def act_on(operator: Operator, posted: Posted, actions: list[Action]) -> list[str]:
    results = [challenges.act(operator.roles.signer, posted.job, action) for action in actions]
    return [result.duty for result in results if isinstance(result, Done)]


def refuter(stage: Stage, posted: Posted, operator: Operator) -> str | None:
    view = operator.roles.signer.view
    history = view.history(view.sight(posted.job))
    return next((history.refuted[root] for root in history.revealed if root in history.refuted), None)


def test_a_lie_is_carried_to_the_end_in_steps(stage: Stage, wine: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    (liar,), (honest,) = stage.jury(1, [Liar(0)]), stage.jury(1)
    posted = lied_about(stage, wine, liar, [honest])
    small_steps(monkeypatch, stage)
    said: list[str] = []
    while refuter(stage, posted, honest) is None:
        actions = honest.due(posted)
        assert [action_from_json(action_to_json(action)) for action in actions] == actions
        said += act_on(honest, posted, actions)
        assert len(said) < 12
    assert said[0] == "begin"
    assert said[1:-1] == ["advance"] * (len(said) - 2)
    assert said.count("advance") >= 2
    assert said[-1] == "refute"
    assert refuter(stage, posted, honest) == honest.account.address
    assert stage.state(posted).execution == Execution.NONE


def test_steps_of_others_are_gone_on_from(stage: Stage, wine: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    (liar,), (first, second) = stage.jury(1, [Liar(0)]), stage.jury(2)
    posted = lied_about(stage, wine, liar, [first, second])
    small_steps(monkeypatch, stage)
    (begin,) = first.due(posted)
    assert isinstance(begin, BeginExecution)
    act_on(first, posted, [begin])
    nothing(challenges.act(second.roles.signer, posted.job, begin))
    (step,) = first.due(posted)
    assert isinstance(step, AdvanceExecution)
    registry = stage.contracts.registry
    row_hash = sha256(wine[0].tobytes()).digest()
    stage.owner.send(registry.advance(stage.model_id, row_hash, step.state, 1))  # a stranger's, far smaller
    (after,) = second.due(posted)
    assert isinstance(after, AdvanceExecution)
    assert after.state != step.state
    act_on(first, posted, [step])  # from the state before, and still further
    nothing(challenges.act(second.roles.signer, posted.job, AdvanceExecution(row_hash, step.state, 1)))
    for _ in range(8):
        act_on(second, posted, second.due(posted))
    assert refuter(stage, posted, second) == second.account.address


def test_an_execution_that_somebody_finished_is_only_used(stage: Stage, wine: Rows) -> None:
    (liar,), (honest,) = stage.jury(1, [Liar(0)]), stage.jury(1)
    posted = lied_about(stage, wine, liar, [honest])
    execute(stage, wine[0].tobytes())
    (action,) = honest.due(posted)
    assert isinstance(action, MakeRefutation)
    assert act_on(honest, posted, [action]) == ["refute"]


def test_when_time_is_short_the_challenge_is_extended_once(stage: Stage, wine: Rows) -> None:
    (liar,), (honest,) = stage.jury(1, [Liar(0)]), stage.jury(1)
    posted = lied_about(stage, wine, liar, [honest], response_window=WINDOW)
    stage.advance(WINDOW - 5)
    before = challenge_end(stage.state(posted), posted.job.terms)
    extend, begin = honest.due(posted)
    assert isinstance(extend, ExtendChallenge)
    assert isinstance(begin, BeginExecution)
    assert act_on(honest, posted, [extend]) == ["extend_challenge"]
    assert challenge_end(stage.state(posted), posted.job.terms) == before + WINDOW
    nothing(challenges.act(honest.roles.signer, posted.job, extend))
    (after,) = honest.due(posted)
    assert after == begin
    stage.advance(WINDOW - 5)
    assert not any(isinstance(action, ExtendChallenge) for action in honest.due(posted))
    for _ in range(4):
        act_on(honest, posted, honest.due(posted))
    assert refuter(stage, posted, honest) == honest.account.address


def test_a_lie_about_a_malformed_row_takes_no_steps(stage: Stage) -> None:
    jury = stage.jury(1)
    bystander = stage.operator()
    posted = stage.post(np.zeros((1, 12), np.uint8), 1)
    done(duties.draw(jury[0].roles.signer, posted.job))
    done(duties.commit(jury[0].roles.signer, posted.job, b"\1" * 32))
    done(duties.reveal(jury[0].roles.signer, posted.job))
    (action,) = bystander.due(posted)
    assert isinstance(action, MakeRefutation)
    assert act_on(bystander, posted, [action]) == ["refute"]


def test_an_accusation_is_judged_once_the_item_is_executed(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(1)
    gold = GoldTree([GoldItem(0, bytes(12), bytes(32))])
    audit: dict[str, Any] = {
        "gold_root": gold.root,
        "gold_count": 1,
        "audit_bond": ETHER,
        "response_window": WINDOW // 4,
    }
    posted = stage.post(wine[:1], 1, **audit)
    done(duties.draw(jury[0].roles.signer, posted.job))
    done(jury[0].commit(posted))
    done(duties.reveal(jury[0].roles.signer, posted.job))
    opened: Gold = gold.opening(0)
    accuse(stage, posted, opened, jury[0])
    said = []
    for _ in range(4):
        said += act_on(jury[0], posted, jury[0].due(posted))
    assert said == ["begin", "advance", "judge"]
    assert stage.contracts.disputes.audit(posted.id).executor == jury[0].account.address


def test_by_messages_each_step_leads_to_the_next(stage: Stage, wine: Rows, monkeypatch: pytest.MonkeyPatch) -> None:
    (liar,), (honest,) = stage.jury(1, [Liar(0)]), stage.jury(1, queue_prefix="steps.")
    posted = lied_about(stage, wine, liar, [honest])
    small_steps(monkeypatch, stage)
    job = job_to_json(posted.job, posted.data_uri)
    with embedded(honest.roles) as app:
        app.send_task(EXAMINE, [job])  # a single time
        app.send_task(ACT, [job, "reveal"])
        until(lambda: refuter(stage, posted, honest) is not None)
    assert refuter(stage, posted, honest) == honest.account.address
