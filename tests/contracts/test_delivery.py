"""Telling a consumer: with exactly the gas that the job sets aside, however it behaves, and whoever pays for the call."""

from __future__ import annotations

from collections import Counter
from enum import IntEnum
from typing import Any

import pytest

from contracts import errors
from contracts.job import Outcome
from tests.contracts.chain import Contract, Halted, party
from tests.contracts.raising import raises
from tests.contracts.test_reverts import JURY
from tests.contracts.world import NewWorld, Play

CALLBACK_GAS = 200_000


class Manner(IntEnum):
    """As in tests/solidity/Consumer.sol."""

    NOTE = 0
    REFUSE = 1
    REFUSE_WITH_MUCH = 2
    RETURN_MUCH = 3
    NEVER_END = 4
    SPEND_NEARLY_ALL = 5
    CALL_BACK = 6


def settled(new_world: NewWorld, callback_gas: int = CALLBACK_GAS, accepted: bool = True) -> tuple[Play, Contract]:
    """A settled job and its consumer."""
    world = new_world()
    consumer = Contract(world.chain, world.deploy("Consumer"), "Consumer")
    play = world.play(JURY, consumer=consumer.address, callback_gas=callback_gas)
    play.vote(ann=play.truth, bob=play.truth if accepted else play.truth.lie(0), cat=play.truth.lie(1))
    play.finish(play.truth if accepted else bytes(32))
    return play, consumer


def deliver(play: Play, **options: Any) -> None:
    play.world.send("keeper", "deliver", play.job, **options)


def behave(consumer: Contract, manner: Manner) -> None:
    consumer.send(party("puppeteer"), "behave", manner)


@pytest.mark.parametrize("accepted", [True, False])
def test_a_consumer_is_told_the_outcome_and_the_root_of_an_accepted_job(new_world: NewWorld, accepted: bool) -> None:
    play, consumer = settled(new_world, accepted=accepted)
    deliver(play)
    assert consumer.read("teller") == play.world.address.lower() and consumer.read("told") == 1
    assert consumer.read("jobId") == play.id
    assert consumer.read("outcome") == (Outcome.ACCEPTED if accepted else Outcome.HUNG) == play.state.outcome
    assert consumer.read("root") == (play.truth.root if accepted else bytes(32))


@pytest.mark.parametrize("callback_gas", [150_000, 200_000, 1_000_000])
@pytest.mark.parametrize("gas", [2_000_000, 16_000_000])
def test_a_consumer_gets_exactly_the_gas_set_aside_for_it(new_world: NewWorld, callback_gas: int, gas: int) -> None:
    play, consumer = settled(new_world, callback_gas)
    deliver(play, gas=gas)
    assert 0 < callback_gas - consumer.read("gasAtEntry") < 300  # what it takes to get to the first line


def test_an_expired_job_is_told_of_too(new_world: NewWorld) -> None:
    world = new_world()
    consumer = Contract(world.chain, world.deploy("Consumer"), "Consumer")
    play = world.play(JURY, drawn=False, consumer=consumer.address, callback_gas=CALLBACK_GAS)
    world.chain.roll(blocks=300)
    play.settle()
    deliver(play)
    assert consumer.read("outcome") == Outcome.EXPIRED and consumer.read("root") == bytes(32)


@pytest.mark.parametrize("manner", [Manner.REFUSE, Manner.REFUSE_WITH_MUCH, Manner.NEVER_END])
@raises("DeliveryFailed(address)")
def test_a_consumer_that_fails_is_not_told(new_world: NewWorld, manner: Manner) -> None:
    play, consumer = settled(new_world)
    behave(consumer, manner)
    deliver(play)


@pytest.mark.parametrize("manner", [Manner.REFUSE, Manner.REFUSE_WITH_MUCH, Manner.NEVER_END])
def test_a_consumer_that_failed_can_be_told_again(new_world: NewWorld, manner: Manner) -> None:
    play, consumer = settled(new_world)
    behave(consumer, manner)
    with pytest.raises(errors.DeliveryFailed):
        deliver(play)
    behave(consumer, Manner.NOTE)
    deliver(play)
    assert consumer.read("told") == 1


