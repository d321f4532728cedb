"""The signer's duties along the way of a job: draw, commit, reveal, settle, release.

Plain idempotent functions. Each rereads the chain, does what is due now and nothing else, and says what it did. Called
twice, late or out of order, it does nothing the second time; what a race decides is decided by the simulation, for free.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from web3.types import TxReceipt

from contracts import block_header, stake
from contracts import job as protocol
from contracts.commitment import Seat, SeatStatus
from contracts.endpoint import Call
from contracts.errors import OracleRevert
from contracts.job import Job, Phase
from contracts.tally import Tally, has_winner, is_winner
from contracts.transactor import DeadlinePassed
from oracle_worker import policy, salt
from oracle_worker.chain_view import History, Sight
from oracle_worker.context import SignerContext
from oracle_worker.job_codec import BadMessage, count_of, hash_of, job_from_json
from oracle_worker.result import Done, Nothing, Result
from oracle_worker.salt import Opening

log = logging.getLogger(__name__)

COMMIT_GAS = 150_000
REVEAL_GAS = 120_000
"""Gas that a commit or a reveal takes at most; what the wallet must hold before staking is computed from them."""


def draw(context: SignerContext, job: Job) -> Result:
    """Draw the jury, once the seed's block is past."""
    sight = context.view.sight(job)
    if sight.phase != Phase.DRAWING:
        return Nothing("draw", f"the job is {sight.phase.name}")
    seed_block = protocol.seed_block(sight.state)
    if sight.head.number <= seed_block:
        return Nothing("draw", f"the seed comes from block {seed_block}, the chain is at {sight.head.number}")
    header = block_header.fetch(context.contracts.endpoint, seed_block)
    call = context.contracts.oracle.draw(sight.job_id, header)
    return send(context, "draw", call, ("AlreadyDrawn", "WrongPhase"), detail=f"seed of block {seed_block}")


def commit(context: SignerContext, job: Job, root: bytes | None = None) -> Result:
    """Take seats with every ticket that has won by now; with seats already, add those that won since.

    root: the job's result as this operator computed it; None: the one of which all chunks were collected. A worker that is
    committed stays with its commitment. Raises PolicyRefusal, salt.NotOurs.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return Nothing("commit", f"the job is {sight.phase.name}")
    seat = context.view.seat(sight, context.worker)
    if seat.count:
        root = _opening(context, sight, seat, context.view.history(sight)).root
    else:
        policy.check_terms(context.settings, job.terms)
    root = root or context.collection.root(sight.job_id, context.plan(job))
    if root is None:
        return Nothing(
            "commit", f"{len(context.collection.missing(sight.job_id, context.plan(job)))} chunks are missing"
        )
    tickets = _tickets(context, sight, seat)
    if len(tickets) <= seat.count:
        return Nothing(
            "commit", f"no ticket beyond the {seat.count} seats held wins by now, or no seat or stake is left"
        )
    if not seat.count:
        _check_gas_money(context, sight)
    sealed = salt.seal(context.secret, sight.job_id, context.worker, root)
    call = context.contracts.oracle.commit(job, sealed.commitment, sealed.sealed_root, tickets)
    overtaken = ("WrongPhase", "NoSeatGranted", "NotEnoughFreeStake")
    end = protocol.commit_end(sight.state, job.terms)
    return send(context, "commit", call, overtaken, deadline=end, detail=f"{len(tickets)} seats")


def collect(context: SignerContext, body: Mapping[str, Any]) -> Result:
    """Keep a chunk's root that compute sent, and commit once the last one is there. `body` is from an authentic message.

    Raises BadMessage, UnknownJob, ChunkConflict, PolicyRefusal.
    """
    if set(body) != {"job", "chunk", "chunk_depth", "subtree_root"}:
        raise BadMessage("collect takes job, chunk, chunk_depth and subtree_root")
    job, _ = job_from_json(body["job"])
    chunk, root = count_of(body["chunk"], "chunk"), hash_of(body["subtree_root"], "subtree_root")
    cut = context.plan(job)
    if count_of(body["chunk_depth"], "chunk_depth") != cut.depth or chunk >= cut.count:
        raise BadMessage(
            f"chunk {chunk} of depth {body['chunk_depth']} is none of this signer's {cut.count} of depth {cut.depth}: "
            "set the same QUORATE_CHUNK_DEPTH for compute and signer"
        )
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return Nothing("collect", f"the job is {sight.phase.name}")
    context.collection.add(sight.job_id, cut, chunk, root)
    if left := context.collection.missing(sight.job_id, cut):
        return Nothing("commit", f"{len(left)} chunks are missing")
    return commit(context, job)


def reveal(context: SignerContext, job: Job) -> Result:
    """Open this worker's commitment, from key and chain alone, once the commit phase cannot be undone.

    That is when the block that closed it has `confirmations` blocks on top, or at half the reveal window at the latest: a
    reveal too early risks a copied root after a reorganisation, a reveal too late costs the stake. Raises salt.NotOurs.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.REVEALING:
        return Nothing("reveal", f"the job is {sight.phase.name}")
    seat = context.view.seat(sight, context.worker)
    if seat.status != SeatStatus.SEALED:
        return Nothing("reveal", "this worker has nothing to open")
    closed = protocol.commit_end(sight.state, job.terms)
    hurry = sight.head.timestamp - closed >= job.terms.reveal_window / 2
    history = context.view.history(sight)
    if not hurry and not context.view.is_commit_deep(sight, history, context.settings.confirmations):
        return Nothing("reveal", "the block that closed the commit phase is not deep enough")
    opening = _opening(context, sight, seat, history)
    call = context.contracts.oracle.reveal(job, context.worker, opening.root, opening.salt)
    end = protocol.reveal_end(sight.state, job.terms)
    return send(context, "reveal", call, ("WrongPhase", "WrongOpening"), deadline=end, detail=f"0x{opening.root.hex()}")


