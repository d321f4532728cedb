"""Which terms a job may have."""

from __future__ import annotations

from contracts import gas_budget
from contracts.job import NOBODY, Terms, quorum_bounds
from contracts.merkle import depth_of
from contracts.specification.state import GWEI, Deployment, require

MOST_CALLBACK_GAS = 1_000_000
"""The most that a job may set aside for its consumer."""
NO_ROOT = bytes(32)


def check_terms(deployment: Deployment, terms: Terms, total_stake: int) -> None:
    """Refuse terms that the deployment does not allow, or that so much stake cannot fill."""
    bounds = deployment.bounds
    items, most_items = terms.item_count, bounds.max_item_count
    require(1 <= items <= most_items, "ItemCountOutOfBounds", items, most_items)
    require(1 <= terms.seats <= bounds.max_seats, "SeatsOutOfBounds", terms.seats, bounds.max_seats)
    least, most = quorum_bounds(terms.seats)
    require(least <= terms.quorum <= most, "QuorumOutOfBounds", terms.quorum, least, most)
    check_windows(deployment, terms)
    least_stake = min_seat_stake(deployment, terms.model_id, items)
    require(terms.seat_stake >= least_stake, "SeatStakeTooLow", terms.seat_stake, least_stake)
    needed = terms.seats * terms.seat_stake
    require(needed <= total_stake, "TotalStakeTooLow", total_stake, needed)
    require(terms.seat_stake % GWEI == 0, "NotWholeGwei", terms.seat_stake)
    most_fee = terms.reward // 10
    require(terms.call_out_fee <= most_fee, "CallOutFeeTooHigh", terms.call_out_fee, most_fee)
    gold = (terms.gold_root, terms.gold_count, terms.audit_bond)
    require(is_verification_set(terms), "BadVerificationSet", *gold)
    most_gas = MOST_CALLBACK_GAS if terms.consumer != NOBODY else 0
    require(terms.callback_gas <= most_gas, "CallbackGasOutOfBounds", terms.callback_gas, most_gas)


def check_windows(deployment: Deployment, terms: Terms) -> None:
    """Refuse windows outside the bounds. A challenger needs as long as a worker; gold is opened a response window before the
    challenge window ends."""
    least, most = deployment.bounds.min_window, deployment.bounds.max_window
    least_to_challenge = max(terms.commit_window, terms.response_window + 1 if terms.gold_count else 0)
    for name, window, shortest in (
        (b"commitWindow", terms.commit_window, least),
        (b"revealWindow", terms.reveal_window, least),
        (b"challengeWindow", terms.challenge_window, least_to_challenge),
        (b"responseWindow", terms.response_window, least),
    ):
        require(shortest <= window <= most, "WindowOutOfBounds", name.ljust(32, b"\0"), window, shortest, most)


def is_verification_set(terms: Terms) -> bool:
    """A root, one to itemCount items, and a bond; or none of the three."""
    has_root, has_items, has_bond = terms.gold_root != NO_ROOT, terms.gold_count > 0, terms.audit_bond > 0
    if not (has_root or has_items or has_bond):
        return True
    return has_root and has_items and has_bond and terms.gold_count <= terms.item_count


def min_seat_stake(deployment: Deployment, model_id: bytes, item_count: int) -> int:
    """Least wei a seat, so that refuting always pays. Refuses a model that is unknown, or whose gas nobody measured yet."""
    model = deployment.registry.model(model_id)
    require(model.execution_gas != 0, "ModelNotMeasured", model_id)
    price = deployment.bounds.reference_price
    return gas_budget.min_seat_stake(model.execution_gas, depth_of(item_count), model.row_length, price)
