"""An operator's two queues and five tasks, for whoever only sends: nothing here loads a model or a key."""

from __future__ import annotations

from typing import Any, Literal, Protocol, TypeAlias

from celery import Celery

Role: TypeAlias = Literal["compute", "signer"]
INFER = "quorate.infer"
EXAMINE = "quorate.examine"
ACT = "quorate.act"
COLLECT = "quorate.collect"
DISPUTE = "quorate.dispute"
ROLES: dict[str, Role] = {INFER: "compute", EXAMINE: "compute", ACT: "signer", COLLECT: "signer", DISPUTE: "signer"}
"""Which role takes which task."""


class Broker(Protocol):
    """What settings say of an operator's broker."""

    @property
    def broker_url(self) -> str: ...
    @property
    def queue_prefix(self) -> str: ...
    @property
    def visibility_timeout(self) -> int: ...


def queue_of(broker: Broker, role: Role) -> str:
    """The queue of a role."""
    return broker.queue_prefix + role


def make_sender(broker: Broker) -> Any:
    """The operator's Celery application without tasks of its own: `send_task(INFER, [job, chunk])`."""
    app = make_open_app(broker)
    app.finalize()
    return app


def make_open_app(broker: Broker) -> Any:
    """The operator's Celery application, to which tasks can still be added before it is finalised."""
    app: Any = Celery("quorate", broker=broker.broker_url, set_as_current=False, autofinalize=False)  # type: ignore[no-untyped-call]
    app.conf.update(
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
        broker_connection_retry_on_startup=True,
        broker_transport_options=_transport_options(broker),
    )
    return app


def _transport_options(broker: Broker) -> dict[str, Any]:
    if broker.broker_url.startswith("memory:"):
        return {"polling_interval": 0.02}
    restore = {"unacked_restore_interval": 1, "unacked_restore_throttle": 1}
    return {"visibility_timeout": broker.visibility_timeout, **restore}
