"""An operator's queues and tasks, for whoever only sends: nothing here loads a model or a key."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias
from urllib.parse import urlsplit

from celery import Celery

from oracle_worker import json_log
from oracle_worker.broker import TASK_PREFIX, TRANSPORTS

Role: TypeAlias = Literal["compute", "examine", "fetch", "signer"]
"""Who takes what from the broker. Each has a queue of its own, so that a long inference holds up no dispute, and a server
that drips its data neither."""
INFER = f"{TASK_PREFIX}infer"
EXAMINE = f"{TASK_PREFIX}examine"
FETCH = f"{TASK_PREFIX}fetch"
ACT = f"{TASK_PREFIX}act"
COLLECT = f"{TASK_PREFIX}collect"
UNAVAILABLE = f"{TASK_PREFIX}unavailable"
DISPUTE = f"{TASK_PREFIX}dispute"
ROLES: dict[str, Role] = {
    INFER: "compute",
    EXAMINE: "examine",
    FETCH: "fetch",
    ACT: "signer",
    COLLECT: "signer",
    UNAVAILABLE: "signer",
    DISPUTE: "signer",
}
"""Which role takes which task."""

MOST_DRAWS = 50
"""Jobs that one ACT draws together, which takes some 1.6 million gas."""
STEPS = (0, 3, 6, 9)
"""Priorities within a queue; the least is taken first. Each is a list of its own in Redis; memory:// knows none."""
URGENT = STEPS[0]
"""What stake depends on, a reveal or a move in a dispute: before any seat is taken, those that are held come first."""
EARNING = STEPS[1]
"""What may earn something, a root that was computed or a draw: in the signer's queue never before what stake depends on."""
SOON_SECONDS = 60.0
LATER_SECONDS = 600.0
_SEPARATOR = ":"


class Broker(Protocol):
    """What settings say of an operator's broker."""

    @property
    def broker_url(self) -> str: ...
    @property
    def queue_prefix(self) -> str: ...
    @property
    def visibility_timeout(self) -> int: ...


def queue_of(broker: Broker, role: Role, cache: str = "") -> str:
    """The queue of a role; of `fetch` there is one for each cache that it fills, by the cache's name."""
    return f"{broker.queue_prefix}{role}{'.' if cache else ''}{cache}"


def priority_of(left: float | None) -> int:
    """A message's priority by the seconds that are left for what it asks; None: it costs nothing when it is late."""
    if left is None:
        return STEPS[3]
    return STEPS[0] if left <= SOON_SECONDS else STEPS[1] if left <= LATER_SECONDS else STEPS[2]


def lists_of(queue: str) -> list[str]:
    """The lists in Redis that a queue consists of, the most urgent first."""
    return [f"{queue}{_SEPARATOR}{step}" if step else queue for step in STEPS]


def make_sender(broker: Broker) -> Any:
    """The operator's Celery application without tasks of its own: `send_task(INFER, [job, chunk])`."""
    app = make_open_app(broker)
    app.finalize()
    return app


def make_open_app(broker: Broker) -> Any:
    """The operator's Celery application, to which tasks can still be added before it is finalised."""
    app: Any = Celery("quorate", broker=broker.broker_url, set_as_current=False, autofinalize=False)  # type: ignore[no-untyped-call]
    app.conf.update(
        broker_transport=TRANSPORTS.get(urlsplit(broker.broker_url).scheme),
        task_serializer="json",
        accept_content=["json"],
        result_backend=None,
        task_ignore_result=True,
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_create_missing_queues=True,
        task_default_queue=queue_of(broker, "signer"),
        task_routes={name: {"queue": queue_of(broker, role)} for name, role in ROLES.items()},
        worker_prefetch_multiplier=1,
        worker_enable_remote_control=False,  # whoever writes to the broker shall not stop or steer a worker
        worker_send_task_events=False,
        worker_hijack_root_logger=not json_log.is_wanted(),  # Celery would put a format of its own in its place
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(broker),
    )
    return app


def _transport_options(broker: Broker) -> dict[str, Any]:
    if broker.broker_url.startswith("memory:"):
        return {"polling_interval": 0.05}
    restore = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    order = {"priority_steps": list(STEPS), "sep": _SEPARATOR, "queue_order_strategy": "priority"}
    return {"visibility_timeout": broker.visibility_timeout, **restore, **order}
