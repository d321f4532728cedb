"""The signer's duties once every window of a job is over: settle, release, deliver, and collect what is owed.

Plain idempotent functions, as in duties.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from contracts.compute_oracle import SeatRef
from contracts.endpoint import Call
from contracts.errors import OracleRevert
from contracts.job import NOBODY, Execution, Job, Phase
from contracts.tally import Tally, has_winner, is_winner
from contracts.transactor import TransactionFailed
from oracle_worker.chain_view import Sight
from oracle_worker.context import SignerContext
from oracle_worker.result import Nothing, Result
from oracle_worker.sending import send, send_each


def settle(context: SignerContext, job: Job) -> Result:
    """Record the outcome, naming the root that the tallies say has won; its seats are released with it, as many as fit."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLING:
        return Nothing("settle", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    root = _winner(sight, context.view.tallies(sight, history), job.terms.quorum)
    held = history.held()
    word = root or max(held, key=lambda each: len(held[each]), default=bytes(32))
    seats = held.get(word, [])[: context.settings.release_batch]
    call = context.contracts.oracle.settle(job, word, seats)
    return send(context, "settle", call, ("WrongPhase",), detail=f"0x{root.hex()}" if root else "no root wins")


def release(context: SignerContext, job: Job) -> Result:
    """Release every worker's seats, in batches of those that one word releases."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release", f"the job is {sight.phase.name}")
    held, oracle, size = context.view.history(sight).held(), context.contracts.oracle, context.settings.release_batch
    alone = [(oracle.release(job, word, seats), len(seats)) for word, seats in _cut(held, size)]
    calls = [oracle.multicall(batch) if len(batch) > 1 else batch[0] for batch in _batches(alone, size)]
    context.collection.forget(sight.job_id)
    context.tries.forget(sight.job_id)
    return send_each(context, "release", calls, f"{sum(map(len, held.values()))} workers")


def release_bounty(context: SignerContext, job: Job) -> Result:
    """Credit this worker with the bounties of the roots that it refuted, by one item or by executing the whole job."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release_bounty", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    roots = [r for r in history.revealed if history.refuter(r) == context.worker and r not in history.bounties]
    calls = [context.contracts.disputes.release_bounty(job, root) for root in roots]
    return send_each(context, "release_bounty", calls, f"{len(roots)} bounties")


def release_bond(context: SignerContext, job: Job) -> Result:
    """Credit this worker with the bonds that are its own: of demands it answered, or made."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release_bond", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    owed = [node for node in history.demands if node not in history.bonds and history.payee(node) == context.worker]
    calls = [context.contracts.disputes.release_bond(job, node) for node in owed]
    return send_each(context, "release_bond", calls, f"{len(owed)} bonds")


def deliver(context: SignerContext, job: Job) -> Result:
    """Tell the consumer of a job that the worker had a seat in how it ended, if the operator wants that done.

    A consumer whose failure in a block was paid for is not told again by this process.
    """
    sight = context.view.sight(job)
    if not context.settings.deliver or job.terms.consumer == NOBODY:
        return Nothing("deliver", "the job has no consumer, or deliveries are left to others (deliver)")
    if sight.phase != Phase.SETTLED:
        return Nothing("deliver", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    if history.is_delivered or context.worker not in history.seats or sight.job_id in context.undelivered:
        return Nothing("deliver", "it is delivered, failed before, or is a job without a seat of this worker")
    call = context.contracts.oracle.deliver(job)
    try:
        return send(context, "deliver", call, ("AlreadyDelivered",), detail=job.terms.consumer, spare=True)
    except (OracleRevert, TransactionFailed) as failure:
        if failure.receipt is not None:
            context.undelivered.add(sight.job_id)
        if isinstance(failure, OracleRevert) and failure.name == "DeliveryFailed":
            return Nothing("deliver", f"the chain says {failure}")
        raise


def _winner(sight: Sight, tallies: dict[bytes, Tally], quorum: int) -> bytes | None:
    state = sight.state
    if state.granted_seats < quorum or not has_winner(state, quorum):
        return None
    if state.execution == Execution.WHOLE:
        return state.root
    return next((root for root, tally in tallies.items() if is_winner(state, tally, root, quorum)), None)


def _cut(held: Mapping[bytes, Sequence[SeatRef]], size: int) -> Iterator[tuple[bytes, Sequence[SeatRef]]]:
    """Seats of one word at a time, at most `size`."""
    for word, seats in held.items():
        for start in range(0, len(seats), size):
            yield word, seats[start : start + size]


def _batches(calls: Iterable[tuple[Call, int]], size: int) -> Iterator[list[Call]]:
    """The calls, together as long as their sizes are at most `size`."""
    batch: list[Call] = []
    filled = 0
    for call, count in calls:
        if batch and filled + count > size:
            yield batch
            batch, filled = [], 0
        batch.append(call)
        filled += count
    if batch:
        yield batch
