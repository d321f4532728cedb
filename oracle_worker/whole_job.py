"""When to have the chain execute every row of a job, instead of taking wrong roots apart one by one. Pure.

The rule: all rows together fit one transaction, and either that takes less gas than all the demands and refutations that the
wrong roots still need, or it is too late to demand the next node of one of them. It ends Challenging at once and earns the
same bounties; what it costs grows with the job, what the others cost with the liars.
"""

from __future__ import annotations

from collections.abc import Iterable

from contracts import gas_budget, merkle
from contracts import job as protocol
from contracts.model_registry import Model
from contracts.transactor import TRANSACTION_GAS_CAP
from oracle_worker.chain_view import Sight
from oracle_worker.disputes import Demand, Refute, Step, Wait

MOST_GAS = TRANSACTION_GAS_CAP * 3 // 4
ITEM_GAS = 5_000
"""Gas of one item beside its execution and its bytes: two leaves, two trees, a call."""
MEMORY_GAS_PER_BYTE = 3
DEMAND_GAS = 120_000


def gas(item_count: int, model: Model) -> int:
    """Gas of executing a whole job, at most."""
    length = item_count * model.row_length
    fixed = gas_budget.FIXED_GAS + gas_budget.GAS_PER_BYTE * (gas_budget.FIXED_BYTES + length)
    return fixed + item_count * (model.execution_gas + ITEM_GAS) + MEMORY_GAS_PER_BYTE * length


def fits(item_count: int, model: Model) -> bool:
    """Whether all rows of a job can be executed in one transaction."""
    return not model.stepwise and gas(item_count, model) <= MOST_GAS


def is_better(sight: Sight, model: Model, steps: Iterable[Step]) -> bool:
    """Whether to execute the whole job, given the next step against each root that is known to be wrong."""
    waiting = list(steps)
    if not waiting or not fits(sight.job.terms.item_count, model):
        return False
    if any(isinstance(step, Demand) and _is_too_late(sight, step) for step in waiting):
        return True
    return gas(sight.job.terms.item_count, model) < sum(_gas_left(step, sight.depth, model) for step in waiting)


def _is_too_late(sight: Sight, step: Demand) -> bool:
    return sight.head.timestamp >= protocol.demand_end(sight.state, sight.job.terms, step.level)


def _gas_left(step: Step, depth: int, model: Model) -> int:
    """Gas of all that it still takes to refute a root, in our own transactions."""
    last = merkle.last_level(depth)
    match step:
        case Demand(level, _):
            demands = last - level
        case Wait(level, _):
            demands = last - level - 1
        case Refute():
            demands = 0
    return demands * DEMAND_GAS + gas_budget.refutation(model.execution_gas, depth, model.row_length)
