"""Which token rewards an operator has earned and not claimed: of settled jobs, also of those that have nothing else left."""

from __future__ import annotations

from collections.abc import Iterator

from eth_typing import ChecksumAddress

from contracts.commitment import DATA_UNAVAILABLE
from contracts.endpoint import Endpoint
from contracts.job import Outcome
from contracts.token_jobs import TokenJobs
from coordinator.job_store import JobStore
from coordinator.job_view import JobSeat, JobView


class Claims:
    """The claims of one worker on one TokenJobs. What was seen claimed is not asked for again."""

    def __init__(self, endpoint: Endpoint, token_jobs: ChecksumAddress, worker: ChecksumAddress) -> None:
        self._jobs = TokenJobs(endpoint, token_jobs)
        self._worker = worker
        self._over: set[bytes] = set()

    def unclaimed(self, store: JobStore, block: int) -> Iterator[JobView]:
        """Settled jobs with something to claim, as of a block. Raises ChainError."""
        for job_id in store.jobs_between(self._jobs.address, self._worker):
            if job_id in self._over:
                continue
            view = store.view(job_id)
            if view is None or view.state.outcome == Outcome.OPEN:
                continue
            seat = view.seat(self._worker)
            if seat is None or not earns(view, seat) or self._is_over(job_id, block):
                self._over.add(job_id)
            else:
                yield view

    def _is_over(self, job_id: bytes, block: int) -> bool:
        reward = self._jobs.reward(job_id, block)
        is_spent = reward.claim_end != 0 and reward.seats == 0
        return is_spent or self._jobs.is_claimed(job_id, self._worker, block)


def earns(view: JobView, seat: JobSeat) -> bool:
    """Whether seats of a settled job earn anything in a token: the rules of TokenJobs, which are the oracle's own."""
    state = view.state
    if state.outcome == Outcome.EXPIRED:
        return seat.is_sealed
    if state.outcome == Outcome.HUNG:
        tally = view.roots.get(seat.root or b"")
        return tally is not None and not tally.refuted and tally.open_demands == 0
    if state.outcome == Outcome.ACCEPTED and any(other.root == state.root for other in view.seats.values()):
        return seat.root == state.root
    return seat.root == DATA_UNAVAILABLE
