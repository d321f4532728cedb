"""Executions in steps, of models that one transaction cannot execute: the next transaction on the way to an item's output.

Only one is found at a time: the state of an execution is whatever all who work on it made of it, and is read anew for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from contracts import job as protocol
from contracts.deployment import Contracts
from contracts.job import Execution
from models import stepwise
from models.network import IntegerNetwork
from oracle_worker.chain_view import Sight
from oracle_worker.disputes import (
    Action,
    AdvanceExecution,
    BeginExecution,
    ExtendChallenge,
    MakeJudgement,
    MakeRefutation,
)

STEP_GAS = stepwise.GAS_CAP
"""Most gas of one step."""
BLOCKS_A_STEP = 3
"""How many blocks a transaction is given, when it is weighed whether the time that is left suffices."""


def way_to(
    contracts: Contracts, sight: Sight, network: IntegerNetwork, then: MakeRefutation | MakeJudgement
) -> Iterator[Action]:
    """What is due now so that `then` can be sent: more time if it is short, the next step, or `then` itself."""
    model_id, row = sight.job.terms.model_id, then.given.row
    if len(row) != network.row_length:  # there is nothing to execute
        yield then
        return
    progress = contracts.registry.progress(model_id, sha256(row).digest())
    if progress.finished:
        yield then
        return
    state: stepwise.State | bytes = stepwise.first_state(network, row)
    if progress.executed:
        assert isinstance(state, stepwise.State)
        state = stepwise.advance(network, state, progress.executed)
    assert isinstance(state, stepwise.State)  # it is not finished
    steps = stepwise.plan(network, state, STEP_GAS)
    if _is_short(contracts, sight, len(steps) + (not progress.begun) + 1):
        yield ExtendChallenge(then.result, then.given)
    if progress.begun:
        yield AdvanceExecution(sha256(row).digest(), state.encode(), steps[0].values)
    else:
        yield BeginExecution(row)


def _is_short(contracts: Contracts, sight: Sight, transactions: int) -> bool:
    if sight.state.execution != Execution.NONE:
        return False
    needed = transactions * BLOCKS_A_STEP * contracts.oracle.bounds().block_time
    return sight.head.timestamp + needed > protocol.challenge_end(sight.state, sight.job.terms)
