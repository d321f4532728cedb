"""The gas that a worker's duties take, and the ether that is set aside for reveals before anything else is paid."""

from __future__ import annotations

from contracts.fees import GWEI
from contracts.stake import Account
from oracle_worker.context import SignerContext

COMMIT_GAS = 150_000
REVEAL_GAS = 120_000
CLAIM_GAS = 150_000
"""Gas that a commit, a reveal or the claim of a token takes at most."""
USUAL_TIP = GWEI


def dearest(context: SignerContext, base_fee: int) -> int:
    """Wei that a unit of gas may cost a reveal: what it costs now, doubled, within what is allowed."""
    fees = context.transactor.fees
    return min(2 * base_fee + fees.tip_ceiling, fees.most)


def usual(base_fee: int) -> int:
    """Wei that a unit of gas costs today."""
    return base_fee + USUAL_TIP


def for_reveals(context: SignerContext) -> int:
    """Wei that the wallet must keep, so that everything that may be sealed can be revealed."""
    account = context.contracts.oracle.account(context.worker)
    return dearest(context, context.view.head().base_fee) * REVEAL_GAS * account.lanes.bit_count()


def for_commit(context: SignerContext, account: Account, base_fee: int) -> int:
    """Wei that the wallet must hold before it commits to one more job: for the commit, its reveal and all others."""
    reveals = max(context.settings.reveals_in_reserve, account.lanes.bit_count() + 1)
    return dearest(context, base_fee) * (COMMIT_GAS + REVEAL_GAS * reveals)
