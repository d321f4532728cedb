"""The requester's verification set: what an opened item does to a root, to the requester, and to whoever executes it."""

from __future__ import annotations

import pytest

from contracts import errors
from contracts.disputes import Gold, ResultProof
from contracts.job import Outcome
from tests.contracts.chain import party
from tests.contracts.test_reverts import JURY
from tests.contracts.world import Claim, DataSet, NewWorld, Play, gold_of, truth_of

BOND = 10**15 + 1  # odd: half of it is rounded down
GOLD = (0, 2, 3)


def audited(new_world: NewWorld, wrong: tuple[int, ...] = ()) -> tuple[Play, Claim]:
    """A job in Challenging with a verification set of items 0, 2 and 3 (those of `wrong` wrong), whose majority revealed the
    lie about item 3 that is returned."""
    gold = gold_of(truth_of(DataSet(5)), *GOLD, wrong=wrong)
    play = new_world().play(JURY, gold=gold, audit_bond=BOND)
    lie = play.truth.lie(3)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    return play, lie


def returned(play: Play) -> int:
    """What the requester gets back of its bond."""
    reward = play.job.terms.reward
    shared = play.state.root_seats if play.state.outcome == Outcome.ACCEPTED else 0
    return play.credit_of("requester") - (reward % shared if shared else reward)


