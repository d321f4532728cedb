"""A relay on a real chain: what it takes on, what it refuses, what it posts together, and what it does not waste gas on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, cast

import pytest
from eth_account import Account

from contracts import errors
from contracts.commitment import compute
from contracts.compute_oracle import Opening
from contracts.endpoint import Call, ChainUnreachable, call_of
from contracts.job import Job, Outcome, Phase
from contracts.signed_commit import SignedCommit, sign
from contracts.stake import winning_tickets
from contracts.transactor import Transactor
from coordinator.devnet import dev_keys
from coordinator.job_store import JobStore
from coordinator.job_view import JobView
from coordinator.relay import FIRST_PAUSE, Relay
from coordinator.relay_desk import LAST_POST, WAIT_SHARE, Desk, NotTaken
from oracle_worker.relay import commit_to_json, opening_to_json
from tests.coordinator.oracle_chain import SALT, OracleChain, Sender, oracle_chain

ROOT, OTHER_ROOT = b"\x01" * 32, b"\x02" * 32
WINDOW = 600
"""Seconds of every window of these jobs."""


class Payer(Sender):
    """The relay's key: simulates, and then sends and mines at once."""

    def __init__(self, chain: OracleChain) -> None:
        super().__init__(chain.endpoint, Account.from_key(dev_keys(6)[5]))
        self.sent: list[Call] = []

    def send(self, what: Any, *, deadline: int | None = None) -> Any:
        call = call_of(what)
        self.endpoint.simulate(call, self.account.address)
        self.sent.append(call)
        return super().send(call)


@dataclass
class Station:
    """A relay, the chain it works on, and a way to hand things in."""

    chain: OracleChain
    store: JobStore
    desk: Desk
    relay: Relay
    payer: Payer
    now: list[float]
    """The relay machine's clock."""

    def job(self, nonce: int = 0, **terms: Any) -> Job:
        job = self.chain.create(nonce=nonce, **terms)
        self.chain.mine(3)
        return job

    def drawn(self, nonce: int = 0, **terms: Any) -> Job:
        job = self.chain.create(nonce=nonce, **terms)
        self.chain.draw(job)
        return job

    def view(self, job: Job) -> JobView:
        view = self.store.view(self.chain.job_id(job))
        assert view is not None
        return view

    def phase(self, job: Job) -> Phase:
        return self.chain.contracts.oracle.phase(job)

    def commit(self, job: Job, worker: int, **changes: Any) -> dict[str, Any]:
        """A worker's message; `changes` to what it signs, `altered` to what it hands in after signing."""
        given: dict[str, Any] = {"tickets": (0, 1) if worker == 0 else (0,)}
        given |= {name: value for name, value in changes.items() if name != "altered"}
        return self.message(job, replace(self.signed(job, worker, **given), **changes.get("altered", {})))

    def signed(
        self,
        job: Job,
        worker: int,
        *,
        root: bytes = ROOT,
        tickets: tuple[int, ...] = (0,),
        lane: int = 0,
        deadline: int = 2**40,
    ) -> SignedCommit:
        to, account = self.chain.deployment, self.chain.workers[worker].account
        job_id = self.chain.job_id(job)
        commitment = compute(job_id, account.address, root, SALT)
        return sign(account, to.chain_id, to.oracle, job_id, lane, commitment, bytes(32), tickets, deadline)

    def message(self, job: Job, signed: SignedCommit) -> dict[str, Any]:
        return commit_to_json(self.chain.deployment.chain_id, self.chain.deployment.oracle, job, signed)

    def opening(self, job: Job, worker: int, root: bytes = ROOT, lane: int = 0, salt: bytes = SALT) -> dict[str, Any]:
        deployment, opening = self.chain.deployment, Opening(self.chain.address(worker), lane, salt)
        return opening_to_json(deployment.chain_id, deployment.oracle, job, root, opening)

    def refuses_commit(self, body: object) -> NotTaken:
        with pytest.raises(NotTaken) as refused:
            self.desk.take_commit(body)
        return refused.value

    def refuses_opening(self, body: object) -> NotTaken:
        with pytest.raises(NotTaken) as refused:
            self.desk.take_opening(body)
        return refused.value

    def all_commit(self, job: Job, roots: tuple[bytes, ...] = (ROOT, ROOT, ROOT, ROOT)) -> None:
        """Every seat is taken, by the relay."""
        for worker, root in enumerate(roots):
            self.desk.take_commit(self.commit(job, worker, root=root))
        self.relay.cycle()

    def pass_time(self, seconds: float) -> None:
        self.chain.advance(int(seconds))
        self.relay.cycle()


