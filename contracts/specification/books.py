"""Money: stake with its history, what is locked, credits, and what the oracle must hold. Amounts are wei."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from contracts.job import Outcome
from contracts.specification.state import Address, Environment, History, JobRecord, Party, Seats, State, require
from contracts.specification.vote import bounty_on, keeps_stake, refuted_roots, share_of, stake_of
from contracts.stake import LANES, bonded_before

MOST_STAKE = (2**56 - 1) * 10**9
"""All stake there can be: 72 million coins."""
MOST_CREDIT = 2**88 - 1
"""The most that one party can be owed: 309 million coins."""

# ---- Looking


def party_of(state: State, address: Address) -> Party:
    """What somebody has; nothing, as a rule."""
    return state.parties.get(address, Party())


def unreleased_seats(state: State, worker: Address) -> Iterator[tuple[JobRecord, Seats]]:
    """The worker's seats, job by job, that nobody released yet."""
    for record in state.jobs.values():
        if worker in record.seats and not record.seats[worker].is_released:
            yield record, record.seats[worker]


def locked(state: State, worker: Address) -> int:
    """Wei of stake that the worker's seats hold."""
    return sum(stake_of(record, seats) for record, seats in unreleased_seats(state, worker))


def free(state: State, worker: Address) -> int:
    """Wei of stake that can be locked or unbonded."""
    return party_of(state, worker).bonded - locked(state, worker)


def taken_lanes(state: State, worker: Address) -> set[int]:
    """The lanes that the worker's seats lie in."""
    return {seats.lane for _, seats in unreleased_seats(state, worker)}


def is_lane_free(state: State, worker: Address, lane: int) -> bool:
    """Whether a job's seats can be put there."""
    return lane < LANES and lane not in taken_lanes(state, worker)


def stake_before(state: State, worker: Address, block_number: int) -> int:
    """What the worker had bonded at the end of the block before."""
    return bonded_before(party_of(state, worker).stakes, block_number)


def written_off(record: JobRecord) -> int:
    """Stake that is forfeited, though its owners' accounts still show it: until their seats are released."""
    if record.outcome == Outcome.OPEN:
        return 0
    forfeited = (seats for seats in record.seats.values() if not seats.is_released and not keeps_stake(record, seats))
    return sum(stake_of(record, seats) for seats in forfeited)


def total_stake(state: State) -> int:
    """All stake: what is forfeited leaves it at settlement."""
    bonded = sum(party.bonded for party in state.parties.values())
    return bonded - sum(written_off(record) for record in state.jobs.values())


def held_for(record: JobRecord) -> int:
    """What the oracle holds for one job, beside its seats' stake."""
    bonds = sum(made.bond for made in record.demands.values() if not made.is_released)
    if record.outcome == Outcome.OPEN:
        return bonds + record.terms.reward + record.terms.audit_bond
    shares = sum(share_of(record, seats) for seats in record.seats.values() if not seats.is_released)
    bounties = sum(bounty_on(record, root) for root in refuted_roots(record) - record.bounties_released)
    return bonds + shares + bounties


def accounted(state: State) -> int:
    """What the oracle must hold, to the wei."""
    owed = sum(party.unbonding + party.credit for party in state.parties.values())
    return total_stake(state) + owed + sum(held_for(record) for record in state.jobs.values())


# ---- Changing


def receive(state: State, env: Environment) -> None:
    """The transaction's payment comes in."""
    state.balance += env.value


def pay(state: State, amount: int) -> None:
    """Wei leave for somebody."""
    state.balance -= amount


def burn(state: State, amount: int) -> None:
    """Wei leave for the zero address, so that nobody has an interest in them."""
    pay(state, amount)
    state.burned += amount


def credit(state: State, payee: Address, amount: int) -> None:
    """Owe somebody more: every payment is pulled."""
    party = party_of(state, payee)
    owed = party.credit + amount
    require(owed <= MOST_CREDIT, "CreditTooLarge", owed)
    state.parties[payee] = replace(party, credit=owed)


def set_stake(state: State, env: Environment, worker: Address, amount: int) -> None:
    """The worker has this much bonded from the end of this block on."""
    party = party_of(state, worker)
    state.parties[worker] = replace(party, stakes=with_checkpoint(party.stakes, env.block_number, amount))


def note_total(state: State, env: Environment) -> None:
    """Remember what all stake is from the end of this block on."""
    state.totals = with_checkpoint(state.totals, env.block_number, total_stake(state))


def with_checkpoint(history: History, block_number: int, amount: int) -> History:
    """The history with `amount` from the end of the block on."""
    earlier = history[:-1] if history and history[-1][0] == block_number else history
    return (*earlier, (block_number, amount))