def gas_used(play: Play) -> int:
    result = play.world.chain.evm.result
    assert result is not None
    return int(result.gas_used)


@pytest.mark.parametrize("manner", [Manner.REFUSE_WITH_MUCH, Manner.RETURN_MUCH, Manner.NEVER_END])
def test_what_a_consumer_does_costs_the_caller_no_more_than_was_set_aside(new_world: NewWorld, manner: Manner) -> None:
    """Returned data is never copied: 100,000 bytes would cost the caller thousands of gas in memory."""
    play, consumer = settled(new_world, callback_gas=100_000)
    behave(consumer, manner)
    deliver_or_not(play)
    spent = gas_used(play)
    bare, _ = settled(new_world, callback_gas=0, accepted=True)
    deliver_or_not(bare)
    assert spent - gas_used(bare) <= 100_000 + 1_000


def deliver_or_not(play: Play) -> None:
    try:
        deliver(play)
    except errors.DeliveryFailed:
        return


@raises("NotEnoughGasToDeliver(uint256,uint256)", needed=CALLBACK_GAS)
def test_a_call_without_the_gas_for_the_consumer_is_refused(new_world: NewWorld) -> None:
    play, _ = settled(new_world)
    deliver(play, gas=CALLBACK_GAS + 30_000)


def test_no_gas_limit_makes_a_consumer_fail_that_gets_what_it_needs(new_world: NewWorld) -> None:
    """The 63/64 rule: whoever calls cannot starve the consumer and have that pass for its refusal."""
    play, consumer = settled(new_world)
    behave(consumer, Manner.SPEND_NEARLY_ALL)
    results: Counter[str] = Counter()
    calldata = play.world.encode("deliver", play.job)
    chain = play.world.chain
    for gas in range(CALLBACK_GAS, CALLBACK_GAS + 90_000, 97):
        checkpoint = chain.evm.snapshot()
        try:
            chain.call(party("keeper"), play.world.address, calldata, gas=gas)
            results["told"] += 1
        except (errors.Reverted, Halted) as error:
            results[type(error).__name__] += 1
        chain.evm.revert(checkpoint)
    assert results.keys() <= {"told", "NotEnoughGasToDeliver", "Halted"}
    assert min(results["told"], results["NotEnoughGasToDeliver"]) > 100


def test_a_consumer_cannot_be_told_twice_from_within(new_world: NewWorld) -> None:
    play, consumer = settled(new_world)
    again = play.world.encode("deliver", play.job)
    consumer.send(party("puppeteer"), "callBack", play.world.address, again)
    deliver(play)
    assert consumer.read("told") == 1 and consumer.read("callbacksThatPassed") == 0
    with pytest.raises(errors.AlreadyDelivered):
        deliver(play)


def test_a_consumer_may_use_the_oracle_while_it_is_told(new_world: NewWorld) -> None:
    play, consumer = settled(new_world, callback_gas=500_000)
    read = play.world.oracle.encode("verdict", play.id, 0, play.truth.outputs[0], play.truth.tree.proof(0))
    consumer.send(party("puppeteer"), "callBack", play.world.address, read)
    deliver(play)
    assert consumer.read("callbacksThatPassed") == 1


def test_a_consumer_without_code_is_told_nothing_and_stops_nobody(new_world: NewWorld) -> None:
    play = new_world().play(JURY, consumer=party("consumer"), callback_gas=1_000_000)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.finish(play.truth)
    deliver(play)
    with pytest.raises(errors.AlreadyDelivered):
        deliver(play)


def test_anybody_can_set_any_consumer_of_a_job_so_it_must_know_its_own(new_world: NewWorld) -> None:
    """A consumer is told of jobs that strangers made for it; only the id says that it is another job."""
    play, consumer = settled(new_world)
    deliver(play)
    known = consumer.read("jobId")
    play.world.stake("cat", play.job.terms.seat_stake)
    play.world.chain.roll()
    stranger = play.world.create("stranger", play.job.terms)
    foreign = Play(play.world, stranger, play.data, dict(play.seats))
    play.world.chain.roll(blocks=300)
    foreign.settle()
    deliver(foreign)
    assert consumer.read("told") == 2 and consumer.read("jobId") != known
