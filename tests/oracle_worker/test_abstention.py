"""Data that cannot be had: tried for half of the window, then abstained from, finally and never by mistake."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts.commitment import DATA_UNAVAILABLE, SeatStatus
from contracts.job import Outcome, Phase
from oracle_worker import computing, duties, settlement
from oracle_worker.computing import Fetched
from oracle_worker.data_errors import DataMismatch, DataRefused, DataSizeMismatch, DataUnavailable
from oracle_worker.job_codec import BadMessage, job_to_json
from oracle_worker.messages import ForgedMessage
from oracle_worker.policy import PolicyRefusal
from oracle_worker.queues import COLLECT, UNAVAILABLE
from oracle_worker.result import Nothing
from tests.oracle_worker.stage import ETHER, WINDOW, Operator, Posted, Stage, done, nothing

Rows = NDArray[np.uint8]


def drawn(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    return posted


def lose_data(stage: Stage) -> None:
    (stage.folder / "rows.bin").unlink()


def exhaust(stage: Stage, posted: Posted, jury: list[Operator]) -> None:
    """Try until each may abstain, but for the last try."""
    for _ in range(2):
        for one in jury:
            assert "not yet" in nothing(one.try_in_vain(posted)).reason
        stage.advance(WINDOW // 4 + 1)


def test_a_jury_without_data_ends_the_job_as_unavailable_and_is_paid_for_having_come(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(3)
    posted = drawn(stage, wine, jury, call_out_fee=ETHER // 10)
    lose_data(stage)
    exhaust(stage, posted, jury)
    for one in jury:
        done(one.try_in_vain(posted))
    for one in jury:
        assert f"0x{DATA_UNAVAILABLE.hex()}" in done(duties.reveal(one.roles.signer, posted.job)).detail
    assert [one.due(posted) for one in jury] == [[], [], []]
    stage.advance(WINDOW)
    done(settlement.settle(jury[0].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.UNAVAILABLE
    nothing(settlement.release(jury[0].roles.signer, posted.job))  # they went out with the settlement
    for one in jury:
        assert (one.books.bonded, one.books.credit) == (stage.seat_stake(), ETHER // 10 // 3)


def test_whoever_has_the_data_wins_and_whoever_abstained_loses_nothing(stage: Stage, wine: Rows) -> None:
    blind, *others = jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in others:
        done(one.commit(posted))
    lose_data(stage)
    exhaust(stage, posted, [blind])
    done(blind.try_in_vain(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    stage.advance(WINDOW)
    done(settlement.settle(jury[1].roles.signer, posted.job))
    done(settlement.release(jury[1].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    assert [one.books.bonded for one in jury] == [stage.seat_stake()] * 3
    assert [one.books.credit for one in jury] == [0, ETHER // 2, ETHER // 2]


def test_no_worker_abstains_before_it_tried_often_and_for_half_of_the_window(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    nothing(duties.abstain(one.roles.signer, posted.job))
    for _ in range(3):  # often enough, but not for long enough
        stage.advance(1)
        nothing(one.try_in_vain(posted))
    assert stage.state(posted).granted_seats == 0
    stage.advance(WINDOW // 2)
    assert "not yet" in nothing(duties.abstain(one.roles.signer, posted.job)).reason
    done(one.try_in_vain(posted))


def test_a_worker_that_began_to_try_late_does_not_abstain(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, data_tries=1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    stage.advance(WINDOW // 2 + 20)
    for _ in range(4):
        nothing(one.try_in_vain(posted))
        stage.advance(30)
    assert stage.state(posted).granted_seats == 0


def test_too_few_tries_are_not_enough_however_long_they_took(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    nothing(one.try_in_vain(posted))
    stage.advance(WINDOW // 2 + 10)
    assert "2 times" in nothing(one.try_in_vain(posted)).reason


def test_a_repeated_message_is_no_further_try(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    found = computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, 0)
    assert isinstance(found, Fetched)
    assert found.report is not None
    message = one.roles.compute.seal.close(UNAVAILABLE, found.report)
    for _ in range(5):
        stage.advance(WINDOW // 8)
        assert "1 times" in nothing(one.hear(message)).reason


def test_a_held_back_message_abstains_for_nobody(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, data_tries=2)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    nothing(one.try_in_vain(posted))
    stage.advance(WINDOW // 2 + 10)
    one.restart()
    found = computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, 0)
    assert isinstance(found, Fetched)
    assert found.report is not None
    stage.advance(WINDOW // 4)  # meanwhile the data came
    message = one.roles.compute.seal.close(UNAVAILABLE, found.report)
    assert "a while ago" in nothing(one.hear(message)).reason


def test_forged_and_malformed_reports_are_refused(stage: Stage, wine: Rows) -> None:
    one, enemy = jury = stage.jury(2)
    posted = drawn(stage, wine, jury)
    job = job_to_json(posted.job, posted.data_uri)
    body = {"job": job, "began": "0", "failed": str(2**40)}
    with pytest.raises(ForgedMessage):
        one.hear(enemy.roles.compute.seal.close(UNAVAILABLE, body))
    with pytest.raises(ForgedMessage):
        one.hear({**one.roles.compute.seal.close(COLLECT, body)})
    wrong: dict[str, Any]
    for wrong in ({"failed": 5}, {"began": "-1"}, {"job": {}}, {"more": 1}):
        with pytest.raises(BadMessage):
            one.hear(one.roles.compute.seal.close(UNAVAILABLE, {**body, **wrong}))
    assert one.roles.signer.tries.of(posted.id) is None


def test_a_worker_that_computed_any_chunk_never_abstains(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, chunk_depth=5)
    posted = drawn(stage, wine, jury)
    nothing(one.collect(one.messages(posted)[0]))
    lose_data(stage)
    one.roles.compute.data.forget(one.roles.compute.data.cached(posted.job.terms, 13))
    for _ in range(2):
        nothing(one.try_in_vain(posted))
        stage.advance(WINDOW // 4 + 1)
    assert "compute has the data" in nothing(one.try_in_vain(posted)).reason
    assert stage.state(posted).granted_seats == 0


def test_a_worker_that_gets_the_data_later_stays_with_its_abstention(stage: Stage, wine: Rows) -> None:
    one, other = jury = stage.jury(2)
    posted = drawn(stage, wine, jury, quorum=2)
    lose_data(stage)
    exhaust(stage, posted, [one])
    done(one.try_in_vain(posted))
    sealed = one.seat(posted)
    stage.store(wine)
    one.restart()
    for message in one.messages(posted):
        nothing(one.collect(message))
    assert one.seat(posted) == sealed
    done(other.commit(posted))
    assert f"0x{DATA_UNAVAILABLE.hex()}" in done(duties.reveal(one.roles.signer, posted.job)).detail


def test_an_abstention_is_revealed_from_key_and_chain_alone(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    exhaust(stage, posted, jury)
    done(one.try_in_vain(posted))
    one.lose_disk()
    done(duties.reveal(one.roles.signer, posted.job))
    assert one.seat(posted).status == SeatStatus.REVEALED


def test_tries_outlast_a_restart_and_end_with_the_job(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    exhaust(stage, posted, jury)
    one.restart()
    tries = one.roles.signer.tries.of(posted.id)
    assert tries is not None
    assert tries.count == 2
    stage.advance(WINDOW)
    assert stage.phase(posted) == Phase.SETTLING
    nothing(one.hear(one.roles.compute.seal.close(UNAVAILABLE, body_of(posted))))
    done(settlement.settle(one.roles.signer, posted.job))
    settlement.release(one.roles.signer, posted.job)
    assert one.roles.signer.tries.of(posted.id) is None


def body_of(posted: Posted) -> dict[str, Any]:
    return {"job": job_to_json(posted.job, posted.data_uri), "began": "1", "failed": "2"}


@pytest.mark.parametrize(
    ("given", "named"), [({"abstain": False}, "abstain"), ({"least_call_out_fee": 1}, "least_call_out_fee")]
)
def test_an_operator_that_does_not_want_to_abstain_does_not(
    stage: Stage, wine: Rows, given: dict[str, Any], named: str
) -> None:
    jury = stage.jury(1, **given)
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    exhaust(stage, posted, jury)
    with pytest.raises(PolicyRefusal, match=named):
        jury[0].try_in_vain(posted)
    assert stage.state(posted).granted_seats == 0


def spoil(stage: Stage, change: Callable[[bytes], bytes]) -> None:
    path = stage.folder / "rows.bin"
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    ("change", "kind"),
    [
        (lambda content: content[:-1] + bytes([content[-1] ^ 1]), DataMismatch),
        (lambda content: content[:-1], DataSizeMismatch),
        (lambda content: content * 2, DataSizeMismatch),
    ],
)
def test_other_data_than_the_jobs_counts_like_none(
    stage: Stage, wine: Rows, change: Callable[[bytes], bytes], kind: type[Exception]
) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    spoil(stage, change)
    found = computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, 0)
    assert isinstance(found, Fetched)
    assert isinstance(found.failure, kind)
    assert found.report is not None


def test_data_that_the_settings_refuse_says_nothing_about_the_data(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, data_folders=())
    posted = drawn(stage, wine, jury)
    with pytest.raises(DataRefused):
        computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, 0)


def test_a_mirror_has_what_the_uri_lacks(stage: Stage, wine: Rows) -> None:
    mirror = stage.folder / "mirror"
    mirror.mkdir()
    (one,) = jury = stage.jury(1, data_mirrors=("file:///nowhere", mirror.as_uri()))
    posted = drawn(stage, wine, jury)
    lose_data(stage)
    with pytest.raises(DataUnavailable, match="no such file"):
        one.fetch(posted)
    (mirror / posted.job.terms.data_root.hex()).write_bytes(wine.tobytes())
    done(one.commit(posted))


def test_after_the_window_nothing_is_reported(stage: Stage, wine: Rows) -> None:
    one, other = jury = stage.jury(2)
    posted = drawn(stage, wine, jury, quorum=2)
    for each in jury:
        done(each.commit(posted))
    one.lose_disk()
    lose_data(stage)
    assert computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, 0) == Fetched(frozenset((0,)))
    done(duties.reveal(one.roles.signer, posted.job))
    done(duties.reveal(other.roles.signer, posted.job))
    one.restart()
    found = computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, None)
    assert isinstance(found, Fetched)
    assert isinstance(found.failure, DataUnavailable)
    assert found.report is None
    again = computing.fetch_for(one.roles.compute, posted.job, posted.data_uri, None)
    assert isinstance(again, Nothing)  # not again at once
