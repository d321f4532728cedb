"""What a job pays, in wei: in coin by its terms, or in a token that the operator has a price for."""

from __future__ import annotations

from eth_typing import ChecksumAddress

from contracts.endpoint import NoContract
from contracts.errors import Reverted
from contracts.job import Job, seat_fee
from contracts.token_jobs import NATIVE, Token, TokenJobs
from oracle_worker.context import Context


def reward(context: Context, job: Job) -> int:
    """Wei for all seats together; of a job that pays a token without a price, nothing. Raises ChainError."""
    if not is_token_job(context, job):
        return job.terms.reward
    promised = _jobs(context).reward(context.view.job_id(job))
    return value(context, promised.token, promised.left)


def fee(context: Context, job: Job) -> int:
    """Wei for a seat that worked in vain. Raises ChainError."""
    if not is_token_job(context, job):
        return seat_fee(job.terms)
    promised = _jobs(context).reward(context.view.job_id(job))
    return value(context, promised.token, promised.share)


def is_token_job(context: Context, job: Job) -> bool:
    """Whether the job was created by the TokenJobs that the operator named."""
    return context.tokens is not None and job.requester == context.tokens.address


def value(context: Context, token: ChecksumAddress, amount: int) -> int:
    """Wei that so much of a token is worth to the operator.

    A token whose balance does not cover what is owed pays a part: it counts for nothing. Raises ChainError.
    """
    if token == NATIVE:
        return amount
    price = context.settings.prices.get(token)
    if not price or not amount:
        return 0
    paid_in = Token(context.contracts.endpoint, token)
    try:
        if paid_in.balance(_jobs(context).address) < _jobs(context).held(paid_in.address):
            return 0
        decimals = paid_in.decimals()
    except (Reverted, NoContract):
        return 0
    return amount * price // int(10 ** min(decimals, 77))


def _jobs(context: Context) -> TokenJobs:
    assert context.tokens is not None  # asked for after is_token_job
    return context.tokens