def test_a_verification_set_that_nobody_opens_costs_nothing(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    assert play.world.chain.balance(play.world.address) >= BOND + play.job.terms.reward
    play.finish(lie)
    assert returned(play) == BOND


def test_an_accused_root_that_is_wrong_is_refuted_with_its_bounty(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    assert play.is_accused(lie, 3) and play.audit().open_accusations == 1
    assert not play.tally(lie).refuted  # an accusation proves nothing
    play.judge("dan", lie, 3)
    assert not play.is_accused(lie, 3) and play.audit().open_accusations == 0
    assert play.tally(lie).refuter == party("dan").lower()
    play.finish(play.truth)
    play.release_bounty(lie)
    assert play.state.root == play.truth.root and play.credit_of("dan") == play.job.terms.seat_stake
    assert returned(play) == BOND


def test_half_the_bond_on_wrong_gold_is_whoevers_executed_it_and_half_is_burned(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(0,))
    play.accuse(play.truth, 0)
    play.judge("dan", play.truth, 0)
    assert play.audit().executor == party("dan").lower() and not play.tally(play.truth).refuted
    burned = play.world.burned
    play.end_phase()
    play.settle(lie)
    assert play.credit_of("dan") == BOND // 2 and returned(play) == 0
    assert play.world.burned - burned == BOND - BOND // 2 + play.job.terms.seat_stake  # and the outvoted seat


def test_an_accusation_that_nobody_executed_costs_the_whole_bond(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.end_phase()
    play.settle(lie)
    assert returned(play) == 0 and play.world.burned == BOND + play.job.terms.seat_stake


def test_one_accusation_left_open_costs_the_bond_though_another_was_right(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(2,))
    play.accuse(lie, 3)
    play.accuse(lie, 2)
    play.judge("dan", lie, 3)  # which refutes the root; item 2 stays unexecuted
    play.finish(play.truth)
    assert returned(play) == 0


def test_an_accusation_of_a_root_that_was_refuted_meanwhile_can_still_be_executed(new_world: NewWorld) -> None:
    """Else anybody could cost the requester its bond by refuting the root that it accused."""
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.refute("ann", lie, 3)
    play.judge("dan", lie, 3)
    assert play.tally(lie).refuter == party("ann").lower() and play.state.refuted_seats == 2
    play.finish(play.truth)
    assert returned(play) == BOND


def test_a_root_and_the_gold_can_both_be_wrong(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(3,))
    play.accuse(lie, 3)
    play.judge("dan", lie, 3)
    assert play.tally(lie).refuted and play.audit().executor == party("dan").lower()
    play.finish(play.truth)
    play.release_bounty(lie)
    assert play.credit_of("dan") == BOND // 2 + play.job.terms.seat_stake and returned(play) == 0


def test_the_first_to_show_that_gold_is_wrong_gets_the_half(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(0, 2))
    for index in (0, 2):
        play.accuse(play.truth, index)
    play.judge("dan", play.truth, 0)
    play.judge("eve", play.truth, 2)
    play.finish(lie)
    assert (play.credit_of("dan"), play.credit_of("eve")) == (BOND // 2, 0)


def test_wrong_gold_that_was_executed_leaves_its_half_whatever_stays_open(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(0, 2))
    for index in (0, 2):
        play.accuse(play.truth, index)
    play.judge("dan", play.truth, 0)
    play.finish(lie)
    assert play.credit_of("dan") == BOND // 2 and returned(play) == 0


def test_each_root_is_accused_for_itself(new_world: NewWorld) -> None:
    play, lie = audited(new_world, wrong=(0,))
    play.accuse(play.truth, 0)
    play.accuse(lie, 0)
    assert play.audit().open_accusations == 2
    play.judge("dan", lie, 0)
    assert play.is_accused(play.truth, 0) and not play.is_accused(lie, 0)
    assert not play.tally(lie).refuted  # its leaf is right at item 0


def test_anybody_who_has_the_gold_may_open_it(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3, by="stranger")
    play.judge("dan", lie, 3)
    assert play.tally(lie).refuted


def test_executing_every_row_does_not_cost_the_requester_its_bond(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    play.accuse(lie, 3)
    play.execute("eve")
    play.settle(play.truth)
    assert returned(play) == BOND


def test_wrong_gold_is_paid_for_though_every_row_was_executed(new_world: NewWorld) -> None:
    play, _ = audited(new_world, wrong=(0,))
    play.accuse(play.truth, 0)
    play.judge("dan", play.truth, 0)
    play.execute("eve")
    play.settle(play.truth)
    assert play.credit_of("dan") == BOND // 2 and returned(play) == 0


def test_the_bond_of_an_expired_job_goes_back(new_world: NewWorld) -> None:
    gold = gold_of(truth_of(DataSet(5)), 2)
    play = new_world().play(JURY, drawn=False, gold=gold, audit_bond=BOND)
    play.world.chain.roll(blocks=300)
    play.settle()
    assert returned(play) == BOND


def test_gold_on_a_row_that_no_model_can_read_is_wrong(new_world: NewWorld) -> None:
    """There is no verdict on it, so the requester cannot have one."""
    gold = gold_of(truth_of(DataSet(5)), 2)
    play = new_world().play(JURY, rows={2: b"\1\2"}, gold=gold, audit_bond=BOND)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.accuse(play.truth, 2)
    play.judge("dan", play.truth, 2)
    assert play.audit().executor == party("dan").lower() and not play.tally(play.truth).refuted


def test_gold_is_opened_until_a_response_window_before_the_end(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    last = play.end - play.job.terms.response_window - 1
    play.world.chain.roll_to(last)
    play.accuse(lie, 3)
    play.world.chain.roll()
    with pytest.raises(errors.GoldTooLate):
        play.accuse(lie, 0)
    play.world.chain.roll_to(play.end - 1)
    play.judge("dan", lie, 3)
    assert play.tally(lie).refuted


def test_demands_give_the_requester_no_more_time(new_world: NewWorld) -> None:
    play, lie = audited(new_world)
    end = play.end
    play.demand("ann", lie, 0, 0)
    play.world.chain.roll_to(end - play.job.terms.response_window)
    assert play.end > end
    with pytest.raises(errors.GoldTooLate):
        play.accuse(lie, 3)


def test_what_judging_takes_is_in_the_accusations_event(new_world: NewWorld) -> None:
    """But for the row: whoever has the data can execute it, though the accusation came through a contract."""
    play, lie = audited(new_world)
    (event,) = play.accuse(lie, 3)
    told = event.args
    gold = Gold(*told["gold"])
    result = ResultProof(told["root"], gold.index, told["leaf"], told["siblings"])
    play.world.send("dan", "judge", play.job, gold, result, play.data.proof(gold.index))
    assert play.tally(lie).refuted
