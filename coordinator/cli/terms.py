"""A job's terms from what the requester left open, and what can be expected of a job under them."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from eth_typing import ChecksumAddress

from contracts import merkle
from contracts.compute_oracle import Bounds
from contracts.deployment import Contracts
from contracts.job import NOBODY, SEED_DELAY, Terms, cost_to_corrupt, data_uri_hash, seat_fee
from contracts.stake import Account
from coordinator.cli.job_log import read_events, topic_of
from coordinator.cli.output import Seconds, Tick, Wei

if TYPE_CHECKING:
    from coordinator.cli.gold import GoldSet

WINDOW_FACTOR = 20
"""A window that was left open is this many times the deployment's least."""
GWEI = 10**9
"""Stake comes in whole gwei."""
STAKE_MARGIN_PERCENT = 125
"""A seat stake that was left open is this share of the least that the contract asks."""


@dataclass(frozen=True, slots=True)
class Wish:
    """What a requester asks for. Amounts in wei, windows in seconds; None leaves it to the defaults."""

    reward: int
    seats: int
    quorum: int | None = None
    seat_stake: int | None = None
    commit_window: int | None = None
    reveal_window: int | None = None
    challenge_window: int | None = None
    response_window: int | None = None
    call_out_fee: int = 0
    consumer: ChecksumAddress = NOBODY
    callback_gas: int = 0


def make(wish: Wish, contracts: Contracts, model_id: bytes, data_root: bytes, data_uri: str, item_count: int) -> Terms:
    """The terms. Raises errors.UnknownModel, ChainError; every other bound is the contract's to check."""
    bounds = contracts.oracle.bounds()
    stake = wish.seat_stake
    if stake is None:
        least = contracts.oracle.min_seat_stake(model_id, item_count)
        stake = -(-least * STAKE_MARGIN_PERCENT // (100 * GWEI)) * GWEI
    usual = min(bounds.min_window * WINDOW_FACTOR, bounds.max_window)
    commit = usual if wish.commit_window is None else wish.commit_window
    challenge = max(usual, commit) if wish.challenge_window is None else wish.challenge_window
    return Terms(
        model_id=model_id,
        data_root=data_root,
        data_uri_hash=data_uri_hash(data_uri),
        item_count=item_count,
        seats=wish.seats,
        quorum=wish.seats // 2 + 1 if wish.quorum is None else wish.quorum,
        seat_stake=stake,
        reward=wish.reward,
        call_out_fee=wish.call_out_fee,
        commit_window=commit,
        reveal_window=usual if wish.reveal_window is None else wish.reveal_window,
        challenge_window=challenge,
        response_window=usual // 2 or 1 if wish.response_window is None else wish.response_window,
        consumer=wish.consumer,
        callback_gas=wish.callback_gas,
    )


def with_gold(terms: Terms, gold: GoldSet, audit_bond: int | None) -> Terms:
    """The terms with a verification set. A bond that was left open pays whoever shows the set wrong a seat's stake, which is
    several times what executing an item costs."""
    bond = 2 * terms.seat_stake if audit_bond is None else audit_bond
    return replace(terms, gold_root=gold.root, gold_count=gold.count, audit_bond=bond)


def facts(terms: Terms) -> dict[str, Any]:
    """The terms for people, in a fixed order."""
    return {
        "items": terms.item_count,
        "seats": terms.seats,
        "quorum": terms.quorum,
        "seat_stake": Wei(terms.seat_stake),
        "reward": Wei(terms.reward),
        "reward_per_item": Wei(terms.reward // terms.item_count) if terms.item_count else None,
        "cost_to_corrupt": Wei(cost_to_corrupt(terms)),
        "call_out_fee": Wei(terms.call_out_fee),
        "call_out_fee_of_a_seat": Wei(seat_fee(terms)),
        "gold_items": terms.gold_count or None,
        "audit_bond": Wei(terms.audit_bond) if terms.gold_count else None,
        "consumer": terms.consumer if terms.consumer != NOBODY else None,
        "callback_gas": terms.callback_gas if terms.consumer != NOBODY else None,
        "commit_window": Seconds(terms.commit_window),
        "reveal_window": Seconds(terms.reveal_window),
        "challenge_window": Seconds(terms.challenge_window),
        "response_window": Seconds(terms.response_window),
    }


def duration_facts(terms: Terms, bounds: Bounds) -> dict[str, Any]:
    """Seconds from creation to settlement: where everybody is quick, usually, and at the very most."""
    draw = (SEED_DELAY + 1) * bounds.block_time
    windows = terms.commit_window + terms.reveal_window + terms.challenge_window
    levels = merkle.last_level(merkle.depth_of(terms.item_count)) + 1
    return {
        "done_after_at_least": Seconds(draw + terms.challenge_window),
        "done_after_usually_at_most": Seconds(draw + windows),
        "done_after_with_every_dispute": Seconds(draw + windows + 2 * levels * terms.response_window),
    }


def jury_facts(terms: Terms, workers: dict[ChecksumAddress, Account], total_stake: int) -> dict[str, Any]:
    """What jury these terms would draw now from the stake that there is."""
    needed = terms.seats * terms.seat_stake
    tickets = sum(account.bonded // terms.seat_stake for account in workers.values()) if terms.seat_stake else 0
    able = sum(account.free // terms.seat_stake for account in workers.values()) if terms.seat_stake else 0
    odds = min(needed / total_stake, 1.0) if total_stake else 0.0
    return {
        "total_stake": Wei(total_stake),
        "stake_needed": Wei(needed),
        "stake_suffices": total_stake >= needed,
        "workers": sum(account.bonded >= terms.seat_stake for account in workers.values()),
        "tickets": tickets,
        "tickets_with_free_stake": able,
        "odds_of_a_ticket_at_first": odds,
        "expected_seats_at_first": min(tickets * odds, float(terms.seats)),
        "chance_of_a_quorum_at_first": chance_of_at_least(terms.quorum, tickets, odds),
        "chance_of_a_quorum_later": "odds double at 1/2, 3/4, 7/8 … of the commit window",
    }


def chance_of_at_least(wanted: int, tickets: int, odds: float) -> float:
    """The chance that `wanted` or more of the tickets win, each with these odds."""
    if wanted > tickets:
        return 0.0
    if odds >= 1:
        return 1.0
    if odds <= 0:
        return float(wanted <= 0)
    fewer = 0.0
    for won in range(wanted):
        ways = math.lgamma(tickets + 1) - math.lgamma(won + 1) - math.lgamma(tickets - won + 1)
        fewer += math.exp(ways + won * math.log(odds) + (tickets - won) * math.log1p(-odds))
    return max(0.0, 1.0 - fewer)


def read_workers(contracts: Contracts, tick: Tick | None = None) -> dict[ChecksumAddress, Account]:
    """Everyone who ever deposited and has stake now. Raises ChainError."""
    topics: list[str | None] = [topic_of("StakeDeposited")]
    deposits = read_events(contracts, topics, contracts.deployment.block, tick)
    addresses = sorted({event.args["worker"] for event in deposits})
    accounts = {address: contracts.oracle.account(address) for address in addresses}
    return {address: account for address, account in accounts.items() if account.bonded}
