"""One transaction: all of it happens, or nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

from contracts.job import HASH_WINDOW, SEED_DELAY
from contracts.specification import audit, disputes, lifecycle, settlement
from contracts.specification.state import Deployment, Environment, State, require

EntryPoint: TypeAlias = Callable[..., Any]
"""(state, env, …) → anything; changes the state."""

NO_ERROR = ""
"""The name of a refusal without a reason."""


def deploy(deployment: Deployment) -> State:
    """The state of a new oracle. Refuses bounds that make no sense."""
    bounds = deployment.bounds
    drawing = (SEED_DELAY + HASH_WINDOW) * bounds.block_time
    require(bounds.min_window > 0, "BadBound", bound("minWindow"))
    require(bounds.max_window >= bounds.min_window, "BadBound", bound("maxWindow"))
    # Nobody can be rid of its stake between a job's creation and the last of its commits.
    require(bounds.unbonding_period > drawing + bounds.max_window, "BadBound", bound("unbondingPeriod"))
    require(bounds.block_time > 0, "BadBound", bound("blockTime"))
    require(bounds.max_item_count > 0, "BadBound", bound("maxItemCount"))
    require(bounds.max_seats > 0, "BadBound", bound("maxSeats"))
    require(bounds.reference_price > 0, "BadBound", bound("referencePrice"))
    return State(deployment)


def bound(name: str) -> bytes:
    """A bound's name as the error carries it."""
    return name.encode().ljust(32, b"\0")


def transact(state: State, env: Environment, entry_point: EntryPoint, *arguments: Any) -> State:
    """The state after one transaction. `state` is left as it was, so that a refusal undoes everything. Raises Refused."""
    require(env.value == 0 or entry_point in PAYABLE, NO_ERROR)
    after = state.copy()
    entry_point(after, env, *arguments)
    return after


def multicall(state: State, env: Environment, calls: Sequence[tuple[EntryPoint, Sequence[Any]]]) -> None:
    """Several entry points in one transaction, none of which is paid."""
    for entry_point, arguments in calls:
        entry_point(state, env, *arguments)


PAYABLE = (lifecycle.deposit, lifecycle.create_job, disputes.demand)

ENTRY_POINTS: tuple[EntryPoint, ...] = (
    lifecycle.deposit,
    lifecycle.unbond,
    lifecycle.withdraw,
    lifecycle.create_job,
    lifecycle.draw,
    lifecycle.commit,
    lifecycle.commit_for,
    lifecycle.reveal,
    settlement.settle,
    settlement.release,
    settlement.deliver,
    disputes.refute,
    disputes.demand,
    disputes.answer,
    disputes.answer_leaf,
    disputes.execute_job,
    disputes.extend_challenge,
    audit.accuse,
    audit.judge,
    disputes.release_bounty,
    disputes.release_bond,
    multicall,
)
