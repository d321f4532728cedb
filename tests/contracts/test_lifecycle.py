"""A job's whole life, each outcome and each way to it. Amounts are checked to the wei by the books besides what is asserted."""

from __future__ import annotations

import pytest
from eth_utils import keccak

from contracts import commitment, errors, stake
from contracts.commitment import SeatStatus
from contracts.compute_oracle import Opening
from contracts.job import Outcome, Phase
from tests.contracts.chain import party
from tests.contracts.world import BOUNDS, MODEL, SEED_PROOF, NewWorld, Play

JURY = {"ann": 1, "bob": 1, "cat": 1}


def accepted(new_world: NewWorld, item_count: int = 5) -> Play:
    play = new_world().play(JURY, item_count=item_count)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.finish(play.truth)
    return play


# Accepted


def test_an_agreed_root_is_accepted_and_its_seats_share_the_reward(new_world: NewWorld) -> None:
    play = accepted(new_world)
    share, remainder = divmod(play.job.terms.reward, 3)
    assert play.state.outcome == Outcome.ACCEPTED and play.state.root == play.truth.root
    assert [play.credit_of(worker) for worker in JURY] == [share] * 3
    assert remainder == 2 and play.credit_of("requester") == remainder  # to the wei
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake] * 3
    assert play.world.burned == 0


def test_rewards_go_by_the_seat(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 3, "bob": 1, "cat": 1}, quorum=3)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth.lie(0))
    play.finish(play.truth)
    share = play.job.terms.reward // 4
    assert (play.credit_of("ann"), play.credit_of("bob"), play.credit_of("cat")) == (3 * share, share, 0)


def test_the_outvoted_forfeit_when_a_root_is_accepted(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth.lie(0))
    play.finish(play.truth)
    assert play.stake_of("cat") == 0 and play.world.burned == play.job.terms.seat_stake


