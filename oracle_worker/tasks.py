"""The Celery shell: JSON only, a few lines a task. What a task does is in computing, examination, duties and challenges.

The chain is the reply channel: there is no result backend, and a task that fails or is lost is dispatched again by the
coordinator's next cycle. What an operator must read is logged, with the task's name.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from contracts.endpoint import ChainError
from contracts.errors import Reverted
from oracle_worker import challenges, claims, computing, duties, examination, settlement
from oracle_worker.context import ComputeContext, SignerContext
from oracle_worker.data_errors import DataNotHere
from oracle_worker.job_codec import BadMessage, action_to_json, job_from_json
from oracle_worker.json_log import current_job
from oracle_worker.queues import (
    ACT,
    COLLECT,
    DISPUTE,
    EARNING,
    EXAMINE,
    FETCH,
    INFER,
    MOST_DRAWS,
    UNAVAILABLE,
    URGENT,
    Broker,
    make_open_app,
    queue_of,
)
from oracle_worker.result import Done, Nothing, Result, WorkerError

log = logging.getLogger(__name__)

ACTIONS: dict[str, Callable[..., Result]] = {
    "draw": duties.draw,
    "commit": duties.commit,
    "abstain": duties.abstain,
    "reveal": duties.reveal,
    "settle": settlement.settle,
    "claim": claims.claim,
    "release": settlement.release,
    "release_bounty": settlement.release_bounty,
    "release_bond": settlement.release_bond,
    "deliver": settlement.deliver,
}


class Contexts(Protocol):
    """A process's contexts, each made when a task first needs it."""

    @property
    def compute(self) -> ComputeContext: ...
    @property
    def signer(self) -> SignerContext: ...


def make_app(broker: Broker, contexts: Contexts) -> Any:
    """The operator's Celery application with its tasks, for a worker. queues.make_sender: for whoever only sends."""
    app = make_open_app(broker)
    _register(app, contexts)
    app.finalize()
    return app


def _register(app: Any, contexts: Contexts) -> None:
    """The tasks. Arguments come from the broker: jobs are parsed strictly, the rest is sealed."""

    def infer(job: object, chunk: object) -> None:
        with _telling(INFER):
            try:
                found = computing.infer(contexts.compute, *job_from_json(job), _chunk(chunk))
            except DataNotHere:
                ask_for_data(job, chunk)
                return
            if isinstance(found, Nothing):
                _tell(found)
            else:
                app.send_task(COLLECT, [contexts.compute.seal.close(COLLECT, found)], priority=EARNING)

    def examine(job: object) -> None:
        with _telling(EXAMINE):
            found = examination.examine(contexts.compute, job_from_json(job)[0])
            for action in found.actions:
                body = {"job": job, "action": action_to_json(action)}
                app.send_task(DISPUTE, [contexts.compute.seal.close(DISPUTE, body)], priority=URGENT)
            if isinstance(found.held_up, DataNotHere):
                ask_for_data(job, None)
            elif found.held_up is not None:
                raise found.held_up

    def ask_for_data(job: object, chunk: object) -> None:
        app.send_task(FETCH, [job, chunk], queue=fetch_queue(contexts.compute))

    def fetch(job: object, chunk: object) -> None:
        with _telling(FETCH):
            waiting = None if chunk is None else _chunk(chunk)
            found = computing.fetch_for(contexts.compute, *job_from_json(job), waiting)
            if isinstance(found, Nothing):
                return _tell(found)
            for one in found.waiting:
                app.send_task(*((EXAMINE, [job]) if one is None else (INFER, [job, one])))
            if found.report is not None:
                app.send_task(UNAVAILABLE, [contexts.compute.seal.close(UNAVAILABLE, found.report)], priority=EARNING)
            if found.failure is not None:
                raise found.failure
            return None

    def act(job: object, action: object, beside: object = ()) -> None:
        with _telling(ACT):
            if not isinstance(action, str) or action not in ACTIONS:
                raise BadMessage(f"{ascii(action)[:40]} is no action: {', '.join(ACTIONS)} are")
            jobs = [job_from_json(one)[0] for one in (job, *_beside(action, beside))]
            _do(contexts.signer, lambda signer: ACTIONS[action](signer, *jobs))

    def collect(message: object) -> None:
        with _telling(COLLECT):
            body = contexts.signer.seal.open(COLLECT, message)
            _do(contexts.signer, lambda signer: duties.collect(signer, body))

    def unavailable(message: object) -> None:
        with _telling(UNAVAILABLE):
            body = contexts.signer.seal.open(UNAVAILABLE, message)
            _do(contexts.signer, lambda signer: duties.note_failed_try(signer, body))

    def dispute(message: object) -> None:
        with _telling(DISPUTE):
            body = contexts.signer.seal.open(DISPUTE, message)
            result = challenges.dispute(contexts.signer, body)
            _tell(result)
            if isinstance(result, Done) and result.duty in challenges.STEPS:
                app.send_task(
                    EXAMINE, [body["job"]], priority=URGENT
                )  # the next step, after whatever else has become due meanwhile

    tasks = {INFER: infer, EXAMINE: examine, FETCH: fetch, ACT: act, COLLECT: collect}
    for name, run in {**tasks, UNAVAILABLE: unavailable, DISPUTE: dispute}.items():
        app.task(name=name, shared=False)(run)  # shared, they would become every other operator's in this process


def fetch_queue(compute: ComputeContext) -> str:
    """The queue of whoever fills this process's cache."""
    return queue_of(compute.settings, "fetch", compute.data.name)


def _beside(action: str, given: object) -> list[object]:
    """The further jobs of a message: draws alone are made together."""
    if not isinstance(given, list | tuple) or (given and action != "draw") or len(given) >= MOST_DRAWS:
        raise BadMessage(f"beside a job only others to draw can stand, fewer than {MOST_DRAWS}")
    return list(given)


def _chunk(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise BadMessage("chunk must be a number, 0 or more")
    return given


@contextmanager
def _telling(task: str) -> Iterator[None]:
    """Log what kept a task from its duty. Anything unforeseen goes on to Celery, which logs it with its traceback."""
    current_job.set(None)  # until the task has found out which it is
    try:
        yield
    except (WorkerError, ChainError, Reverted, IndexError) as error:
        log.warning("%s: %s: %s", task, type(error).__name__, error)


def _do(signer: SignerContext, duty: Callable[[SignerContext], Result]) -> None:
    """Do it and tell of it. How long a seat's duty takes, reading and all, is how long others wait for theirs."""
    began = time.monotonic()
    result = duty(signer)
    if isinstance(result, Done) and result.receipts and result.duty in ("commit", "reveal"):
        signer.pace.note(time.monotonic() - began)
    _tell(result)


def _tell(result: Result) -> None:
    if isinstance(result, Done):
        log.info("%s: done: %s", result.duty, result.detail)
    else:
        log.info("%s: nothing to do: %s", result.duty, result.reason)
