"""What one transaction does for many: signed commitments, reveals, releases, and several calls at once. Nobody can spoil a
batch, nobody can be made to commit to anything, and each path leads to the same state as direct transactions do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from web3 import Web3

from contracts import errors, stake
from contracts.commitment import SeatStatus
from contracts.compute_oracle import ComputeOracle, Opening
from contracts.endpoint import Endpoint
from contracts.job import Outcome, Phase
from contracts.signed_commit import SignedCommit
from tests.contracts.chain import Contract, Event, party
from tests.contracts.test_reverts import JURY
from tests.contracts.test_vectors import ORDER
from tests.contracts.world import SEED_PROOF, NewWorld, Play

NOT_SIGNED = bytes(4)


def skipped(events: list[Event]) -> dict[str, bytes]:
    """Why each worker's commitment was passed over."""
    return {each.args["worker"]: each.args["reason"] for each in events if each.name == "CommitSkipped"}


def reason(name: str) -> bytes:
    return bytes(getattr(errors, name).selector)


# Signed commitments


def test_one_transaction_seats_a_whole_jury(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1, "cat": 1}, quorum=3)
    play.commit_for(*(play.sign(worker, play.truth) for worker in play.seats))
    assert play.phase() == Phase.REVEALING and play.state.granted_seats == 4
    assert [play.seat(worker).count for worker in play.seats] == [2, 1, 1]
    play.reveal_all()
    play.finish(play.truth)
    assert play.credit_of("ann") == 2 * play.credit_of("bob") > 0 == play.credit_of("relayer")


def test_a_relayed_commitment_is_the_same_as_a_direct_one(new_world: NewWorld) -> None:
    seats = []
    for relayed in (True, False):
        play = new_world().play(JURY)
        if relayed:
            play.commit_for(play.sign("ann", play.truth))
        else:
            play.commit("ann", play.truth)
        seats.append((play.seat("ann"), play.world.account("ann"), play.state))
    assert seats[0] == seats[1]


def test_seats_are_added_by_relay_and_directly_to_the_same_commitment(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 4, "bob": 1})
    play.commit("ann", play.truth, tickets=[0])
    play.commit_for(play.sign("ann", play.truth, tickets=[0, 2]))
    play.commit_for(play.sign("ann", play.truth, tickets=[0, 1, 2]), play.sign("ann", play.truth, tickets=[0, 1, 2, 3]))
    assert play.seat("ann").count == 4 and play.state.sealed_seats == 4
    play.commit("bob", play.truth)
    assert play.phase() == Phase.REVEALING


def flipped(word: bytes) -> bytes:
    return word[:-1] + bytes([word[-1] ^ 1])


def second_form(signed: SignedCommit) -> bytes:
    """secp256k1's other solution, n − s with the other parity, as far as vs can hold it."""
    vs = int.from_bytes(signed.vs, "big")
    s, odd = vs & (2**255 - 1), vs >> 255
    return ((ORDER - s) & (2**255 - 1) | (1 - odd) << 255).to_bytes(32, "big")


