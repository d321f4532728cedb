"""Reorganisations no deeper than the confirmation depth, in every phase: the client does the missing step again, opens nothing
too early, and loses nothing."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.commitment import SeatStatus
from contracts.job import Outcome, Phase
from oracle_worker import duties, settlement
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, nothing
from tests.oracle_worker.test_challenges import challenged, finish, root_of

Rows = NDArray[np.uint8]
DEPTH = 5


@pytest.fixture
def jury(stage: Stage) -> list[Operator]:
    """Three operators that wait for DEPTH confirmations."""
    return stage.jury(3, confirmations=DEPTH)


def take_back(stage: Stage, taken: int) -> None:
    """The chain forgets everything since the snapshot, and goes on without it."""
    assert stage.owner.endpoint.ask("evm_revert", hex(taken))
    stage.mine(2)


def snapshot(stage: Stage) -> int:
    return int(stage.owner.endpoint.ask("evm_snapshot"), 16)


def drawn(stage: Stage, rows: Rows, jury: list[Operator]) -> Posted:
    posted = stage.post(rows, len(jury))
    done(duties.draw(jury[0].roles.signer, posted.job))
    return posted


def end_well(stage: Stage, posted: Posted, jury: list[Operator]) -> None:
    """From Challenging to a settlement that leaves everybody its stake and its share."""
    finish(stage, posted, jury[0])
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    assert [one.books.bonded for one in jury] == [stage.seat_stake()] * 3
    assert [one.books.credit for one in jury] == [ETHER // 3] * 3


def reveal_all(stage: Stage, posted: Posted, jury: list[Operator]) -> None:
    stage.mine(DEPTH)
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))


def test_a_draw_that_is_taken_back_is_made_again(stage: Stage, wine: Rows, jury: list[Operator]) -> None:
    posted = stage.post(wine, len(jury))
    before = snapshot(stage)
    done(duties.draw(jury[0].roles.signer, posted.job))
    done(jury[0].commit(posted))
    take_back(stage, before)
    assert stage.phase(posted) == Phase.DRAWING
    done(duties.draw(jury[1].roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    reveal_all(stage, posted, jury)
    end_well(stage, posted, jury)


def test_a_commitment_that_is_taken_back_is_made_again_and_nothing_was_opened_by_then(
    stage: Stage, wine: Rows, jury: list[Operator]
) -> None:
    posted = drawn(stage, wine, jury)
    for one in jury[:2]:
        done(one.commit(posted))
    before = snapshot(stage)
    done(jury[2].commit(posted))
    stage.mine(DEPTH - 1)
    assert stage.phase(posted) == Phase.REVEALING
    for one in jury:  # whoever opened its root now could be copied after the reorganisation
        assert "deep" in nothing(duties.reveal(one.roles.signer, posted.job)).reason
    take_back(stage, before)
    assert stage.phase(posted) == Phase.COMMITTING
    done(jury[2].commit(posted))
    reveal_all(stage, posted, jury)
    end_well(stage, posted, jury)


def test_an_opening_that_is_taken_back_is_made_again(stage: Stage, wine: Rows, jury: list[Operator]) -> None:
    posted = drawn(stage, wine, jury)
    for one in jury:
        done(one.commit(posted))
    stage.mine(DEPTH)
    before = snapshot(stage)
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    assert stage.phase(posted) == Phase.CHALLENGING
    take_back(stage, before)
    assert [one.seat(posted).status for one in jury] == [SeatStatus.SEALED] * 3
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    end_well(stage, posted, jury)


def test_a_dispute_that_is_taken_back_is_fought_again(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(40)])
    first, second = stage.jury(2)
    posted = challenged(stage, wine, [liar, first, second])
    lie = root_of(liar, posted)
    before = snapshot(stage)
    for _ in range(4):
        first.dispute(posted)
        liar.dispute(posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuted
    take_back(stage, before)
    assert not stage.contracts.oracle.tally(posted.id, lie).refuted
    for _ in range(4):
        second.dispute(posted)
        liar.dispute(posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == second.account.address
    finish(stage, posted, first)
    assert [one.books.bonded for one in (liar, first, second)] == [0, stage.seat_stake(), stage.seat_stake()]


def test_a_settlement_that_is_taken_back_pays_once(stage: Stage, wine: Rows, jury: list[Operator]) -> None:
    posted = drawn(stage, wine, jury)
    for one in jury:
        done(one.commit(posted))
    reveal_all(stage, posted, jury)
    stage.advance(WINDOW)
    before = snapshot(stage)
    done(settlement.settle(jury[0].roles.signer, posted.job))
    take_back(stage, before)
    assert stage.phase(posted) == Phase.SETTLING
    done(settlement.settle(jury[1].roles.signer, posted.job))
    nothing(settlement.release(jury[2].roles.signer, posted.job))
    assert [one.books.credit for one in jury] == [ETHER // 3] * 3
