"""A job's way on a real chain, by direct calls of the duties: honest jury, lost disks, repeats, late and forged messages."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import errors
from contracts.endpoint import Call
from contracts.fees import GWEI
from contracts.job import Outcome, Phase
from contracts.merkle import MerkleTree, result_leaf
from contracts.transactor import NotEnoughFunds
from models import interpreter
from oracle_worker import computing, duties, gas_money, policy, settlement
from oracle_worker.chain_view import UnknownJob
from oracle_worker.collection import ChunkConflict, Collection
from oracle_worker.data_errors import DataMismatch, DataSizeMismatch
from oracle_worker.job_codec import BadMessage
from oracle_worker.messages import ForgedMessage
from oracle_worker.model_store import ModelNotFound, WrongModel
from oracle_worker.pace import LONGEST_MEMORY, REMEMBERED, Pace
from oracle_worker.policy import PolicyRefusal
from oracle_worker.queues import COLLECT, DISPUTE
from oracle_worker.result import Nothing
from oracle_worker.salt import NotOurs
from oracle_worker.sending import send
from tests.models.random_networks import random_networks
from tests.oracle_worker.stage import ETHER, WINDOW, Operator, Posted, Stage, done, new_stage, nothing

Rows = NDArray[np.uint8]


def true_root(stage: Stage, rows: Rows) -> bytes:
    """By the specification, independently of everything the worker does."""
    logits = interpreter.run(stage.network, rows)
    return MerkleTree([result_leaf(i, row.astype(">i4").tobytes()) for i, row in enumerate(logits)]).root


def drawn(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    return posted


def settled(stage: Stage, posted: Posted, keeper: Operator) -> None:
    stage.advance(WINDOW)
    done(settlement.settle(keeper.roles.signer, posted.job))


@pytest.mark.parametrize("kind", ["auto", "py-evm"])
def test_three_workers_take_a_job_from_its_draw_to_their_reward(tmp_path: Path, wine: Rows, kind: str) -> None:
    with new_stage(tmp_path, kind) as stage:
        jury = stage.jury(3)
        before = [one.balance() for one in jury]
        posted = drawn(stage, wine, jury)
        spent = [0, 0, 0]
        for place, one in enumerate(jury):
            receipts = done(one.commit(posted)).receipts
            spent[place] += sum(r["gasUsed"] * r["effectiveGasPrice"] for r in receipts)
        assert stage.phase(posted) == Phase.REVEALING
        for place, one in enumerate(jury):
            receipts = done(duties.reveal(one.roles.signer, posted.job)).receipts
            spent[place] += sum(r["gasUsed"] * r["effectiveGasPrice"] for r in receipts)
        assert all(one.dispute(posted) == [] for one in jury)
        stage.advance(WINDOW)
        keeper = stage.operator()
        done(settlement.settle(keeper.roles.signer, posted.job))
        state = stage.state(posted)
        assert (state.outcome, state.root) == (Outcome.ACCEPTED, true_root(stage, wine))
        nothing(settlement.release(keeper.roles.signer, posted.job))  # all went out with the settlement
        drew = before[0] - jury[0].balance() + ETHER // 3 - spent[0]
        assert drew > 0  # the first worker paid for the draw
        for place in (1, 2):
            assert jury[place].balance() == before[place] - spent[place] + ETHER // 3


def test_every_duty_done_twice_does_nothing_the_second_time(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    signer = one.roles.signer
    posted = drawn(stage, wine, jury)
    nothing(duties.draw(signer, posted.job))
    messages = one.messages(posted)
    done(one.collect(messages[0]))
    nothing(one.collect(messages[0]))
    nothing(duties.commit(signer, posted.job))
    done(duties.reveal(signer, posted.job))
    nothing(duties.reveal(signer, posted.job))
    nothing(settlement.settle(signer, posted.job))
    settled(stage, posted, one)
    nothing(settlement.settle(signer, posted.job))
    nothing(settlement.release(signer, posted.job))
    nothing(settlement.release_bounty(signer, posted.job))
    nothing(settlement.release_bond(signer, posted.job))


def test_duties_called_before_their_time_do_nothing(stage: Stage, wine: Rows) -> None:
    (one,) = stage.jury(1)
    signer = one.roles.signer
    posted = stage.post(wine, 1)
    early = (duties.commit, duties.abstain, duties.reveal, settlement.settle, settlement.release)
    for duty in (*early, settlement.release_bounty, settlement.release_bond):
        assert "DRAWING" in nothing(duty(signer, posted.job)).reason
    assert isinstance(computing.infer(one.roles.compute, posted.job, posted.data_uri, 0), Nothing)


def test_a_draw_waits_until_the_seeds_block_is_past(stage: Stage, wine: Rows) -> None:
    (one,) = stage.jury(1)
    stage.mine(1)
    stage.mine = lambda blocks: None  # type: ignore[method-assign]
    posted = stage.post(wine, 1)
    assert "seed" in nothing(duties.draw(one.roles.signer, posted.job)).reason


def test_many_jobs_are_drawn_in_one_transaction_whatever_became_of_some(
    stage: Stage, wine: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = stage.jury(2)
    posted = [stage.post(wine[:count], 1, name=f"rows {count}") for count in (5, 6, 7, 8)]
    jobs = [each.job for each in posted]
    made = done(duties.draw(one.roles.signer, jobs[0], jobs[1]))
    assert len(made.receipts) == 1 and {stage.phase(each) for each in posted[:2]} == {Phase.COMMITTING}
    unknown = replace(jobs[0], nonce=99)
    transactor = one.roles.signer.transactor
    sending, raced = transactor.send, []

    def too_late(call: Call, **more: Any) -> Any:
        if not raced:  # between the look at the jobs and the transaction
            raced.append(done(duties.draw(other.roles.signer, jobs[2])))
        return sending(call, **more)

    monkeypatch.setattr(transactor, "send", too_late)
    made = done(duties.draw(one.roles.signer, unknown, *jobs))
    assert len(made.receipts) == 1 and len(raced) == 1
    assert {stage.phase(each) for each in posted} == {Phase.COMMITTING}
    assert "COMMITTING" in nothing(duties.draw(one.roles.signer, *jobs)).reason
    with pytest.raises(UnknownJob):
        duties.draw(one.roles.signer, unknown)


def test_no_seat_is_taken_that_could_not_be_opened_beside_all_others(stage: Stage, wine: Rows) -> None:
    """Whoever makes jobs chooses when they are revealed: 24 at once, where one transaction after the other takes its block."""
    (one,) = jury = stage.jury(1)
    signer, bound = one.roles.signer, stage.contracts.oracle.bounds().block_time
    tight = stage.post(wine[:3], 1, name="tight", reveal_window=4 * bound - 1)
    done(duties.draw(signer, tight.job))
    with pytest.raises(PolicyRefusal, match=f"takes {2 * bound} s"):
        duties.commit(signer, tight.job, b"\7" * 32)
    posted = drawn(stage, wine, jury)
    for _ in range(REMEMBERED):
        signer.pace.note(WINDOW)  # a machine, or a node, that is too slow for its own good
    with pytest.raises(PolicyRefusal, match=f"takes {WINDOW} s"):
        duties.commit(signer, posted.job, b"\7" * 32)
    for _ in range(REMEMBERED):
        signer.pace.note(5.0)
    done(duties.commit(signer, posted.job, b"\7" * 32))


def test_a_pace_is_what_transactions_took_lately() -> None:
    now = [0.0]
    pace = Pace(lambda: now[0])
    assert pace.seconds(24) == 24
    for seconds in (90, 3, 40, 50):
        pace.note(seconds)
    assert pace.seconds(24) == 45
    for _ in range(REMEMBERED):
        pace.note(1)
    assert pace.seconds(24) == 24 and pace.seconds(0.5) == 1
    pace.note(500)
    now[0] += LONGEST_MEMORY
    assert pace.seconds(24) == 24


def test_a_worker_whose_disk_was_wiped_reveals_from_key_and_chain(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in jury:
        done(one.commit(posted))
    jury[1].lose_disk()
    (stage.folder / "rows.bin").unlink()  # and the data is gone as well
    assert not jury[1].folder.exists()
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    settled(stage, posted, jury[0])
    assert jury[1].is_released(posted)
    assert jury[1].books.bonded == stage.seat_stake()
    assert jury[1].books.credit == ETHER // 3


def test_a_worker_whose_disk_was_wiped_stays_with_its_commitment(stage: Stage, wine: Rows) -> None:
    one, other = jury = stage.jury(2)
    posted = drawn(stage, wine, jury, quorum=2)
    done(one.commit(posted))
    one.lose_disk()
    for message in one.messages(posted):
        nothing(one.collect(message))
    done(other.commit(posted))
    done(duties.reveal(one.roles.signer, posted.job))


def test_a_commitment_made_with_another_secret_is_told_apart(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    done(one.commit(posted))
    object.__setattr__(one.roles.signer, "secret", bytes(32))
    with pytest.raises(NotOurs, match="does not open"):
        duties.reveal(one.roles.signer, posted.job)


def test_tickets_that_win_when_the_odds_double_are_added_to_the_same_commitment(stage: Stage, wine: Rows) -> None:
    first, second = stage.operator(), stage.operator()
    stake = stage.seat_stake()
    first.deposit(24 * stake)
    second.deposit(24 * stake)
    posted = stage.post(wine, 40, quorum=21)
    done(duties.draw(first.roles.signer, posted.job))
    done(first.commit(posted))
    held = first.seat(posted)
    assert 0 < held.count < 24
    first.lose_disk()
    stage.advance(WINDOW * 3 // 4)
    done(duties.commit(first.roles.signer, posted.job))  # neither disk nor model is asked
    grown = first.seat(posted)
    assert (grown.count, grown.digest) == (24, held.digest)
    assert "21 chunks" not in nothing(duties.commit(first.roles.signer, posted.job)).reason
    done(second.commit(posted))
    assert stage.state(posted).granted_seats == 40
    done(duties.reveal(first.roles.signer, posted.job))


def test_a_worker_takes_no_more_seats_than_its_free_stake_pays_for(stage: Stage, wine: Rows) -> None:
    one = stage.operator()
    stake = stage.seat_stake()
    one.deposit(4 * stake)
    posted = stage.post(wine, 4, quorum=3)
    done(duties.draw(one.roles.signer, posted.job))
    one.roles.signer.transactor.send(stage.contracts.oracle.unbond(2 * stake + GWEI))
    done(one.commit(posted))
    assert one.seat(posted).count == 1


def test_a_reveal_waits_until_the_end_of_the_commit_phase_is_deep(stage: Stage, wine: Rows) -> None:
    one, _other = jury = stage.jury(2, confirmations=5)
    posted = drawn(stage, wine, jury, quorum=2)
    for each in jury:
        done(each.commit(posted))
    assert "deep" in nothing(duties.reveal(one.roles.signer, posted.job)).reason
    stage.mine(4)
    assert "deep" in nothing(duties.reveal(one.roles.signer, posted.job)).reason
    stage.mine(1)
    done(duties.reveal(one.roles.signer, posted.job))
    assert stage.phase(posted) == Phase.REVEALING


def test_a_reveal_no_longer_waits_at_half_its_window(stage: Stage, wine: Rows) -> None:
    one, _other = jury = stage.jury(2, confirmations=1000)
    posted = drawn(stage, wine, jury, quorum=2)
    for each in jury:
        done(each.commit(posted))
    stage.advance(WINDOW // 2 - 30)
    nothing(duties.reveal(one.roles.signer, posted.job))
    stage.advance(31)
    done(duties.reveal(one.roles.signer, posted.job))


def test_a_message_after_the_window_does_nothing_and_costs_nothing(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    messages = one.messages(posted)
    stage.advance(WINDOW)
    before = one.balance()
    assert "SETTLING" in nothing(one.collect(messages[0])).reason
    assert "SETTLING" in nothing(duties.commit(one.roles.signer, posted.job)).reason
    assert one.messages(posted) == []
    assert one.balance() == before
    done(settlement.settle(one.roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.EXPIRED


def test_chunks_arrive_in_any_order_and_twice_and_commit_once(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, chunk_depth=5)
    posted = drawn(stage, wine, jury)
    messages = one.messages(posted)
    assert len(messages) == 6
    for message in (messages[4], messages[4], messages[0], messages[2], messages[1], messages[1], messages[5]):
        assert "chunks are missing" in nothing(one.collect(message)).reason
    one.restart()  # what was collected is on disk
    done(one.collect(messages[3]))
    nothing(one.collect(messages[3]))
    done(duties.reveal(one.roles.signer, posted.job))
    (root,) = one.roles.signer.view.history(one.roles.signer.view.sight(posted.job)).revealed
    assert root == true_root(stage, wine)


def test_a_forged_chunk_result_is_refused(stage: Stage, wine: Rows) -> None:
    one, enemy = stage.jury(2, chunk_depth=5)
    posted = stage.post(wine, 2, quorum=2)
    done(duties.draw(one.roles.signer, posted.job))
    message = one.messages(posted)[0]
    altered = {**message, "body": {**message["body"], "subtree_root": "0x" + "11" * 32}}
    other_chunk = {**message, "body": {**message["body"], "chunk": "1"}}
    wrong_key = enemy.roles.compute.seal.close(COLLECT, altered["body"])
    other_task = {"body": message["body"], "mac": one.roles.compute.seal.close(DISPUTE, message["body"])["mac"]}
    no_mac = {"body": message["body"], "mac": ""}
    for forged in (altered, other_chunk, wrong_key, other_task, no_mac, {**message, "more": 1}):
        with pytest.raises(ForgedMessage):
            one.collect(forged)
    assert one.roles.signer.collection.missing(posted.id, one.roles.signer.plan(posted.job)) == list(range(6))


def test_a_chunk_result_replayed_into_another_job_is_refused(stage: Stage, wine: Rows) -> None:
    (one,) = stage.jury(1, chunk_depth=5)
    posted = stage.post(wine, 1)
    again = stage.post(wine[:177], 1, name="fewer")
    for each in (posted, again):
        done(duties.draw(one.roles.signer, each.job))
    message = one.messages(posted)[0]
    moved = {**message, "body": {**message["body"], "job": one.messages(again)[0]["body"]["job"]}}
    with pytest.raises(ForgedMessage):
        one.collect(moved)
    nothing(one.collect(message))  # where it belongs it is taken
    collection = one.roles.signer.collection
    assert collection.missing(again.id, one.roles.signer.plan(again.job)) == list(range(6))


def test_two_results_for_one_chunk_are_both_dropped(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, chunk_depth=5)
    posted = drawn(stage, wine, jury)
    message = one.messages(posted)[0]
    nothing(one.collect(message))
    broken = one.roles.compute.seal.close(COLLECT, {**message["body"], "subtree_root": "0x" + "22" * 32})
    with pytest.raises(ChunkConflict, match="computed again"):
        one.collect(broken)
    assert 0 in one.roles.signer.collection.missing(posted.id, one.roles.signer.plan(posted.job))


def test_chunks_cut_otherwise_than_the_signers_are_refused(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, chunk_depth=5)
    posted = drawn(stage, wine, jury)
    body = one.messages(posted)[0]["body"]
    for change in ({"chunk_depth": "6"}, {"chunk": "6"}, {"chunk": 0}, {"extra": 1}):
        with pytest.raises(BadMessage):
            one.collect(one.roles.compute.seal.close(COLLECT, {**body, **change}))


def test_data_whose_root_differs_is_never_committed_to(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    changed = wine.copy()
    changed[100, 3] ^= 1
    (stage.folder / "rows.bin").write_bytes(changed.tobytes())
    with pytest.raises(DataMismatch) as caught:
        one.commit(posted)
    assert caught.value.expected == posted.job.terms.data_root
    assert caught.value.got == stage.store(changed, "changed")[1]
    (stage.folder / "rows.bin").write_bytes(wine[:-1].tobytes())
    with pytest.raises(DataSizeMismatch):
        one.commit(posted)
    (stage.folder / "rows.bin").write_bytes(wine.tobytes())  # repaired: the next cycle commits
    done(one.commit(posted))


def test_a_model_without_a_file_here_or_with_a_wrong_one_is_never_committed_to(stage: Stage, wine: Rows) -> None:
    network = next(one for one in random_networks(5, 40) if one.row_length == 13)
    stage.model_id = stage.register(network)
    folder = stage.folder / "models"
    (one,) = jury = stage.jury(1, model_folders=(folder,))
    posted = drawn(stage, wine, jury)
    with pytest.raises(ModelNotFound, match=stage.model_id.hex()):
        one.commit(posted)
    folder.mkdir()
    wrong = Path(str(duties.__file__)).parents[1] / "models/zoo/wine-grading/model.onnx"
    (folder / f"{stage.model_id.hex()}.onnx").write_bytes(wrong.read_bytes())
    with pytest.raises(WrongModel, match="holds"):
        one.commit(posted)


def test_a_job_that_is_not_on_this_chain_is_refused(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    stranger = type(posted.job)(posted.job.requester, posted.job.nonce + 1, posted.job.terms)
    for duty in (duties.draw, duties.commit, duties.reveal, settlement.settle, settlement.release):
        with pytest.raises(UnknownJob, match="has no job"):
            duty(one.roles.signer, stranger)
    with pytest.raises(UnknownJob):
        computing.infer(one.roles.compute, stranger, posted.data_uri, 0)


def test_without_gas_money_for_the_reveal_nothing_is_committed(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    transactor = one.roles.signer.transactor
    rich = transactor.balance()
    messages = one.messages(posted)
    transactor.send(Call(stage.owner.sender, b"", rich - ETHER // 1000))
    with pytest.raises(PolicyRefusal, match="reveals_in_reserve"):
        one.collect(messages[0])
    stage.owner.send(Call(one.account.address, b"", ETHER))
    done(duties.commit(one.roles.signer, posted.job))


def test_what_reveals_cost_is_set_aside_before_anything_else_is_paid(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    signer = one.roles.signer
    assert gas_money.for_reveals(signer) == 0  # nothing is sealed
    done(one.commit(posted))
    kept = gas_money.for_reveals(signer)
    assert kept >= gas_money.REVEAL_GAS * signer.view.head().base_fee
    account = stage.contracts.oracle.account(one.account.address)
    many = replace(account, lanes=0x3FF)
    assert gas_money.for_commit(signer, many, 10) > gas_money.for_commit(signer, account, 10)  # ten reveals, not four
    call = Call(stage.owner.sender, b"", signer.transactor.balance() - kept // 2)
    with pytest.raises(NotEnoughFunds):
        send(signer, "demand", call, (), spare=True)
    assert signer.transactor.balance() > kept


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({"most_items": 177}, "most_items"),
        ({"most_bytes": 2000}, "most_bytes"),
        ({"most_macs": 1000}, "most_macs"),
        ({"allowed_models": ("ab" * 32,)}, "allowed_models"),
        ({"least_reward_per_item": ETHER // 178 + 1}, "least_reward_per_item"),
        ({"least_reward_per_gigamac": 10**30}, "least_reward_per_gigamac"),
        ({"speed_margin": 1e12}, "speed_margin"),
    ],
)
def test_a_job_outside_the_policy_is_left_to_others(stage: Stage, wine: Rows, given: Any, named: str) -> None:
    (one,) = jury = stage.jury(1, **given)
    posted = drawn(stage, wine, jury)
    with pytest.raises(PolicyRefusal, match=named):
        one.commit(posted)
    assert stage.state(posted).granted_seats == 0


def test_a_job_of_more_chunks_than_can_be_counted_is_refused_before_anything_is_counted(
    stage: Stage, wine: Rows, monkeypatch: pytest.MonkeyPatch
) -> None:
    (one,) = jury = stage.jury(1, chunk_depth=0)
    posted = drawn(stage, wine, jury)
    monkeypatch.setattr(policy, "MOST_CHUNKS", 177)
    monkeypatch.setattr(Collection, "missing", lambda *_: pytest.fail("the chunks were counted"))
    with pytest.raises(PolicyRefusal, match="178 chunks at this chunk_depth"):
        duties.commit(one.roles.signer, posted.job)
    with pytest.raises(PolicyRefusal, match="178 chunks at this chunk_depth"):
        one.commit(posted)
    assert stage.state(posted).granted_seats == 0


def test_settling_names_no_root_where_none_wins(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in jury[:2]:
        done(one.commit(posted))
    stage.advance(WINDOW)
    done(duties.reveal(jury[0].roles.signer, posted.job))
    stage.advance(WINDOW)
    stage.advance(WINDOW)
    done(settlement.settle(jury[2].roles.signer, posted.job))
    assert stage.state(posted).outcome == Outcome.HUNG
    done(settlement.release(jury[2].roles.signer, posted.job))
    kept, lost = (one.books.bonded for one in jury[:2])
    assert (kept, lost) == (stage.seat_stake(), 0)


def test_a_large_jury_is_released_in_batches(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(5, release_batch=2)
    posted = drawn(stage, wine, jury)
    for one in jury:
        done(one.commit(posted))
    for one in jury:
        done(duties.reveal(one.roles.signer, posted.job))
    settled(stage, posted, jury[0])
    assert [one.is_released(posted) for one in jury].count(True) == 2  # with the settlement
    assert len(done(settlement.release(jury[0].roles.signer, posted.job)).receipts) == 2
    assert all(one.is_released(posted) for one in jury)


def test_logs_are_read_in_bounded_ranges(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1, log_range=2)
    posted = drawn(stage, wine, jury)
    stage.mine(20)
    done(one.commit(posted))
    stage.mine(7)
    done(duties.reveal(one.roles.signer, posted.job))
    view = one.roles.signer.view
    history = view.history(view.sight(posted.job))
    assert list(history.seats) == [one.account.address]
    assert history.revealed == {true_root(stage, wine): 1}


def test_an_error_that_is_no_race_is_raised(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = drawn(stage, wine, jury)
    call = stage.contracts.oracle.commit(posted.job, 0, bytes(32), bytes(32), [7])
    with pytest.raises(errors.NoSuchTicket):
        send(one.roles.signer, "commit", call, ("WrongPhase",))
