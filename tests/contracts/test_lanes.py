"""Lanes: where a worker's seats lie, how many jobs it can have at a time, and what a later job finds there."""

from __future__ import annotations

from itertools import count

import pytest

from contracts import errors
from contracts.commitment import SeatStatus, tag_of
from contracts.job import Job
from contracts.stake import LANES, seed_of
from tests.contracts.chain import party
from tests.contracts.test_reverts import JURY
from tests.contracts.world import CHAIN_ID, SEED_PROOF, NewWorld, Play


def jobs_at_once(new_world: NewWorld, number: int) -> list[Play]:
    """So many jobs of one seat, drawn, whose jury is ann."""
    world = new_world()
    play = world.play({"ann": 1}, drawn=False)
    world.stake("ann", (number - 1) * play.job.terms.seat_stake)
    world.chain.roll()
    plays = [play.another(nonce) for nonce in range(1, number + 1)]
    world.chain.roll(blocks=3)
    for each in plays:
        world.send("keeper", "draw", each.id, SEED_PROOF)
        each.seats["ann"] = number
    return plays


def test_a_worker_has_seats_in_24_jobs_at_a_time(new_world: NewWorld) -> None:
    plays = jobs_at_once(new_world, LANES + 1)
    world = plays[0].world
    world.chain.roll(plays[0].job.terms.commit_window - 1)  # every ticket wins by now
    for lane, play in enumerate(plays[:LANES]):
        play.commit("ann", play.truth, tickets=[0], lane=lane)
    account = world.account("ann")
    assert account.lanes == 2**LANES - 1 and list(account.free_lanes()) == []
    for lane in (0, LANES - 1, LANES, 255):
        with pytest.raises(errors.LaneTaken):
            plays[LANES].commit("ann", plays[LANES].truth, tickets=[0], lane=lane)


def test_a_lane_is_free_again_once_its_seats_are_released_and_keeps_what_it_held(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    held = play.seat("ann")
    play.end_phase()
    play.settle(play.truth)
    assert play.holds_seats("ann")
    play.release("ann")
    assert not play.holds_seats("ann") and play.seat("ann") == held
    second = play.another()
    second.draw()
    second.commit("ann", play.truth, lane=play.lanes["ann"])
    taken = second.seat("ann")
    assert taken.status == SeatStatus.SEALED and taken.holds(second.id, second.sealed["ann"].commitment)
    assert not taken.holds(play.id, play.truth.root)


def test_seats_of_two_jobs_lie_side_by_side_and_end_each_in_its_own_way(new_world: NewWorld) -> None:
    first, second = jobs_at_once(new_world, 2)
    world, lie = first.world, first.truth.lie(0)
    world.chain.roll(first.job.terms.commit_window - 1)
    first.commit("ann", first.truth, tickets=[0], lane=5)
    second.commit("ann", lie, tickets=[1], lane=2)
    assert world.account("ann").lanes == 1 << 5 | 1 << 2
    first.reveal("ann")
    second.reveal("ann")
    second.refute("dan", lie, 0)
    first.finish(first.truth)
    second.settle()
    assert world.account("ann").locked == first.job.terms.seat_stake
    second.release("ann")
    account = world.account("ann")
    assert (account.lanes, account.locked) == (0, 0)
    assert account.bonded == first.job.terms.seat_stake and account.credit == first.job.terms.reward


def test_a_released_lane_does_not_open_the_job_that_it_held_again(new_world: NewWorld) -> None:
    """What a lane held stays readable: only the account's bit says that the seats are gone."""
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.finish(play.truth)
    credit = play.credit_of("ann")
    for word in (play.truth.root, play.sealed["ann"].commitment):
        with pytest.raises(errors.NothingToRelease):
            play.world.send("keeper", "release", play.job, word, [play.ref("ann")])
    assert play.credit_of("ann") == credit


def test_two_jobs_of_one_tag_cannot_have_the_same_worker_at_a_time(new_world: NewWorld) -> None:
    """Three bytes of the seed tell a worker's jobs apart: once in 16 million jobs it must pass one up, or wait."""
    world = new_world()
    play = world.play({"ann": 2}, drawn=False)
    nonces: dict[bytes, int] = {}
    randomness = world.seed_source.read("randomness", world.chain.number + 2, SEED_PROOF)
    for nonce in count(1):
        job = Job(play.job.requester, nonce, play.job.terms)
        tag = tag_of(seed_of(randomness, job.id(CHAIN_ID, world.address)))
        if tag in nonces:
            break
        nonces[tag] = nonce
    first, second = play.another(nonces[tag]), play.another(nonce)
    world.chain.roll(blocks=3)
    for each in (first, second):
        world.send("keeper", "draw", each.id, SEED_PROOF)
    assert tag_of(first.state.seed) == tag_of(second.state.seed) and first.state.seed != second.state.seed
    world.chain.roll(play.job.terms.commit_window - 1)
    first.commit("ann", first.truth, tickets=[0], lane=0)
    sealed = second.seal("ann", second.truth, lane=1)
    arguments = (second.job.as_tuple(), 1, sealed.commitment, bytes(32), [1])
    with pytest.raises(errors.AlreadyCommitted):  # the specification has no tags: it would let her
        world.oracle.send(party("ann"), "commit", *arguments)
    assert world.account("ann").locked == play.job.terms.seat_stake
