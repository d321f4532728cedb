"""Compute's part of a job: check terms, model and data, then run chunks. It has no key and sends nothing to the chain."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from contracts import job as protocol
from contracts import merkle
from contracts.job import Job, Phase
from oracle_worker import pay, policy
from oracle_worker.chain_view import History, Sight
from oracle_worker.context import ComputeContext
from oracle_worker.data import AwaitedData, Need
from oracle_worker.data_errors import DataError, DataNotHere, DataRefused, DataSizeMismatch
from oracle_worker.inference import ChunkResult, JobInference, measure_speed
from oracle_worker.job_codec import job_to_json
from oracle_worker.model_store import Model
from oracle_worker.result import Nothing

LONGEST_NEED = 365 * 86_400
"""Seconds for which data is kept from eviction at most: terms can ask for centuries."""


def infer(context: ComputeContext, job: Job, data_uri: str, chunk: int) -> dict[str, Any] | Nothing:
    """Compute one chunk (or take it from disk); what the signer's collect takes, still to be sealed.

    While Challenging the results are only kept: whoever checks other roots needs them, seated or not.

    Raises UnknownJob, PolicyRefusal, WrongModel, ModelNotFound, DataNotHere, IndexError.
    """
    sight = context.view.sight(job)
    cut = context.plan(job)
    cut.items(chunk)
    if sight.phase not in (Phase.COMMITTING, Phase.CHALLENGING):
        return Nothing("infer", f"the job is {sight.phase.name}")
    work = _checked(context, sight, chunk)
    result: ChunkResult = work.chunk(chunk)
    if sight.phase == Phase.CHALLENGING:
        return Nothing("infer", f"chunk {chunk} is on disk, for the disputes; the time to commit to it is over")
    return {
        "job": job_to_json(job, data_uri),
        "chunk": str(chunk),
        "chunk_depth": str(cut.depth),
        "subtree_root": "0x" + result.tree.root.hex(),
    }


@dataclass(frozen=True)
class Fetched:
    """How fetching ended: what waited for the data (chunks; None: an examination), or why it could not be had and, while that
    matters, what the signer is told of it, still to be sealed."""

    waiting: frozenset[int | None] = frozenset()
    failure: DataError | None = None
    report: dict[str, Any] | None = None


def fetch_for(context: ComputeContext, job: Job, data_uri: str, waiting: int | None) -> Fetched | Nothing:
    """Get a job's data for a chunk or, None, for an examination; once at a time, whoever asks.

    Raises UnknownJob, PolicyRefusal, WrongModel, ModelNotFound.
    """
    sight = context.view.sight(job)
    if _is_here(context, job):
        return Fetched(frozenset((waiting,)))
    if not context.fetching.begin(sight.job_id, waiting):
        if _is_here(context, job):  # whoever fetched it ended a moment ago
            return Fetched(frozenset((waiting,)))
        return Nothing("fetch", "it is being fetched, or was a moment ago")
    try:
        fetch(context, job, data_uri)
    except DataRefused:
        raise
    except DataError as error:
        return Fetched(failure=error, report=_failed_try(context, job, data_uri, began=sight.head.timestamp))
    finally:
        waited = context.fetching.end(sight.job_id)
    return Fetched(frozenset(waited))


def fetch(context: ComputeContext, job: Job, data_uri: str) -> None:
    """Get a job's data into the cache, if it is one that this operator works on and the data is for something now.

    While Challenging also data whose rows are of another length than the model's: no item of it has a verdict, and whoever
    has it can show that. Raises UnknownJob, PolicyRefusal, WrongModel, ModelNotFound, DataError.
    """
    sight = context.view.sight(job)
    if sight.phase not in (Phase.COMMITTING, Phase.CHALLENGING):
        return
    row_length = _checked(context, sight).model.network.row_length
    is_seated_there = sight.phase == Phase.CHALLENGING and is_seated(context, context.view.history(sight))
    need = _need(sight, is_ours=sight.phase == Phase.COMMITTING or is_seated_there, is_seated=is_seated_there)
    try:
        context.data.fetch(job.terms, data_uri, row_length, need)
    except DataSizeMismatch as mismatch:
        if sight.phase != Phase.CHALLENGING:
            raise
        try:
            context.data.fetch_malformed(job.terms, data_uri, row_length, need)
        except DataError:
            raise mismatch from None


def prepare(context: ComputeContext, sight: Sight, *, bounded: bool = True) -> JobInference:
    """The job's model and whatever the cache has of its data, ready to run. `bounded`: whether the policy's sizes apply.

    Raises PolicyRefusal, WrongModel, ModelNotFound.
    """
    terms = sight.job.terms
    model = context.models.find(terms.model_id)
    if bounded:
        policy.check_size(context.settings, terms, model.network)
    need = _need(sight, is_ours=not bounded or sight.phase == Phase.COMMITTING, is_seated=not bounded)
    data = AwaitedData(context.data, terms, model.network.row_length, need)
    return JobInference(sight.job_id, model, data, context.inference, context.results)


def _is_here(context: ComputeContext, job: Job) -> bool:
    row_length = context.models.find(job.terms.model_id).network.row_length
    try:
        context.data.cached(job.terms, row_length)
    except DataNotHere:
        return context.data.cached_malformed(job.terms, row_length) is not None
    return True


def _need(sight: Sight, *, is_ours: bool, is_seated: bool) -> Need:
    """What the data is needed for: a job that we work on or hold seats in needs it until its last dispute is over."""
    if not is_ours:
        return Need()
    terms = sight.job.terms
    levels = merkle.last_level(sight.depth) + 1
    end = protocol.demand_end(sight.state, terms, levels) + terms.response_window
    return Need(min(max(0, end - sight.head.timestamp), LONGEST_NEED), is_seated)


def _failed_try(context: ComputeContext, job: Job, data_uri: str, began: int) -> dict[str, Any] | None:
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return None
    return {"job": job_to_json(job, data_uri), "began": str(began), "failed": str(sight.head.timestamp)}


def is_seated(context: ComputeContext, history: History) -> bool:
    """Whether this operator's worker, if it is known, has seats in the job."""
    return context.worker is not None and context.worker in history.seats


def _checked(context: ComputeContext, sight: Sight, chunk: int | None = None) -> JobInference:
    """The job, ready to run, if the policy takes it: while Committing as one to stake on, else as one to check."""
    if sight.phase == Phase.CHALLENGING:
        return prepare(context, sight, bounded=not is_seated(context, context.view.history(sight)))
    terms = sight.job.terms
    reward = pay.reward(context, sight.job)
    policy.check_terms(context.settings, terms, reward)
    work = prepare(context, sight)
    policy.check_pay(context.settings, terms, work.model.network, reward)
    if chunk is None or not context.results.path(sight.job_id, chunk).exists():
        left = protocol.commit_end(sight.state, terms) - sight.head.timestamp
        policy.check_time(context.settings, terms, left, _speed(context, work.model))
    return work


def _speed(context: ComputeContext, model: Model) -> float:
    if model.id not in context.speeds:
        context.speeds[model.id] = measure_speed(model, context.inference)
    return context.speeds[model.id]
