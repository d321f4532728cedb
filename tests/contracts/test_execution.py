"""When the chain executes more than an item: every row of a job, which beats any vote, or one item in steps."""

from __future__ import annotations

import pytest

from contracts import errors
from contracts.commitment import DATA_UNAVAILABLE
from contracts.job import Execution, Outcome, Phase
from tests.contracts.chain import party
from tests.contracts.test_reverts import JURY, challenged
from tests.contracts.world import STEPWISE_GAS_LIMIT, Claim, NewWorld, Play

FIVE = {"ann": 1, "bob": 1, "cat": 1, "dan": 1, "eve": 1}


# Every row


def test_a_whole_execution_makes_the_true_root_win_against_any_quorum(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.execute("fay")
    assert play.phase() == Phase.SETTLING and play.state.root == play.truth.root
    assert play.world.oracle.read("executorOf", play.id) == party("fay").lower()
    play.finish(play.truth)
    play.release_bounty(lie)
    assert play.state.outcome == Outcome.ACCEPTED and play.credit_of("ann") == play.job.terms.reward
    assert play.credit_of("fay") == play.job.terms.seat_stake  # half of the two liars'
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake, 0, 0]
    assert play.verdict(0, play.truth.outputs[0], play.truth.tree.proof(0))


@pytest.mark.parametrize("item_count", [1, 2, 3, 4, 16, 17, 33])
def test_jobs_of_every_shape_are_executed_whole(new_world: NewWorld, item_count: int) -> None:
    play = new_world().play(JURY, item_count=item_count)
    lie = play.truth.lie(0)
    play.vote(ann=lie, bob=lie, cat=play.truth)
    play.execute("fay")
    play.finish(play.truth)
    assert play.state.root == play.truth.root


