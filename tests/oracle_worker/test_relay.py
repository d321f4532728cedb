"""A relay that works, and one that withholds, lies, hangs, answers garbage, replays and mixes things up."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler
from typing import Any

import numpy as np
import pytest
from eth_account import Account
from numpy.typing import NDArray

from contracts import errors, signed_commit
from contracts.commitment import SeatStatus
from contracts.compute_oracle import Opening
from contracts.job import Job, Outcome, Phase, Terms
from contracts.signed_commit import SignedCommit
from oracle_worker import duties, settings, settlement
from oracle_worker.job_codec import BadMessage
from oracle_worker.relay import Relay, RelayFailed, commit_from_json, commit_to_json, opening_from_json, opening_to_json
from oracle_worker.result import Result
from oracle_worker.settings import BadSettings
from tests.oracle_worker.site import Site, running_site, serve
from tests.oracle_worker.stage import ETHER, WINDOW, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]
Answer = Callable[[BaseHTTPRequestHandler], None]


def accept(request: BaseHTTPRequestHandler) -> None:
    serve(request, b"", 202)


@pytest.fixture
def relay() -> Iterator[Site]:
    with running_site(accept) as made:
        yield made


class Poster:
    """A relay's other end: it sends what was handed in, at a funded stranger's cost."""

    def __init__(self, stage: Stage, relay: Site) -> None:
        self.stage = stage
        self.relay = relay

    def commits(self) -> list[tuple[Job, SignedCommit]]:
        bodies = [json.loads(body) for body in self.relay.posted]
        return [commit_from_json(body, *self.to) for body in bodies if "commit" in body]

    def openings(self) -> list[tuple[Job, bytes, Opening]]:
        bodies = [json.loads(body) for body in self.relay.posted]
        return [opening_from_json(body, *self.to) for body in bodies if "opening" in body]

    @property
    def to(self) -> tuple[int, Any]:
        deployment = self.stage.contracts.deployment
        return deployment.chain_id, deployment.oracle

    def post_commits(self, posted: Posted) -> None:
        every = [commit for job, commit in self.commits() if job == posted.job]
        self.stage.owner.send(self.stage.contracts.oracle.commit_for(posted.job, every))

    def post_openings(self, posted: Posted) -> None:
        (root,) = {root for job, root, _ in self.openings() if job == posted.job}
        every = [opening for job, _, opening in self.openings() if job == posted.job]
        self.stage.owner.send(self.stage.contracts.oracle.reveal(posted.job, root, every))


def drawn(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(stage.operator().roles.signer, posted.job))
    return posted


def sent_by(operator: Operator) -> int:
    transactor = operator.roles.signer.transactor
    return transactor.web3.eth.get_transaction_count(transactor.sender)


def test_a_relay_takes_a_jury_through_commit_and_reveal_in_one_transaction_each(
    stage: Stage, wine: Rows, relay: Site
) -> None:
    jury = stage.jury(3, relay_url=relay.url + "/v1/")
    poster = Poster(stage, relay)
    before = [sent_by(one) for one in jury]
    posted = drawn(stage, wine, jury)
    for one in jury:
        assert "relay" in done(one.commit(posted)).detail
    assert stage.state(posted).granted_seats == 0
    poster.post_commits(posted)
    assert stage.phase(posted) == Phase.REVEALING
    for one in jury:
        assert "relay" in done(duties.reveal(one.roles.signer, posted.job)).detail
    poster.post_openings(posted)
    assert stage.phase(posted) == Phase.CHALLENGING
    assert [sent_by(one) for one in jury] == before
    assert relay.seen == ["/v1/commits"] * 3 + ["/v1/openings"] * 3
    for one in jury:
        nothing(duties.reveal(one.roles.signer, posted.job))
    stage.advance(WINDOW)
    done(settlement.settle(jury[0].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    assert [one.books.credit for one in jury] == [ETHER // 3] * 3


def test_what_a_relay_withholds_is_sent_at_half_of_the_window(stage: Stage, wine: Rows, relay: Site) -> None:
    (one,) = jury = stage.jury(1, relay_url=relay.url)
    posted = drawn(stage, wine, jury)
    assert done(one.commit(posted)).receipts == ()
    stage.advance(WINDOW // 2 - 30)
    assert done(duties.commit(one.roles.signer, posted.job)).receipts == ()
    stage.advance(31)
    assert len(done(duties.commit(one.roles.signer, posted.job)).receipts) == 1
    assert done(duties.reveal(one.roles.signer, posted.job)).receipts == ()
    stage.advance(WINDOW // 2 - 30)
    assert done(duties.reveal(one.roles.signer, posted.job)).receipts == ()
    stage.advance(31)
    assert len(done(duties.reveal(one.roles.signer, posted.job)).receipts) == 1
    assert one.seat(posted).status == SeatStatus.REVEALED


def test_a_commitment_held_back_beyond_half_of_the_window_is_worth_nothing(
    stage: Stage, wine: Rows, relay: Site
) -> None:
    (one,) = jury = stage.jury(1, relay_url=relay.url)
    posted = drawn(stage, wine, jury)
    done(one.commit(posted))
    stage.advance(WINDOW // 2 + 1)
    with pytest.raises(errors.NothingCommitted):
        Poster(stage, relay).post_commits(posted)
    assert len(done(duties.commit(one.roles.signer, posted.job)).receipts) == 1


def say(text: bytes) -> Answer:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.wfile.write(text)
        request.close_connection = True

    return answer


def hang(request: BaseHTTPRequestHandler) -> None:
    time.sleep(3)


def drip(request: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.1 202 Accepted\r\nX: " + b"x" * 2000:
        request.wfile.write(bytes([byte]))
        time.sleep(0.05)


def flood(request: BaseHTTPRequestHandler) -> None:
    for _ in range(10_000):
        request.wfile.write(b"X-Noise: " + b"x" * 60_000 + b"\r\n")


def interim(request: BaseHTTPRequestHandler) -> None:
    for _ in range(10_000):
        request.wfile.write(b"HTTP/1.1 102 Processing\r\n\r\n")
        time.sleep(0.01)


def redirect(request: BaseHTTPRequestHandler) -> None:
    serve(request, b"", 307, Location="http://169.254.169.254/latest")


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: serve(request, b"", 200),
        lambda request: serve(request, b'{"accepted": true}', 400),
        lambda request: serve(request, b"", 503),
        say(b"\x00\xff garbage\r\n\r\n"),
        say(b""),
        say(b"HTTP/1.1 999999 No\r\n\r\n"),
        redirect,
        hang,
        drip,
        flood,
        interim,
    ],
)
def test_a_relay_that_does_not_plainly_accept_costs_a_moment_and_gas(
    stage: Stage, wine: Rows, relay: Site, answer: Answer
) -> None:
    relay.answer = answer
    (one,) = jury = stage.jury(1, relay_url=relay.url, relay_seconds=1)
    posted = drawn(stage, wine, jury)
    messages = one.messages(posted)
    both: list[Callable[[], Result]]
    both = [lambda: one.collect(messages[0]), lambda: duties.reveal(one.roles.signer, posted.job)]
    for duty in both:
        began = time.monotonic()
        assert len(done(duty()).receipts) == 1
        assert time.monotonic() - began < 2.5
    assert one.seat(posted).status == SeatStatus.REVEALED
    assert len(relay.seen) == 2


def test_of_an_accepting_answer_no_body_is_read(stage: Stage, wine: Rows, relay: Site) -> None:
    def answer(request: BaseHTTPRequestHandler) -> None:
        request.send_response(202)
        request.end_headers()
        for _ in range(200):
            request.wfile.write(b"[" * 100_000)
            time.sleep(0.05)

    relay.answer = answer
    (one,) = jury = stage.jury(1, relay_url=relay.url, relay_seconds=5)
    posted = drawn(stage, wine, jury)
    (message,) = one.messages(posted)
    began = time.monotonic()
    assert done(one.collect(message)).receipts == ()
    assert time.monotonic() - began < 2


def test_a_relay_that_is_not_there_is_done_without(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, relay_url="http://127.0.0.1:9")
    posted = drawn(stage, wine, jury)
    assert len(done(one.commit(posted)).receipts) == 1


def test_jobs_signed_at_the_same_time_do_not_ask_for_the_same_lane(stage: Stage, wine: Rows, relay: Site) -> None:
    one = stage.operator(relay_url=relay.url)
    stake = stage.seat_stake()
    one.deposit(12 * stake)
    jobs = [stage.post(wine, 12, quorum=7) for _ in range(6)]
    for posted in jobs:
        done(duties.draw(one.roles.signer, posted.job))
        done(one.commit(posted))
    lanes = [commit.lane for _, commit in Poster(stage, relay).commits()]
    assert len(set(lanes)) >= 3  # by chance two may meet: see the next test
    for posted in jobs:
        done(one.commit(posted))
    assert [commit.lane for _, commit in Poster(stage, relay).commits()][
        6:
    ] == lanes  # the same again, not more of them


def test_a_lane_that_another_job_took_meanwhile_is_no_harm(
    stage: Stage, wine: Rows, relay: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = stage.operator(relay_url=relay.url)
    one.deposit(2 * stage.seat_stake())
    first, second = (stage.post(wine, 2, quorum=2) for _ in range(2))
    for each in (first, second):
        done(duties.draw(one.roles.signer, each.job))
    monkeypatch.setattr(duties, "_lane", lambda account, job_id, *, relayed: next(account.free_lanes(), None))
    done(one.commit(first))
    done(one.commit(second))
    poster = Poster(stage, relay)
    poster.post_commits(second)
    with pytest.raises(errors.NothingCommitted):  # skipped: LaneTaken
        poster.post_commits(first)
    one.deposit(2 * stage.seat_stake())  # what the first job locked is not free for the second
    stage.advance(WINDOW // 2 + 1)
    assert len(done(duties.commit(one.roles.signer, first.job)).receipts) == 1
    view = one.roles.signer.view
    lanes = [view.history(view.sight(each.job)).seats[one.account.address].lane for each in (first, second)]
    assert sorted(lanes) == [0, 1]
    for each in (first, second):
        done(duties.reveal(one.roles.signer, each.job))


def test_a_replayed_commitment_gives_no_further_seat_and_fits_no_other_job(
    stage: Stage, wine: Rows, relay: Site
) -> None:
    one, other = stage.operator(relay_url=relay.url), stage.operator()
    for each in (one, other):
        each.deposit(4 * stage.seat_stake())
    posted = stage.post(wine, 8, quorum=5)
    done(duties.draw(one.roles.signer, posted.job))
    done(one.commit(posted))
    poster = Poster(stage, relay)
    poster.post_commits(posted)
    count = one.seat(posted).count
    with pytest.raises(errors.NothingCommitted):
        poster.post_commits(posted)
    again = stage.post(wine, 4, quorum=3)
    done(duties.draw(one.roles.signer, again.job))
    with pytest.raises(errors.NothingCommitted):
        stage.owner.send(stage.contracts.oracle.commit_for(again.job, [poster.commits()[0][1]]))
    assert one.seat(posted).count == count == 4


def test_an_altered_commitment_is_the_workers_no_more(stage: Stage, wine: Rows, relay: Site) -> None:
    (one,) = jury = stage.jury(1, relay_url=relay.url)
    posted = drawn(stage, wine, jury)
    done(one.commit(posted))
    ((_, commit),) = Poster(stage, relay).commits()
    deployment = stage.contracts.deployment
    for changed in (
        replace(commit, lane=commit.lane ^ 1),
        replace(commit, commitment=bytes(32)),
        replace(commit, sealed_root=bytes(32)),
        replace(commit, tickets=(0, 1)),
        replace(commit, deadline=commit.deadline + 1000),
        replace(commit, worker=stage.owner.sender),
    ):
        signer = signed_commit.signer_of(changed, deployment.chain_id, deployment.oracle, posted.id)
        assert signer != changed.worker
        with pytest.raises(errors.NothingCommitted):
            stage.owner.send(stage.contracts.oracle.commit_for(posted.job, [changed]))


def test_an_opening_opens_nothing_else(stage: Stage, wine: Rows, relay: Site) -> None:
    one, other = jury = stage.jury(2, relay_url=relay.url)
    posted = drawn(stage, wine, jury, quorum=2)
    for each in jury:
        done(each.commit(posted))
    poster = Poster(stage, relay)
    poster.post_commits(posted)
    done(duties.reveal(one.roles.signer, posted.job))
    ((_, root, opening),) = poster.openings()
    reveal = stage.contracts.oracle.reveal
    for wrong in (replace(opening, worker=other.account.address), replace(opening, lane=opening.lane ^ 1)):
        with pytest.raises(errors.NothingRevealed):
            stage.owner.send(reveal(posted.job, root, [wrong]))
    with pytest.raises(errors.NothingRevealed):
        stage.owner.send(reveal(posted.job, bytes(32), [opening]))
    stage.owner.send(reveal(posted.job, root, [opening]))
    with pytest.raises(errors.NothingRevealed):
        stage.owner.send(reveal(posted.job, root, [opening]))


def test_no_opening_is_handed_in_before_the_commit_phase_is_deep(stage: Stage, wine: Rows, relay: Site) -> None:
    (one,) = jury = stage.jury(1, relay_url=relay.url, confirmations=5)
    posted = drawn(stage, wine, jury)
    done(one.commit(posted))
    Poster(stage, relay).post_commits(posted)
    assert "deep" in nothing(duties.reveal(one.roles.signer, posted.job)).reason
    assert relay.seen == ["/commits"]


def test_seats_won_later_are_handed_in_for_the_same_lane_and_commitment(stage: Stage, wine: Rows, relay: Site) -> None:
    one, other = stage.operator(relay_url=relay.url), stage.operator()
    stake = stage.seat_stake()
    one.deposit(2 * stake)
    other.deposit(10 * stake)
    posted = stage.post(wine, 12, quorum=7)
    done(duties.draw(one.roles.signer, posted.job))
    one.roles.signer.transactor.send(stage.contracts.oracle.unbond(stake))
    done(one.commit(posted))  # with the stake there is for one seat
    poster = Poster(stage, relay)
    poster.post_commits(posted)
    one.deposit(stake)
    done(duties.commit(one.roles.signer, posted.job))
    first, second = (commit for _, commit in poster.commits())
    assert (first.lane, first.commitment) == (second.lane, second.commitment)
    poster.post_commits(posted)
    assert one.seat(posted).count == 2


# ------------------------------------------------------------------------------------------------------- the two messages

TERMS = Terms(
    model_id=b"\x08" * 32,
    data_root=b"\x09" * 32,
    data_uri_hash=b"\x0a" * 32,
    item_count=178,
    seats=5,
    quorum=3,
    seat_stake=10**15,
    reward=10**18,
    commit_window=60,
    reveal_window=60,
    challenge_window=60,
    response_window=60,
)
ORACLE = Account.from_key(b"\1" * 32).address
JOB = Job(Account.from_key(b"\2" * 32).address, 7, TERMS)
COMMIT = signed_commit.sign(
    Account.from_key(b"\3" * 32), 31337, ORACLE, bytes(32), 23, b"\4" * 32, b"\5" * 32, (0, 7, 2**40), 2**40
)
OPENING = Opening(Account.from_key(b"\3" * 32).address, 23, b"\6" * 32)


def test_messages_survive_their_way_through_json() -> None:
    sent = json.loads(json.dumps(commit_to_json(31337, ORACLE, JOB, COMMIT)))
    assert commit_from_json(sent, 31337, ORACLE) == (JOB, COMMIT)
    sent = json.loads(json.dumps(opening_to_json(31337, ORACLE, JOB, b"\7" * 32, OPENING)))
    assert opening_from_json(sent, 31337, ORACLE) == (JOB, b"\7" * 32, OPENING)


def test_messages_for_another_deployment_are_told_apart() -> None:
    sent = commit_to_json(31337, ORACLE, JOB, COMMIT)
    for where in ((1, ORACLE), (31337, JOB.requester)):
        with pytest.raises(BadMessage, match="the message is for the oracle"):
            commit_from_json(sent, *where)


def test_what_is_no_message_is_refused() -> None:
    good: Any
    wrong: Any
    for good, read, part in (
        (commit_to_json(31337, ORACLE, JOB, COMMIT), commit_from_json, "commit"),
        (opening_to_json(31337, ORACLE, JOB, b"\7" * 32, OPENING), opening_from_json, "opening"),
    ):
        read(good, 31337, ORACLE)
        for wrong in (None, [], {}, "x", {**good, "more": 1}, {**good, "job": {}}, {**good, part: []}):
            with pytest.raises(BadMessage):
                read(wrong, 31337, ORACLE)
        for name in good[part]:
            for wrong in (None, 1, "", "0x", [], "256000000000000000000000000000000000", ["-1"], ["0"] * 256):
                with pytest.raises(BadMessage):
                    read({**good, part: {**good[part], name: wrong}}, 31337, ORACLE)
        for name in ("chain_id", "oracle"):
            with pytest.raises(BadMessage):
                read({**good, name: None}, 31337, ORACLE)


def test_a_relays_url_must_be_one() -> None:
    with pytest.raises(BadSettings, match="QUORATE_RELAY_URL"):
        settings.load(relay_url="relay.example.org")
    assert settings.load(relay_url="https://relay.example.org/key/").relay_url == "https://relay.example.org/key"
    assert "secret-word" not in repr(settings.load(relay_url="https://relay.example.org/secret-word"))


def test_a_url_that_cannot_be_is_a_failure_like_any_other() -> None:
    for url in ("http://[::", "http://user:word@127.0.0.1", "http://"):
        with pytest.raises(RelayFailed):
            Relay(url, 1.0, 31337, ORACLE).hand_in_commit(JOB, COMMIT)
