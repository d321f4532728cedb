"""Starts an operator's roles: as processes of their own on a broker, or all of them inside one process."""

from __future__ import annotations

import logging
import multiprocessing
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import cached_property
from multiprocessing.connection import wait
from multiprocessing.process import BaseProcess
from socket import gethostname
from typing import Any, Literal, TypeAlias

from celery.concurrency.base import BasePool, apply_target
from celery.exceptions import WorkerShutdown
from eth_account.signers.local import LocalAccount

from contracts import keystore
from contracts.deployment import Contracts, Deployment
from contracts.endpoint import Call, Endpoint
from contracts.fees import Fees
from contracts.transactor import Receipt, Transactor
from oracle_worker import salt
from oracle_worker.chain_view import ChainView
from oracle_worker.collection import Collection
from oracle_worker.context import ComputeContext, SignerContext
from oracle_worker.data import DataStore
from oracle_worker.inference import Inference, OnnxInference, ResultStore, check_passports
from oracle_worker.journal import Journal
from oracle_worker.messages import Domain, Seal, load_secret
from oracle_worker.model_store import ModelStore
from oracle_worker.monitoring import SignerMetrics, monitoring
from oracle_worker.passport import PassportStore
from oracle_worker.queues import Role, make_sender, queue_of
from oracle_worker.relay import Relay
from oracle_worker.settings import BadSettings, WorkerSettings
from oracle_worker.tasks import fetch_queue, make_app
from oracle_worker.tries import TryLog

log = logging.getLogger(__name__)

Process: TypeAlias = Literal["compute", "signer"]
"""What an operator starts: the one that holds the key, or what runs models."""

START_SECONDS = 30.0
SEND_SECONDS = 120.0
"""How long the signer waits for a block to take a transaction before it turns to what is due next, a reveal perhaps; what
is still due then is dispatched again and replaces it."""
STOP_SECONDS = 30.0
"""How long a running task may take to end; the thread is a daemon, so that it cannot keep the process for longer."""


class RoleContexts:
    """The contexts of one operator, each made when it is first needed: a compute process never asks for a key.

    inference, account: instead of ONNX Runtime and of the key that the settings lead to.
    """

    def __init__(
        self, settings: WorkerSettings, *, inference: Inference | None = None, account: LocalAccount | None = None
    ) -> None:
        self.settings = settings
        self._inference = inference
        self._account = account

    @cached_property
    def compute(self) -> ComputeContext:
        """Raises BadDeployment, BadSettings, BadSecret."""
        settings = self.settings
        folder = settings.work_folder
        return ComputeContext(
            *self._shared(),
            models=ModelStore(settings.model_folders),
            data=DataStore(folder / "data", settings),
            results=ResultStore(folder / "results", settings.results_cache_bytes),
            inference=self._inference or _inference_of(settings),
            worker=self._account.address if self._account else settings.worker,
        )

    def check_passports(self) -> None:
        """Show that this machine is exact on every model it serves, before anything starts. Raises PassportRefused."""
        check_passports(self.compute.inference, self.compute.models.served(self.settings.allowed_models))

    @cached_property
    def signer(self) -> SignerContext:
        """Raises BadDeployment, BadSettings, BadSecret, KeystoreError."""
        settings, contracts, view, seal = self._shared()
        account = self._account or _account_of(settings)
        if settings.worker not in (None, account.address):
            raise BadSettings(f"QUORATE_WORKER is {settings.worker}, but the key is that of {account.address}")
        deployment, metrics = contracts.deployment, SignerMetrics()
        return SignerContext(
            settings,
            contracts,
            view,
            seal,
            transactor=Transactor(
                contracts.endpoint,
                account,
                fees=Fees(ceiling=settings.fee_ceiling, urgent_ceiling=settings.urgent_fee_ceiling),
                patience=SEND_SECONDS,
                on_landed=_both(metrics.landed, Journal(settings.work_folder).landed),
            ),
            account=account,
            secret=salt.secret_of(account, deployment.chain_id, deployment.oracle),
            collection=Collection(settings.work_folder / "collected"),
            tries=TryLog(settings.work_folder / "tries"),
            relay=_relay_of(settings, deployment),
            metrics=metrics,
        )

    def _shared(self) -> tuple[WorkerSettings, Contracts, ChainView, Seal]:
        settings = self.settings
        deployment = Deployment.load(settings.deployment)
        if settings.chain_id not in (None, deployment.chain_id):
            raise BadSettings(
                f"QUORATE_CHAIN_ID is {settings.chain_id}, but {settings.deployment} is for chain {deployment.chain_id}"
            )
        contracts = Contracts(Endpoint(settings.rpc_url, chain_id=deployment.chain_id), deployment)
        seal = Seal(load_secret(settings.secret_path), Domain(deployment.chain_id, deployment.oracle))
        return settings, contracts, ChainView(contracts, settings.log_range), seal