@pytest.fixture
def station(tmp_path: Path) -> Iterator[Station]:
    with oracle_chain() as chain, JobStore(tmp_path / "relay.sqlite", chain.source) as store:
        yield made(chain, store)


def made(chain: OracleChain, store: JobStore, **more: Any) -> Station:
    desk = Desk(chain.deployment.chain_id, chain.deployment.oracle, store, block_time=1, **more)
    payer = Payer(chain)
    now = [1000.0]
    relay = Relay(chain.contracts, cast(Transactor, payer), store, desk, clock=lambda: now[0])
    relay.cycle()
    return Station(chain, store, desk, relay, payer, now)


# ---- What it posts ----


def test_a_whole_job_takes_three_transactions_of_the_relay_and_none_of_the_workers(station: Station) -> None:
    job = station.job()
    station.relay.cycle()
    roots = (ROOT, OTHER_ROOT, ROOT, ROOT)
    station.all_commit(job, roots)
    assert station.phase(job) == Phase.REVEALING, "drawn and committed at once"
    station.relay.cycle()
    for worker, root in enumerate(roots):
        station.desk.take_opening(station.opening(job, worker, root))
    station.relay.cycle()
    assert station.phase(job) == Phase.CHALLENGING, "both roots at once"
    station.pass_time(WINDOW + 1)
    station.relay.cycle()
    view = station.view(job)
    assert view.state.outcome == Outcome.ACCEPTED and view.state.root == ROOT and view.state.root_seats == 4
    assert all(seat.is_released for seat in view.seats.values()) and view.is_closed
    assert len(station.payer.sent) == station.relay.posted == 3
    station.pass_time(1)
    assert len(station.payer.sent) == 3 and station.desk.kept == 0


def test_messages_wait_for_others_but_never_until_the_workers_would_send_them(station: Station) -> None:
    job = station.drawn()
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 1))
    station.relay.cycle()
    assert station.payer.sent == []
    station.pass_time(WINDOW / WAIT_SHARE + 1)
    assert len(station.payer.sent) == 1 and station.view(job) is not None
    station.pass_time(WINDOW * LAST_POST - WINDOW / WAIT_SHARE)
    station.desk.take_commit(station.commit(job, 2))
    station.relay.cycle()
    assert len(station.payer.sent) == 2, "late ones are not kept waiting"
    station.desk.take_commit(station.commit(job, 0))
    station.desk.take_commit(station.commit(job, 3))
    station.relay.cycle()
    assert station.phase(job) == Phase.REVEALING
    station.relay.cycle()
    station.desk.take_opening(station.opening(job, 0))
    station.relay.cycle()
    assert len(station.payer.sent) == 3
    station.pass_time(WINDOW / WAIT_SHARE + 1)
    assert len(station.payer.sent) == 4


def test_what_a_worker_sent_itself_meanwhile_costs_the_relay_nothing(station: Station) -> None:
    job = station.drawn()
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 1))
    station.chain.commit(job, 1, ROOT)
    station.pass_time(WINDOW / 4)
    assert station.payer.sent == []
    station.desk.take_commit(station.commit(job, 2))
    station.pass_time(WINDOW / 4)
    (posted,) = station.payer.sent
    assert posted.data == station.chain.contracts.oracle.commit_for(job, [station.signed(job, 2)]).data
    for worker in (0, 3):
        station.chain.commit(job, worker, ROOT, (0, 1) if worker == 0 else (0,))
    station.relay.cycle()
    station.desk.take_opening(station.opening(job, 1))
    station.chain.reveal(job, 1, ROOT)
    station.pass_time(WINDOW / 4)
    assert station.payer.sent == [posted]
    station.desk.take_opening(station.opening(job, 2))
    station.pass_time(WINDOW / 4)
    assert station.payer.sent[1:] == [station.chain.contracts.oracle.reveal(job, ROOT, [station.chain.opening(2)])]


