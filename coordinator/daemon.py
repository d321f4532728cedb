"""The coordinator's cycle: catch up with the chain, look at every open job, dispatch what is due, wait for the next block.

Level-triggered: each cycle starts from where the chain stands and remembers nothing that it needs. Whatever goes wrong in
one is logged, and the next one goes on.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

from contracts.deployment import BadDeployment, Deployment
from contracts.endpoint import ChainError, Endpoint, WrongChain
from coordinator.claims import Claims
from coordinator.clock import Clock
from coordinator.database import StoreDamaged, StoreInUse, StoreLost, StoreUnusable
from coordinator.dispatcher import BrokerUnreachable, Dispatcher, Publish, celery_publisher
from coordinator.job_store import JobStore, Source
from coordinator.job_view import JobView
from coordinator.metrics import CoordinatorMetrics, queue_depths
from coordinator.scheduler import Action, Operator, next_actions
from coordinator.settings import CoordinatorSettings
from coordinator.watcher import Watcher
from oracle_worker.monitoring import monitoring

log = logging.getLogger(__name__)

UNHEALTHY_SECONDS = 120.0
"""Without a cycle that succeeds for so long, the coordinator says that it is not well."""
LONGEST_PAUSE = 15.0
"""Seconds between cycles while nothing but errors comes of them, at most."""


@dataclass(frozen=True, slots=True)
class Health:
    """What the last cycles came to. Times of this machine's clock and of the chain's, in unix seconds."""

    started_at: float
    cycles: int = 0
    failures_in_a_row: int = 0
    last_success_at: float = 0.0
    last_error: str | None = None
    head: int | None = None
    head_time: int | None = None
    confirmed: int | None = None
    open_jobs: int = 0
    dispatched: int = 0
    """Actions sent since the start."""

    def as_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


class Daemon:
    """One coordinator. `run` blocks; `health` may be read from any thread."""

    def __init__(self, settings: CoordinatorSettings, publish: Publish | None = None) -> None:
        """Open deployment file and projection; the chain is not asked yet.

        publish: takes the messages instead of the broker of the settings.
        Raises BadDeployment, StoreInUse, StoreUnusable.
        """
        self.settings = settings
        self.deployment = Deployment.load(settings.deployment)
        if settings.chain_id not in (None, self.deployment.chain_id):
            raise BadDeployment(
                f"{settings.deployment} is for chain {self.deployment.chain_id}, QUORATE_CHAIN_ID is {settings.chain_id}"
            )
        self._endpoint = Endpoint(settings.rpc_url, chain_id=self.deployment.chain_id)
        self.source = Source(self.deployment.chain_id, self.deployment.oracle, self.deployment.block)
        self._publish = publish or celery_publisher(settings)
        self._dispatcher = Dispatcher(
            self._publish,
            retry_seconds=settings.retry_seconds,
            chunk_depth=settings.chunk_depth,
            waiting=lambda: queue_depths(settings).get("compute") or 0,
        )
        self._claims: Claims | None = None
        if settings.token_jobs is not None and settings.worker is not None:
            self._claims = Claims(self._endpoint, settings.token_jobs, settings.worker)
        self._follow(JobStore(settings.database, self.source))
        self._reopening: Literal["as it is", "anew"] | None = None
        self._seen: object = None
        self._due: list[tuple[JobView, list[Action]]] = []
        """What was due when the chain stood as `_seen` says."""
        self.health = Health(started_at=time.time())
        self.clock: Clock | None = None
        """Of the last look at the chain that succeeded."""
        self.metrics = CoordinatorMetrics()

    def report(self) -> tuple[bool, Mapping[str, Any]]:
        """Whether it does its work, for /healthz; metrics that are asked for are measured with it."""
        health = self.health
        self.metrics.cycled(health.failures_in_a_row, health.last_success_at)
        self.metrics.measure_queues(self.settings)
        since = time.time() - (health.last_success_at or health.started_at)
        return since < UNHEALTHY_SECONDS, health.as_json()

    def close(self) -> None:
        """Give the projection back."""
        self.store.close()

    def run(self, stop: threading.Event) -> None:
        """Cycle until `stop` is set. Raises WrongChain: no waiting helps against that."""
        log.info("following %s on chain %d as %s", self.source.oracle, self.source.chain_id, self._role())
        while not stop.is_set():
            self._one_cycle(stop)
            pause = self.settings.poll_seconds * 2 ** min(self.health.failures_in_a_row, 10)
            stop.wait(min(pause, max(LONGEST_PAUSE, self.settings.poll_seconds)))

    def cycle(self, stop: threading.Event | None = None) -> None:
        """One look at the chain and what follows from it. Raises whatever went wrong."""
        clock = self._watcher.catch_up(stop.is_set if stop else lambda: False)
        if stop is not None and stop.is_set():
            return
        self.clock = clock
        views = self.store.open_views()
        unclaimed = list(self._claims.unclaimed(self.store, clock.confirmed_block)) if self._claims else []
        known = {view.job_id: view for view in [*views, *unclaimed]}
        if self.settings.worker is not None:
            self._dispatch(list(known.values()), clock, {view.job_id for view in unclaimed})
        self._dispatcher.forget_all_but(known)
        self.metrics.looked(clock, views, self._endpoint)
        self.health = replace(
            self.health,
            head=clock.block_number,
            head_time=clock.now,
            confirmed=clock.confirmed_block,
            open_jobs=len(views),
        )

    def _one_cycle(self, stop: threading.Event) -> None:
        health = replace(self.health, cycles=self.health.cycles + 1)
        try:
            if self._reopening is not None:
                self._follow(JobStore(self.settings.database, self.source, rebuild=self._reopening == "anew"))
                self._reopening = None
            self.cycle(stop)
        except WrongChain:
            raise
        except (StoreDamaged, StoreLost) as error:
            log.error("%s", error)
            self.store.close()
            self._reopening = "anew" if isinstance(error, StoreDamaged) else "as it is"
            self._note(health, error)
        except (ChainError, StoreUnusable, StoreInUse, BrokerUnreachable) as error:
            log.warning("this cycle failed: %s", error)
            self._note(health, error)
        except Exception as error:
            log.exception("this cycle failed in a way nobody foresaw; the next one goes on")
            self._note(health, error)
        else:
            self.health = replace(
                self.health, cycles=health.cycles, failures_in_a_row=0, last_success_at=time.time(), last_error=None
            )

    def _dispatch(self, views: Sequence[JobView], clock: Clock, unclaimed: Collection[bytes]) -> None:
        seen = clock, self.store.revision, frozenset(unclaimed)
        if seen != self._seen:  # else the same is due as before
            self._due = self._due_now(views, clock, unclaimed)
            self._seen = seen
        for view, actions in self._due:
            with self._passing_over(view):
                self._note_sent(self._dispatcher.dispatch(view, actions))
        self._note_sent(self._dispatcher.draw_together())
        self.metrics.due(action for _, actions in self._due for action in actions)

    def _due_now(
        self, views: Sequence[JobView], clock: Clock, unclaimed: Collection[bytes]
    ) -> list[tuple[JobView, list[Action]]]:
        """The jobs that anything is due for, and what."""
        worker = self.settings.worker
        assert worker is not None  # an observing coordinator does not come here
        account, stakers = self.store.account(worker), self.store.stakers()
        has_lane = next(account.free_lanes(), None) is not None
        self.metrics.held(worker, account, views)
        due = []
        for view in views:
            with self._passing_over(view):
                bonded = self.store.bonded_before(worker, view.state.created_block)
                me = Operator(worker, bonded, account.free, has_lane, unclaimed, stakers)
                if actions := next_actions(view, me, clock, self.settings.rules):
                    due.append((view, actions))
        return due

    @contextmanager
    def _passing_over(self, view: JobView) -> Iterator[None]:
        """What nobody foresaw about one job does not keep the others from their due."""
        try:
            yield
        except (BrokerUnreachable, StoreDamaged, StoreUnusable):
            raise
        except Exception:
            log.exception("job 0x%s is passed over in this cycle", view.job_id.hex())

    def _note_sent(self, sent: Sequence[Action]) -> None:
        for action in sent:
            log.info("job 0x%s: %s", action.job_id.hex(), action.kind)
        self.metrics.sent(sent)
        self.health = replace(self.health, dispatched=self.health.dispatched + len(sent))

    def _follow(self, store: JobStore) -> None:
        self.store = store
        settings = self.settings
        self._watcher = Watcher(
            self._endpoint,
            store,
            confirmations=settings.confirmations,
            most_blocks=settings.log_range,
            recheck_seconds=settings.recheck_seconds,
        )

    def _note(self, health: Health, error: Exception) -> None:
        self.health = replace(
            self.health,
            cycles=health.cycles,
            failures_in_a_row=self.health.failures_in_a_row + 1,
            last_error=str(error) or type(error).__name__,
        )

    def _role(self) -> str:
        return f"the coordinator of {self.settings.worker}" if self.settings.worker else "an observer"


def run(settings: CoordinatorSettings, stop: threading.Event) -> None:
    """Run a coordinator until `stop` is set. Raises BadDeployment, StoreInUse, StoreUnusable, WrongChain."""
    daemon = Daemon(settings)
    try:
        with monitoring(settings.monitoring_port, [daemon.metrics.registry], daemon.report):
            daemon.run(stop)
    finally:
        daemon.close()
