"""Stake, and a job from its creation to the last reveal.

Every entry point reads: guards, one a line; effects; event.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from eth_utils import keccak

from contracts import commitment as commitments
from contracts.job import Job, Phase, Terms, data_uri_hash
from contracts.specification.books import (
    MOST_STAKE,
    free,
    is_lane_free,
    note_total,
    party_of,
    pay,
    receive,
    set_stake,
    stake_before,
    total_stake,
)
from contracts.specification.phases import phase, require_phase, seed_block
from contracts.specification.state import (
    GWEI,
    Address,
    Environment,
    JobRecord,
    Refused,
    Seats,
    State,
    id_of,
    record_of,
    require,
)
from contracts.specification.terms import check_terms
from contracts.specification.vote import granted_seats
from contracts.stake import bonded_before, odds_factor, seed_of, wins

if TYPE_CHECKING:
    from contracts.compute_oracle import Opening
    from contracts.signed_commit import SignedCommit

# ---- Stake


def deposit(state: State, env: Environment) -> None:
    """Bond the payment as stake. It draws tickets for jobs created after this block."""
    require(env.value != 0, "ZeroAmount")
    require(env.value % GWEI == 0, "NotWholeGwei", env.value)
    bonded = party_of(state, env.sender).bonded + env.value
    most = max(total_stake(state) + env.value, bonded)  # what is forfeited leaves the total first
    require(most <= MOST_STAKE, "StakeTooLarge", most)

    receive(state, env)
    set_stake(state, env, env.sender, bonded)
    note_total(state, env)
    state.emit("StakeDeposited", worker=env.sender, amount=env.value)


def unbond(state: State, env: Environment, amount: int) -> None:
    """Start to unbond free stake: it draws no more tickets. The period starts again for all that is unbonding."""
    require(amount != 0, "ZeroAmount")
    require(amount % GWEI == 0, "NotWholeGwei", amount)
    available = free(state, env.sender)
    require(amount <= available, "NotEnoughFreeStake", env.sender, available, amount)

    set_stake(state, env, env.sender, party_of(state, env.sender).bonded - amount)
    note_total(state, env)
    party = party_of(state, env.sender)
    ready_at = env.timestamp + state.deployment.bounds.unbonding_period
    state.parties[env.sender] = replace(party, unbonding=party.unbonding + amount, ready_at=ready_at)
    state.emit("StakeUnbonded", worker=env.sender, amount=amount, readyAt=ready_at)


def withdraw(state: State, env: Environment, to: Address, is_accepted: bool = True) -> None:
    """Pay the sender's credit, and what it unbonded long enough ago, to `to`, if that accepts it."""
    party = party_of(state, env.sender)
    is_ready = env.timestamp >= party.ready_at
    amount = party.credit + (party.unbonding if is_ready else 0)
    require(amount != 0, "NothingToWithdraw", env.sender, party.unbonding, party.ready_at)
    require(is_accepted, "PaymentRefused", to, amount)

    party = replace(party, credit=0)
    state.parties[env.sender] = replace(party, unbonding=0, ready_at=0) if is_ready else party
    pay(state, amount)
    state.emit("Withdrawn", payee=env.sender, to=to, amount=amount)


# ---- Creation and draw


def create_job(state: State, env: Environment, nonce: int, terms: Terms, data_uri: str) -> bytes:
    """Create a job; the payment is its reward and its audit bond. Final: a requester cannot redraw until the jury suits it."""
    job = Job(env.sender, nonce, terms)
    job_id = id_of(state, job)
    require(job_id not in state.jobs, "JobExists", job_id)
    uri_hash = data_uri_hash(data_uri)
    require(uri_hash == terms.data_uri_hash, "DataUriMismatch", terms.data_uri_hash, uri_hash)
    payment = terms.reward + terms.audit_bond
    require(env.value == payment, "WrongPayment", payment, env.value)
    staked = bonded_before(state.totals, env.block_number)
    check_terms(state.deployment, terms, staked)

    receive(state, env)
    state.jobs[job_id] = JobRecord(job, env.block_number, staked)
    state.emit(
        "JobCreated",
        jobId=job_id,
        requester=env.sender,
        nonce=nonce,
        terms=terms.as_tuple(),
        totalStake=staked,
        dataUri=data_uri,
    )
    return job_id