def test_a_no_show_forfeits_its_whole_stake_and_all_of_it_is_burned(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.reveal_all("ann", "bob")
    play.end_phase()
    play.finish(play.truth)
    assert play.state.outcome == Outcome.ACCEPTED
    assert play.stake_of("cat") == 0 and play.world.burned == play.job.terms.seat_stake
    assert not play.holds_seats("cat")


def test_a_wrong_root_that_nobody_challenges_wins(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(1)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    play.finish(lie)
    assert play.state.root == lie.root and play.stake_of("ann") == 0


# Hung


def test_a_split_vote_hangs_and_slashes_nobody(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth.lie(0), cat=play.truth.lie(1))
    play.finish()
    assert play.state.outcome == Outcome.HUNG
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake] * 3
    assert play.credit_of("requester") == play.job.terms.reward


def test_a_hung_job_slashes_those_who_did_not_reveal(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.reveal("ann")
    play.end_phase()
    play.finish()
    assert play.state.outcome == Outcome.HUNG
    assert [play.stake_of(worker) for worker in JURY] == [play.job.terms.seat_stake, 0, 0]


def test_a_job_that_nobody_reveals_hangs(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth)
    play.end_phase()
    play.end_phase()
    play.finish()
    assert play.state.outcome == Outcome.HUNG and play.world.burned == 2 * play.job.terms.seat_stake


# Expired


def test_an_undrawn_job_expires_with_everything_back(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(blocks=2 + 256)
    assert play.phase() == Phase.DRAWING
    play.world.chain.roll()
    assert play.phase() == Phase.SETTLING
    play.settle()
    assert play.state.outcome == Outcome.EXPIRED and play.credit_of("requester") == play.job.terms.reward


def test_a_job_can_be_drawn_in_the_last_block_that_knows_the_hash(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(blocks=2 + 256)
    play.world.send("keeper", "draw", play.id, SEED_PROOF)
    assert play.phase() == Phase.COMMITTING


def test_too_few_seats_expire_the_job_and_unlock_them(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    play.end_phase()
    assert play.phase() == Phase.SETTLING
    play.settle()
    play.release("ann")
    assert play.state.outcome == Outcome.EXPIRED
    assert play.stake_of("ann") == play.job.terms.seat_stake and play.credit_of("ann") == 0
    play.world.send("ann", "unbond", play.job.terms.seat_stake)


# Phases


def test_windows_are_half_open_at_every_edge(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    chain, terms, start = play.world.chain, play.job.terms, play.world.chain.time
    play.commit_all(ann=play.truth, bob=play.truth)
    edges = [
        (start + terms.commit_window, Phase.COMMITTING, Phase.REVEALING),
        (start + terms.commit_window + terms.reveal_window, Phase.REVEALING, Phase.CHALLENGING),
        (
            start + terms.commit_window + terms.reveal_window + terms.challenge_window,
            Phase.CHALLENGING,
            Phase.SETTLING,
        ),
    ]
    for edge, before, after in edges:
        assert play.end == edge
        chain.roll_to(edge - 1)
        assert play.phase() == before
        chain.roll_to(edge)
        assert play.phase() == after
        if after == Phase.REVEALING:
            play.reveal("ann")
    assert play.end == 0


def test_phases_end_early_once_all_have_acted(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    start = play.world.chain.time
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    assert play.phase() == Phase.REVEALING and play.end == start + play.job.terms.reveal_window
    play.world.chain.roll(5)
    play.reveal_all()
    assert play.phase() == Phase.CHALLENGING and play.end == start + 5 + play.job.terms.challenge_window


def test_seats_left_over_are_what_a_longer_list_gets(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 2 * world.least_stake)
    play = world.play({"ann": 2, "bob": 2})
    play.world.chain.roll(play.job.terms.commit_window - 1)  # by now every ticket wins
    play.commit("ann", play.truth)
    play.seats["whale"] = 2
    play.commit("whale", play.truth, tickets=[0])
    play.commit("bob", play.truth)
    assert [play.seat(worker).count for worker in ("ann", "whale", "bob")] == [2, 1, 1]
    assert play.phase() == Phase.REVEALING


def test_seats_are_added_to_the_same_commitment(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 3, "bob": 1})
    play.commit("ann", play.truth, tickets=[1])
    play.commit("ann", play.truth, tickets=[0, 1, 2])
    assert play.seat("ann").count == 3 and play.state.sealed_seats == 3
    assert play.world.account("ann").locked == 3 * play.job.terms.seat_stake


def test_odds_double_at_a_half_and_three_quarters_of_the_window(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 62 * world.least_stake)
    play = world.play({"ann": 2})
    start, terms, seed = play.world.chain.time, play.job.terms, play.state.seed
    total = 64 * terms.seat_stake
    for passed, factor in [(0, 1), (47, 1), (48, 2), (71, 2), (72, 4), (83, 4), (84, 8), (90, 16), (95, 32)]:
        world.chain.roll_to(start + passed)
        won = list(stake.winning_tickets(seed, party("whale"), 62, factor * 2 * terms.seat_stake, total))
        lost = next((ticket for ticket in range(62) if ticket not in won), None)
        if lost is not None:
            with pytest.raises(errors.LosingTicket):
                play.commit("whale", play.truth, tickets=[lost])
    won_at_once = list(stake.winning_tickets(seed, party("whale"), 62, 2 * terms.seat_stake, total))
    assert len(won_at_once) < len(won)
    play.commit("whale", play.truth, tickets=won)
    assert play.state.granted_seats == 2


# Reveals


def test_anyone_may_relay_a_reveal(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.reveal("ann", by="stranger")
    assert play.seat("ann").status == SeatStatus.REVEALED and play.seat("ann").holds(play.id, play.truth.root)


def test_a_root_that_only_begins_like_another_is_another(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    similar = play.truth.root[:27] + bytes(5)
    play.vote(ann=similar, bob=play.truth, cat=play.truth)
    assert play.tally(similar).seats == 1 and play.tally(play.truth).seats == 2
    play.finish(play.truth)
    assert play.stake_of("ann") == 0


def test_the_same_root_of_two_workers_has_two_commitments(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    salt = keccak(text="the same")
    play.commit("ann", play.truth, salt=salt)
    play.commit("bob", play.truth, salt=salt)
    assert play.sealed["ann"].commitment != play.sealed["bob"].commitment


def test_key_and_chain_alone_suffice_to_reveal(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    secret = keccak(text="of ann's key")
    salt = keccak(secret + play.id + play.truth.root)
    sealed = commitment.compute(play.id, party("ann"), play.truth.root, salt)
    sealed_root = commitment.seal(play.truth.root, secret, sealed)
    events = play.world.send("ann", "commit", play.job, 0, sealed, sealed_root, [0])
    seen = events[0].args  # all that is left to a worker that lost its disk
    root = commitment.unseal(seen["sealedRoot"], secret, seen["commitment"])
    play.commit("bob", play.truth)
    play.end_phase()
    opening = Opening(party("ann"), seen["lane"], keccak(secret + play.id + root))
    play.world.send("ann", "reveal", play.job, root, [opening])
    assert play.tally(play.truth).seats == 1


# Verdicts


@pytest.mark.parametrize("item_count", [1, 2, 5, 16, 17])
def test_a_verdict_is_true_for_every_item_and_nothing_else(new_world: NewWorld, item_count: int) -> None:
    play = accepted(new_world, item_count)
    for index, output in enumerate(play.truth.outputs):
        siblings = play.truth.tree.proof(index)
        assert play.verdict(index, output, siblings)
        assert not play.verdict(index, output[:-1] + bytes([output[-1] ^ 1]), siblings)
        assert not play.verdict(index, output[:4], siblings)
        assert not play.verdict(index ^ 1, output, siblings)
        assert not play.verdict(index + (1 << play.data.depth), output, siblings)
        assert not play.verdict(index, output, [*siblings, bytes(32)])
        if siblings:
            assert not play.verdict(index, output, siblings[:-1])
            assert not play.verdict(index, output, [bytes([1] * 32), *siblings[1:]])


def test_the_padding_has_no_verdict(new_world: NewWorld) -> None:
    play = accepted(new_world)
    for index in (5, 6, 7):
        assert not play.verdict(index, b"", play.truth.tree.proof(index))


def test_there_is_no_verdict_unless_accepted(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    proof = (0, play.truth.outputs[0], play.truth.tree.proof(0))
    assert not play.verdict(*proof)
    play.vote(ann=play.truth, bob=play.truth.lie(1), cat=play.truth.lie(2))
    assert not play.verdict(*proof)
    play.finish()
    assert play.state.outcome == Outcome.HUNG and not play.verdict(*proof)


def test_an_unknown_job_has_no_verdict(new_world: NewWorld) -> None:
    assert not new_world().oracle.read("verdict", bytes(32), 0, b"", [])


# What everybody can read


def test_costs_and_bounds_can_be_read(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    read = play.world.oracle.read
    assert read("costToCorrupt", play.job.terms.as_tuple()) == 2 * play.job.terms.seat_stake // 2
    assert read("bounds") == BOUNDS.as_tuple()
    assert read("jobIdOf", play.job.as_tuple()) == play.id
    assert (read("registry"), read("disputes"), read("seedSource")) == tuple(
        each.address.lower() for each in (play.world.registry, play.world.disputes, play.world.seed_source)
    )
    assert play.world.registry.read("execute", MODEL.id, play.data.rows[0]) == play.truth.outputs[0]