def test_a_longer_list_of_tickets_takes_the_place_of_a_shorter_one(station: Station) -> None:
    job = station.drawn()
    station.relay.cycle()
    long, short = station.commit(job, 0), station.commit(job, 0, tickets=(1,))
    station.desk.take_commit(short)
    station.desk.take_commit(long)
    station.desk.take_commit(short)  # a replay
    assert station.desk.kept == 1
    station.pass_time(WINDOW / 2)
    station.relay.cycle()
    assert station.view(job).seats[station.chain.address(0)].count == 2
    station.desk.take_commit(short)
    station.relay.cycle()
    assert len(station.payer.sent) == 1


def test_seats_that_the_odds_bring_later_are_added_to_the_same_commitment(station: Station) -> None:
    job = station.drawn()
    station.chain.commit(job, 0, ROOT, (0,))
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 0, tickets=(0, 1)))
    station.pass_time(WINDOW / 2)
    station.relay.cycle()
    assert station.view(job).seats[station.chain.address(0)].count == 2


def test_what_a_reorganisation_took_back_is_posted_again(station: Station) -> None:
    job = station.drawn()
    station.chain.mine(3)
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 1))
    station.pass_time(WINDOW / WAIT_SHARE + 1)
    station.relay.cycle()
    assert station.view(job).state.granted_seats == 1
    station.chain.reorganise(1)
    station.chain.mine(2)
    station.relay.cycle()
    station.pass_time(1)
    station.relay.cycle()
    assert station.view(job).state.granted_seats == 1


def test_a_job_that_found_too_few_seats_is_ended_too(station: Station) -> None:
    job = station.drawn(call_out_fee=10**14)
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 1))
    station.desk.take_commit(station.commit(job, 2))
    station.pass_time(WINDOW / 2)
    station.pass_time(WINDOW / 2 + 1)
    station.relay.cycle()
    view = station.view(job)
    assert view.state.outcome == Outcome.EXPIRED and view.is_closed
    assert {seat.paid for seat in view.seats.values()} == {10**14 // 5}


def test_jobs_it_did_nothing_for_are_not_the_relays_to_end(station: Station) -> None:
    job = station.drawn()
    station.chain.commit(job, 1, ROOT)
    station.pass_time(WINDOW + 1)
    assert station.payer.sent == [] and station.phase(job) == Phase.SETTLING


def test_what_fails_is_tried_again_after_a_while_and_holds_nothing_else_up(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = station.drawn(1), station.drawn(2)
    station.relay.cycle()
    station.desk.take_commit(station.commit(first, 1))
    station.desk.take_commit(station.commit(second, 2))
    attempts: list[Call] = []
    honest = station.payer.send
    bad = station.chain.job_id(first)

    def send(call: Call, *, deadline: int | None = None) -> Any:
        attempts.append(call)
        if first.nonce.to_bytes(32, "big") in call.data and len(attempts) == 1:
            raise ChainUnreachable("somewhere", "down")
        return honest(call, deadline=deadline)

    monkeypatch.setattr(station.payer, "send", send)
    station.pass_time(WINDOW / WAIT_SHARE + 1)
    assert len(attempts) == 2 and len(station.payer.sent) == 1
    station.relay.cycle()
    assert len(attempts) == 2, "not at once"
    station.now[0] += FIRST_PAUSE
    station.relay.cycle()
    station.relay.cycle()
    assert len(station.payer.sent) == 2 and station.view(first).job_id == bad
    assert station.view(first).state.granted_seats == 1


# ---- What it does not take on ----


def test_a_signature_is_for_its_worker_job_lane_and_list_alone(station: Station) -> None:
    job, other = station.drawn(1), station.drawn(2)
    station.relay.cycle()
    right = station.commit(job, 0)
    for body in (
        station.commit(job, 0, altered={"worker": station.chain.address(1), "tickets": (0,)}),
        station.commit(job, 0, altered={"lane": 3}),
        station.commit(job, 0, altered={"tickets": (0,)}),
        station.commit(job, 0, altered={"sealed_root": b"\x09" * 32}),
        station.commit(job, 0, altered={"deadline": 2**41}),
        station.commit(job, 0, altered={"r": bytes(32)}),
        station.commit(job, 0, altered={"vs": b"\xff" * 32}),
        {**right, "job": station.commit(other, 0)["job"]},
    ):
        refusal = station.refuses_commit(body)
        assert (refusal.status, str(refusal)) == (HTTPStatus.FORBIDDEN, "the worker did not sign it")
    for domain in ({"chain_id": "1"}, {"oracle": "0x" + "11" * 20}):
        assert station.refuses_commit({**right, **domain}).status == HTTPStatus.BAD_REQUEST
    assert station.desk.kept == 0
    station.desk.take_commit(right)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"tickets": (0, 2)}, "no such ticket"),
        ({"tickets": (1, 0)}, "must ascend"),
        ({"tickets": (0, 0)}, "must ascend"),
        ({"tickets": (0, 1, 2, 3, 4, 5)}, "more tickets than the job has seats"),
        ({"tickets": tuple(range(255))}, "more tickets than the job has seats"),
        ({"lane": 24}, "the lane holds"),
        ({"lane": 255}, "the lane holds"),
        ({"deadline": 1}, "deadline is past"),
    ],
)
def test_what_the_chain_would_not_grant_is_refused(station: Station, changes: dict[str, Any], reason: str) -> None:
    job = station.drawn()
    station.relay.cycle()
    refusal = station.refuses_commit(station.commit(job, 0, **changes))
    assert refusal.status == HTTPStatus.CONFLICT and reason in str(refusal)
    assert station.desk.kept == 0