def draw(state: State, env: Environment, job_id: bytes, proof: bytes) -> None:
    """Draw the jury from the randomness of block creation + 2, and no other; once."""
    record = record_of(state, job_id)
    require(record.drawn_at is None, "AlreadyDrawn", job_id)
    current = phase(record, env)
    require(current == Phase.DRAWING, "WrongPhase", job_id, current, Phase.DRAWING)
    number = seed_block(record)
    require(env.block_number > number, "SeedNotReady", number, env.block_number)
    randomness = state.deployment.randomness(number, proof)

    seed = seed_of(randomness, job_id)
    state.jobs[job_id] = replace(record, seed=seed, drawn_at=env.timestamp)
    state.emit("Drawn", jobId=job_id, seed=seed)


# ---- Commit


@dataclass(frozen=True, slots=True)
class Sealing:
    """A worker's commitment, and the tickets that it claims seats with."""

    worker: Address
    lane: int
    commitment: bytes
    sealed_root: bytes
    tickets: Sequence[int]


def commit(
    state: State,
    env: Environment,
    job: Job,
    lane: int,
    commitment: bytes,
    sealed_root: bytes,
    tickets: Sequence[int],
) -> None:
    """Seal a root and take a seat for each winning ticket, while seats are left. Sent again with the same lane and commitment
    and a longer list, it adds seats."""
    job_id, _ = require_phase(state, env, job, Phase.COMMITTING)
    take_seats(state, env, job_id, Sealing(env.sender, lane, commitment, sealed_root, tickets))
    end_commits_if_full(state, env, job_id)


def commit_for(state: State, env: Environment, job: Job, commits: Sequence[SignedCommit]) -> None:
    """The same for many workers at once. What a direct commit would be refused for is skipped."""
    job_id, _ = require_phase(state, env, job, Phase.COMMITTING)
    granted = sum(take_seats_for(state, env, job_id, signed) for signed in commits)
    require(granted != 0, "NothingCommitted", job_id)
    end_commits_if_full(state, env, job_id)


def take_seats_for(state: State, env: Environment, job_id: bytes, signed: SignedCommit) -> bool:
    """Seats for a worker that signed for them; whether it got any."""
    is_signed = state.deployment.signer_of(signed, job_id) == signed.worker
    if env.timestamp >= signed.deadline or not is_signed:
        state.emit("CommitSkipped", jobId=job_id, worker=signed.worker, reason=NOT_SIGNED)
        return False
    sealing = Sealing(signed.worker, signed.lane, signed.commitment, signed.sealed_root, signed.tickets)
    try:
        take_seats(state, env, job_id, sealing)
    except Refused as refusal:
        state.emit("CommitSkipped", jobId=job_id, worker=signed.worker, reason=REASONS[refusal.name])
        return False
    return True


def take_seats(state: State, env: Environment, job_id: bytes, sealing: Sealing) -> None:
    """A seat for each ticket, while seats are left."""
    record, worker = state.jobs[job_id], sealing.worker
    held = record.seats.get(worker)
    is_same = held is None or (held.lane, held.commitment) == (sealing.lane, sealing.commitment)
    require(is_same, "AlreadyCommitted", job_id, worker)
    require(held is not None or is_lane_free(state, worker, sealing.lane), "LaneTaken", worker, sealing.lane)
    check_tickets(state, env, record, worker, sealing.tickets)
    count = held.count if held else 0
    added = min(len(sealing.tickets) - count, record.terms.seats - granted_seats(record))
    require(added > 0, "NoSeatGranted", job_id, worker)
    needed, available = added * record.terms.seat_stake, free(state, worker)
    require(needed <= available, "NotEnoughFreeStake", worker, available, needed)

    taken = Seats(sealing.lane, count + added, sealing.commitment)
    state.jobs[job_id] = replace(record, seats={**record.seats, worker: taken})
    state.emit(
        "Committed",
        jobId=job_id,
        worker=worker,
        lane=sealing.lane,
        commitment=sealing.commitment,
        sealedRoot=sealing.sealed_root,
        seats=taken.count,
    )


