"""What a coordinator tells Prometheus: its worker's stake and seats, what is due and until when, its nodes and queues."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import redis
from eth_typing import ChecksumAddress
from prometheus_client import CollectorRegistry, Gauge
from prometheus_client import Counter as Count

from contracts.endpoint import Endpoint
from contracts.stake import LANES, Account
from coordinator.clock import Clock
from coordinator.job_view import JobView
from coordinator.scheduler import Action, ActionKind
from oracle_worker.monitoring import ETHER, NodeGauges
from oracle_worker.queues import Broker, lists_of, queue_of

QUEUES = ("compute", "examine", "signer")
QUEUE_SECONDS = 2.0
"""How long a broker may take to tell how much it holds."""


class CoordinatorMetrics:
    """The gauges of one coordinator. Not for several daemons."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"quorate_{name}", text, labels, registry=registry)

        self._stake = gauge("stake_ether", "The worker's stake: bonded, and locked in seats.", "part")
        self._seats = gauge("seats_held", "Seats of unreleased jobs.")
        self._sealed = gauge("seats_sealed", "Seats that are lost unless they are revealed.")
        self._refuted = gauge("own_roots_refuted", "Open jobs in which a root of the worker's own was refuted.")
        self._lanes = gauge("lanes_free", "Lanes free for another job.")
        self._jobs = gauge("open_jobs", "Jobs with something left to happen.")
        self._due = gauge("duties_due", "Duties due at the last look.", "duty")
        self._left = gauge("seconds_to_deadline", "Until the first of these duties is too late.", "duty")
        self._sent = Count("quorate_duties_sent", "Duties handed to the workers.", ["duty"], registry=registry)
        self._head_age = gauge("head_age_seconds", "Age of the newest block that the nodes tell of.")
        self._head = gauge("head_block", "Number of that block.")
        self._behind = gauge("blocks_to_read", "Blocks between that one and the last one recorded.")
        self._failures = gauge("cycle_failures_in_a_row", "Cycles that failed since the last one that did not.")
        self._cycle = gauge("last_cycle_timestamp_seconds", "When a cycle last succeeded, in unix seconds.")
        self._queue = gauge("queue_depth", "Messages waiting in a queue.", "queue")
        self._nodes = NodeGauges(registry)
        for kind in ActionKind:
            self._due.labels(kind.value).set(0)
            self._sent.labels(kind.value)

    def looked(self, clock: Clock, views: Iterable[JobView], endpoint: Endpoint) -> None:
        """After a look at the chain."""
        self._head.set(clock.block_number)
        self._head_age.set(max(0.0, time.time() - clock.now))
        self._behind.set(clock.block_number - clock.confirmed_block)
        self._jobs.set(len(list(views)))
        self._nodes.update(endpoint)

    def held(self, worker: ChecksumAddress, account: Account, views: Iterable[JobView]) -> None:
        """What the worker has at stake, as the confirmed blocks tell it."""
        seats = [(view, seat) for view in views if (seat := view.seat(worker)) is not None and seat.is_held]
        self._stake.labels("bonded").set(account.bonded / ETHER)
        self._stake.labels("locked").set(account.locked / ETHER)
        self._seats.set(sum(seat.count for _, seat in seats))
        self._sealed.set(sum(seat.count for _, seat in seats if seat.is_sealed))
        refuted = (view.roots[seat.root].refuted for view, seat in seats if seat.root in view.roots)  # type: ignore[index]
        self._refuted.set(sum(refuted))
        self._lanes.set(LANES - account.lanes.bit_count())

    def due(self, actions: Iterable[Action]) -> None:
        """All that is due now."""
        found = list(actions)
        counted = Counter(action.kind for action in found)
        for kind in ActionKind:
            self._due.labels(kind.value).set(counted[kind])
            left = [action.left for action in found if action.kind == kind and action.left is not None]
            self._left.labels(kind.value).set(min(left) if left else float("nan"))

    def sent(self, actions: Iterable[Action]) -> None:
        """What was handed to the workers."""
        for action in actions:
            self._sent.labels(action.kind.value).inc()

    def cycled(self, failures_in_a_row: int, last_success_at: float) -> None:
        """After a cycle, however it ended."""
        self._failures.set(failures_in_a_row)
        self._cycle.set(last_success_at)

    def measure_queues(self, broker: Broker) -> None:
        """Ask the broker how much it holds; NaN where it does not say."""
        for queue, depth in queue_depths(broker).items():
            self._queue.labels(queue).set(float("nan") if depth is None else depth)


def queue_depths(broker: Broker) -> Mapping[str, int | None]:
    """Messages waiting by role, None where a Redis does not say; nothing where the broker is none."""
    url = broker.broker_url.replace("redis+socket://", "unix://", 1)  # Celery's name for it, and the client's
    if not url.startswith(("redis://", "rediss://", "unix://")):
        return {}
    depths: dict[str, int | None] = dict.fromkeys(QUEUES)
    options: Mapping[str, Any] = {"socket_timeout": QUEUE_SECONDS, "socket_connect_timeout": QUEUE_SECONDS}
    try:
        with redis.Redis.from_url(url, **options) as client:
            length: Callable[[str], Any] = client.llen
            for queue in QUEUES:
                parts = lists_of(queue_of(broker, queue))  # type: ignore[arg-type]
                depths[queue] = sum(int(length(part)) for part in parts)
    except redis.RedisError:
        return depths
    return depths