def test_a_ticket_that_does_not_win_yet_is_refused_until_the_odds_have_grown(station: Station) -> None:
    job = station.drawn(seats=1, quorum=1)
    station.relay.cycle()
    view = station.view(job)
    losers = []
    for worker, tickets in enumerate((2, 1, 1, 1)):
        stake = view.terms.seat_stake
        won = set(winning_tickets(view.state.seed, station.chain.address(worker), tickets, stake, view.total_stake))
        losers += [(worker, ticket) for ticket in range(tickets) if ticket not in won]
    worker, ticket = losers[0]
    assert "does not win (yet)" in str(station.refuses_commit(station.commit(job, worker, tickets=(ticket,))))
    station.pass_time(WINDOW * 7 / 8)
    station.desk.take_commit(station.commit(job, worker, tickets=(ticket,)))


def test_lanes_stake_and_seats_are_promised_only_once(station: Station) -> None:
    first, second = station.drawn(1), station.drawn(2)
    station.relay.cycle()
    station.desk.take_commit(station.commit(first, 0, lane=4))
    assert "seats of another job" in str(station.refuses_commit(station.commit(second, 0, lane=4)))
    assert "free stake does not suffice" in str(station.refuses_commit(station.commit(second, 0, lane=5)))
    assert station.refuses_commit(station.commit(first, 0, root=OTHER_ROOT, lane=4)).status == HTTPStatus.CONFLICT
    station.chain.commit(second, 1, ROOT, lane=9)
    station.relay.cycle()
    assert "in another lane" in str(station.refuses_commit(station.commit(second, 1, lane=8)))
    assert "seats of another job" in str(station.refuses_commit(station.commit(first, 1, lane=9)))
    small = station.drawn(3, seats=1, quorum=1)
    station.pass_time(WINDOW * 7 / 8)
    station.desk.take_commit(station.commit(small, 2))
    assert str(station.refuses_commit(station.commit(small, 3))) == "the jury is full"


def test_an_opening_is_held_against_what_was_sealed(station: Station) -> None:
    job = station.drawn()
    station.relay.cycle()
    assert "not opened now" in str(station.refuses_opening(station.opening(job, 0)))
    station.all_commit(job)
    station.relay.cycle()
    for body, status in (
        (station.opening(job, 0, OTHER_ROOT), HTTPStatus.FORBIDDEN),
        (station.opening(job, 0, salt=bytes(32)), HTTPStatus.FORBIDDEN),
        (station.opening(job, 0, lane=1), HTTPStatus.CONFLICT),
        ({**station.opening(job, 0), "root": "0x12"}, HTTPStatus.BAD_REQUEST),
    ):
        assert station.refuses_opening(body).status == status
    assert station.desk.kept == 0
    station.desk.take_opening(station.opening(job, 0))
    station.desk.take_opening(station.opening(job, 0))
    assert station.desk.kept == 1
    assert station.refuses_commit(station.commit(job, 0)).status == HTTPStatus.CONFLICT


