"""A job's end: settle, release what it decided, tell the consumer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from contracts.job import NOBODY, Job, Outcome, Phase
from contracts.merkle import result_leaf, verify
from contracts.specification.audit import close_audit
from contracts.specification.books import burn, credit, note_total, party_of, set_stake, written_off
from contracts.specification.phases import require_phase
from contracts.specification.state import Address, Environment, JobRecord, Seats, State, require
from contracts.specification.vote import (
    bounty_on,
    decide,
    keeps_stake,
    refuted_roots,
    seats_on,
    share_each,
    share_of,
    stake_of,
)

if TYPE_CHECKING:
    from contracts.compute_oracle import SeatRef


def settle(state: State, env: Environment, job: Job, root: bytes, seats: Sequence[SeatRef] = ()) -> None:
    """Record the outcome once every window is over. Forfeits are applied here, never before: they leave the total stake and,
    less what refuters are owed, leave for the zero address. Seats of `root` are released along with it."""
    job_id, record = require_phase(state, env, job, Phase.SETTLING)
    outcome, winner = decide(record)
    require(winner is None or root == winner, "NotTheWinner", job_id, root)

    record = replace(record, outcome=outcome, winner=winner)
    state.jobs[job_id] = record
    note_total(state, env)
    shares = sum(share_of(record, taken) for taken in record.seats.values())
    credit(state, job.requester, record.terms.reward - shares)
    burned = written_off(record) - sum(bounty_on(record, refuted) for refuted in refuted_roots(record))
    burn(state, burned)
    state.emit(
        "Settled",
        jobId=job_id,
        outcome=outcome,
        root=winner or bytes(32),
        winningSeats=seats_on(record, winner) if winner is not None else 0,
        burned=burned,
    )
    close_audit(state, record)
    release_matching(state, env, job_id, root, seats)


def release(state: State, env: Environment, job: Job, word: bytes, seats: Sequence[SeatRef]) -> None:
    """Unlock, pay or write off seats: of the root `word`, or of the commitment `word` that was never opened. Others are
    skipped, so that nobody can spoil a batch."""
    job_id, _ = require_phase(state, env, job, Phase.SETTLED)
    released = release_matching(state, env, job_id, word, seats)
    require(len(released) != 0, "NothingToRelease")


def release_matching(
    state: State, env: Environment, job_id: bytes, word: bytes, seats: Sequence[SeatRef]
) -> list[Address]:
    """Release the seats that hold this word; whose they were. (A word that one worker revealed and another sealed names two
    fates: only seats like the first are released.)"""
    record = state.jobs[job_id]
    holders = list(dict.fromkeys(ref.worker for ref in seats if is_releasable(record, ref, word)))
    if not holders:
        return []
    first = record.seats[holders[0]]
    workers = [worker for worker in holders if is_sealed(record.seats[worker]) == is_sealed(first)]
    for worker in workers:
        release_seats(state, env, job_id, worker)
    forfeited = 0 if keeps_stake(record, first) else record.terms.seat_stake
    paid = share_each(record, first)
    state.emit("SeatsReleased", jobId=job_id, word=word, forfeited=forfeited, paid=paid, workers=tuple(workers))
    return workers


def is_releasable(record: JobRecord, ref: SeatRef, word: bytes) -> bool:
    """Whether there are unreleased seats where they are said to be, with this word."""
    held = record.seats.get(ref.worker)
    return held is not None and not held.is_released and held.lane == ref.lane and word_of(held) == word


def is_sealed(seats: Seats) -> bool:
    """Whether the commitment was never opened."""
    return seats.root is None


def word_of(seats: Seats) -> bytes:
    """What names the seats: the root they revealed; the commitment that was never opened."""
    return seats.commitment if seats.root is None else seats.root


def release_seats(state: State, env: Environment, job_id: bytes, worker: Address) -> None:
    """One worker's: the lane and the stake are free, or the stake is written off; the share is credited."""
    record = state.jobs[job_id]
    held = record.seats[worker]
    state.jobs[job_id] = replace(record, seats={**record.seats, worker: replace(held, is_released=True)})
    if not keeps_stake(record, held):
        set_stake(state, env, worker, party_of(state, worker).bonded - stake_of(record, held))
    credit(state, worker, share_of(record, held))


def deliver(
    state: State, env: Environment, job: Job, is_accepted: bool = True, available_gas: int | None = None
) -> None:
    """Tell the consumer how the job ended, until it has accepted that once.

    is_accepted: whether the consumer ends its call without a revert, within the gas set aside for it. available_gas: what a
    call can be given at that point, 63/64 of what is left; None for plenty.
    """
    job_id, record = require_phase(state, env, job, Phase.SETTLED)
    consumer, needed = record.terms.consumer, record.terms.callback_gas
    require(consumer != NOBODY, "NoConsumer", job_id)
    require(not record.is_delivered, "AlreadyDelivered", job_id)
    require(available_gas is None or available_gas >= needed, "NotEnoughGasToDeliver", available_gas, needed)
    require(is_accepted, "DeliveryFailed", consumer)

    state.jobs[job_id] = replace(record, is_delivered=True)
    state.emit("Delivered", jobId=job_id, consumer=consumer)


def message_for_consumer(record: JobRecord) -> tuple[Outcome, bytes]:
    """What `deliver` tells, beside the job's id: the outcome, and the root if it was Accepted (else zeros)."""
    return record.outcome, record.winner or bytes(32)


def is_verdict(state: State, job_id: bytes, index: int, output: bytes, siblings: Sequence[bytes]) -> bool:
    """Whether the job was Accepted with this output (int32 logits, big endian) for the item."""
    record = state.jobs.get(job_id)
    if record is None or record.winner is None or not 0 <= index < record.terms.item_count:
        return False
    return verify(record.winner, record.terms.item_count, index, result_leaf(index, output), siblings)
