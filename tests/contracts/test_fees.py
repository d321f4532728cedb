"""Who worked in vain and what for: abstentions, unavailable data, and the call-out fee in each outcome, to the wei."""

from __future__ import annotations

import pytest

from contracts import errors
from contracts.commitment import DATA_UNAVAILABLE
from contracts.job import Outcome
from tests.contracts.test_reverts import JURY
from tests.contracts.world import Claim, NewWorld, Play

REWARD = 10**15
FEE = 10**14 - 1
FIVE = {"ann": 1, "bob": 1, "cat": 1, "dan": 1, "eve": 1}


def job(new_world: NewWorld, seats: dict[str, int], quorum: int | None = None, drawn: bool = True) -> Play:
    """A job whose fee does not divide by its seats."""
    return new_world().play(seats, quorum, drawn=drawn, reward=REWARD, call_out_fee=FEE)


def credits_of(play: Play) -> list[int]:
    return [play.credit_of(worker) for worker in play.sealed]


def stakes_of(play: Play) -> list[int]:
    """In seats."""
    return [play.stake_of(worker) // play.job.terms.seat_stake for worker in play.sealed]


# Unavailable


def test_a_quorum_that_cannot_get_the_data_ends_the_job_and_is_paid_for_the_call(new_world: NewWorld) -> None:
    play = job(new_world, FIVE)
    play.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=DATA_UNAVAILABLE)
    play.finish()
    assert play.state.outcome == Outcome.UNAVAILABLE and play.state.root == bytes(32)
    assert credits_of(play) == [FEE // 5] * 3 and stakes_of(play) == [1, 1, 1]
    assert play.credit_of("requester") == REWARD - 3 * (FEE // 5)


def test_a_result_that_survives_the_challenges_makes_data_available(new_world: NewWorld) -> None:
    play = job(new_world, FIVE, quorum=3)
    play.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=DATA_UNAVAILABLE, dan=play.truth, eve=play.truth)
    play.finish()
    assert play.state.outcome == Outcome.HUNG
    assert credits_of(play) == [0, 0, 0, FEE // 5, FEE // 5] and stakes_of(play) == [1] * 5
    assert play.world.burned == 0


def test_a_made_up_result_does_not_keep_data_available(new_world: NewWorld) -> None:
    """Whoever withholds the data and reveals a root loses it: to a demand that it cannot answer, or to a refutation."""
    for refuted in (True, False):
        play = job(new_world, FIVE, quorum=3)
        lie = play.truth.lie(0)
        play.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=DATA_UNAVAILABLE, dan=lie, eve=lie)
        if refuted:
            play.refute("ann", lie, 0)
        else:
            play.demand("ann", lie, 0, 0)
        play.finish()
        assert play.state.outcome == Outcome.UNAVAILABLE
        assert credits_of(play) == [FEE // 5] * 3 + [0, 0] and stakes_of(play) == [1, 1, 1, 0, 0]


def test_no_shows_of_an_unavailable_job_forfeit(new_world: NewWorld) -> None:
    play = job(new_world, FIVE, quorum=3)
    play.commit_all(**dict.fromkeys(FIVE, DATA_UNAVAILABLE))
    play.reveal_all("ann", "bob", "cat", "dan")
    play.end_phase()
    play.finish()
    assert play.state.outcome == Outcome.UNAVAILABLE and stakes_of(play) == [1, 1, 1, 1, 0]
    assert play.credit_of("requester") == REWARD - 4 * (FEE // 5)


def test_fewer_abstentions_than_a_quorum_hang_the_job_at_no_cost_to_anybody(new_world: NewWorld) -> None:
    play = job(new_world, FIVE, quorum=3)
    lies = [play.truth.lie(at) for at in range(3)]
    play.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=lies[0], dan=lies[1], eve=lies[2])
    play.finish()
    assert play.state.outcome == Outcome.HUNG and credits_of(play) == [0, 0] + [FEE // 5] * 3
    assert play.credit_of("requester") == REWARD - 3 * (FEE // 5) and stakes_of(play) == [1] * 5


def test_an_abstention_is_unlocked_and_unpaid_when_a_root_wins(new_world: NewWorld) -> None:
    play = job(new_world, FIVE, quorum=3)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth, dan=DATA_UNAVAILABLE, eve=play.truth.lie(0))
    play.finish(play.truth)
    assert credits_of(play) == [REWARD // 3] * 3 + [0, 0] and stakes_of(play) == [1, 1, 1, 1, 0]
    assert play.credit_of("requester") == REWARD % 3


def test_abstentions_count_in_no_roots_favour(new_world: NewWorld) -> None:
    """Beside two seats refuted by execution, a lone survivor of one seat stays short of a quorum of four."""
    play = job(new_world, {"ann": 1, "bob": 2, "cat": 3}, quorum=4)
    lie = play.truth.lie(0)
    play.vote(ann=play.truth, bob=lie, cat=DATA_UNAVAILABLE)
    play.refute("ann", lie, 0)
    play.finish()
    assert play.state.outcome == Outcome.HUNG and credits_of(play) == [FEE // 6, 0, 0]


@pytest.mark.parametrize("move", ["refute", "demand", "answer", "bounty", "bond"])
def test_an_abstention_is_no_root_that_anybody_could_challenge(new_world: NewWorld, move: str) -> None:
    play = job(new_world, JURY)
    play.vote(ann=DATA_UNAVAILABLE, bob=play.truth, cat=play.truth)
    abstained = Claim(play.truth.outputs)
    abstained.root = DATA_UNAVAILABLE
    assert play.tally(DATA_UNAVAILABLE).seats == 0 and play.state.abstained_seats == 1
    with pytest.raises(errors.UnknownRoot):
        if move == "refute":
            play.refute("dan", abstained, 0)
        elif move == "demand":
            play.world.send("dan", "demand", play.job, play.node(abstained, 0, 0), value=10**18)
        elif move == "answer":
            play.answer("dan", abstained, 0, 0)
        else:
            play.finish(play.truth)
            play.release_bounty(abstained) if move == "bounty" else play.release_bond(abstained, 0, 0)


# The fee


def test_an_expired_job_pays_every_seat_for_the_call(new_world: NewWorld) -> None:
    play = job(new_world, {"ann": 2, "bob": 2, "cat": 1}, quorum=3)
    play.commit("ann", play.truth)
    play.end_phase()
    play.settle()
    play.release("ann")
    assert credits_of(play) == [2 * (FEE // 5)] and stakes_of(play) == [2]
    assert play.credit_of("requester") == REWARD - 2 * (FEE // 5)


def test_an_undrawn_job_costs_its_requester_nothing(new_world: NewWorld) -> None:
    play = job(new_world, JURY, drawn=False)
    play.world.chain.roll(blocks=300)
    play.settle()
    assert play.credit_of("requester") == REWARD


def test_a_hung_job_pays_the_roots_that_stand_and_no_others(new_world: NewWorld) -> None:
    play = job(new_world, FIVE, quorum=3)
    refuted, silent = play.truth.lie(0), play.truth.lie(1)
    play.commit_all(ann=play.truth, bob=play.truth.lie(2), cat=refuted, dan=silent, eve=play.truth)
    play.reveal_all("ann", "bob", "cat", "dan")
    play.end_phase()
    play.refute("ann", refuted, 0)
    play.demand("ann", silent, 0, 0)
    play.finish()
    assert play.state.outcome == Outcome.HUNG
    assert credits_of(play) == [FEE // 5, FEE // 5, 0, 0, 0] and stakes_of(play) == [1, 1, 0, 0, 0]
    assert play.credit_of("requester") == REWARD - 2 * (FEE // 5)


def test_an_accepted_job_pays_no_fee(new_world: NewWorld) -> None:
    play = job(new_world, JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=DATA_UNAVAILABLE)
    play.finish(play.truth)
    assert credits_of(play) == [REWARD // 2, REWARD // 2, 0]


def test_a_fee_smaller_than_the_jury_is_nothing(new_world: NewWorld) -> None:
    play = new_world().play(JURY, reward=20, call_out_fee=2)
    play.commit("ann", play.truth)
    play.end_phase()
    play.settle()
    play.release("ann")
    assert play.credit_of("ann") == 0 and play.credit_of("requester") == 20


# Words that look like something else


def test_a_root_of_zeros_is_a_root_like_any_other(new_world: NewWorld) -> None:
    """Storage that nobody wrote holds it, too."""
    for first in (bytes(32), b"\1" * 32):
        play = job(new_world, FIVE, quorum=3)
        second = b"\1" * 32 if first == bytes(32) else bytes(32)
        play.vote(ann=first, bob=second, cat=second, dan=second, eve=first)
        assert (play.tally(bytes(32)).seats, play.tally(b"\1" * 32).seats) == (2, 3)[:: 1 if first == bytes(32) else -1]
        play.finish(second)
        assert play.state.root == second and stakes_of(play) == [0, 1, 1, 1, 0]


def test_nobody_wins_with_the_root_that_nobody_revealed(new_world: NewWorld) -> None:
    play = job(new_world, JURY)
    play.vote(ann=DATA_UNAVAILABLE, bob=DATA_UNAVAILABLE, cat=DATA_UNAVAILABLE)
    assert play.tally(bytes(32)).seats == 0
    play.finish(bytes(32))
    assert play.state.outcome == Outcome.UNAVAILABLE and not play.verdict(0, b"", [bytes(32)] * 3)
    assert play.credit_of("requester") + 3 * (FEE // 3) == REWARD
