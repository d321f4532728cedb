"""A job's results, recomputed here from its public model and data."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from coordinator.cli.context import Setup
from coordinator.cli.model_source import Model
from coordinator.cli.published import fetch
from coordinator.job_view import JobView

if TYPE_CHECKING:
    from oracle_worker.inference import JobInference

MOST_BYTES = 4 << 30
"""Disk for results of jobs looked at before."""


def recompute(setup: Setup, view: JobView, model: Model, data_uri: str) -> JobInference:
    """Run the job's model on all of its data, which is first held against the job. Raises Refusal, DataError."""
    from oracle_worker.inference import JobInference, OnnxInference, ResultStore
    from oracle_worker.model_store import Model as Runnable

    network = model.need_network()
    with setup.out.progress("fetching and verifying the data"):
        rows = fetch(setup, view.terms, data_uri, network.row_length)
    store = ResultStore(setup.home / "cache" / "results", most_bytes=MOST_BYTES)
    runnable = Runnable(model.model_id, network, Path(model.name))
    inference = JobInference(view.job_id, runnable, rows, OnnxInference(), store)
    with setup.out.progress("running the model", rows.plan.count) as tick:
        for chunk in range(rows.plan.count):
            inference.chunk(chunk)
            tick(chunk + 1, rows.plan.count)
    return inference
