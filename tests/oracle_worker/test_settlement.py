"""The end of a job: seats released by the word they share, bounties and bonds to whom they belong, consumers told once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import abi
from contracts.compute_oracle import SeatRef
from contracts.job import Outcome
from oracle_worker import duties, settlement
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]
CONSUMER = abi.load(Path(__file__).parents[1] / "solidity" / "artifacts" / "Consumer.json")
NOTE, REFUSE, REFUSE_WITH_MUCH, RETURN_MUCH, NEVER_END = range(5)


def committed(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    for one in jury:
        done(one.commit(posted))
    return posted


def settle(stage: Stage, posted: Posted, keeper: Operator) -> None:
    stage.advance(3 * WINDOW)
    done(settlement.settle(keeper.roles.signer, posted.job))


def test_a_job_that_ends_every_way_at_once_is_released_word_by_word(stage: Stage, wine: Rows) -> None:
    liars = stage.jury(2, [Liar(5), Liar(5)])
    honest = stage.jury(5)
    jury = [*liars, *honest]
    posted = committed(stage, wine, jury)
    revealing = honest[:-2]
    for one in [*liars, *revealing]:
        done(duties.reveal(one.roles.signer, posted.job))
    keeper = stage.operator()
    settle(stage, posted, keeper)
    assert stage.state(posted).outcome == Outcome.HUNG  # five seats are a quorum, and three revealed the truth
    assert sum(one.is_released(posted) for one in jury) == 3  # the largest group, with the settlement
    result = done(settlement.release(keeper.roles.signer, posted.job))
    assert len(result.receipts) == 1  # two words of no-shows and the liars' root, in one transaction
    assert all(one.is_released(posted) for one in jury)
    nothing(settlement.release(keeper.roles.signer, posted.job))
    stake = stage.seat_stake()
    assert [one.books.bonded for one in jury] == [stake] * 5 + [0, 0]


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_batches_hold_no_more_workers_than_the_operator_wants(stage: Stage, wine: Rows, batch: int) -> None:
    jury = stage.jury(5, release_batch=batch)
    posted = committed(stage, wine, jury)
    for one in jury[:2]:
        done(duties.reveal(one.roles.signer, posted.job))
    settle(stage, posted, jury[0])
    assert sum(one.is_released(posted) for one in jury) == min(batch, 2)
    receipts = done(settlement.release(jury[0].roles.signer, posted.job)).receipts
    assert len(receipts) == -(-(5 - min(batch, 2)) // batch)
    assert all(one.is_released(posted) for one in jury)


def test_an_expired_job_gives_every_seat_back(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(5)
    posted = stage.post(wine, 5, call_out_fee=ETHER // 10)
    done(duties.draw(jury[0].roles.signer, posted.job))
    for one in jury[:2]:
        done(one.commit(posted))
    stage.advance(WINDOW)
    done(settlement.settle(jury[0].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.EXPIRED
    done(settlement.release(jury[0].roles.signer, posted.job))
    for one in jury[:2]:
        assert one.is_released(posted)
        assert (one.books.bonded, one.books.credit) == (stage.seat_stake(), ETHER // 50)


def test_a_job_that_nobody_drew_or_joined_is_settled_too(stage: Stage, wine: Rows) -> None:
    (one,) = stage.jury(1)
    undrawn = stage.post(wine, 1)
    empty = stage.post(wine, 1)
    done(duties.draw(one.roles.signer, empty.job))
    stage.advance(WINDOW)
    stage.mine(260)
    for posted in (undrawn, empty):
        done(settlement.settle(one.roles.signer, posted.job))
        assert stage.state(posted).outcome == Outcome.EXPIRED
        nothing(settlement.release(one.roles.signer, posted.job))


def test_seats_that_somebody_released_first_are_no_harm(stage: Stage, wine: Rows, monkeypatch: Any) -> None:
    jury = stage.jury(3)
    posted = committed(stage, wine, jury)
    settle(stage, posted, jury[0])  # nobody revealed: a word for each
    view = jury[0].roles.signer.view
    history = view.history(view.sight(posted.job))
    taken = history.seats[jury[1].account.address]
    seats = [SeatRef(jury[1].account.address, taken.lane)]
    stage.owner.send(stage.contracts.oracle.release(posted.job, taken.word, seats))
    monkeypatch.setattr(type(view), "history", lambda self, sight: history)  # what was read before that
    assert "nothing is left" in nothing(settlement.release(jury[0].roles.signer, posted.job)).reason
    monkeypatch.undo()
    done(settlement.release(jury[0].roles.signer, posted.job))
    assert all(one.is_released(posted) for one in jury)


def test_a_lane_is_free_for_the_next_job_once_its_seats_are_released(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    lanes = []
    for _ in range(2):
        posted = committed(stage, wine, jury)
        lanes.append(
            one.roles.signer.view.history(one.roles.signer.view.sight(posted.job)).seats[one.account.address].lane
        )
        done(duties.reveal(one.roles.signer, posted.job))
        settle(stage, posted, one)
    assert lanes == [0, 0]


# ----------------------------------------------------------------------------------------------------------- consumers


def consumer(stage: Stage, manner: int) -> Any:
    web3 = stage.owner.web3
    receipt = stage.owner.send(web3.eth.contract(abi=CONSUMER.abi, bytecode=CONSUMER.bytecode).constructor())
    made = web3.eth.contract(receipt["contractAddress"], abi=CONSUMER.abi)
    stage.owner.send(made.functions.behave(manner))
    return made


def settled_for(stage: Stage, rows: Rows, jury: list[Operator], address: str) -> Posted:
    posted = committed(stage, rows, jury, consumer=address, callback_gas=300_000)
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    settle(stage, posted, jury[0])
    return posted


def test_a_consumer_is_told_by_an_operator_that_wants_to_and_had_a_seat(stage: Stage, wine: Rows) -> None:
    one, other = stage.jury(2, deliver=True)
    unseated, unwilling = stage.operator(deliver=True), stage.operator()
    told = consumer(stage, NOTE)
    posted = settled_for(stage, wine, [one, other], told.address)
    nothing(settlement.deliver(unseated.roles.signer, posted.job))
    nothing(settlement.deliver(unwilling.roles.signer, posted.job))
    done(settlement.deliver(one.roles.signer, posted.job))
    nothing(settlement.deliver(other.roles.signer, posted.job))
    assert told.functions.told().call() == 1
    assert told.functions.root().call() == stage.state(posted).root
    assert told.functions.gasAtEntry().call() > 290_000


def test_before_the_end_and_without_a_consumer_nobody_is_told(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, deliver=True)
    posted = committed(stage, wine, jury, consumer=consumer(stage, NOTE).address, callback_gas=100_000)
    assert "REVEALING" in nothing(settlement.deliver(one.roles.signer, posted.job)).reason
    done(duties.reveal(one.roles.signer, posted.job))
    settle(stage, posted, one)
    plain = committed(stage, wine, jury)
    assert "no consumer" in nothing(settlement.deliver(one.roles.signer, plain.job)).reason


@pytest.mark.parametrize("manner", [REFUSE, REFUSE_WITH_MUCH, NEVER_END])
def test_a_consumer_that_refuses_costs_nothing_and_can_be_told_later(stage: Stage, wine: Rows, manner: int) -> None:
    (one,) = jury = stage.jury(1, deliver=True)
    told = consumer(stage, manner)
    posted = settled_for(stage, wine, jury, told.address)
    before = one.balance()
    assert "DeliveryFailed" in nothing(settlement.deliver(one.roles.signer, posted.job)).reason
    assert one.balance() == before
    stage.owner.send(told.functions.behave(RETURN_MUCH))
    done(settlement.deliver(one.roles.signer, posted.job))


def test_a_consumer_that_fails_in_its_block_is_paid_for_once(stage: Stage, wine: Rows, monkeypatch: Any) -> None:
    (one,) = jury = stage.jury(1, deliver=True)
    told = consumer(stage, NOTE)
    posted = settled_for(stage, wine, jury, told.address)
    transactor = one.roles.signer.transactor
    genuine = transactor._broadcast

    def spoil(flight: Any) -> None:  # between the simulation and the block
        stage.owner.send(told.functions.behave(REFUSE))
        genuine(flight)

    monkeypatch.setattr(transactor, "_broadcast", spoil)
    before = transactor.balance()
    assert "DeliveryFailed" in nothing(settlement.deliver(one.roles.signer, posted.job)).reason
    paid = before - transactor.balance()
    assert paid > 0
    monkeypatch.undo()
    stage.owner.send(told.functions.behave(NOTE))
    nothing(settlement.deliver(one.roles.signer, posted.job))  # not again by this process
    one.restart()
    done(settlement.deliver(one.roles.signer, posted.job))