FORGERIES: dict[str, Callable[[Play, SignedCommit], SignedCommit]] = {
    "another worker's": lambda play, signed: replace(signed, worker=party("bob")),
    "another commitment": lambda play, signed: replace(signed, commitment=flipped(signed.commitment)),
    "another sealed root": lambda play, signed: replace(signed, sealed_root=flipped(signed.sealed_root)),
    "more tickets": lambda play, signed: replace(signed, tickets=[0, 1]),
    "no tickets": lambda play, signed: replace(signed, tickets=[]),
    "another lane": lambda play, signed: replace(signed, lane=signed.lane + 1),
    "a later deadline": lambda play, signed: replace(signed, deadline=signed.deadline + 1),
    "another r": lambda play, signed: replace(signed, r=flipped(signed.r)),
    "another s": lambda play, signed: replace(signed, vs=flipped(signed.vs)),
    "the second form of a signature": lambda play, signed: replace(signed, vs=second_form(signed)),
    "no signature": lambda play, signed: replace(signed, r=bytes(32), vs=bytes(32)),
    "nobody's": lambda play, signed: replace(signed, worker=party("nobody"), r=bytes(32), vs=bytes(32)),
    "another chain's": lambda play, signed: play.sign("ann", play.truth, tickets=[0], chain_id=2),
    "another job's": lambda play, signed: play.another().sign("ann", play.truth, tickets=[0], lane=0),
    "past its deadline": lambda play, signed: play.sign("ann", play.truth, tickets=[0], deadline=play.world.chain.time),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_what_the_worker_did_not_sign_is_passed_over(new_world: NewWorld, forgery: str) -> None:
    play = new_world().play({"ann": 2, "bob": 1, "cat": 1}, quorum=3)
    forged = FORGERIES[forgery](play, play.sign("ann", play.truth, tickets=[0]))
    events = play.commit_for(forged, play.sign("cat", play.truth))
    assert skipped(events) == {forged.worker: NOT_SIGNED}
    assert [play.world.account(worker).locked != 0 for worker in ("ann", "bob", "cat")] == [False, False, True]


def test_a_commitment_for_another_oracle_is_passed_over(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    other = new_world()  # on a chain of its own, where the same accounts put it at the same address: so deploy one more
    values = (other.registry.address, other.seed_source.address, other.disputes.address, other.bounds.as_tuple())
    types = ("address", "address", "address", "(uint32,uint32,uint32,uint32,uint32,uint8,uint96)")
    other.oracle = Contract(other.chain, other.deploy("ComputeOracle", types, values), "ComputeOracle", "Disputes")
    assert other.address != play.world.address
    play.seal("ann", play.truth)
    elsewhere = Play(other, play.job, play.data, play.seats)
    elsewhere.id, elsewhere.lanes = play.id, play.lanes
    signed = elsewhere.sign("ann", play.truth)
    assert skipped(play.commit_for(signed, play.sign("bob", play.truth))) == {party("ann"): NOT_SIGNED}


def test_a_deadline_counts_to_the_second(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    deadline = play.world.chain.time + 5
    late, last = play.sign("ann", play.truth, deadline=deadline), play.sign("bob", play.truth, deadline=deadline + 1)
    play.world.chain.roll_to(deadline)
    assert skipped(play.commit_for(late, last)) == {party("ann"): NOT_SIGNED}
    assert play.seat("bob").status == SeatStatus.SEALED


def test_what_a_direct_commit_would_be_refused_for_is_passed_over_and_said(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 60 * world.least_stake)
    play = world.play(dict.fromkeys(("ann", "bob", "cat", "dan", "eve", "fay", "gil"), 1))
    world.send("dan", "unbond", play.job.terms.seat_stake)
    busy = play.another()
    busy.draw()
    play.world.chain.roll_to(play.end - 1)  # every ticket wins by now but those of the whale's below
    busy.commit("eve", busy.truth, lane=0)
    play.commit("fay", play.truth, lane=1)
    refused = {
        "ann": play.sign("ann", play.truth, tickets=[]),
        "bob": play.sign("bob", play.truth, tickets=[1]),
        "dan": play.sign("dan", play.truth),
        "eve": play.sign("eve", play.truth, lane=0),
        "fay": play.sign("fay", play.truth, lane=2),
    }
    again = play.sign("cat", play.truth)
    events = play.commit_for(again, again, *refused.values())
    assert skipped(events) == {
        party("cat"): reason("NoSeatGranted"),
        party("ann"): reason("TicketsNotAscending"),
        party("bob"): reason("NoSuchTicket"),
        party("dan"): reason("NotEnoughFreeStake"),
        party("eve"): reason("LaneTaken"),
        party("fay"): reason("AlreadyCommitted"),
    }
    assert play.state.granted_seats == 2  # fay's and cat's


def test_a_losing_ticket_is_passed_over(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 60 * world.least_stake)
    play = world.play({"ann": 60})
    expected, total = 60 * play.job.terms.seat_stake, 120 * play.job.terms.seat_stake
    won = list(stake.winning_tickets(play.state.seed, party("ann"), 60, expected, total))
    assert 0 < len(won) < 60
    signed = play.sign("whale", play.truth, tickets=range(60)), play.sign("ann", play.truth, tickets=won)
    assert skipped(play.commit_for(*signed)) == {party("whale"): reason("LosingTicket")}
    assert play.seat("ann").count == len(won)


def test_the_last_seats_go_in_the_order_of_the_list(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("whale", 2 * world.least_stake)
    play = world.play({"ann": 2, "bob": 1})
    play.seats["whale"] = 2
    world.chain.roll_to(play.end - 1)
    signed = [play.sign(worker, play.truth) for worker in ("ann", "whale", "bob")]
    assert skipped(play.commit_for(*signed)) == {party("bob"): reason("NoSeatGranted")}
    assert [play.seat(worker).count for worker in ("ann", "whale")] == [2, 1]
    assert play.phase() == Phase.REVEALING


def test_a_signature_used_again_takes_no_second_seat(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1})
    signed = play.sign("ann", play.truth, tickets=[0])
    play.commit_for(signed)
    with pytest.raises(errors.NothingCommitted):
        play.commit_for(signed)
    assert play.seat("ann").count == 1


# Reveals


def test_one_transaction_opens_all_commitments_to_a_root(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 2, "bob": 1, "cat": 1}, quorum=3)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth)
    openings = [play.opening(worker) for worker in play.seats]
    play.world.send("relayer", "reveal", play.job, play.truth.root, openings)
    assert play.phase() == Phase.CHALLENGING
    assert play.tally(play.truth).seats == 4 and play.state.quorum_stands


def test_wrong_openings_and_repeated_ones_spoil_nothing(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(0)
    play.commit_all(ann=play.truth, bob=play.truth, cat=lie)
    ann, bob, cat = (play.opening(worker) for worker in JURY)
    batch = [
        Opening(party("stranger"), 0, bytes(32)),
        cat,
        replace(ann, lane=255),
        ann,
        ann,
        replace(bob, salt=b"\1" * 32),
    ]
    play.world.send("relayer", "reveal", play.job, play.truth.root, [*batch, bob])
    assert play.tally(play.truth).seats == 2 and play.seat("cat").status == SeatStatus.SEALED
    assert play.phase() == Phase.REVEALING
    play.reveal("cat")
    assert play.phase() == Phase.CHALLENGING


# Releases


def test_seats_are_released_along_with_the_settlement(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    lie = play.truth.lie(0)
    play.vote(ann=play.truth, bob=play.truth, cat=lie)
    play.end_phase()
    play.settle(play.truth, "ann", "cat", "bob", "bob")
    assert [play.holds_seats(worker) for worker in JURY] == [False, False, True]
    assert play.credit_of("ann") == play.credit_of("bob") == play.job.terms.reward // 2
    play.release("cat")
    assert play.stake_of("cat") == 0


def test_a_settlement_without_a_winner_releases_the_seats_of_the_root_that_it_names(new_world: NewWorld) -> None:
    play = new_world().play(JURY, call_out_fee=3 * 10**13)
    lies = [play.truth.lie(0), play.truth.lie(1)]
    play.vote(ann=play.truth, bob=lies[0], cat=lies[1])
    play.end_phase()
    play.settle(lies[0], "ann", "bob", "cat")
    assert [play.holds_seats(worker) for worker in JURY] == [True, False, True]
    assert play.state.outcome == Outcome.HUNG and play.credit_of("bob") == 10**13


def test_no_shows_are_released_by_their_commitment_one_by_one(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 1, "bob": 1, "cat": 1, "dan": 1}, quorum=3)
    play.commit_all(ann=play.truth, bob=play.truth, cat=play.truth, dan=play.truth)
    play.reveal_all("ann", "bob")
    play.end_phase()
    play.end_phase()
    play.settle()
    commitment, refs = play.sealed["cat"].commitment, [play.ref(worker) for worker in play.seats]
    play.world.send("keeper", "release", play.job, commitment, refs)
    assert [play.holds_seats(worker) for worker in play.seats] == [True, True, False, True]
    with pytest.raises(errors.NothingToRelease):  # a no-show's root was never revealed
        play.world.send("keeper", "release", play.job, play.truth.root, [play.ref("dan")])


@pytest.mark.parametrize("order", [("ann", "bob"), ("bob", "ann"), ("bob",)])
def test_a_commitment_that_is_the_winning_root_saves_no_no_show(new_world: NewWorld, order: tuple[str, ...]) -> None:
    """A worker that commits to the word that the others reveal holds the same digest as they, sealed."""
    play = new_world().play(JURY)
    play.commit_all(ann=play.truth, cat=play.truth)
    play.world.send("bob", "commit", play.job, 0, play.truth.root, bytes(32), [0])
    play.reveal_all("ann", "cat")
    play.end_phase()
    play.end_phase()
    refs = [replace(play.ref(worker), lane=0) for worker in order]
    play.world.send("keeper", "settle", play.job, play.truth.root, refs)
    assert play.state.outcome == Outcome.ACCEPTED
    for left in ("ann", "bob"):
        if play.world.account(left).lanes:
            play.world.send("keeper", "release", play.job, play.truth.root, [play.ref(left)])
    assert play.world.account("bob").bonded == 0 == play.credit_of("bob")
    assert play.credit_of("ann") == play.job.terms.reward // 2


# Several calls at once


def test_a_job_is_drawn_and_its_jury_seated_in_one_transaction(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(seconds=3, blocks=3)
    signed = [play.sign(worker, play.truth) for worker in JURY]
    calls = [("draw", play.id, SEED_PROOF), ("commitFor", play.job, signed)]
    play.world.send("relayer", "multicall", calls)
    assert play.phase() == Phase.REVEALING


def test_a_worker_speaks_for_itself_in_several_calls(new_world: NewWorld) -> None:
    play = new_world().play(JURY, drawn=False)
    play.world.chain.roll(seconds=3, blocks=3)
    sealed = play.seal("ann", play.truth)
    calls = [("draw", play.id, SEED_PROOF), ("commit", play.job, 0, sealed.commitment, bytes(32), [0])]
    play.world.send("ann", "multicall", calls)
    assert play.seat("ann").holds(play.id, sealed.commitment)


def test_disputes_are_among_the_calls(new_world: NewWorld) -> None:
    play = new_world().play({"ann": 1, "bob": 1, "cat": 1, "dan": 1, "eve": 1}, quorum=3)
    lies = [play.truth.lie(0), play.truth.lie(1)]
    play.vote(ann=play.truth, bob=lies[0], cat=lies[0], dan=lies[1], eve=lies[1])
    refutations = [("refute", play.job, lie.proof(at), play.data.proof(at)) for at, lie in enumerate(lies)]
    play.world.send("ann", "multicall", refutations)
    assert play.state.refuted_seats == 4
    play.end_phase()
    ends: list[Any] = [("settle", play.job, play.truth.root, [play.ref("ann")])]
    ends += [("releaseBounty", play.job, lie.root) for lie in lies]
    ends += [("release", play.job, lie.root, [play.ref(who) for who in pair])
             for lie, pair in zip(lies, (("bob", "cat"), ("dan", "eve")), strict=True)]  # fmt: skip
    play.world.send("keeper", "multicall", ends)
    assert play.credit_of("ann") == play.job.terms.reward + 2 * play.job.terms.seat_stake
    play.world.send("ann", "multicall", [("withdraw", party("ann")), ("unbond", play.job.terms.seat_stake)])


def test_several_calls_all_happen_or_none(new_world: NewWorld) -> None:
    play = new_world().play(JURY)
    sealed = play.seal("ann", play.truth)
    committed = ("commit", play.job, 0, sealed.commitment, bytes(32), [0])
    with pytest.raises(errors.ZeroAmount):
        play.world.send("ann", "multicall", [committed, ("unbond", 0)])
    assert play.world.account("ann").locked == 0


def test_one_call_that_somebody_else_made_first_undoes_the_others_and_hinders_none_that_goes_alone(
    new_world: NewWorld,
) -> None:
    """Openings lie open in a waiting transaction: anybody can post a part of them."""
    play = new_world().play(JURY)
    lie = play.truth.lie(0)
    play.commit_all(ann=play.truth, bob=play.truth, cat=lie)
    right, wrong = (
        ("reveal", play.job, root.root, [play.opening(worker) for worker in workers])
        for root, workers in ((play.truth, ("ann", "bob")), (lie, ("cat",)))
    )
    play.world.send("saboteur", *wrong)
    with pytest.raises(errors.NothingRevealed):
        play.world.send("relayer", "multicall", [wrong, right])
    assert play.seat("ann").status == SeatStatus.SEALED
    play.world.send("relayer", *right)
    assert play.phase() == Phase.CHALLENGING


def test_no_payment_goes_with_several_calls(new_world: NewWorld) -> None:
    """A payment that two calls could both take for theirs would be spent twice."""
    play = new_world().play(JURY)
    world = play.world
    with pytest.raises(errors.RawRevert):
        world.send("ann", "multicall", [("unbond", play.job.terms.seat_stake)], value=1)
    with pytest.raises(errors.RawRevert):
        world.send("ann", "multicall", [], value=10**18)
    with pytest.raises(errors.ZeroAmount):
        world.send("ann", "multicall", [("deposit",), ("deposit",)])
    with pytest.raises(errors.WrongPayment):
        world.send("requester", "multicall", [("createJob", 1, play.job.terms, "ipfs://rows")])
    play.vote(ann=play.truth, bob=play.truth, cat=play.truth)
    with pytest.raises(errors.BondTooLow):
        play.world.send("ann", "multicall", [("multicall", [("demand", play.job, play.node(play.truth, 0, 0))])])
    unpaid = replace(play.job.terms, reward=0)
    world.send("requester", "multicall", [("createJob", nonce, unpaid, "ipfs://rows") for nonce in (1, 2)])


def test_an_unknown_function_among_several_calls_undoes_all(new_world: NewWorld) -> None:
    world = new_world()
    world.stake("ann", 10**9)
    for unknown in (b"", b"\1", b"\xde\xad\xbe\xef"):
        calls = world.oracle.encode("multicall", [world.encode("unbond", 10**9), unknown])
        with pytest.raises(errors.Reverted):
            world.chain.call(party("ann"), world.address, calls)
    assert world.account("ann").bonded == 10**9


def test_a_payee_that_calls_back_with_several_calls_is_paid_once(new_world: NewWorld) -> None:
    world = new_world()
    payee = Contract(world.chain, world.deploy("Payee"), "Payee")
    world.chain.fund(payee.address)
    world.stake("ann", 10**18)
    world.send_by(payee, "deposit", value=10**18)
    world.send_by(payee, "unbond", 10**18)
    world.chain.roll(world.bounds.unbonding_period)
    again = world.encode("multicall", [("withdraw", payee.address)])
    payee.send(party("puppeteer"), "callBack", world.address, again)
    before = world.chain.balance(payee.address)
    world.send_by(payee, "multicall", [("withdraw", payee.address)])
    assert world.chain.balance(payee.address) - before == 10**18
    assert payee.read("callbacksThatPassed") == 0


def test_the_client_joins_only_calls_of_the_oracle_that_carry_no_payment(new_world: NewWorld) -> None:
    world = new_world()
    oracle = ComputeOracle(Endpoint(Web3()), world.address)
    joined = oracle.multicall([oracle.unbond(10**9), oracle.withdraw(party("ann"))])
    assert joined.data == world.encode("multicall", [("unbond", 10**9), ("withdraw", party("ann"))])
    assert (joined.to, joined.value) == (world.address, 0)
    for call in (oracle.deposit(1), oracle.unbond(10**9)._replace(to=party("another contract"))):
        with pytest.raises(ValueError, match="carries no payment"):
            oracle.multicall([oracle.unbond(10**9), call])
