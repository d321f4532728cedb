"""A worker's lanes: 24 jobs at a time, and nobody takes one job's seats for another's."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import errors
from contracts.commitment import Seat, SeatStatus, tag_of
from contracts.compute_oracle import ComputeOracle, SeatRef
from contracts.job import Phase
from contracts.stake import LANES
from oracle_worker import duties, salt, settlement
from oracle_worker.chain_view import ChainView, UntoldSeats
from tests.oracle_worker.stage import WINDOW, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]
ROOT = b"\7" * 32


@pytest.fixture
def rich(stage: Stage) -> Operator:
    """All of the stake there is: every ticket wins in a job of 25 seats."""
    made = stage.operator()
    made.deposit(25 * stage.seat_stake(1))
    return made


def drawn(stage: Stage, rows: Rows, operator: Operator) -> Posted:
    posted = stage.post(rows[:1], 25, quorum=13, seat_stake=stage.seat_stake(1))
    done(duties.draw(operator.roles.signer, posted.job))
    return posted


def take_one(operator: Operator, posted: Posted, lane: int) -> None:
    """One seat, as the worker would with so much stake."""
    signer = operator.roles.signer
    sealed = salt.seal(signer.secret, posted.id, signer.worker, ROOT)
    call = signer.contracts.oracle.commit(posted.job, lane, sealed.commitment, sealed.sealed_root, [0])
    signer.transactor.send(call)


def test_the_twenty_fifth_job_waits_until_a_lane_is_free(stage: Stage, wine: Rows, rich: Operator) -> None:
    jobs = [drawn(stage, wine, rich) for _ in range(LANES + 1)]
    for lane, posted in enumerate(jobs[:-1]):
        take_one(rich, posted, lane)
    assert "all 24 lanes" in nothing(duties.commit(rich.roles.signer, jobs[-1].job, ROOT)).reason
    done(duties.commit(rich.roles.signer, jobs[0].job))  # seats of its own lane are added all the same
    stage.advance(WINDOW)
    assert stage.phase(jobs[3]) == Phase.SETTLING  # expired
    done(settlement.settle(rich.roles.signer, jobs[3].job))
    assert list(rich.books.free_lanes()) == [3]
    after = drawn(stage, wine, rich)
    done(duties.commit(rich.roles.signer, after.job, ROOT))
    assert rich.books.lanes == 2**LANES - 1
    assert rich.seat(after).tag == tag_of(stage.state(after).seed)


def test_seats_in_many_lanes_are_each_revealed_for_their_own_job(stage: Stage, wine: Rows, rich: Operator) -> None:
    jobs = [drawn(stage, wine, rich) for _ in range(3)]
    for lane, posted in zip((7, 0, 23), jobs, strict=True):
        take_one(rich, posted, lane)
    view = rich.roles.signer.view
    for lane, posted in zip((7, 0, 23), jobs, strict=True):
        sight = view.sight(posted.job)
        held = view.seats(sight, view.history(sight), rich.account.address)
        assert held is not None
        assert held[0].lane == lane
    other = stage.operator()
    for place, posted in enumerate(jobs):
        rich.roles.signer.transactor.send(stage.contracts.oracle.deposit(24 * stage.seat_stake(1)))
        done(duties.commit(rich.roles.signer, posted.job))
        done(duties.reveal(rich.roles.signer, posted.job))
        assert rich.seat(posted).status == SeatStatus.REVEALED
        assert stage.state(posted).root_seats == 25
        assert [rich.seat(each).status == SeatStatus.REVEALED for each in jobs].count(True) == place + 1
    nothing(duties.reveal(other.roles.signer, jobs[0].job))


def test_a_lane_that_is_released_and_taken_again_is_not_the_old_jobs(stage: Stage, wine: Rows, rich: Operator) -> None:
    old = drawn(stage, wine, rich)
    take_one(rich, old, 0)
    stage.advance(WINDOW)
    done(settlement.settle(rich.roles.signer, old.job))
    new = drawn(stage, wine, rich)
    done(duties.commit(rich.roles.signer, new.job, ROOT))
    view = rich.roles.signer.view
    sight = view.sight(old.job)
    history = view.history(sight)
    assert history.seats[rich.account.address].lane == 0
    assert view.seats(sight, history, rich.account.address) is None
    assert rich.seat(new).status == SeatStatus.SEALED
    nothing(settlement.release(rich.roles.signer, old.job))
    with pytest.raises(errors.NothingToRelease):  # the old job's word does not fit what the lane holds now
        word = history.seats[rich.account.address].word
        stage.owner.send(stage.contracts.oracle.release(old.job, word, [SeatRef(rich.account.address, 0)]))


def test_a_node_without_its_logs_is_not_taken_for_a_job_without_seats(
    stage: Stage, wine: Rows, rich: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    posted = drawn(stage, wine, rich)
    done(duties.commit(rich.roles.signer, posted.job, ROOT))
    assert stage.phase(posted) == Phase.REVEALING
    monkeypatch.setattr(ChainView, "_logs", lambda *_: iter(()))
    with pytest.raises(UntoldSeats, match="does the node keep all logs"):
        duties.reveal(rich.roles.signer, posted.job)
    monkeypatch.undo()
    done(duties.reveal(rich.roles.signer, posted.job))


def test_a_job_that_shares_another_ones_tag_is_left_alone(
    stage: Stage, wine: Rows, rich: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One in 16 million does by chance; the chain would refuse the commitment as a second one."""
    first, second = drawn(stage, wine, rich), drawn(stage, wine, rich)
    take_one(rich, first, 5)
    genuine = ComputeOracle.seats_at
    tag = tag_of(stage.state(second).seed)

    def collide(self: ComputeOracle, worker: Any, lanes: Any, block: int) -> list[Seat]:
        return [replace(held, tag=tag) for held in genuine(self, worker, lanes, block)]

    monkeypatch.setattr(ComputeOracle, "seats_at", collide)
    with pytest.raises(UntoldSeats, match="One job in 16 million"):
        duties.commit(rich.roles.signer, second.job, ROOT)
    assert stage.state(second).granted_seats == 0


def test_a_lane_taken_between_reading_and_sending_is_found_by_the_simulation(
    stage: Stage, wine: Rows, rich: Operator, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = drawn(stage, wine, rich), drawn(stage, wine, rich)
    monkeypatch.setattr(duties, "_lane", lambda account, job_id, *, relayed: 4)
    take_one(rich, first, 4)
    assert "LaneTaken" in nothing(duties.commit(rich.roles.signer, second.job, ROOT)).reason
    monkeypatch.undo()
    done(duties.commit(rich.roles.signer, second.job, ROOT))


def test_the_total_stake_is_what_it_was_before_the_job(stage: Stage, wine: Rows, rich: Operator) -> None:
    posted = drawn(stage, wine, rich)
    late = stage.operator()
    late.deposit(1000 * stage.seat_stake(1))
    view = rich.roles.signer.view
    assert view.history(view.sight(posted.job)).total_stake == 25 * stage.seat_stake(1)
    nothing(duties.commit(late.roles.signer, posted.job, ROOT))  # its stake came too late to draw
    done(duties.commit(rich.roles.signer, posted.job, ROOT))
    assert rich.seat(posted).count == 25