def test_a_true_root_that_nobody_revealed_wins_and_nobody_is_paid_but_those_called_in_vain(new_world: NewWorld) -> None:
    reward, fee = 10**15 + 3, 10**14 - 1
    play = new_world().play(FIVE, quorum=3, reward=reward, call_out_fee=fee)
    lies = [play.truth.lie(0), play.truth.lie(1)]
    play.vote(ann=lies[0], bob=lies[0], cat=lies[1], dan=DATA_UNAVAILABLE, eve=DATA_UNAVAILABLE)
    play.execute("fay")
    play.finish(play.truth)
    assert play.state.outcome == Outcome.ACCEPTED and play.state.root_seats == 0
    assert [play.credit_of(worker) for worker in FIVE] == [0, 0, 0, fee // 5, fee // 5]
    assert play.credit_of("requester") == reward - 2 * (fee // 5)
    assert [play.stake_of(worker) != 0 for worker in FIVE] == [False, False, False, True, True]
    for lie in lies:
        play.release_bounty(lie)
    assert play.credit_of("fay") == 3 * play.job.terms.seat_stake // 2


def test_a_job_in_which_all_abstained_gets_its_true_root(new_world: NewWorld) -> None:
    play = new_world().play(JURY, reward=10**15, call_out_fee=10**14)
    play.vote(**dict.fromkeys(JURY, DATA_UNAVAILABLE))
    play.execute("requester")
    play.finish(play.truth)
    assert play.state.outcome == Outcome.ACCEPTED
    assert play.credit_of("requester") == 10**15 - 3 * (10**14 // 3)
    assert play.verdict(4, play.truth.outputs[4], play.truth.tree.proof(4))


def test_a_root_that_was_refuted_before_is_its_refuters(new_world: NewWorld) -> None:
    play = new_world().play(FIVE, quorum=3)
    lies = [play.truth.lie(0), play.truth.lie(1)]
    play.vote(ann=play.truth, bob=lies[0], cat=lies[0], dan=lies[1], eve=lies[1])
    play.refute("gil", lies[0], 0)
    play.execute("fay")
    play.finish(play.truth)
    for lie in lies:
        play.release_bounty(lie)
    assert play.credit_of("gil") == play.credit_of("fay") == play.job.terms.seat_stake


def test_no_shows_forfeit_and_nobody_earns_by_them(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.reveal("ann")
    play.end_phase()
    play.execute("fay")
    play.finish(play.truth)
    assert play.state.outcome == Outcome.ACCEPTED  # of one seat, beside two that did not show
    assert play.state.refuted_seats == 0 and play.world.burned == 2 * play.job.terms.seat_stake


def test_demands_on_the_true_root_are_void_and_those_on_others_are_as_on_refuted_ones(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    open_bond = play.demand("dan", play.truth, 0, 0)
    answered = play.demand("eve", lie, 0, 0)
    play.answer("bob", lie, 0, 0)
    play.execute("fay")
    play.finish(play.truth)
    play.release_bond(play.truth, 0, 0)
    play.release_bond(lie, 0, 0)
    assert play.credit_of("dan") == open_bond  # silence on it proves nothing
    assert play.credit_of("eve") == answered and play.credit_of("bob") == 0
    assert play.state.root == play.truth.root and play.credit_of("ann") == play.job.terms.reward


def test_an_answer_for_the_true_root_keeps_its_bond(new_world: NewWorld) -> None:
    play, _ = challenged(new_world)
    bond = play.demand("dan", play.truth, 0, 0)
    play.answer("eve", play.truth, 0, 0)
    open_bonds = [play.demand("dan", play.truth, 1, index) for index in (0, 1)]
    play.execute("fay")
    play.finish(play.truth)
    for level, index in ((0, 0), (1, 0), (1, 1)):
        play.release_bond(play.truth, level, index)
    assert play.credit_of("eve") == bond and play.credit_of("dan") == sum(open_bonds)


def test_a_whole_execution_ends_the_challenges_at_once(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.execute("fay")
    assert play.end == 0
    for move in (
        lambda: play.execute("gil"),
        lambda: play.refute("ann", lie, 3),
        lambda: play.demand("ann", lie, 0, 0),
    ):
        with pytest.raises(errors.WrongPhase):
            move()


def test_a_whole_job_is_settled_with_the_true_root_and_no_other(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.execute("fay")
    for wrong in (lie.root, bytes(32), DATA_UNAVAILABLE):
        with pytest.raises(errors.NotTheWinner):
            play.settle(wrong)
    play.settle(play.truth)


def test_a_root_that_is_not_right_has_a_bounty_of_half_its_seats_once(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.execute("fay")
    play.finish(play.truth)
    play.release_bounty(lie)
    for root in (lie, play.truth):
        with pytest.raises(errors.NothingToRelease):
            play.release_bounty(root)


# One item in steps


def stepwise(new_world: NewWorld) -> tuple[Play, Claim]:
    """A job in Challenging, of a model that one transaction cannot execute, whose majority lied about item 3."""
    play = new_world(execution_gas_limit=STEPWISE_GAS_LIMIT).play(JURY)
    lie = play.truth.lie(3)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    return play, lie


def extend(play: Play, claim: Claim, index: int, by: str = "ann") -> None:
    play.world.send(by, "extendChallenge", play.job, claim.proof(index), play.data.proof(index))


def test_a_root_is_refuted_by_an_item_that_was_executed_in_steps(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    with pytest.raises(errors.ExecutionUnfinished):
        play.refute("ann", lie, 3)
    play.world.execute_in_steps(play.data.rows[3])
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    assert play.state.root == play.truth.root and play.stake_of("bob") == 0


def test_a_right_leaf_stays_right_when_it_is_executed_in_steps(new_world: NewWorld) -> None:
    play, _ = stepwise(new_world)
    play.world.execute_in_steps(play.data.rows[2])
    with pytest.raises(errors.LeafIsRight):
        play.refute("ann", play.truth, 2)


def test_the_challenges_are_extended_by_one_response_window_once(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    end, window = play.end, play.job.terms.response_window
    play.world.chain.roll_to(end - 1)
    extend(play, lie, 3)
    assert play.end == end + window and play.state.execution == Execution.EXTENDED
    play.world.execute_in_steps(play.data.rows[3])
    play.world.chain.roll_to(end + window - 1)
    play.refute("ann", lie, 3)
    play.world.chain.roll()
    assert play.phase() == Phase.SETTLING


def test_an_extension_and_demands_add_up(new_world: NewWorld) -> None:
    play, lie = stepwise(new_world)
    end, window = play.end, play.job.terms.response_window
    play.demand("dan", lie, 0, 0)
    extend(play, lie, 3)
    assert play.end == end + 3 * window
    play.world.chain.roll_to(end)
    with pytest.raises(errors.DemandTooLate):  # it is time for the execution, not for more demands
        play.demand("dan", play.truth, 0, 0)


def test_the_padding_needs_no_steps(new_world: NewWorld) -> None:
    play = new_world(execution_gas_limit=STEPWISE_GAS_LIMIT).play(JURY)
    lie = play.truth.lie(6)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.refute("ann", lie, 6)
    assert play.tally(lie).refuted