def settle(context: SignerContext, job: Job) -> Result:
    """Record the outcome, naming the root that the tallies say has won."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLING:
        return Nothing("settle", f"the job is {sight.phase.name}")
    root = _winner(sight, context.view.tallies(sight, context.view.history(sight)), job.terms.quorum)
    call = context.contracts.oracle.settle(job, root or bytes(32))
    return send(context, "settle", call, ("WrongPhase",), detail=f"0x{root.hex()}" if root else "no root wins")


def release(context: SignerContext, job: Job) -> Result:
    """Release every worker's seats, in batches."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    left = [worker for worker in history.committed if worker not in history.released]
    size = context.settings.release_batch
    calls = [context.contracts.oracle.release(job, left[i : i + size]) for i in range(0, len(left), size)]
    context.collection.forget(sight.job_id)
    return _send_each(context, "release", calls, f"{len(left)} workers")


def release_bounty(context: SignerContext, job: Job) -> Result:
    """Credit this worker with the bounties of the roots it refuted."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release_bounty", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    roots = [r for r, refuter in history.refuted.items() if refuter == context.worker and r not in history.bounties]
    calls = [context.contracts.disputes.release_bounty(job, root) for root in roots]
    return _send_each(context, "release_bounty", calls, f"{len(roots)} bounties")


def release_bond(context: SignerContext, job: Job) -> Result:
    """Credit this worker with the bonds that are its own: of demands it answered, or made."""
    sight = context.view.sight(job)
    if sight.phase != Phase.SETTLED:
        return Nothing("release_bond", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    owed = [node for node in history.demands if node not in history.bonds and history.payee(node) == context.worker]
    calls = [context.contracts.disputes.release_bond(job, node) for node in owed]
    return _send_each(context, "release_bond", calls, f"{len(owed)} bonds")


def send(
    context: SignerContext,
    duty: str,
    call: Call,
    overtaken: Collection[str],
    *,
    deadline: int | None = None,
    detail: str = "",
) -> Result:
    """Send one call. The custom errors named `overtaken` mean that somebody else, or the clock, was first."""
    try:
        receipt = context.transactor.send(call, deadline=deadline)
    except OracleRevert as refusal:
        if refusal.name not in overtaken:
            raise
        return Nothing(duty, f"the chain says {refusal}")
    except DeadlinePassed as late:
        return Nothing(duty, str(late))
    log.info("%s: %s, %d gas", duty, detail, receipt["gasUsed"])
    return Done(duty, detail, (receipt,))


def _send_each(context: SignerContext, duty: str, calls: Iterable[Call], detail: str) -> Result:
    receipts: list[TxReceipt] = []
    for call in calls:
        result = send(context, duty, call, ("NothingToRelease",))
        if isinstance(result, Done):
            receipts += result.receipts
    return Done(duty, detail, tuple(receipts)) if receipts else Nothing(duty, "nothing is left to release")


def _opening(context: SignerContext, sight: Sight, seat: Seat, history: History) -> Opening:
    """What opens this worker's commitment, from the chain and the key."""
    for sealed in history.committed.get(context.worker, []):
        if seat.holds(sealed.commitment):
            return salt.open_(context.secret, sight.job_id, context.worker, sealed)
    raise salt.NotOurs(sight.job_id, context.worker)


def _tickets(context: SignerContext, sight: Sight, seat: Seat) -> list[int]:
    """This worker's winning tickets, as many as there are seats and free stake for."""
    terms, state, oracle = sight.job.terms, sight.state, context.contracts.oracle
    account, _, _ = oracle.account(context.worker, sight.head.number)
    room = seat.count + min(terms.seats - state.granted_seats, account.free // terms.seat_stake)
    owned = oracle.stake_before(context.worker, state.created_block) // terms.seat_stake
    remaining = protocol.commit_end(state, terms) - sight.head.timestamp
    expected = stake.odds_factor(terms.commit_window, remaining) * terms.seats * terms.seat_stake
    won: list[int] = []
    for ticket in stake.winning_tickets(state.seed, context.worker, owned, expected, state.total_stake):
        if len(won) >= room:
            break
        won.append(ticket)
    return won


def _check_gas_money(context: SignerContext, sight: Sight) -> None:
    """A worker that cannot pay for its reveal loses its stake: it does not commit."""
    price = min(2 * sight.head.base_fee + context.transactor.fees.tip_ceiling, context.transactor.fees.ceiling)
    needed = price * (COMMIT_GAS + REVEAL_GAS * context.settings.reveals_in_reserve)
    if (has := context.transactor.balance()) < needed:
        raise policy.PolicyRefusal(
            f"{context.worker} has {has} wei and should have {needed} for this commit and "
            f"{context.settings.reveals_in_reserve} reveals (reveals_in_reserve): send it more"
        )


def _winner(sight: Sight, tallies: dict[bytes, Tally], quorum: int) -> bytes | None:
    if sight.state.granted_seats < quorum or not has_winner(sight.state, quorum):
        return None
    return next((root for root, tally in tallies.items() if is_winner(tally, sight.state, quorum)), None)
