"""What each entry point of the oracle refuses, in the order of its guards."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from contracts import errors
from contracts.compute_oracle import Bounds, Opening
from contracts.job import Phase
from contracts.stake import LANES
from tests.contracts.chain import load, party
from tests.contracts.raising import raises
from tests.contracts.world import BOUNDS, BOUNDS_TYPE, GWEI, MODEL, SEED_PROOF, Claim, DataSet, NewWorld, Play

JURY = {"ann": 1, "bob": 1, "cat": 1}


def bytes32(text: str) -> bytes:
    return text.encode().ljust(32, b"\0")


def challenged(new_world: NewWorld, **options: Any) -> tuple[Play, Claim]:
    """A job in Challenging whose majority revealed the lie that is returned."""
    play = new_world().play(JURY, **options)
    lie = play.truth.lie(3 if options.get("item_count", 5) > 3 else 0)
    play.vote(ann=play.truth, bob=lie, cat=lie)
    return play, lie


# Constructor


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("minWindow", {"min_window": 0}),
        ("maxWindow", {"max_window": 7}),
        ("unbondingPeriod", {"unbonding_period": 3600 + 258}),
        ("blockTime", {"block_time": 0}),
        ("maxItemCount", {"max_item_count": 0}),
        ("maxSeats", {"max_seats": 0}),
        ("referencePrice", {"reference_price": 0}),
    ],
)
@raises("BadBound(bytes32)")
def test_a_senseless_bound_is_refused(new_world: NewWorld, name: str, changes: dict[str, int]) -> None:
    try:
        new_world(bounds=replace(BOUNDS, **changes))
    except errors.OracleRevert as error:
        assert error.args == (bytes32(name),)
        raise


def test_an_unbonding_period_one_second_longer_is_accepted(new_world: NewWorld) -> None:
    assert new_world(bounds=replace(BOUNDS, unbonding_period=3600 + 259))


@raises("BadBound(bytes32)", name=bytes32("disputes"))
def test_disputes_made_for_another_price_are_refused(new_world: NewWorld) -> None:
    world = new_world()
    values = (world.registry.address, world.seed_source.address, world.disputes.address)
    other = replace(BOUNDS, reference_price=BOUNDS.reference_price + 1)
    types = ("address", "address", "address", BOUNDS_TYPE)
    world.deploy("ComputeOracle", types, (*values, other.as_tuple()))


# deposit, unbond, withdraw


@raises("ZeroAmount()")
def test_deposit_of_nothing_is_refused(new_world: NewWorld) -> None:
    new_world().send("ann", "deposit")


@pytest.mark.parametrize("amount", [1, GWEI - 1, GWEI + 1])
@raises("NotWholeGwei(uint256)")
def test_a_deposit_of_broken_gwei_is_refused(new_world: NewWorld, amount: int) -> None:
    new_world().send("ann", "deposit", value=amount)


@raises("StakeTooLarge(uint256)", total=2**56 * GWEI)
def test_more_stake_than_56_bits_of_gwei_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", (2**56 - 1) * GWEI)
    world.stake("bob", GWEI)


@raises("StakeTooLarge(uint256)")
def test_a_stake_beside_a_forfeited_one_that_nobody_released_is_held_to_56_bits_too(new_world: NewWorld) -> None:
    """The forfeited stake has left the total and not the account, whose next field it would run into."""
    play = new_world().play(JURY)
    play.commit_all(**dict.fromkeys(JURY, play.truth))
    play.end_phase()
    play.end_phase()
    play.settle()
    assert play.world.oracle.read("totalStake") == 0 and play.stake_of("ann") == play.job.terms.seat_stake
    play.world.stake("ann", (2**56 - 1) * GWEI)


@raises("ZeroAmount()")
def test_unbonding_nothing_is_refused(new_world: NewWorld) -> None:
    new_world().send("ann", "unbond", 0)


@raises("NotWholeGwei(uint256)", amount=GWEI + 1)
def test_unbonding_broken_gwei_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 2 * GWEI)
    world.send("ann", "unbond", GWEI + 1)


@pytest.mark.parametrize("amount", [11 * GWEI, 2**256 - 2**256 % GWEI])
@raises("NotEnoughFreeStake(address,uint256,uint256)", worker=party("ann"), free=10 * GWEI)
def test_unbonding_more_than_is_bonded_is_refused(new_world: NewWorld, amount: int) -> None:
    world = new_world()
    world.stake("ann", 10 * GWEI)
    world.send("ann", "unbond", amount)


@raises("NotEnoughFreeStake(address,uint256,uint256)", worker=party("ann"), free=0, needed=GWEI)
def test_locked_stake_cannot_be_unbonded(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    play.world.send("ann", "unbond", GWEI)


@raises("NothingToWithdraw(address,uint256,uint256)", payee=party("ann"), unbonding=0, readyAt=0)
def test_withdrawing_nothing_is_refused(new_world: NewWorld) -> None:
    new_world().send("ann", "withdraw", party("ann"))


@raises("NothingToWithdraw(address,uint256,uint256)", payee=party("ann"), unbonding=10 * GWEI)
def test_withdrawing_a_second_before_the_unbonding_period_ends_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 10 * GWEI)
    world.send("ann", "unbond", 10 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period - 1)
    world.send("ann", "withdraw", party("ann"))


@raises("PaymentRefused(address,uint256)", amount=10 * GWEI)
def test_a_payee_that_refuses_keeps_its_claim(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 10 * GWEI)
    world.send("ann", "unbond", 10 * GWEI)
    world.chain.roll(BOUNDS.unbonding_period)
    world.send("ann", "withdraw", world.address)


# createJob


def create(new_world: NewWorld, value: int | None = None, uri: str = "ipfs://rows", **changes: Any) -> None:
    world = new_world()
    data = DataSet(5)
    terms = replace(world.terms(data, 3, 2), **changes)
    world.stake("ann", 3 * world.least_stake)
    world.chain.roll()
    paid = terms.payment if value is None else value
    world.send("requester", "createJob", 0, terms, uri, value=paid)


@raises("JobExists(bytes32)")
def test_the_same_job_twice_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.world.create("requester", play.job.terms)


@raises("DataUriMismatch(bytes32,bytes32)")
def test_another_data_uri_than_the_terms_name_is_refused(new_world: NewWorld) -> None:
    create(new_world, uri="ipfs://other")


@pytest.mark.parametrize("paid", [0, 10**15, 10**15 + 2])
@raises("WrongPayment(uint256,uint256)", expected=10**15 + 1)
def test_a_payment_that_is_not_the_reward_is_refused(new_world: NewWorld, paid: int) -> None:
    create(new_world, value=paid)


@pytest.mark.parametrize("paid", [10**15 + 1, 10**15 + 7, 7])
@raises("WrongPayment(uint256,uint256)", expected=10**15 + 8)
def test_a_payment_without_the_audit_bond_is_refused(new_world: NewWorld, paid: int) -> None:
    create(new_world, value=paid, gold_root=b"\1" * 32, gold_count=1, audit_bond=7)


@pytest.mark.parametrize("count", [0, BOUNDS.max_item_count + 1])
@raises("ItemCountOutOfBounds(uint256,uint256)", most=BOUNDS.max_item_count)
def test_an_item_count_out_of_bounds_is_refused(new_world: NewWorld, count: int) -> None:
    create(new_world, item_count=count)


@pytest.mark.parametrize("seats", [0, BOUNDS.max_seats + 1])
@raises("SeatsOutOfBounds(uint256,uint256)", most=BOUNDS.max_seats)
def test_a_number_of_seats_out_of_bounds_is_refused(new_world: NewWorld, seats: int) -> None:
    create(new_world, seats=seats)


@pytest.mark.parametrize(("seats", "quorum"), [(1, 0), (1, 2), (2, 1), (3, 1), (3, 3), (4, 2), (4, 4), (5, 2), (5, 5)])
@raises("QuorumOutOfBounds(uint256,uint256,uint256)")
def test_a_quorum_out_of_bounds_is_refused(new_world: NewWorld, seats: int, quorum: int) -> None:
    create(new_world, seats=seats, quorum=quorum)


@pytest.mark.parametrize(
    ("name", "changes"),
    [
        ("commitWindow", {"commit_window": 7}),
        ("commitWindow", {"commit_window": 3601, "challenge_window": 3601}),
        ("revealWindow", {"reveal_window": 7}),
        ("revealWindow", {"reveal_window": 3601}),
        ("challengeWindow", {"challenge_window": 95}),
        ("challengeWindow", {"challenge_window": 3601}),
        ("challengeWindow", {"challenge_window": 120, "response_window": 120, "gold_count": 1}),
        ("responseWindow", {"response_window": 7}),
        ("responseWindow", {"response_window": 3601}),
    ],
)
@raises("WindowOutOfBounds(bytes32,uint256,uint256,uint256)")
def test_a_window_out_of_bounds_is_refused(new_world: NewWorld, name: str, changes: dict[str, Any]) -> None:
    try:
        create(new_world, **changes)
    except errors.OracleRevert as error:
        assert error.args_by_name["name"] == bytes32(name)
        raise


@raises("UnknownModel(bytes32)", modelId=bytes(32))
def test_a_job_for_an_unknown_model_is_refused(new_world: NewWorld) -> None:
    create(new_world, model_id=bytes(32))


@raises("SeatStakeTooLow(uint256,uint256)")
def test_a_seat_stake_that_would_not_pay_for_a_refutation_is_refused(new_world: NewWorld) -> None:
    least = int(new_world().oracle.read("minSeatStake", MODEL.id, 5))
    create(new_world, seat_stake=least - 1)


@raises("NotWholeGwei(uint256)")
def test_a_seat_stake_of_broken_gwei_is_refused(new_world: NewWorld) -> None:
    create(new_world, seat_stake=int(new_world().oracle.read("minSeatStake", MODEL.id, 5)) + 1)


@raises("CallOutFeeTooHigh(uint256,uint256)", callOutFee=10**14 + 1, most=10**14)
def test_a_call_out_fee_above_a_tenth_of_the_reward_is_refused(new_world: NewWorld) -> None:
    create(new_world, call_out_fee=10**14 + 1)


@pytest.mark.parametrize(
    "flaw",
    [
        {"gold_root": bytes(32)},
        {"gold_count": 0},
        {"gold_count": 6},
        {"audit_bond": 0},
        {"gold_root": bytes(32), "gold_count": 0},
        {"gold_root": bytes(32), "audit_bond": 0},
        {"gold_count": 0, "audit_bond": 0},
    ],
)
@raises("BadVerificationSet(bytes32,uint256,uint256)")
def test_half_a_verification_set_is_refused(new_world: NewWorld, flaw: dict[str, Any]) -> None:
    create(new_world, **{"gold_root": b"\1" * 32, "gold_count": 5, "audit_bond": 1, **flaw})


@pytest.mark.parametrize(
    "changes",
    [
        {"callback_gas": 1},
        {"consumer": party("consumer"), "callback_gas": 1_000_001},
    ],
)
@raises("CallbackGasOutOfBounds(uint256,uint256)")
def test_gas_for_nobody_and_too_much_gas_are_refused(new_world: NewWorld, changes: dict[str, Any]) -> None:
    create(new_world, **changes)


@raises("TotalStakeTooLow(uint256,uint256)")
def test_a_jury_dearer_than_all_stake_is_refused(new_world: NewWorld) -> None:
    create(new_world, seat_stake=new_world().least_stake + GWEI)


@raises("TotalStakeTooLow(uint256,uint256)", totalStake=0)
def test_stake_of_the_same_block_does_not_count(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 3 * world.least_stake)
    world.create("requester", world.terms(DataSet(5), 3, 2))


# draw


@raises("UnknownJob(bytes32)", jobId=bytes(32))
def test_drawing_an_unknown_job_is_refused(new_world: NewWorld) -> None:
    new_world().send("keeper", "draw", bytes(32), SEED_PROOF)


@raises("AlreadyDrawn(bytes32)")
def test_drawing_twice_is_refused(new_world: NewWorld) -> None:
    new_world().play(JURY).draw()


@raises("AlreadyDrawn(bytes32)")
def test_drawing_again_once_the_job_is_settled_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    play.finish(play.truth)
    play.draw()


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLING, needed=Phase.DRAWING)
def test_drawing_once_the_hash_is_forgotten_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(blocks=2 + 256)
    play.draw()


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLED, needed=Phase.DRAWING)
def test_drawing_once_the_job_expired_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(blocks=3 + 256)
    play.settle()
    play.draw()


@raises("SeedNotReady(uint256,uint256)")
def test_drawing_in_the_seeds_own_block_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(blocks=2)
    play.world.send("keeper", "draw", play.id, SEED_PROOF)


# commit


@raises("UnknownJob(bytes32)")
def test_committing_to_a_job_with_other_terms_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.job = replace(play.job, terms=replace(play.job.terms, reward=0))
    play.commit("ann", play.truth)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.DRAWING, needed=Phase.COMMITTING)
def test_committing_before_the_draw_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.commit("ann", play.truth)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.REVEALING, needed=Phase.COMMITTING)
def test_a_commit_in_the_second_the_window_ends_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth)
    play.end_phase()
    play.commit("cat", play.truth)


@raises("AlreadyCommitted(bytes32,address)", worker=party("ann"))
def test_a_second_commitment_to_something_else_is_refused(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1})
    play.commit("ann", play.truth, tickets=[0])
    play.commit("ann", play.truth.lie(0), tickets=[0, 1])


@raises("AlreadyCommitted(bytes32,address)", worker=party("ann"))
def test_the_same_commitment_in_a_second_lane_is_refused(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1})
    play.commit("ann", play.truth, tickets=[0], lane=3)
    play.commit("ann", play.truth, tickets=[0, 1], lane=4)


@pytest.mark.parametrize("lane", [LANES, LANES + 1, 255])
@raises("LaneTaken(address,uint256)", worker=party("ann"))
def test_a_lane_that_nobody_has_is_refused(new_world: NewWorld, lane: int) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth, lane=lane)


@raises("LaneTaken(address,uint256)", worker=party("ann"), lane=0)
def test_a_lane_that_holds_another_jobs_seats_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    other = play.another()
    other.draw()
    other.commit("ann", play.truth, lane=0)


@raises("TicketsNotAscending(uint256)", position=0)
def test_committing_without_a_ticket_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth, tickets=[])


@raises("TicketsNotAscending(uint256)", position=1)
def test_a_ticket_twice_is_refused(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1})
    play.commit("ann", play.truth, tickets=[0, 0])


@raises("TicketsNotAscending(uint256)", position=2)
def test_tickets_out_of_order_are_refused(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 3, "bob": 1})
    play.commit("ann", play.truth, tickets=[0, 2, 1])


@raises("NoSuchTicket(uint256,uint256)", ticket=1, tickets=1)
def test_a_ticket_beyond_the_stake_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth, tickets=[0, 1])


@raises("NoSuchTicket(uint256,uint256)", ticket=0, tickets=0)
def test_stake_bonded_after_the_creation_has_no_ticket(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.world.stake("dan", 5 * play.job.terms.seat_stake)
    play.commit("dan", play.truth, tickets=[0])


@raises("LosingTicket(uint256)")
def test_a_ticket_that_did_not_win_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 60 * world.least_stake)
    play = world.play({"ann": 1})
    play.commit("whale", play.truth, tickets=range(60))


@raises("NoSeatGranted(bytes32,address)", worker=party("ann"))
def test_the_same_tickets_again_grant_nothing(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1})
    play.commit("ann", play.truth, tickets=[0])
    play.commit("ann", play.truth, tickets=[1])


@raises("NotEnoughFreeStake(address,uint256,uint256)", worker=party("ann"), free=0)
def test_a_seat_needs_free_stake(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.world.send("ann", "unbond", play.job.terms.seat_stake)
    play.commit("ann", play.truth)


# commitFor


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.DRAWING, needed=Phase.COMMITTING)
def test_relaying_commitments_before_the_draw_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.commit_for(play.sign("ann", play.truth))


@raises("NothingCommitted(bytes32)")
def test_relaying_nothing_is_refused(new_world: NewWorld) -> None:
    new_world().play(JURY).commit_for()


@raises("NothingCommitted(bytes32)")
def test_relaying_nothing_but_what_would_be_refused_is_refused(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_for(play.sign("ann", play.truth, tickets=[]), play.sign("bob", play.truth, deadline=0))


# reveal


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.COMMITTING, needed=Phase.REVEALING)
def test_an_early_reveal_is_rejected(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    play.reveal("ann")


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.REVEALING)
def test_late_reveal_is_rejected(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    play.end_phase()
    play.reveal("ann")


@pytest.mark.parametrize("wrong", ["root", "salt", "worker", "lane", "no lane", "not committed", "nothing"])
@raises("NothingRevealed(bytes32,bytes32)")
def test_a_wrong_opening_is_rejected(new_world: NewWorld, wrong: str) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth)
    play.end_phase()
    sealed = play.sealed["ann"]
    root = bytes(32) if wrong == "root" else sealed.root
    salt = bytes(32) if wrong == "salt" else sealed.salt
    worker = {"worker": "bob", "not committed": "cat"}.get(wrong, "ann")
    lane = {"lane": 1, "no lane": 255}.get(wrong, 0)
    openings = [] if wrong == "nothing" else [Opening(party(worker), lane, salt)]
    play.world.send("ann", "reveal", play.job, root, openings)


@raises("NothingRevealed(bytes32,bytes32)")
def test_a_copied_commitment_cannot_be_opened(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    copied = play.sealed["ann"]
    play.world.send("bob", "commit", play.job, 0, copied.commitment, bytes(32), [0])
    play.end_phase()
    play.world.send("bob", "reveal", play.job, copied.root, [Opening(party("bob"), 0, copied.salt)])


@raises("NothingRevealed(bytes32,bytes32)")
def test_a_second_reveal_is_rejected(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, bob=play.truth)
    play.end_phase()
    play.reveal("ann")
    play.reveal("ann")


@raises("NothingRevealed(bytes32,bytes32)")
def test_an_opening_of_another_job_opens_nothing(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    play.commit("ann", play.truth)
    other = play.another()
    other.draw()
    other.commit_all(bob=play.truth, cat=play.truth)
    other.end_phase()
    other.world.send("ann", "reveal", other.job, play.truth.root, [play.opening("ann")])


# settle


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.SETTLING)
def test_settling_a_second_early_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.world.chain.roll_to(play.end - 1)
    play.settle(lie)


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.SETTLED, needed=Phase.SETTLING)
def test_settling_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    play.settle(lie)


@raises("NotTheWinner(bytes32,bytes32)")
def test_settling_with_another_root_is_refused(new_world: NewWorld) -> None:
    play, _ = challenged(new_world)
    play.end_phase()
    play.settle(play.truth)


@raises("NotTheWinner(bytes32,bytes32)")
def test_settling_with_a_word_that_only_begins_like_the_winner_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.end_phase()
    play.settle(lie.root[:27] + bytes(5))


@raises("CreditTooLarge(uint256)", credit=2**88)
def test_a_reward_that_nobody_could_be_owed_cannot_be_settled(new_world: NewWorld) -> None:
    """Of 309 million coins: where so many exist, the requester holds up nobody but those who commit to its job."""
    play = new_world().play(JURY, drawn=False, reward=2**88)
    play.world.chain.roll(blocks=2 + 256 + 1)
    play.settle()


# release


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.SETTLED)
def test_releasing_before_settlement_is_refused(new_world: NewWorld) -> None:
    play, _ = challenged(new_world)
    play.release("ann")


@raises("NothingToRelease()")
def test_releasing_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    play.release("bob", "cat")


@pytest.mark.parametrize("wrong", ["stranger", "lane", "no lane", "root", "commitment", "nobody"])
@raises("NothingToRelease()")
def test_releasing_what_is_not_there_is_refused(new_world: NewWorld, wrong: str) -> None:
    play, lie = challenged(new_world)
    play.end_phase()
    play.settle(lie)
    ref = play.ref("stranger" if wrong == "stranger" else "bob")
    ref = replace(ref, lane={"lane": 1, "no lane": 255}.get(wrong, 0))
    word = {"root": play.truth.root, "commitment": play.sealed["bob"].commitment}.get(wrong, lie.root)
    play.world.send("keeper", "release", play.job, word, [] if wrong == "nobody" else [ref])


@raises("NothingToRelease()")
def test_a_lane_that_was_used_again_is_not_the_first_jobs(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    other = play.another()
    other.draw()
    other.commit("bob", play.truth)
    assert other.lanes["bob"] == play.lanes["bob"]
    play.world.send("keeper", "release", play.job, lie.root, [play.ref("bob")])


# deliver, multicall


@raises("WrongPhase(bytes32,uint8,uint8)", current=Phase.CHALLENGING, needed=Phase.SETTLED)
def test_delivering_before_settlement_is_refused(new_world: NewWorld) -> None:
    play, _ = challenged(new_world, consumer=party("consumer"))
    play.world.send("keeper", "deliver", play.job)


@raises("NoConsumer(bytes32)")
def test_delivering_to_nobody_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.finish(lie)
    play.world.send("keeper", "deliver", play.job)


@raises("AlreadyDelivered(bytes32)")
def test_delivering_twice_is_refused(new_world: NewWorld) -> None:
    play, lie = challenged(new_world, consumer=party("consumer"))
    play.finish(lie)
    for _ in range(2):
        play.world.send("keeper", "deliver", play.job)


# Ether, and code that is not there


@raises("PaymentWithoutCall(uint256)", amount=7)
def test_ether_without_a_call_is_refused(new_world: NewWorld) -> None:
    world = new_world()
    world.chain.call(party("ann"), world.oracle.address, b"", 7)


def test_an_unknown_function_is_refused_with_and_without_ether(new_world: NewWorld) -> None:
    world = new_world()
    for value in (0, 7):
        for data in (b"\xde\xad\xbe\xef", b"\1"):
            with pytest.raises(errors.RawRevert):
                world.chain.call(party("ann"), world.oracle.address, data, value)
    assert world.chain.balance(world.oracle.address) == 0


def test_disputes_that_take_no_payment_refuse_it(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    with pytest.raises(errors.RawRevert):
        play.world.send("ann", "refute", play.job, lie.proof(3), play.data.proof(3), value=1)


@raises("UnknownJob(bytes32)")
def test_the_disputes_code_alone_knows_no_job_and_takes_no_bond(new_world: NewWorld) -> None:
    play, lie = challenged(new_world)
    play.world.disputes.send(party("ann"), "demand", play.job.as_tuple(), (lie.root, 0, 0), value=10**18)


def test_production_bounds_are_accepted(new_world: NewWorld) -> None:
    world = new_world(bounds=Bounds())
    assert Bounds(*world.oracle.read("bounds")) == Bounds()
    assert load("ComputeOracle")["deployed_bytes"] <= 24_576
