"""What reaches the operator's own processes, through a real broker, and how often."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from kombu.connection import Connection

from contracts.job import Job
from coordinator.devnet.running import free_port
from coordinator.dispatcher import (
    LEAST_WAIT,
    LONGEST_QUEUED,
    MOST_QUEUED,
    BrokerUnreachable,
    Dispatcher,
    Message,
    celery_publisher,
)
from coordinator.job_view import JobView
from coordinator.metrics import queue_depths
from coordinator.scheduler import Action, ActionKind
from coordinator.settings import load
from oracle_worker import queues as tasks
from oracle_worker.job_codec import job_from_json, job_to_json
from oracle_worker.queues import MOST_DRAWS
from oracle_worker.tasks import ACTIONS
from tests.coordinator.toy_chain import REQUESTER, SEAT_STAKE, URI, Life, ToyChain, terms, worker_address
from tests.end_to_end.services import RedisServer


def some_view(item_count: int = 17, nonce: int = 1) -> JobView:
    chain = ToyChain(bonded={worker_address(0): SEAT_STAKE})
    life = Life(chain, Job(REQUESTER, nonce, terms(item_count=item_count)))
    chain.mine(1, [life.create()])
    return life.view


class Recorder:
    """A dispatcher with a clock of its own, and what it sent."""

    def __init__(self, chunk_depth: int = 3) -> None:
        self.now = 1000.0
        self.sent: list[Message] = []
        self.broken = False
        self.waiting = 0
        self.dispatcher = Dispatcher(
            self.publish,
            retry_seconds=10,
            chunk_depth=chunk_depth,
            clock=lambda: self.now,
            waiting=lambda: self.waiting,
        )

    def publish(self, message: Message) -> None:
        if self.broken:
            raise BrokerUnreachable("down")
        self.sent.append(message)

    def dispatch(self, view: JobView, kind: ActionKind, progress: int = 0, left: int | None = None) -> bool:
        sent = self.dispatcher.dispatch(view, [Action(kind, view.job_id, progress, left)])
        return bool([*sent, *self.dispatcher.draw_together()])


def test_every_kind_of_action_becomes_the_task_that_workers_know() -> None:
    recorder, view = Recorder(), some_view()
    for kind in ActionKind:
        assert recorder.dispatch(view, kind)
    assert {message.task for message in recorder.sent} == {tasks.INFER, tasks.EXAMINE, tasks.ACT}
    for message in recorder.sent:
        assert job_from_json(message.args[0]) == (view.job, URI)
    acts = [message.args[1] for message in recorder.sent if message.task == tasks.ACT]
    acting = set(ActionKind) - {ActionKind.INFER, ActionKind.EXAMINE}
    assert sorted(acts) == sorted(kind.value for kind in acting)
    assert set(acts) <= set(ACTIONS)


def test_a_job_is_inferred_in_chunks_that_cover_it() -> None:
    recorder = Recorder()
    recorder.dispatch(some_view(item_count=17), ActionKind.INFER)
    assert [message.args[1] for message in recorder.sent] == [0, 1, 2]


def test_no_further_chunks_are_sent_while_compute_has_enough_to_do_and_what_is_urgent_is() -> None:
    recorder, view = Recorder(), some_view()
    recorder.waiting = MOST_QUEUED + 1
    assert not recorder.dispatch(view, ActionKind.INFER)
    assert recorder.dispatch(view, ActionKind.EXAMINE)
    assert recorder.dispatch(view, ActionKind.REVEAL)
    recorder.waiting = MOST_QUEUED
    assert recorder.dispatch(view, ActionKind.INFER)


def test_the_nearer_its_end_the_earlier_a_message_is_taken() -> None:
    recorder, view = Recorder(), some_view(item_count=1)
    for left in (7200, 600, 60, 0):
        recorder.now += 10**6
        recorder.dispatcher.dispatch(view, [Action(ActionKind.INFER, view.job_id, ends_in=left)])
    recorder.dispatch(view, ActionKind.SETTLE)
    assert [message.priority for message in recorder.sent] == [6, 3, 0, 0, 9]


def test_seats_that_are_held_come_before_any_that_could_be_taken() -> None:
    recorder, view = Recorder(), some_view(item_count=1)
    recorder.dispatcher.dispatch(view, [Action(ActionKind.COMMIT, view.job_id, ends_in=5)])
    recorder.dispatch(view, ActionKind.REVEAL, left=3000)
    commit, reveal = recorder.sent
    assert reveal.priority < tasks.EARNING <= commit.priority


def test_a_real_broker_gives_the_most_urgent_first_and_counts_what_waits(tmp_path: Path) -> None:
    server = RedisServer(tmp_path / "redis")
    with server:
        broker = load(broker_url=server.url)
        publish = celery_publisher(broker)
        view = some_view(item_count=1)
        job = job_to_json(view.job, URI)
        for chunk, left in enumerate((None, 7200, 30, 300, 20)):
            publish(Message(tasks.INFER, (job, chunk), None, tasks.priority_of(left)))
        assert queue_depths(broker)["compute"] == 5
        app = tasks.make_sender(broker)
        taken = []
        with app.connection_for_read() as connection:
            while (message := connection.default_channel.basic_get("compute", no_ack=True)) is not None:
                taken.append(message.payload[0][1])
        assert taken == [2, 4, 3, 1, 0]
        assert queue_depths(broker)["compute"] == 0


def test_what_stays_due_is_sent_again_after_longer_and_longer() -> None:
    recorder, view = Recorder(), some_view()
    start, sent_at = recorder.now, []
    for second in range(2000):
        recorder.now = start + second
        if recorder.dispatch(view, ActionKind.REVEAL):
            sent_at.append(second)
    assert sent_at[:7] == [0, 10, 30, 70, 150, 310, 630]
    assert sent_at[7] - sent_at[6] == sent_at[8] - sent_at[7] == 320


def test_what_was_sent_again_expires_unless_it_is_urgent() -> None:
    recorder, view = Recorder(), some_view(item_count=1)
    recorder.dispatch(view, ActionKind.INFER)
    recorder.now += 10
    recorder.dispatch(view, ActionKind.INFER)
    recorder.dispatch(view, ActionKind.REVEAL, left=100)
    recorder.dispatch(view, ActionKind.EXAMINE, left=100)
    assert [message.expires for message in recorder.sent] == [10, 20, None, None]


def test_many_draws_go_out_together_and_again_only_when_they_stay_due() -> None:
    recorder, views = Recorder(), [some_view(nonce=number) for number in range(2 * MOST_DRAWS + 1)]

    def ask() -> list[Action]:
        for view in views:
            assert recorder.dispatcher.dispatch(view, [Action(ActionKind.DRAW, view.job_id)]) == []
        return recorder.dispatcher.draw_together()

    recorder.broken = True
    with pytest.raises(BrokerUnreachable):
        ask()
    recorder.broken = False
    assert [action.job_id for action in ask()] == [view.job_id for view in views]
    told = [[message.args[0], *message.args[2]] for message in recorder.sent]
    assert [len(jobs) for jobs in told] == [MOST_DRAWS, MOST_DRAWS, 1]
    assert [job_from_json(job)[0] for jobs in told for job in jobs] == [view.job for view in views]
    assert {message.args[1] for message in recorder.sent} == {"draw"}
    assert ask() == []
    recorder.now += 10
    assert len(ask()) == len(views)


def test_draws_of_strangers_jobs_stand_before_a_reveal_for_a_minute_at_most() -> None:
    recorder, view = Recorder(), some_view()
    for _ in range(20):
        recorder.dispatch(view, ActionKind.DRAW)
        recorder.now += 1000
    assert [message.expires for message in recorder.sent][:3] == [10, 20, 40]
    assert max(message.expires or 10**9 for message in recorder.sent) == LONGEST_QUEUED


@pytest.mark.parametrize("kind", [ActionKind.REVEAL, ActionKind.DRAW])
@pytest.mark.parametrize("failing_until", [0, 100, 500, 590])
def test_what_failed_many_times_is_sent_again_before_it_is_too_late(kind: ActionKind, failing_until: int) -> None:
    recorder, view = Recorder(), some_view()
    start, sent_at = recorder.now, []
    for second in range(600):
        recorder.now = start + second
        if recorder.dispatch(view, kind, left=600 - second):
            sent_at.append(second)
    # once the node answers or gas is cheap again, three quarters of what was left then are still there
    again = min(second for second in sent_at if second >= failing_until)
    assert again - failing_until <= max((600 - failing_until) / 3, LEAST_WAIT)
    assert len(sent_at) < 40


def test_a_new_reason_is_sent_at_once_and_its_waits_begin_anew() -> None:
    recorder, view = Recorder(), some_view()
    assert recorder.dispatch(view, ActionKind.EXAMINE, progress=5)
    assert not recorder.dispatch(view, ActionKind.EXAMINE, progress=5)
    assert recorder.dispatch(view, ActionKind.EXAMINE, progress=6)
    recorder.now += 10
    assert recorder.dispatch(view, ActionKind.EXAMINE, progress=6)


def test_what_the_broker_did_not_take_stays_due() -> None:
    recorder, view = Recorder(), some_view()
    recorder.broken = True
    with pytest.raises(BrokerUnreachable):
        recorder.dispatch(view, ActionKind.DRAW)
    recorder.broken = False
    assert recorder.dispatch(view, ActionKind.DRAW)


def test_closed_jobs_are_forgotten() -> None:
    recorder, view = Recorder(), some_view()
    other = replace(view, job_id=b"\x09" * 32)
    recorder.dispatch(view, ActionKind.DRAW)
    recorder.dispatch(other, ActionKind.DRAW)
    recorder.dispatcher.forget_all_but({other.job_id})
    assert recorder.dispatch(view, ActionKind.DRAW)
    assert not recorder.dispatch(other, ActionKind.DRAW)


def memory_connection() -> Any:
    return Connection("memory://")  # type: ignore[no-untyped-call]


def test_a_message_arrives_as_plain_json_in_the_operators_own_queue() -> None:
    prefix, view = f"{uuid4()}-", some_view(item_count=1)
    dispatcher = Dispatcher(celery_publisher(load(broker_url="memory://", queue_prefix=prefix)), retry_seconds=10)
    dispatcher.dispatch(view, [Action(ActionKind.INFER, view.job_id), Action(ActionKind.DRAW, view.job_id)])
    dispatcher.draw_together()
    for queue, task, rest in (("compute", tasks.INFER, [0]), ("signer", tasks.ACT, ["draw", []])):
        with memory_connection() as connection, connection.SimpleQueue(prefix + queue) as waiting:
            message = waiting.get(timeout=5)
            message.ack()
            assert message.content_type == "application/json"
            assert message.headers["task"] == task
            (job, *others), _, _ = message.payload
            assert job_from_json(job) == (view.job, URI) and others == rest


def test_a_dead_broker_is_named_without_its_password() -> None:
    publish = celery_publisher(load(broker_url=f"redis://:s3cret@127.0.0.1:{free_port()}/0"))
    with pytest.raises(BrokerUnreachable, match="QUORATE_BROKER_URL") as raised:
        publish(Message("quorate.act", ({}, "draw")))
    assert "s3cret" not in str(raised.value)


def test_a_coordinator_never_loads_what_runs_models() -> None:
    code = "import sys, coordinator.daemon; sys.exit({'onnxruntime', 'onnx'} & sys.modules.keys() != set())"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
