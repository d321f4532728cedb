"""Stake and payments: checkpoints, unbonding, hostile payees, ether sent by force."""

from __future__ import annotations

from dataclasses import replace

import pytest

from contracts import errors, stake
from contracts.job import Outcome
from tests.contracts.chain import Contract, party
from tests.contracts.test_reverts import JURY, challenged
from tests.contracts.world import BOUNDS, GWEI, NewWorld, World


def payee_in(world: World) -> Contract:
    address = world.deploy("Payee")
    world.chain.fund(address)
    return Contract(world.chain, address, "Payee")


# Stake


def test_stake_counts_as_it_was_at_the_end_of_the_block_before(new_world: NewWorld) -> None:
    world = new_world()
    history: list[tuple[int, int]] = []
    amounts = [5, 7, -3, 11, -12, 2]
    for amount in amounts:
        world.chain.roll(blocks=3)
        for _ in range(2):  # twice in one block: its end counts
            if amount > 0:
                world.stake("ann", amount * GWEI)
            else:
                world.send("ann", "unbond", -amount * GWEI)
        history.append((world.chain.number, world.account("ann").bonded))
    for number in range(history[0][0] - 2, world.chain.number + 3):
        expected = stake.bonded_before(history, number)
        assert world.oracle.read("stakeBefore", party("ann"), number) == expected
    assert world.oracle.read("stakeBefore", party("nobody"), world.chain.number) == 0


def test_unbonding_stake_draws_no_tickets(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 5 * world.least_stake)
    world.send("ann", "unbond", 2 * world.least_stake)
    play = world.play({"bob": 1})
    assert world.oracle.read("totalStake") == 4 * world.least_stake
    with pytest.raises(errors.NoSuchTicket) as caught:
        play.commit("ann", play.truth, tickets=[3])
    assert caught.value.args_by_name["tickets"] == 3


def test_unbonded_stake_is_paid_when_its_time_comes_and_a_second_call_starts_it_again(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 10 * GWEI)
    world.send("ann", "unbond", 4 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period - 1)
    world.send("ann", "unbond", 6 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period - 1)
    with pytest.raises(errors.OracleRevert):
        world.send("ann", "withdraw", party("ann"))
    world.chain.roll()
    before = world.chain.balance(party("heir"))
    world.send("ann", "withdraw", party("heir"))
    assert world.chain.balance(party("heir")) - before == 10 * GWEI
    assert world.oracle.read("totalStake") == 0


def test_a_credit_is_paid_while_unbonded_stake_must_wait(new_world: NewWorld) -> None:
    world = new_world()
    play = world.play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.finish(play.truth)
    world.send("ann", "unbond", play.job.terms.seat_stake)
    world.send("ann", "withdraw", party("ann"))
    assert world.account("ann").unbonding == play.job.terms.seat_stake and play.credit_of("ann") == 0


def test_forfeited_stake_leaves_the_total_at_settlement_before_any_release(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.refute("ann", lie, 3)
    play.end_phase()
    play.settle(play.truth)
    assert play.world.oracle.read("totalStake") == play.job.terms.seat_stake
    with pytest.raises(errors.OracleRevert):  # and the liars cannot take it out meanwhile
        play.world.send("bob", "unbond", GWEI)


def test_stake_locked_in_one_job_holds_no_seat_in_another(new_world: NewWorld) -> None:
    world = new_world()
    play = world.play(JURY)
    play.commit("ann", play.truth)
    second = play.another()
    second.draw()
    with pytest.raises(errors.NotEnoughFreeStake):
        second.commit("ann", second.truth)


def test_release_passes_over_those_who_have_nothing_so_that_nobody_spoils_a_batch(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.end_phase()
    play.settle(lie)
    play.release("ann")
    batch = [play.ref(worker) for worker in ("stranger", "ann", "bob", "bob", "cat")]
    play.world.send("keeper", "release", play.job, lie.root, [*batch, replace(batch[2], lane=255)])
    assert all(play.world.account(worker).locked == 0 for worker in JURY)


# Hostile payees


def test_a_payee_that_refuses_hurts_only_itself(new_world: NewWorld) -> None:
    world = new_world()
    payee = payee_in(world)
    world.send_by(payee, "deposit", value=100 * GWEI)
    world.send_by(payee, "unbond", 100 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period)
    payee.send(party("puppeteer"), "refuse", True)
    with pytest.raises(errors.PaymentRefused):
        world.send_by(payee, "withdraw", payee.address)
    world.send_by(payee, "withdraw", party("heir"))  # its claim was kept
    assert world.accounted == 0


def test_a_payee_that_calls_back_is_paid_once(new_world: NewWorld) -> None:
    world = new_world()
    payee = payee_in(world)
    world.stake("ann", 10**18)
    world.send_by(payee, "deposit", value=100 * GWEI)
    world.send_by(payee, "unbond", 100 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period)
    again = world.encode("withdraw", payee.address)
    payee.send(party("puppeteer"), "callBack", world.oracle.address, again)
    before = world.chain.balance(payee.address)
    world.send_by(payee, "withdraw", payee.address)
    assert world.chain.balance(payee.address) - before == 100 * GWEI
    assert payee.read("callbacksThatPassed") == 0


def test_a_requester_that_refuses_ether_cannot_stop_its_job(new_world: NewWorld) -> None:
    world = new_world()
    payee = payee_in(world)
    play = world.play(JURY)
    world.send_by(payee, "createJob", 9, play.job.terms, "ipfs://rows", value=play.job.terms.payment)
    payee.send(party("puppeteer"), "refuse", True)
    job = replace(play.job, requester=payee.address, nonce=9)
    world.chain.roll(blocks=259)
    (settled,) = world.send("keeper", "settle", job, bytes(32), [])
    assert world.account(payee.address).credit == play.job.terms.reward
    assert settled.args["outcome"] == Outcome.EXPIRED


# Ether that nobody called for


def test_ether_sent_by_force_is_nobodys(new_world: NewWorld) -> None:
    world = new_world()
    world.chain.fund(party("deployer"))
    selfdestruct_to_the_oracle = "73" + world.oracle.address[2:] + "ff"
    world.chain.deploy(selfdestruct_to_the_oracle, value=12_345)
    assert world.chain.balance(world.oracle.address) == 12_345
    world.forced = 12_345
    play = world.play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth.lie(0))
    play.finish(play.truth)
    for worker in ("ann", "bob"):
        world.send(worker, "withdraw", party(worker))
    world.send("requester", "withdraw", party("requester"))
    world.check_money()


def test_a_whole_life_leaves_nothing_behind(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, item_count=17)
    world = play.world
    play.demand("ann", lie, 0, 0, extra=5)
    play.answer("bob", lie, 0, 0)
    play.demand("ann", lie, 1, 1)
    play.refute("ann", lie, 3)
    play.finish(play.truth)
    play.release_bounty(lie)
    play.release_bond(lie, 0, 0)
    play.release_bond(lie, 1, 1)
    world.send("ann", "unbond", play.job.terms.seat_stake)
    world.chain.roll(BOUNDS.unbonding_period)
    world.send("ann", "withdraw", party("ann"))
    assert world.accounted == 0 and world.chain.balance(world.oracle.address) == 0
