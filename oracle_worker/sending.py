"""How every duty sends: one call, and what kept it from its effect said in the duty's own words."""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable

from web3.types import TxReceipt

from contracts.endpoint import Call
from contracts.errors import OracleRevert
from contracts.transactor import DeadlinePassed
from oracle_worker import gas_money
from oracle_worker.context import SignerContext
from oracle_worker.result import Done, Nothing, Result

log = logging.getLogger(__name__)


def send(
    context: SignerContext,
    duty: str,
    call: Call,
    overtaken: Collection[str],
    *,
    deadline: int | None = None,
    detail: str = "",
    urgent: bool = False,
    spare: bool = False,
) -> Result:
    """Send one call. The custom errors named `overtaken` mean that somebody else, or the clock, was first.

    urgent: the stake depends on it. spare: it may not take what the reveals of seats held can cost.
    """
    keep = gas_money.for_reveals(context) if spare else 0
    try:
        receipt = context.transactor.send(call, deadline=deadline, urgent=urgent, keep=keep)
    except OracleRevert as refusal:
        if refusal.name not in overtaken:
            raise
        return Nothing(duty, f"the chain says {refusal}")
    except DeadlinePassed as late:
        return Nothing(duty, str(late))
    context.metrics.duty_done(duty)
    log.info("%s: %s, %d gas", duty, detail, receipt["gasUsed"])
    return Done(duty, detail, (receipt,))


def send_each(context: SignerContext, duty: str, calls: Iterable[Call], detail: str) -> Result:
    """Send calls one after the other; those that somebody else was first with are passed over."""
    receipts: list[TxReceipt] = []
    for call in calls:
        result = send(context, duty, call, ("NothingToRelease",))
        if isinstance(result, Done):
            receipts += result.receipts
    return Done(duty, detail, tuple(receipts)) if receipts else Nothing(duty, "nothing is left to release")
