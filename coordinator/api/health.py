"""Whether the chain is followed."""

from __future__ import annotations

import time
from dataclasses import dataclass

from coordinator.daemon import Health
from coordinator.explorer.explorer import Explorer
from coordinator.explorer.read_model import ChainStanding

PATIENCE = 60.0
"""Seconds since the last look at the chain that succeeded, after which it counts as not followed."""


@dataclass(frozen=True, slots=True)
class HealthReport:
    """How following the chain goes. What went wrong is in the server's log alone: it can name the node."""

    is_following: bool
    detail: str
    seconds_since_success: int | None
    """None before the first."""
    failures_in_a_row: int
    open_jobs: int
    standing: ChainStanding


def report(health: Health, explorer: Explorer) -> HealthReport:
    """The report of now."""
    since = time.time() - health.last_success_at if health.last_success_at else None
    is_following = since is not None and since < PATIENCE
    if since is None:
        detail = "the chain was not read yet"
    elif not is_following:
        detail = "the chain could not be read for a while: what is shown is old; the server's log says why"
    elif health.failures_in_a_row:
        detail = "the last look at the chain failed; the next one comes in a moment"
    else:
        detail = "the chain is followed"
    return HealthReport(
        is_following=is_following,
        detail=detail,
        seconds_since_success=None if since is None else max(0, round(since)),
        failures_in_a_row=health.failures_in_a_row,
        open_jobs=health.open_jobs,
        standing=explorer.standing(),
    )