def run(process: Process, settings: WorkerSettings) -> int:
    """Work as the compute or the signer process until a signal ends it; the exit code.

    Compute is several roles, each in a process of its own: if one of them ends, all do. Raises what the context raises, before
    anything starts.
    """
    contexts = RoleContexts(settings)
    getattr(contexts, process)  # what is wrong with the settings is said now, not at the first task
    if process == "compute":
        contexts.check_passports()
    if process == "signer":
        metrics = contexts.signer.metrics
        with monitoring(settings.monitoring_port, [metrics.registry], metrics.watch(contexts.signer.transactor)):
            return _serve("signer", contexts)
    return _serve_together(("compute", "examine", "fetch"), settings)


@contextmanager
def embedded(contexts: RoleContexts) -> Iterator[Any]:
    """All roles as threads of this process, on whatever broker the settings name; gives the app to send tasks with.

    With memory:// nothing leaves the process; several operators in one process need queue_prefix to tell them apart.
    """
    started: list[_WorkerThread] = []
    try:
        for role in _ROLES:  # an app each: making a worker narrows its app to that worker's queue
            started.append(_WorkerThread(contexts, role))
            started[-1].start()
        yield make_sender(contexts.settings)
    finally:
        for worker in started:  # all are told before any is waited for
            worker.tell_to_stop()
        for worker in started:
            worker.join()


def _serve(role: Role, contexts: RoleContexts) -> int:
    settings = contexts.settings
    worker = make_app(settings, contexts).Worker(
        queues=[_queue_of(contexts, role)],
        hostname=f"{settings.queue_prefix}{role}@{gethostname()}",
        **_pool_of(role, settings, is_alone=True),
        loglevel="INFO",
        **_QUIET,
    )
    worker.start()
    return int(worker.exitcode or 0)


def _serve_together(roles: Sequence[Role], settings: WorkerSettings) -> int:
    """A process for each role, until one ends or a signal ends them all."""
    fork = multiprocessing.get_context("fork")
    started = [fork.Process(target=_serve_and_exit, args=(role, settings), name=role) for role in roles]
    for process in started:
        process.start()
    before = signal.signal(signal.SIGTERM, lambda *_: _stop(started))
    try:
        wait([process.sentinel for process in started])
    except KeyboardInterrupt:  # the terminal told them too
        pass
    finally:
        _stop(started)
        for process in started:
            process.join()
        signal.signal(signal.SIGTERM, before)
    return max(abs(process.exitcode or 0) for process in started)


def _serve_and_exit(role: Role, settings: WorkerSettings) -> None:
    sys.exit(_serve(role, RoleContexts(settings)))


def _stop(processes: Sequence[BaseProcess]) -> None:
    """Tell them to finish the tasks at hand and end."""
    for process in processes:
        if process.is_alive():
            process.terminate()


class _DaemonThreads(BasePool):
    """A Celery pool of a thread for each task, of which a worker takes no more at a time than its concurrency.

    Celery's own threads would not know the app, and a process could not end before its slowest download.
    """

    body_can_be_buffer = True
    signal_safe = False

    def on_apply(
        self,
        target: Callable[..., Any],
        args: Any = None,
        kwargs: Any = None,
        callback: Any = None,
        accept_callback: Any = None,
        **_: Any,
    ) -> None:
        """As Celery calls it."""

        def run() -> None:
            self.app.set_current()
            apply_target(target, args, kwargs, callback, accept_callback)  # type: ignore[no-untyped-call]

        threading.Thread(target=run, daemon=True).start()


