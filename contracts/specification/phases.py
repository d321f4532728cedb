"""Where a job stands: computed from what happened and the clock, never remembered.

    Drawing → Committing → Revealing → Challenging → Settling → Settled

Windows are half open: an act counts strictly before the window's end. A window starts at the actual end of the one before.
"""

from __future__ import annotations

from contracts.job import HASH_WINDOW, SEED_DELAY, Job, Outcome, Phase
from contracts.specification.state import Environment, JobRecord, State, id_of, record_of, require


def seed_block(record: JobRecord) -> int:
    """The one block whose randomness draws the jury: nobody can choose among blocks."""
    return record.created_block + SEED_DELAY


def commit_end(record: JobRecord) -> int:
    """When the commit phase ends or ended."""
    assert record.drawn_at is not None
    if record.commit_ended_at is not None:
        return record.commit_ended_at
    return record.drawn_at + record.terms.commit_window


def reveal_end(record: JobRecord) -> int:
    """When the reveal phase ends or ended."""
    if record.reveal_ended_at is not None:
        return record.reveal_ended_at
    return commit_end(record) + record.terms.reveal_window


def demand_end(record: JobRecord, level: int) -> int:
    """Until when nodes of this level may be demanded: each level has 2W more than the one above."""
    window_end = reveal_end(record) + record.terms.challenge_window
    return window_end + 2 * level * record.terms.response_window


def challenge_end(record: JobRecord) -> int:
    """When Challenging ends: 2W after the last possible demand at the deepest level demanded, so that after its answer there
    is time to refute; W later if a stepwise execution was opened."""
    window_end = reveal_end(record) + record.terms.challenge_window
    levels = 1 + max((level for _, level, _ in record.demands), default=-1)
    extensions = 2 * levels + (1 if record.is_extended else 0)
    return window_end + extensions * record.terms.response_window


def phase(record: JobRecord, env: Environment) -> Phase:
    """Where the job stands in this block."""
    if record.outcome != Outcome.OPEN:
        return Phase.SETTLED
    if record.drawn_at is None:
        is_seed_readable = env.block_number <= seed_block(record) + HASH_WINDOW
        return Phase.DRAWING if is_seed_readable else Phase.SETTLING
    if env.timestamp < commit_end(record):
        return Phase.COMMITTING
    if sum(seats.count for seats in record.seats.values()) < record.terms.quorum:
        return Phase.SETTLING
    if record.true_root is not None:
        return Phase.SETTLING
    if env.timestamp < reveal_end(record):
        return Phase.REVEALING
    if env.timestamp < challenge_end(record):
        return Phase.CHALLENGING
    return Phase.SETTLING


def phase_end(record: JobRecord, env: Environment) -> int:
    """When the present phase ends by the clock; 0 where blocks, or nobody, decide."""
    ends = {Phase.COMMITTING: commit_end, Phase.REVEALING: reveal_end, Phase.CHALLENGING: challenge_end}
    end = ends.get(phase(record, env))
    return end(record) if end else 0


def require_phase(state: State, env: Environment, job: Job, needed: Phase) -> tuple[bytes, JobRecord]:
    """The job's id and record. Refuses an unknown job, and one that is in another phase."""
    job_id = id_of(state, job)
    record = record_of(state, job_id)
    current = phase(record, env)
    require(current == needed, "WrongPhase", job_id, current, needed)
    return job_id, record
