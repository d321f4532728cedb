"""The Celery shell: two queues, JSON only, a few lines a task. What a task does is in computing, duties and challenges.

The chain is the reply channel: there is no result backend, and a task that fails or is lost is dispatched again by the
coordinator's next cycle. What an operator must read is logged, with the task's name.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from contracts.endpoint import ChainError
from contracts.errors import Reverted
from contracts.job import Job
from oracle_worker import challenges, computing, duties
from oracle_worker.context import ComputeContext, SignerContext
from oracle_worker.job_codec import BadMessage, action_to_json, job_from_json
from oracle_worker.queues import ACT, COLLECT, DISPUTE, EXAMINE, INFER, Broker, make_open_app
from oracle_worker.result import Done, Nothing, Result, WorkerError

log = logging.getLogger(__name__)

ACTIONS: dict[str, Callable[[SignerContext, Job], Result]] = {
    "draw": duties.draw,
    "commit": duties.commit,
    "reveal": duties.reveal,
    "settle": duties.settle,
    "release": duties.release,
    "release_bounty": duties.release_bounty,
    "release_bond": duties.release_bond,
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
    """The five tasks. Arguments come from the broker: jobs are parsed strictly, the rest is sealed."""

    def infer(job: object, chunk: object) -> None:
        with _telling(INFER):
            found = computing.infer(contexts.compute, *job_from_json(job), _chunk(chunk))
            if isinstance(found, Nothing):
                _tell(found)
            else:
                app.send_task(COLLECT, [contexts.compute.seal.close(COLLECT, found)])

    def examine(job: object) -> None:
        with _telling(EXAMINE):
            for action in challenges.examine(contexts.compute, *job_from_json(job)):
                body = {"job": job, "action": action_to_json(action)}
                app.send_task(DISPUTE, [contexts.compute.seal.close(DISPUTE, body)])

    def act(job: object, action: object) -> None:
        with _telling(ACT):
            if not isinstance(action, str) or action not in ACTIONS:
                raise BadMessage(f"{ascii(action)[:40]} is no action: {', '.join(ACTIONS)} are")
            _tell(ACTIONS[action](contexts.signer, job_from_json(job)[0]))

    def collect(message: object) -> None:
        with _telling(COLLECT):
            _tell(duties.collect(contexts.signer, contexts.signer.seal.open(COLLECT, message)))

    def dispute(message: object) -> None:
        with _telling(DISPUTE):
            _tell(challenges.dispute(contexts.signer, contexts.signer.seal.open(DISPUTE, message)))

    for name, run in {INFER: infer, EXAMINE: examine, ACT: act, COLLECT: collect, DISPUTE: dispute}.items():
        app.task(name=name, shared=False)(run)  # shared, they would become every other operator's in this process


def _chunk(given: object) -> int:
    if not isinstance(given, int) or isinstance(given, bool) or given < 0:
        raise BadMessage("chunk must be a number, 0 or more")
    return given


@contextmanager
def _telling(task: str) -> Iterator[None]:
    """Log what kept a task from its duty. Anything unforeseen goes on to Celery, which logs it with its traceback."""
    try:
        yield
    except (WorkerError, ChainError, Reverted, IndexError) as error:
        log.warning("%s: %s: %s", task, type(error).__name__, error)


def _tell(result: Result) -> None:
    if isinstance(result, Done):
        log.info("%s: done: %s", result.duty, result.detail)
    else:
        log.info("%s: nothing to do: %s", result.duty, result.reason)
