"""Token rewards: credited to this worker once a job is settled, and in any case before its lane is used again.

A claim reads the lane, which keeps a job's seats after their release until the worker's next commit overwrites them; whoever
settles a job releases them. So nothing is committed into a lane that still has something to claim.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence

from contracts.compute_oracle import SeatRef
from contracts.job import Job, Phase
from contracts.token_jobs import TokenJobs
from oracle_worker import gas_money, pay
from oracle_worker.context import SignerContext
from oracle_worker.result import Done, Nothing, Result
from oracle_worker.sending import send

log = logging.getLogger(__name__)


def claim(context: SignerContext, job: Job) -> Result:
    """Credit this worker with what its seats in a job earned in a token. Idempotent, as every duty."""
    if context.tokens is None or not pay.is_token_job(context, job):
        return Nothing("claim", "it is no job of the TokenJobs that this operator works for (token_jobs)")
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("claim", f"the job is {sight.phase.name}")
    seats = context.view.history(sight).seats.get(context.worker)
    if seats is None:
        return Nothing("claim", "this worker had no seat in it")
    return _claim(context, context.tokens, sight.job_id, seats.lane, [seats.word])


def clear(context: SignerContext, lane: int) -> None:
    """Claim what the last job of a free lane pays in a token: the next commit destroys the claim. Raises ChainError."""
    if context.tokens is None:
        return
    if not context.lane_jobs:
        context.lane_jobs.update(context.view.last_jobs(context.worker))
    job_id = context.lane_jobs.get(lane)
    if job_id is None or not context.tokens.reward(job_id).exists:
        return
    words = context.view.words(job_id, context.worker)
    result = _claim(context, context.tokens, job_id, lane, words)
    if isinstance(result, Nothing):
        log.info("lane %d is used again: of job 0x%s %s", lane, job_id.hex(), result.reason)


def _claim(context: SignerContext, tokens: TokenJobs, job_id: bytes, lane: int, words: Sequence[bytes]) -> Result:
    """words: what can name the seats: the root that they revealed, or their commitment."""
    if tokens.is_claimed(job_id, context.worker):
        return Nothing("claim", "it is claimed")
    promised = tokens.reward(job_id)
    worth = pay.value(context, promised.token, promised.left)
    price = gas_money.usual(context.view.head().base_fee) * gas_money.CLAIM_GAS
    if worth < price:
        return Nothing("claim", f"all that can be claimed is worth {worth} wei, and claiming costs {price}")
    for word in words:
        call = tokens.claim(job_id, word, [SeatRef(context.worker, lane)])
        detail = f"{promised.token}, job 0x{job_id.hex()}"
        result = send(context, "claim", call, ("NothingToClaim", "NotSettled"), detail=detail, spare=True)
        if isinstance(result, Done):
            return result
    return Nothing("claim", "its seats earned nothing")