def test_unknown_jobs_and_those_that_are_over_are_none(station: Station) -> None:
    job = station.drawn()
    station.relay.cycle()
    unknown = replace(job, nonce=99)
    assert station.refuses_commit(station.commit(unknown, 0)).status == HTTPStatus.NOT_FOUND
    undrawn = station.chain.create(nonce=7)
    station.relay.cycle()
    assert "not taken now" in str(station.refuses_commit(station.commit(undrawn, 0)))
    station.pass_time(WINDOW + 1)
    assert station.refuses_commit(station.commit(job, 0)).status == HTTPStatus.CONFLICT


def test_a_relay_for_some_works_for_those_and_keeps_no_more_than_it_may(tmp_path: Path) -> None:
    with oracle_chain() as chain, JobStore(tmp_path / "relay.sqlite", chain.source) as store:
        station = made(chain, store, served=[chain.address(1), chain.address(2)], most_kept=1)
        job = station.drawn()
        station.relay.cycle()
        assert station.refuses_commit(station.commit(job, 0)).status == HTTPStatus.FORBIDDEN
        station.desk.take_commit(station.commit(job, 1))
        refusal = station.refuses_commit(station.commit(job, 2))
        assert refusal.status == HTTPStatus.SERVICE_UNAVAILABLE
        station.desk.take_commit(station.commit(job, 1))


MANGLINGS: list[Callable[[dict[str, Any]], object]] = [
    lambda _: None,
    lambda _: [],
    lambda _: "text",
    lambda _: {},
    lambda body: {**body, "more": 1},
    lambda body: {**body, "job": None},
    lambda body: {**body, "job": {**body["job"], "nonce": -1}},
    lambda body: {**body, "job": {**body["job"], "nonce": "9" * 5000}},
    lambda body: {**body, "job": {**body["job"], "terms": {}}},
    lambda body: {**body, "commit": {**body["commit"], "tickets": []}},
    lambda body: {**body, "commit": {**body["commit"], "tickets": ["0"] * 256}},
    lambda body: {**body, "commit": {**body["commit"], "tickets": {"0": "0"}}},
    lambda body: {**body, "commit": {**body["commit"], "tickets": [str(2**56)]}},
    lambda body: {**body, "commit": {**body["commit"], "tickets": [0.5]}},
    lambda body: {**body, "commit": {**body["commit"], "lane": "256"}},
    lambda body: {**body, "commit": {**body["commit"], "worker": "0x" + "zz" * 20}},
    lambda body: {**body, "commit": {**body["commit"], "vs": "0x" + "00" * 33}},
    lambda body: {**body, "commit": {**body["commit"], "deadline": "1e9"}},
]


@pytest.mark.parametrize("mangle", MANGLINGS)
def test_a_message_that_is_none_is_refused_by_its_form(
    station: Station, mangle: Callable[[dict[str, Any]], object]
) -> None:
    job = station.drawn()
    station.relay.cycle()
    assert station.refuses_commit(mangle(station.commit(job, 0))).status == HTTPStatus.BAD_REQUEST
    assert station.refuses_opening(mangle(station.commit(job, 0))).status == HTTPStatus.BAD_REQUEST


def test_a_posting_that_the_chain_refuses_is_a_race_lost_and_nothing_more(
    station: Station, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = station.drawn()
    station.relay.cycle()
    station.desk.take_commit(station.commit(job, 1))

    def refused(_: object, **__: object) -> Any:
        raise errors.decode(bytes(errors.NothingCommitted.selector) + bytes(32))

    monkeypatch.setattr(station.payer, "send", refused)
    station.pass_time(WINDOW / 2)
    assert station.relay.posted == 0