def check_tickets(state: State, env: Environment, record: JobRecord, worker: Address, tickets: Sequence[int]) -> None:
    """Refuse any list but one of the worker's own winning tickets, ascending. Each whole seatStake that it had bonded before
    the creation is a ticket; the odds double at ½, ¾, ⅞ … of the window, so that absent stake does not kill the job."""
    require(len(tickets) != 0, "TicketsNotAscending", 0)
    terms = record.terms
    owned = stake_before(state, worker, record.created_block) // terms.seat_stake
    assert record.drawn_at is not None
    remaining = record.drawn_at + terms.commit_window - env.timestamp
    expected = odds_factor(terms.commit_window, remaining) * terms.seats * terms.seat_stake
    for position, ticket in enumerate(tickets):
        require(position == 0 or ticket > tickets[position - 1], "TicketsNotAscending", position)
        require(ticket < owned, "NoSuchTicket", ticket, owned)
        require(wins(record.seed, worker, ticket, expected, record.total_stake), "LosingTicket", ticket)


def end_commits_if_full(state: State, env: Environment, job_id: bytes) -> None:
    """The commit phase ends when the last seat is granted."""
    record = state.jobs[job_id]
    if granted_seats(record) == record.terms.seats:
        state.jobs[job_id] = replace(record, commit_ended_at=env.timestamp)


NOT_SIGNED = bytes(4)
"""Why a commitment was skipped that its worker did not sign, or not for so late: no error's selector."""
REASONS = {
    signature.split("(")[0]: keccak(text=signature)[:4]
    for signature in (
        "AlreadyCommitted(bytes32,address)",
        "LaneTaken(address,uint256)",
        "TicketsNotAscending(uint256)",
        "NoSuchTicket(uint256,uint256)",
        "LosingTicket(uint256)",
        "NoSeatGranted(bytes32,address)",
        "NotEnoughFreeStake(address,uint256,uint256)",
    )
}
"""What a commitment can be refused for, as the event of a skipped one says it: the error's selector."""

# ---- Reveal


def reveal(state: State, env: Environment, job: Job, root: bytes, openings: Sequence[Opening]) -> None:
    """Open commitments to one root, whoever made them and whoever sends this. Wrong openings are skipped, so that nobody can
    spoil a batch."""
    job_id, _ = require_phase(state, env, job, Phase.REVEALING)
    workers = [opening.worker for opening in openings if open_commitment(state, job_id, root, opening)]
    require(len(workers) != 0, "NothingRevealed", job_id, root)
    end_reveals_if_open(state, env, job_id)
    state.emit("Revealed", jobId=job_id, root=root, workers=tuple(workers))


def open_commitment(state: State, job_id: bytes, root: bytes, opening: Opening) -> bool:
    """Reveal one worker's root, if this is how it was sealed."""
    record = state.jobs[job_id]
    seats = record.seats.get(opening.worker)
    if seats is None or seats.lane != opening.lane or seats.root is not None:
        return False
    if commitments.compute(job_id, opening.worker, root, opening.salt) != seats.commitment:
        return False
    state.jobs[job_id] = replace(record, seats={**record.seats, opening.worker: replace(seats, root=root)})
    return True


def end_reveals_if_open(state: State, env: Environment, job_id: bytes) -> None:
    """The reveal phase ends when the last commitment is opened."""
    record = state.jobs[job_id]
    if all(seats.root is not None for seats in record.seats.values()):
        state.jobs[job_id] = replace(record, reveal_ended_at=env.timestamp)
