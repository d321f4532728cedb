"""Rewards in tokens: the same seats paid by the same rules as the oracle pays, tokens of every kind, and books to the unit."""

from __future__ import annotations

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from eth_typing import ChecksumAddress
from eth_utils import to_checksum_address

from contracts import errors, token_jobs
from contracts.commitment import DATA_UNAVAILABLE
from contracts.compute_oracle import SeatRef
from contracts.disputes import Node
from contracts.endpoint import Call
from contracts.job import NOBODY, Outcome, Terms
from contracts.token_jobs import NATIVE, Token, TokenJobs, nonce_of
from tests.contracts.chain import Contract, load, party
from tests.contracts.raising import raises
from tests.contracts.stage import Round, Stage
from tests.contracts.world import DATA_URI, DataSet, address_of, truth_of

CLAIM_PERIOD = 1_000
AMOUNT = 10**18 + 1
FEE = AMOUNT // 10
DATA = DataSet(5)
TRUTH = truth_of(DATA)
HONEST, REVERTING, FALSE, LYING, BURSTING, GENEROUS = range(6)
JURY = {"ann": (2, TRUTH.root), "bob": (1, TRUTH.root), "cat": (2, TRUTH.root)}


class Till(Stage):
    """A stage with token rewards on it."""

    def __init__(self) -> None:
        super().__init__()
        address = self.create(token_jobs.creation(self.oracle.address, CLAIM_PERIOD))
        self.jobs = TokenJobs(self.endpoint, address)
        self.nonce = 0

    def token(self, name: str = "GoodToken", **holdings: int) -> Contract:
        """A token of the tests; the parties named hold so much of it, and have approved all of it."""
        token = Contract(self.chain, self.chain.deploy(load(name)["bytecode"]), name)
        for holder, amount in holdings.items():
            self.mint(token, holder, amount)
        return token

    def mint(self, token: Contract, holder: str, amount: int) -> None:
        """The holder gets so much more, approved."""
        token.send(party("minter"), "mint", address_of(holder), amount)
        self.send(holder, Token(self.endpoint, of(token)).approve(self.jobs.address, 2**256 - 1))

    def pay_for(
        self, token: Contract | None, terms: Terms, amount: int = AMOUNT, fee: int = 0, funder: str = "funder"
    ) -> Round:
        """A job that pays a token, or the native coin."""
        self.nonce += 1
        call = self.jobs.create_job(of(token), amount, self.nonce, terms, DATA_URI, fee)
        self.send(funder, call)
        return Round(self, self.jobs.job(address_of(funder), self.nonce, terms))

    def play(
        self,
        token: Contract | None,
        votes: Mapping[str, tuple[int, bytes]] = JURY,
        silent: Sequence[str] = (),
        settled: bool = True,
        **given: Any,
    ) -> Round:
        """A job that pays a token, with these votes; settled with the truth where it wins."""
        self.stake(**{worker: seats for worker, (seats, _) in votes.items()})
        terms = self.terms(DATA, sum(seats for seats, _ in votes.values()))
        play = self.pay_for(token, terms, **given)
        play.vote(votes, silent)
        if settled:
            play.settle(TRUTH.root)
        return play

    def claim(self, play: Round, *workers: str) -> None:
        """Every claim these workers have, one at a time; by somebody else."""
        for worker in workers:
            self.send("keeper", self.jobs.claim(play.id, play.word(worker), [play.ref(worker)]))

    def credit(self, token: Contract | None, payee: str) -> int:
        return self.jobs.credit(of(token), address_of(payee))

    def balance(self, token: Contract | None, holder: str) -> int:
        address = address_of(holder)
        return self.chain.balance(address) if token is None else Token(self.endpoint, of(token)).balance(address)

    def withdraw(self, token: Contract | None, payee: str, to: str = "heir", least: int = 0) -> int:
        """What `to` got for the payee's credit."""
        before = self.balance(token, to)
        self.send(payee, self.jobs.withdraw(of(token), address_of(to), least))
        return self.balance(token, to) - before

    def close(self, play: Round) -> None:
        self.chain.roll(CLAIM_PERIOD)
        self.send("keeper", self.jobs.close(play.id))


def of(token: Contract | None) -> ChecksumAddress:
    return NATIVE if token is None else to_checksum_address(token.address)


@pytest.fixture
def till() -> Till:
    return Till()


# The same seats by the same rules