def _pool_of(role: Role, settings: WorkerSettings, *, is_alone: bool) -> dict[str, Any]:
    """Celery's pool for a role. The key is in one thread, downloads wait in threads; inference takes processes, unless the
    role shares its process with others."""
    if role == "fetch":
        return {"pool": _DaemonThreads, "concurrency": settings.data_downloads}
    if role == "signer" or not is_alone:
        return {"pool": "solo", "concurrency": 1}
    return {"pool": "prefork", "concurrency": settings.compute_processes}


def _queue_of(contexts: RoleContexts, role: Role) -> str:
    return fetch_queue(contexts.compute) if role == "fetch" else queue_of(contexts.settings, role)


def _both(*told: Callable[[Call, Receipt], None]) -> Callable[[Call, Receipt], None]:
    def tell(call: Call, receipt: Receipt) -> None:
        for one in told:
            one(call, receipt)

    return tell


def _inference_of(settings: WorkerSettings) -> Inference:
    return OnnxInference(settings.threads, PassportStore(settings.passport_folder, settings.threads))


def _relay_of(settings: WorkerSettings, deployment: Deployment) -> Relay | None:
    if not settings.relay_url:
        return None
    return Relay(settings.relay_url, settings.relay_seconds, deployment.chain_id, deployment.oracle)


_ROLES: tuple[Role, ...] = ("compute", "examine", "fetch", "signer")
_QUIET: dict[str, Any] = {"without_gossip": True, "without_mingle": True, "without_heartbeat": True}


class _WorkerThread:
    """One Celery worker in a thread, stopped by itself and not by Celery's process-wide flags."""

    def __init__(self, contexts: RoleContexts, role: Role) -> None:
        queue = _queue_of(contexts, role)
        app = self._app = make_app(contexts.settings, contexts)
        self._ready = threading.Event()
        self._controller = app.WorkController(
            app=app,
            hostname=f"{queue}@embedded",
            **_pool_of(role, contexts.settings, is_alone=False),
            queues=[queue],
            use_eventloop=False,  # Celery has one event loop in a process, and here are several workers
            ready_callback=lambda _: self._ready.set(),
            **_QUIET,
        )
        self._thread = threading.Thread(target=self._work, name=queue, daemon=True)
        self._failure: BaseException | None = None

    def start(self) -> None:
        """Start, wait until it listens."""
        self._thread.start()
        if not self._ready.wait(START_SECONDS):
            raise RuntimeError(f"the embedded worker {self._thread.name} did not start") from self._failure

    def tell_to_stop(self) -> None:
        """Finish the task at hand and end: Celery's own way to say so, but in this worker's loop alone."""
        self._controller.consumer.call_soon(_shut_down)

    def join(self) -> None:
        """Wait for the end: its loop looks up every two seconds, and a task at hand is finished."""
        self._thread.join(STOP_SECONDS)

    def _work(self) -> None:
        self._app.set_current()  # for this thread: Celery looks a task's app up here
        try:
            self._controller.start()
        except BaseException as error:
            self._failure = error
            raise


def _shut_down() -> None:
    raise WorkerShutdown(0)


def _account_of(settings: WorkerSettings) -> LocalAccount:
    plain = keystore.from_environment()
    if plain is not None:
        return plain
    if settings.keystore is None or settings.passphrase_file is None:
        raise BadSettings(
            f"the signer needs QUORATE_KEYSTORE and QUORATE_PASSPHRASE_FILE, or a plain key in {keystore.ENVIRONMENT_KEY}"
        )
    try:
        passphrase = keystore.read_passphrase(settings.passphrase_file)
    except (OSError, UnicodeDecodeError) as error:
        raise BadSettings(f"QUORATE_PASSPHRASE_FILE cannot be read: {type(error).__name__}") from error
    return keystore.unlock(settings.keystore, passphrase)
