"""Turns due actions into Celery messages for the operator's own compute and signer processes.

No answer comes back: the chain shows whether a message had its effect. An action that stays due is sent again after
`retry_seconds`, then after twice as long each time, so that a lost message costs one retry and a busy worker is not buried;
but what costs money when it is late is sent again well before it is too late, however often it has failed.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from kombu.exceptions import OperationalError

from coordinator.job_view import JobView
from coordinator.scheduler import Action, ActionKind
from oracle_worker.chunks import CHUNK_DEPTH, plan
from oracle_worker.job_codec import job_to_json
from oracle_worker.queues import (
    ACT,
    EARNING,
    EXAMINE,
    INFER,
    MOST_DRAWS,
    ROLES,
    STEPS,
    URGENT,
    Broker,
    make_sender,
    priority_of,
    queue_of,
)

log = logging.getLogger(__name__)

MOST_DOUBLINGS = 5
"""The longest wait is 2^5 times the first."""
LEAST_WAIT = 2.0
"""Seconds between two sendings of the same action, however close its end is."""
LONGEST_QUEUED = 60.0
"""Seconds after which the signer drops what is not urgent. It does one thing at a time, and strangers' jobs give it such
things: they shall not stand for long before a reveal."""
MOST_QUEUED = 1024
"""While more chunks than this wait for compute, no further job's are sent: they would fill the broker's memory and expire."""
_PATIENCE = {"socket_timeout": 5, "socket_connect_timeout": 5}
_SENDING = {"max_retries": 2, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5}


class BrokerUnreachable(Exception):
    """The broker takes no messages; nothing is lost, since what is due stays due."""

    def __init__(self, reason: str) -> None:
        super().__init__(f"the broker takes no messages ({reason}): is it running, and is QUORATE_BROKER_URL its URL?")


@dataclass(frozen=True, slots=True)
class Message:
    """One task; its name says whose it is."""

    task: str
    args: tuple[Any, ...]
    expires: float | None = None
    """Seconds after which nobody need run it: by then it has been sent again."""
    priority: int = STEPS[3]
    """Its place in the queue, by what is left of its time."""


Publish = Callable[[Message], None]
"""Hands a message to the broker. Raises BrokerUnreachable."""


def celery_publisher(broker: Broker) -> Publish:
    """Publishes to the operator's broker, which is not asked before the first message."""
    app = make_sender(broker)
    if not broker.broker_url.startswith("memory:"):
        app.conf.broker_transport_options = {**app.conf.broker_transport_options, **_PATIENCE}

    def publish(message: Message) -> None:
        queue = queue_of(broker, ROLES[message.task])
        try:
            app.send_task(
                message.task,
                args=message.args,
                queue=queue,
                expires=message.expires,
                priority=message.priority,
                retry_policy=_SENDING,
            )
        except (OperationalError, OSError) as error:
            raise BrokerUnreachable(type(error).__name__) from error  # its text can hold the URL's password

    return publish


@dataclass(slots=True)
class _Sent:
    at: float
    times: int
    progress: int


class Dispatcher:
    """Sends each due action once, and again while it stays due. Its memory is a convenience: losing it repeats messages."""

    def __init__(
        self,
        publish: Publish,
        *,
        retry_seconds: float,
        chunk_depth: int = CHUNK_DEPTH,
        clock: Callable[[], float] = time.monotonic,
        waiting: Callable[[], int] = lambda: 0,
    ) -> None:
        """`waiting`: how many chunks wait for compute now."""
        self._publish = publish
        self._retry_seconds = retry_seconds
        self._chunk_depth = chunk_depth
        self._clock = clock
        self._waiting = waiting
        self._sent: dict[tuple[bytes, ActionKind], _Sent] = {}
        self._draws: dict[bytes, tuple[JobView, Action, int]] = {}
        """Due, by job, and how often each will have been sent then."""

    def dispatch(self, view: JobView, actions: Sequence[Action]) -> list[Action]:
        """Send what is due now, and return it; draws wait for `draw_together`. Raises BrokerUnreachable; what was not sent
        stays due."""
        sent = []
        for action in actions:
            before = self._sent.get((action.job_id, action.kind))
            if before is not None and before.progress != action.progress:
                before = None
            if before is not None and self._clock() < before.at + self._wait(action, before.times):
                continue
            if action.kind == ActionKind.INFER and self._waiting() > MOST_QUEUED:
                log.info("job 0x%s: compute has enough to do; its chunks are sent later", view.job_id.hex())
                continue
            times = before.times + 1 if before else 1
            if action.kind == ActionKind.DRAW:
                self._draws[action.job_id] = view, action, times
                continue
            for message in self._messages(view, action, self._wait(action, times)):
                self._publish(message)
            self._sent[(action.job_id, action.kind)] = _Sent(self._clock(), times, action.progress)
            sent.append(action)
        return sent

    def draw_together(self) -> list[Action]:
        """Send the draws that are due, many in a message: a transaction draws many jobs. Returns and raises as `dispatch`."""
        draws, sent = list(self._draws.values()), []
        self._draws.clear()
        for start in range(0, len(draws), MOST_DRAWS):
            part = draws[start : start + MOST_DRAWS]
            job, *beside = [job_to_json(view.job, view.data_uri) for view, _, _ in part]
            wait = min(self._wait(action, times) for _, action, times in part)
            self._publish(Message(ACT, (job, ActionKind.DRAW.value, beside), min(wait, LONGEST_QUEUED), EARNING))
            for _, action, often in part:
                self._sent[(action.job_id, action.kind)] = _Sent(self._clock(), often, action.progress)
                sent.append(action)
        return sent

    def forget_all_but(self, job_ids: Collection[bytes]) -> None:
        """Drop what is remembered of other jobs: they are closed, or gone with a reorganisation."""
        self._draws = {job_id: draw for job_id, draw in self._draws.items() if job_id in job_ids}
        for job_id, kind in [key for key in self._sent if key[0] not in job_ids]:
            del self._sent[(job_id, kind)]

    def _wait(self, action: Action, times: int) -> float:
        """Seconds until the next sending: of what is urgent, at most a quarter of the time that is left for it."""
        wait = float(self._retry_seconds * 2 ** min(times - 1, MOST_DOUBLINGS))
        return wait if action.left is None else min(wait, max(action.left / 4, LEAST_WAIT))

    def _messages(self, view: JobView, action: Action, wait: float) -> Iterator[Message]:
        job = job_to_json(view.job, view.data_uri)
        priority = priority_of(action.ends_in if action.left is None else action.left)
        if action.kind not in (ActionKind.INFER, ActionKind.EXAMINE):  # what the signer does: held seats come first
            priority = URGENT if action.kind == ActionKind.REVEAL else max(priority, EARNING)
        if action.kind == ActionKind.INFER:
            for chunk in range(plan(view.terms.item_count, self._chunk_depth).count):
                yield Message(INFER, (job, chunk), wait, priority)
        elif action.kind == ActionKind.EXAMINE:
            yield Message(EXAMINE, (job,), None, priority)
        else:
            # a clock that goes wrong on the signer's machine must not make it drop what is urgent
            expires = None if action.left is not None else min(wait, LONGEST_QUEUED)
            yield Message(ACT, (job, action.kind.value), expires, priority)