def test_agreeing_seats_share_a_tokens_reward_and_the_remainder_goes_back(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    play = till.play(token, {**JURY, "dan": (1, TRUTH.lie(0).root)})
    assert till.balance(token, "funder") == 0
    till.claim(play, "ann", "bob", "cat")
    share = AMOUNT // 5
    assert [till.withdraw(token, worker) for worker in ("ann", "bob", "cat")] == [2 * share, share, 2 * share]
    assert till.withdraw(token, "funder", to="funder") == AMOUNT % 5 == 1
    assert till.jobs.held(of(token)) == till.balance(token, till.jobs.address) == 0


SCENARIOS: dict[str, tuple[Outcome, dict[str, tuple[int, bytes]], Sequence[str], int]] = {
    # outcome: votes, who does not reveal, seats of the terms
    "accepted": (Outcome.ACCEPTED, {**JURY, "dan": (1, TRUTH.lie(0).root), "eve": (1, DATA_UNAVAILABLE)}, (), 7),
    "accepted, a no-show": (Outcome.ACCEPTED, JURY, ("bob",), 5),
    "hung": (
        Outcome.HUNG,
        {"ann": (2, TRUTH.root), "bob": (2, TRUTH.lie(1).root), "cat": (1, TRUTH.lie(2).root), "eve": (1, DATA_UNAVAILABLE)},
        ("cat",),
        6,
    ),
    "unavailable": (Outcome.UNAVAILABLE, {"ann": (2, DATA_UNAVAILABLE), "bob": (1, DATA_UNAVAILABLE)}, (), 3),
    "expired": (Outcome.EXPIRED, {"ann": (2, TRUTH.root), "bob": (1, DATA_UNAVAILABLE)}, (), 7),
}  # fmt: skip


@pytest.mark.parametrize("token_name", [None, "GoodToken", "NoReturnToken"])
@pytest.mark.parametrize("scenario", SCENARIOS)
def test_a_token_pays_to_the_unit_what_the_oracle_pays_in_coin(
    till: Till, scenario: str, token_name: str | None
) -> None:
    outcome, votes, silent, n = SCENARIOS[scenario]
    token = till.token(token_name, funder=AMOUNT) if token_name else None
    till.stake(jobs=2, **{worker: seats for worker, (seats, _) in votes.items()}, whale=n)
    terms = till.terms(DATA, n)
    in_coin = replace(terms, reward=AMOUNT, call_out_fee=FEE)
    till.send("requester", till.oracle.create_job(0, in_coin, DATA_URI))
    twin = Round(till, type(till.jobs.job(party("requester"), 0, terms))(party("requester"), 0, in_coin))
    play = till.pay_for(token, terms, fee=FEE)
    for each in (twin, play):
        each.vote(votes, silent)
        each.settle(TRUTH.root)
        assert each.state.outcome == outcome
        each.release(*votes)
    for worker in votes:
        owed = till.oracle.credit(party(worker))
        if owed:
            till.claim(play, worker)
        else:
            with pytest.raises(errors.OracleRevert) as caught:
                till.claim(play, worker)
            assert caught.value.name == "NothingToClaim"
        assert till.credit(token, worker) == owed
    assert till.credit(token, "funder") == till.oracle.credit(party("requester")) > 0
    assert till.jobs.reward(play.id).left == till.jobs.reward(play.id).seats == 0
    assert till.jobs.held(of(token)) == AMOUNT
    paid = [till.withdraw(token, payee) for payee in ("funder", *votes) if till.credit(token, payee)]
    assert sum(paid) == AMOUNT and till.jobs.held(of(token)) == till.balance(token, till.jobs.address) == 0


def test_a_job_that_nobody_drew_gives_everything_back(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    till.stake(ann=3)
    play = till.pay_for(token, till.terms(DATA, 3), fee=FEE)
    till.chain.roll(blocks=259)
    play.settle()
    till.send("keeper", till.jobs.allot(play.id))
    assert till.withdraw(token, "funder", to="funder") == AMOUNT


def test_a_root_that_nobody_revealed_pays_the_abstainers(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    votes = {"ann": (2, TRUTH.lie(0).root), "bob": (1, DATA_UNAVAILABLE)}
    play = till.play(token, votes, settled=False, fee=FEE)
    till.send("cat", till.disputes.execute_job(play.job, b"".join(DATA.rows)))
    play.settle(TRUTH.root)
    assert play.state.outcome == Outcome.ACCEPTED and play.state.root_seats == 0
    with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
        till.claim(play, "ann")
    till.claim(play, "bob")
    assert till.credit(token, "bob") == FEE // 3
    assert till.credit(token, "funder") == AMOUNT - FEE // 3


def test_a_root_refuted_or_silenced_earns_nothing_where_another_stands(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    lie, silenced = TRUTH.lie(0), TRUTH.lie(1)
    roots = {"ann": TRUTH.root, "bob": lie.root, "cat": silenced.root, "dan": DATA_UNAVAILABLE, "eve": TRUTH.root}
    votes = {worker: (2 if worker == "dan" else 1, root) for worker, root in roots.items()}
    play = till.play(token, votes, settled=False, fee=FEE)
    play.refute("ann", lie, 0, DATA)
    node = Node(silenced.root, 0, 0)
    till.send("ann", till.disputes.demand(play.job, node, till.disputes.bond_for(play.job, node)))
    play.settle()
    assert play.state.outcome == Outcome.HUNG
    for worker in ("bob", "cat", "dan"):
        with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
            till.claim(play, worker)
    till.claim(play, "ann", "eve")
    assert till.credit(token, "ann") == till.credit(token, "eve") == FEE // 6
    assert till.credit(token, "funder") == AMOUNT - 2 * (FEE // 6)


# Claims


def test_a_claim_needs_no_release_and_survives_one(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    play = till.play(token)
    till.claim(play, "ann")
    play.release("ann", "bob")
    assert not till.oracle.account(party("bob")).holds(play.sealed["bob"].lane)
    till.claim(play, "bob")
    assert till.credit(token, "bob") == AMOUNT // 5


def test_only_the_workers_own_next_commit_destroys_its_claim(till: Till) -> None:
    token = till.token(funder=2 * AMOUNT)
    play = till.play(token)
    play.release("ann", "bob", "cat")
    word, ref = play.word("bob"), play.ref("bob")
    second = till.pay_for(token, till.terms(DATA, 5))
    second.draw()
    till.chain.roll(second.job.terms.commit_window - 1)
    second.commit("bob", TRUTH.root, 1)
    assert second.sealed["bob"].lane == ref.lane
    with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
        till.send("bob", till.jobs.claim(play.id, word, [ref]))
    till.claim(play, "ann", "cat")  # nobody else is hurt
    till.close(play)
    assert till.credit(token, "funder") == AMOUNT // 5 + AMOUNT % 5


def test_strangers_and_repeats_spoil_no_batch_and_nobody_is_paid_twice(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    play = till.play(token)
    refs = [
        play.ref("ann"),
        SeatRef(party("stranger"), 255),
        play.ref("ann"),
        SeatRef(party("bob"), 23),
        play.ref("bob"),
    ]
    till.send("keeper", till.jobs.claim(play.id, TRUTH.root, refs))
    till.send("keeper", till.jobs.claim(play.id, TRUTH.root, [*refs, play.ref("cat")]))
    assert [till.credit(token, each) for each in JURY] == [2 * (AMOUNT // 5), AMOUNT // 5, 2 * (AMOUNT // 5)]
    assert till.jobs.is_claimed(play.id, party("ann")) and not till.jobs.is_claimed(play.id, party("stranger"))
    with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
        till.send("keeper", till.jobs.claim(play.id, TRUTH.root, refs))


def test_a_commitment_that_looks_like_the_root_earns_nothing(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    till.stake(ann=2, bob=1)
    play = till.pay_for(token, till.terms(DATA, 3), fee=FEE)
    play.draw()
    till.chain.roll(play.job.terms.commit_window - 1)
    play.commit("ann", TRUTH.root, 2)
    till.send("bob", till.oracle.commit(play.job, 0, TRUTH.root, bytes(32), [0]))  # never opens: it has no opening
    till.chain.roll()
    play.reveal("ann")
    till.chain.roll(play.job.terms.reveal_window)
    play.settle(TRUTH.root)
    lane = till.oracle.seat_at(party("bob"), 0)
    assert lane.holds(play.id, TRUTH.root)
    with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
        till.send("bob", till.jobs.claim(play.id, TRUTH.root, [SeatRef(party("bob"), 0)]))
    till.claim(play, "ann")
    assert till.credit(token, "ann") == 2 * (AMOUNT // 2)


def test_claims_count_until_somebody_closes_and_the_rest_is_the_funders(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    play = till.play(token)
    till.send("keeper", till.jobs.allot(play.id))
    end = till.jobs.reward(play.id).claim_end
    assert end == till.chain.time + CLAIM_PERIOD
    till.chain.roll_to(end - 1)
    with pytest.raises(errors.OracleRevert, match="ClaimsOpen"):
        till.send("funder", till.jobs.close(play.id))
    till.chain.roll()
    till.claim(play, "ann")
    till.send("stranger", till.jobs.close(play.id))
    with pytest.raises(errors.OracleRevert, match="NothingToClaim"):
        till.claim(play, "bob")
    assert till.credit(token, "funder") == AMOUNT - 2 * (AMOUNT // 5)
    assert till.jobs.reward(play.id).left == 0


# Creation


def test_nobody_uses_up_anothers_nonce(till: Till) -> None:
    token = till.token(funder=AMOUNT, rival=2)
    till.stake(ann=3)
    terms = till.terms(DATA, 3)
    for who, amount in (("rival", 1), ("funder", AMOUNT)):
        till.send(who, till.jobs.create_job(of(token), amount, 7, terms, DATA_URI))
    assert nonce_of(party("funder"), 7) != nonce_of(party("rival"), 7)
    job = till.jobs.job(party("funder"), 7, terms)
    assert till.oracle.job_state(till.oracle.job_id_of(job)).created_block == till.chain.number
    reward = till.jobs.reward(Round(till, job).id)
    assert (reward.funder, reward.token, reward.left) == (party("funder"), token.address, AMOUNT)
    with pytest.raises(errors.OracleRevert, match="JobExists"):
        till.send("rival", till.jobs.create_job(of(token), 1, 7, terms, DATA_URI))


def test_what_the_oracle_refuses_takes_no_token(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    till.stake(ann=2)
    with pytest.raises(errors.OracleRevert, match="TotalStakeTooLow"):
        till.pay_for(token, till.terms(DATA, 3))
    assert till.balance(token, "funder") == AMOUNT and till.jobs.held(of(token)) == 0


def test_the_contract_has_its_oracle_and_claim_period(till: Till) -> None:
    assert till.jobs.oracle() == till.oracle.address and till.jobs.claim_period() == CLAIM_PERIOD
    assert not till.jobs.reward(bytes(32)).exists


def created(till: Till, token: Contract | None, **given: Any) -> Round:
    """With enough stake, a job of three seats."""
    till.stake(ann=3)
    changes = given.pop("terms", {})
    return till.pay_for(token, till.terms(DATA, 3, **changes), **given)


@pytest.mark.parametrize("period", [0, 366 * 24 * 3600 + 1])
@raises("BadClaimPeriod(uint256,uint256)", most=366 * 24 * 3600)
def test_a_claim_period_of_nothing_or_of_years_is_refused(till: Till, period: int) -> None:
    till.create(token_jobs.creation(till.oracle.address, period))


@raises("ZeroAmount()")
def test_no_reward_is_refused(till: Till) -> None:
    created(till, None, amount=0)


@raises("CallOutFeeTooHigh(uint256,uint256)", callOutFee=11, most=10)
def test_a_call_out_fee_above_a_tenth_is_refused(till: Till) -> None:
    created(till, None, amount=109, fee=11)


@raises("NativeMoneyInTerms(uint256,uint256)", reward=1, auditBond=0)
def test_a_native_reward_beside_the_tokens_is_refused(till: Till) -> None:
    created(till, till.token(funder=AMOUNT), terms={"reward": 1})


@raises("NativeMoneyInTerms(uint256,uint256)", reward=0, auditBond=1)
def test_an_audit_bond_is_refused(till: Till) -> None:
    created(till, till.token(funder=AMOUNT), terms={"audit_bond": 1, "gold_root": bytes(31) + b"\1", "gold_count": 1})


@raises("CallOutFeeTooHigh(uint256,uint256)", callOutFee=1, most=0)
def test_a_native_call_out_fee_in_the_terms_is_refused_by_the_oracle(till: Till) -> None:
    created(till, till.token(funder=AMOUNT), terms={"call_out_fee": 1})


@pytest.mark.parametrize("sent", [AMOUNT - 1, AMOUNT + 1])
@raises("WrongPayment(uint256,uint256)", expected=AMOUNT)
def test_a_native_reward_must_be_sent_exactly(till: Till, sent: int) -> None:
    call = till.jobs.create_job(NATIVE, AMOUNT, 0, till.terms(DATA, 3), DATA_URI)
    till.send("funder", call._replace(value=sent))


@raises("WrongPayment(uint256,uint256)", expected=0, got=1)
def test_coin_sent_along_with_a_token_is_refused(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    till.send("funder", till.jobs.create_job(of(token), 1, 0, till.terms(DATA, 3), DATA_URI)._replace(value=1))


def test_coin_without_a_call_is_refused(till: Till) -> None:
    with pytest.raises(errors.RawRevert):
        till.send("funder", Call(till.jobs.address, b"", 1))


@raises("NotAToken(address)", token=party("somebody"))
def test_a_token_that_is_an_account_is_refused(till: Till) -> None:
    till.send("funder", till.jobs.create_job(party("somebody"), 1, 0, till.terms(DATA, 3), DATA_URI))


@raises("TooMuchOwed(address,uint256)", owed=2**128)
def test_more_than_the_books_hold_is_refused(till: Till) -> None:
    token = till.token(funder=2**200)
    created(till, token, amount=2**128 - 1)
    created(till, token, amount=1)


@raises("UnknownJob(bytes32)")
def test_a_job_of_somebody_elses_has_no_reward_here(till: Till) -> None:
    till.stake(ann=3)
    terms = till.terms(DATA, 3)
    till.send("ann", till.oracle.create_job(0, terms, DATA_URI))
    till.send("ann", till.jobs.allot(till.oracle.job_id_of(replace(till.jobs.job(party("ann"), 0, terms), nonce=0))))


@raises("NotSettled(bytes32)")
def test_a_claim_before_the_settlement_is_refused(till: Till) -> None:
    play = till.play(till.token(funder=AMOUNT), settled=False)
    till.claim(play, "ann")


@raises("AlreadyAllotted(bytes32)")
def test_an_outcome_is_read_once(till: Till) -> None:
    play = till.play(None)
    till.send("ann", till.jobs.allot(play.id))
    till.send("ann", till.jobs.allot(play.id))


@raises("ClaimsOpen(bytes32,uint256)", claimEnd=0)
def test_nothing_closes_before_the_outcome_was_read(till: Till) -> None:
    play = till.play(None)
    till.chain.roll(CLAIM_PERIOD)
    till.send("funder", till.jobs.close(play.id))


@raises("NothingToClaim(bytes32,bytes32)")
def test_a_worker_that_lost_has_no_claim(till: Till) -> None:
    play = till.play(None, {**JURY, "dan": (1, TRUTH.lie(0).root)})
    till.claim(play, "dan")


@raises("NothingToClaim(bytes32,bytes32)", word=TRUTH.root)
def test_seats_whose_share_is_nothing_have_no_claim(till: Till) -> None:
    play = till.play(None, {"ann": (1, TRUTH.root), "bob": (1, TRUTH.lie(0).root)}, fee=0)
    assert play.state.outcome == Outcome.HUNG
    till.claim(play, "ann")


@raises("NothingToClose(bytes32)")
def test_what_was_claimed_in_full_has_nothing_to_close(till: Till) -> None:
    play = till.play(None)
    till.claim(play, *JURY)
    till.close(play)


@raises("NothingOwed(address,address)", token=NOBODY)
def test_who_is_owed_nothing_withdraws_nothing(till: Till) -> None:
    till.withdraw(None, "ann")


@raises("PaymentRefused(address,uint256)")
def test_coin_that_its_payee_refuses_stays_its_credit(till: Till) -> None:
    play = till.play(None)
    till.claim(play, "bob")
    refuser = Contract(till.chain, till.chain.deploy(load("Payee")["bytecode"]), "Payee")
    refuser.send(party("x"), "refuse", True)
    with pytest.raises(errors.OracleRevert) as caught:
        till.withdraw(None, "bob", to=refuser.address)
    assert till.credit(None, "bob") == AMOUNT // 5
    raise caught.value


# Tokens of every kind


@raises("WrongAmountReceived(address,uint256,uint256)", expected=AMOUNT, got=AMOUNT - AMOUNT // 100)
def test_a_token_that_keeps_a_fee_is_refused(till: Till) -> None:
    token = till.token("FeeToken", funder=AMOUNT)
    token.send(party("minter"), "charge", 1, False)
    created(till, token)


@raises("WrongAmountReceived(address,uint256,uint256)", got=0)
def test_a_token_that_says_it_paid_and_did_not_is_refused(till: Till) -> None:
    token = till.token("MoodyToken", funder=AMOUNT)
    token.send(party("minter"), "turn", LYING)
    created(till, token)


@raises("WrongAmountReceived(address,uint256,uint256)", expected=AMOUNT, got=AMOUNT + 1)
def test_a_token_that_moves_more_than_it_was_told_to_is_refused(till: Till) -> None:
    token = till.token("MoodyToken", funder=AMOUNT)
    token.send(party("minter"), "turn", GENEROUS)
    created(till, token)


@raises("SafeERC20FailedOperation(address)")
def test_a_token_that_says_no_is_refused(till: Till) -> None:
    token = till.token("MoodyToken", funder=AMOUNT)
    token.send(party("minter"), "turn", FALSE)
    created(till, token)


@pytest.mark.parametrize("mood", [REVERTING, BURSTING])
def test_a_token_that_reverts_is_refused(till: Till, mood: int) -> None:
    token = till.token("MoodyToken", funder=AMOUNT)
    token.send(party("minter"), "turn", mood)
    with pytest.raises(errors.RawRevert):
        created(till, token)
    assert till.jobs.held(of(token)) == 0


@pytest.mark.parametrize("mood", [REVERTING, FALSE, LYING, BURSTING])
def test_a_token_that_stops_paying_holds_up_itself_alone_and_no_claim_is_lost(till: Till, mood: int) -> None:
    moody, good = till.token("MoodyToken", funder=AMOUNT), till.token(funder=AMOUNT)
    play = till.play(moody)
    other = till.play(good, {"dan": (9, TRUTH.root)})
    moody.send(party("minter"), "turn", mood)
    till.claim(play, "ann", "cat")
    with pytest.raises(errors.Reverted) as caught:
        till.withdraw(moody, "ann")
    expected = {REVERTING: "RawRevert", FALSE: "SafeERC20FailedOperation", LYING: "NothingMoved", BURSTING: "RawRevert"}
    assert type(caught.value).__name__ == expected[mood]
    till.claim(other, "dan")
    assert till.withdraw(good, "dan") == AMOUNT - AMOUNT % 9
    till.close(play)
    moody.send(party("minter"), "turn", HONEST)
    assert till.withdraw(moody, "ann") == 2 * (AMOUNT // 5)
    assert till.withdraw(moody, "funder") == AMOUNT // 5 + 1
    assert till.withdraw(moody, "cat") == 2 * (AMOUNT // 5)


@raises("NothingMoved(address,uint256)", amount=AMOUNT // 5)
def test_a_payment_that_only_pretends_is_undone(till: Till) -> None:
    token = till.token("MoodyToken", funder=AMOUNT)
    till.claim(play := till.play(token), "bob")
    token.send(party("minter"), "turn", LYING)
    till.withdraw(token, "bob")
    till.claim(play, "ann")


def test_a_credit_cannot_be_lost_to_the_contract_itself(till: Till) -> None:
    token = till.token(funder=AMOUNT)
    till.claim(till.play(token), "bob")
    with pytest.raises(errors.OracleRevert, match="NothingMoved"):
        till.withdraw(token, "bob", to=till.jobs.address)


def test_a_token_that_begins_to_take_a_fee_on_top_is_short_for_its_own_payees_alone(till: Till) -> None:
    greedy, good = till.token("FeeToken", funder=AMOUNT), till.token(funder=AMOUNT)
    till.claim(till.play(greedy), *JURY)
    till.claim(till.play(good, {"dan": (9, TRUTH.root)}), "dan")
    greedy.send(party("minter"), "charge", 50, True)
    share = AMOUNT // 5
    assert till.withdraw(greedy, "ann") == 2 * share  # and 50 % of that is gone from the others'
    left, owed = till.balance(greedy, till.jobs.address), till.jobs.held(of(greedy))
    assert (left, owed) == (AMOUNT - 3 * share, AMOUNT - 2 * share)
    greedy.send(party("minter"), "charge", 0, False)
    assert till.withdraw(greedy, "bob") == share * left // owed
    assert till.withdraw(good, "dan") == AMOUNT - AMOUNT % 9


def test_a_token_that_shrinks_pays_all_its_payees_the_same_part_and_takes_no_new_job(till: Till) -> None:
    shrinking, good = till.token("RebasingToken", funder=AMOUNT + 9), till.token(funder=AMOUNT)
    till.claim(till.play(shrinking, {"ann": (2, TRUTH.root), "bob": (2, TRUTH.root)}), "ann", "bob")
    till.claim(till.play(good, {"dan": (9, TRUTH.root)}), "dan")
    shrinking.send(party("minter"), "rebase", 1, 4)
    with pytest.raises(errors.OracleRevert, match="Insolvent"):
        created(till, shrinking, amount=2)
    half = AMOUNT // 2
    with pytest.raises(errors.OracleRevert, match="PaysTooLittle"):  # it may wait for better times
        till.withdraw(shrinking, "ann", least=half)
    paid = [till.withdraw(shrinking, who) for who in ("ann", "bob")]
    assert all(abs(each - half // 4) <= 1 for each in paid)
    assert till.withdraw(good, "dan") == AMOUNT - AMOUNT % 9


@raises("Insolvent(address,uint256,uint256)", owed=AMOUNT + 4)
def test_nobody_new_makes_up_for_what_a_token_lost(till: Till) -> None:
    token = till.token("RebasingToken", funder=AMOUNT + 100)
    created(till, token)
    token.send(party("minter"), "rebase", 1, 2)
    created(till, token, amount=4)


@raises("PaysTooLittle(address,uint256,uint256)", paid=0)
def test_a_credit_is_not_spent_on_nothing(till: Till) -> None:
    token = till.token("RebasingToken", funder=AMOUNT)
    till.claim(till.play(token), "ann")
    token.send(party("minter"), "rebase", 1, 10 * AMOUNT)
    till.withdraw(token, "ann")


def test_a_token_that_grows_pays_what_it_owed_and_a_shrunken_one_that_recovers_too(till: Till) -> None:
    token = till.token("RebasingToken", funder=AMOUNT)
    till.claim(till.play(token, {"ann": (2, TRUTH.root), "bob": (2, TRUTH.root)}), "ann", "bob")
    token.send(party("minter"), "rebase", 1, 3)
    token.send(party("minter"), "rebase", 3, 1)
    half = AMOUNT // 2
    assert abs(till.withdraw(token, "ann", least=half) - half) <= 3  # to whole parts
    assert abs(till.withdraw(token, "bob", least=half) - half) <= 3
    assert till.jobs.held(of(token)) == AMOUNT % 4 < till.balance(token, till.jobs.address)


def test_balances_at_the_top_of_the_range_are_no_trouble(till: Till) -> None:
    token = till.token(funder=2**128 - 1)
    token.send(party("minter"), "mint", till.jobs.address, 2**255)  # a surplus, and nobody's
    play = till.play(token, amount=2**128 - 1)
    till.claim(play, *JURY)
    share = (2**128 - 1) // 5
    assert [till.withdraw(token, worker) for worker in JURY] == [2 * share, share, 2 * share]
    assert till.balance(token, till.jobs.address) == 2**255 and till.jobs.held(of(token)) == 0


def holder(till: Till, token: Contract, amount: int) -> Contract:
    """A contract with so much of a HookToken, approved, that calls back when its tokens move."""
    made = Contract(till.chain, till.chain.deploy(load("HookedHolder")["bytecode"]), "HookedHolder")
    token.send(party("minter"), "mint", made.address, amount)
    act(till, made, Token(till.endpoint, of(token)).approve(till.jobs.address, 2**256 - 1))
    return made


def act(till: Till, who: Contract, call: Call) -> None:
    who.send(party("puppeteer"), "act", call.to, call.data, value=call.value)


@pytest.mark.parametrize("again", ["createJob", "withdraw"])
@raises("ReentrancyGuardReentrantCall()")
def test_a_sender_that_calls_back_while_it_pays_gets_nowhere(till: Till, again: str) -> None:
    token = till.token("HookToken")
    attacker = holder(till, token, 2 * AMOUNT)
    till.stake(ann=3)
    terms = till.terms(DATA, 3)
    calls = {
        "createJob": till.jobs.create_job(of(token), AMOUNT, 2, terms, DATA_URI),
        "withdraw": till.jobs.withdraw(of(token), party("heir")),
    }
    attacker.send(party("x"), "callBack", till.jobs.address, calls[again].data, True)
    act(till, attacker, till.jobs.create_job(of(token), AMOUNT, 1, terms, DATA_URI))
    assert attacker.read("callbacksThatPassed") == 0
    assert till.jobs.held(of(token)) == till.balance(token, till.jobs.address) == AMOUNT
    raise errors.decode(attacker.read("lastRefusal"))


@pytest.mark.parametrize("again", ["withdraw", "createJob"])
def test_a_payee_that_calls_back_is_paid_once(till: Till, again: str) -> None:
    token = till.token("HookToken")
    attacker = holder(till, token, AMOUNT)
    till.stake(ann=3)
    terms = till.terms(DATA, 3)
    act(till, attacker, till.jobs.create_job(of(token), AMOUNT, 1, terms, DATA_URI))
    play = Round(till, till.jobs.job(to_checksum_address(attacker.address), 1, terms))
    till.chain.roll(blocks=259)
    play.settle()
    till.send("x", till.jobs.allot(play.id))
    calls = {
        "withdraw": till.jobs.withdraw(of(token), to_checksum_address(attacker.address)),
        "createJob": till.jobs.create_job(of(token), AMOUNT, 2, terms, DATA_URI),
    }
    attacker.send(party("x"), "callBack", till.jobs.address, calls[again].data, False)
    act(till, attacker, calls["withdraw"])
    assert attacker.read("callbacksThatPassed") == 0
    assert errors.decode(attacker.read("lastRefusal")).name == "ReentrancyGuardReentrantCall"  # type: ignore[union-attr]
    assert till.balance(token, attacker.address) == AMOUNT and till.jobs.held(of(token)) == 0


def test_a_claim_from_within_a_tokens_call_changes_nothing_for_others(till: Till) -> None:
    hooked = till.token("HookToken", funder=AMOUNT)
    play = till.play(hooked)
    attacker = holder(till, hooked, 1)
    claim = till.jobs.claim(play.id, TRUTH.root, [play.ref(worker) for worker in JURY])
    attacker.send(party("x"), "callBack", till.jobs.address, claim.data, True)
    act(till, attacker, till.jobs.create_job(of(hooked), 1, 1, till.terms(DATA, 3), DATA_URI))
    assert attacker.read("callbacksThatPassed") == 1
    assert sum(till.credit(hooked, who) for who in (*JURY, "funder")) == AMOUNT
    assert till.jobs.held(of(hooked)) == till.balance(hooked, till.jobs.address) == AMOUNT + 1


def test_coin_sent_by_force_is_nobodys(till: Till) -> None:
    till.chain.fund(party("deployer"))
    till.chain.deploy("73" + till.jobs.address[2:] + "ff", value=12_345)  # selfdestruct to it
    play = till.play(None)
    till.claim(play, *JURY)
    assert sum(till.withdraw(None, who) for who in (*JURY, "funder")) == AMOUNT
    assert till.balance(None, till.jobs.address) == 12_345 and till.jobs.held(NATIVE) == 0


# Random play


class Ledger:
    """Every token's books, kept a second time from the events."""

    def __init__(self, till: Till, tokens: Sequence[Contract | None]) -> None:
        self.till = till
        self.tokens = tokens
        self.contract = Contract(till.chain, till.jobs.address, "TokenJobs")
        self.jobs: dict[bytes, ChecksumAddress] = {}
        self.left: dict[bytes, int] = {}
        self.funders: dict[bytes, str] = {}
        self.credits: dict[tuple[str, str], int] = defaultdict(int)
        self.seen = 0

    def check(self) -> None:
        """What is held is what jobs and payees are owed, to the unit, and is there unless the token took it."""
        for log in self.till.provider.logs[self.seen :]:
            event = self.contract.events.get(bytes.fromhex(log["topics"][0][2:]))
            if log["address"] == self.till.jobs.address and event is not None:
                topics = [bytes.fromhex(topic[2:]) for topic in log["topics"]]
                made = event.decode(topics, bytes.fromhex(log["data"][2:]))
                self.enter(made.name, made.args)
        self.seen = len(self.till.provider.logs)
        for token in self.tokens:
            address = of(token)
            owed = sum(self.left[job] for job in self.jobs if self.jobs[job] == address)
            owed += sum(credit for (of_token, _), credit in self.credits.items() if of_token == address)
            assert self.contract.read("held", address) == owed
        for job in self.jobs:
            assert self.contract.read("rewardOf", job)[4] == self.left[job]
        for key, credit in self.credits.items():
            assert self.contract.read("creditOf", *key) == credit

    def enter(self, name: str, args: dict[str, Any]) -> None:
        job = args.get("jobId", b"")
        if name == "JobFunded":
            self.jobs[job], self.left[job], self.funders[job] = args["token"], args["amount"], args["funder"]
        elif name in ("Allotted", "Closed"):
            self.left[job] -= args["refunded"]
            self.credits[self.jobs[job], self.funders[job]] += args["refunded"]
        elif name == "Claimed":
            self.left[job] -= args["amount"]
            self.credits[self.jobs[job], args["worker"]] += args["amount"]
        elif name == "Withdrawn":
            assert args["paid"] <= args["credit"]
            self.credits[args["token"], args["payee"]] -= args["credit"]
        assert all(amount >= 0 for amount in (*self.left.values(), *self.credits.values()))


@pytest.mark.parametrize("seed", range(4))
def test_random_play_over_many_tokens_keeps_every_book(seed: int) -> None:
    dice = random.Random(seed)
    till = Till()
    names = ("GoodToken", "NoReturnToken", "RebasingToken", "MoodyToken", "FeeToken")
    tokens: list[Contract | None] = [None, *(till.token(name, funder=2**100) for name in names)]
    plain = tokens[:3]
    ledger = Ledger(till, tokens)
    workers = ("ann", "bob", "cat")
    played: list[Round] = []
    done: dict[str, int] = defaultdict(int)

    def create() -> None:
        till.stake(**dict.fromkeys(workers, 1))
        terms = till.terms(DATA, dice.choice((3, 3, 4)))
        amount = dice.randrange(1, 10**6)
        play = till.pay_for(dice.choice(tokens), terms, amount, dice.randrange(amount // 10 + 1))
        words = dice.choices((TRUTH.root, TRUTH.lie(0).root, DATA_UNAVAILABLE), (7, 2, 2), k=3)
        votes = {worker: (1, word) for worker, word in zip(workers, words, strict=True)}
        if dice.random() < 0.2:
            votes.pop("cat")
        play.vote(votes, [worker for worker in votes if dice.random() < 0.1])
        roots = [root for _, root in votes.values() if root != DATA_UNAVAILABLE]
        play.settle(max(roots, key=roots.count, default=bytes(32)))
        played.append(play)

    def allot() -> None:
        till.send("keeper", till.jobs.allot(dice.choice(played).id))

    def claim() -> None:
        play = dice.choice(played)
        word = play.word(dice.choice(list(play.sealed)))
        till.send("keeper", till.jobs.claim(play.id, word, [play.ref(worker) for worker in play.sealed]))

    def release() -> None:
        play = dice.choice(played)
        play.release(*play.sealed)

    def close() -> None:
        till.send("keeper", till.jobs.close(dice.choice(played).id))

    def wait() -> None:
        till.chain.roll(dice.randrange(CLAIM_PERIOD))

    def withdraw() -> None:
        owed = [(address, payee) for (address, payee), credit in ledger.credits.items() if credit]
        address, payee = dice.choice(owed or [(NATIVE, party("nobody"))])
        token = next(token for token in tokens if of(token) == address)
        credit, before = till.credit(token, payee), till.jobs.held(of(token))
        got = till.withdraw(token, payee)
        assert till.jobs.held(of(token)) == before - credit
        if token in plain:
            assert got == credit

    def trouble() -> None:
        _, _, _, rebasing, moody, fee = tokens
        assert rebasing and moody and fee
        rebasing.send(party("minter"), "rebase", dice.randrange(1, 4), dice.randrange(1, 4))
        moody.send(party("minter"), "turn", dice.choice((HONEST, HONEST, REVERTING, FALSE, LYING)))
        fee.send(party("minter"), "charge", dice.choice((0, 0, 10)), dice.random() < 0.5)

    moves = {create: 3, allot: 2, claim: 6, release: 1, close: 2, wait: 1, withdraw: 6, trouble: 1}
    for move in [create] * 4 + dice.choices(list(moves), list(moves.values()), k=80):
        with suppress(errors.Reverted):
            move()
            done[move.__name__] += 1
        ledger.check()
        for token in plain:
            assert till.balance(token, till.jobs.address) == till.jobs.held(of(token))
    assert min(done[move.__name__] for move in (create, claim, withdraw)) >= 5
