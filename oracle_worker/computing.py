"""Compute's part of a job: check terms, model and data, then run chunks. It has no key and sends nothing to the chain."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from contracts import job as protocol
from contracts.job import Job, Phase
from oracle_worker import policy
from oracle_worker.chain_view import Sight
from oracle_worker.context import ComputeContext
from oracle_worker.data import DataMismatch, DataSizeMismatch
from oracle_worker.inference import ChunkResult, JobInference, measure_speed
from oracle_worker.job_codec import job_to_json
from oracle_worker.model_store import Model
from oracle_worker.result import Nothing
from oracle_worker.result_tree import ResultTree

log = logging.getLogger(__name__)


def infer(context: ComputeContext, job: Job, data_uri: str, chunk: int) -> dict[str, Any] | Nothing:
    """Compute one chunk (or take it from disk); what the signer's collect takes, still to be sealed.

    While Challenging the results are only kept: whoever checks other roots needs them, seated or not.

    Raises UnknownJob, PolicyRefusal, WrongModel, ModelNotFound, DataError, IndexError.
    """
    sight = context.view.sight(job)
    cut = context.plan(job)
    cut.items(chunk)
    if sight.phase == Phase.CHALLENGING:
        compute_chunk(context, prepare(context, sight, data_uri, bounded=not is_seated(context, sight)), chunk)
        return Nothing("infer", f"chunk {chunk} is on disk, for the disputes; the time to commit to it is over")
    if sight.phase != Phase.COMMITTING:
        return Nothing("infer", f"the job is {sight.phase.name}")
    policy.check_terms(context.settings, job.terms)
    model = context.models.find(job.terms.model_id)
    policy.check_pay(context.settings, job.terms, model.network)
    if not context.results.path(sight.job_id, chunk).exists():
        left = protocol.commit_end(sight.state, job.terms) - sight.head.timestamp
        policy.check_time(context.settings, job.terms, left, _speed(context, model))
    result = compute_chunk(context, prepare(context, sight, data_uri), chunk)
    return {
        "job": job_to_json(job, data_uri),
        "chunk": str(chunk),
        "chunk_depth": str(cut.depth),
        "subtree_root": "0x" + result.tree.root.hex(),
    }


def prepare(context: ComputeContext, sight: Sight, data_uri: str, *, bounded: bool = True) -> JobInference:
    """The job's model and verified data, ready to run. `bounded`: whether the policy's sizes apply.

    Raises PolicyRefusal, WrongModel, ModelNotFound, DataError.
    """
    terms = sight.job.terms
    model = context.models.find(terms.model_id)
    if bounded:
        policy.check_size(context.settings, terms, model.network)
    data = context.data.fetch(terms, data_uri, model.network.row_length)
    return JobInference(sight.job_id, model, data, context.inference, context.results)


def compute_chunk(context: ComputeContext, work: JobInference, chunk: int) -> ChunkResult:
    """A chunk's results. Raises DataError."""
    with _dropping(context, work):
        return work.chunk(chunk)


def compute_tree(context: ComputeContext, work: JobInference) -> ResultTree:
    """The whole result tree. Raises DataError."""
    with _dropping(context, work):
        return work.tree()


@contextmanager
def _dropping(context: ComputeContext, work: JobInference) -> Iterator[None]:
    """Where the disk changed the cached data, the cache is dropped, so that the next try gets the data anew."""
    try:
        yield
    except (DataMismatch, DataSizeMismatch):
        log.warning("%s was changed on disk: it will be fetched again", work.data.path)
        context.data.forget(work.data)
        raise


def is_seated(context: ComputeContext, sight: Sight) -> bool:
    """Whether this operator's worker, if it is known, has seats in the job."""
    return context.worker is not None and context.view.seat(sight, context.worker).count != 0


def _speed(context: ComputeContext, model: Model) -> float:
    if model.id not in context.speeds:
        context.speeds[model.id] = measure_speed(model, context.inference)
    return context.speeds[model.id]
