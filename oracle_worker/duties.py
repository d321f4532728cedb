"""The signer's duties until a job's roots are revealed: draw, commit, abstain, reveal.

Plain idempotent functions. Each rereads the chain, does what is due now and nothing else, and says what it did. Called
twice, late or out of order, it does nothing the second time; what a race decides is decided by the simulation, for free.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import islice
from typing import Any

from contracts import block_header, signed_commit, stake
from contracts import job as protocol
from contracts.commitment import DATA_UNAVAILABLE, SeatStatus
from contracts.compute_oracle import Opening
from contracts.endpoint import Call
from contracts.errors import Reverted
from contracts.job import Job, Phase
from contracts.stake import LANES, Account
from oracle_worker import claims, gas_money, pay, policy, salt
from oracle_worker.chain_view import History, SeenSeats, Sight, UnknownJob
from oracle_worker.context import SignerContext
from oracle_worker.job_codec import BadMessage, count_of, hash_of, job_from_json
from oracle_worker.relay import RelayFailed
from oracle_worker.result import Done, Nothing, Result
from oracle_worker.salt import Opened
from oracle_worker.sending import send

log = logging.getLogger(__name__)

OVERTAKEN_COMMIT = ("WrongPhase", "AlreadyCommitted", "LaneTaken", "NoSeatGranted", "NotEnoughFreeStake")
BLOCKS_A_TRANSACTION = 2
"""That it takes, usually, until the next one is sent."""
STALE_SHARE = 8
"""A failed try says that the data cannot be had now for this share of the commit window."""


def draw(context: SignerContext, *jobs: Job) -> Result:
    """Draw the juries of jobs whose seed's block is past, all in one transaction: a rush of strangers' jobs takes no more."""
    sights = context.view.sights(jobs)
    if not sights:
        raise UnknownJob(context.view.job_id(jobs[0]), context.contracts.deployment.oracle)
    seeds, why_not = {}, ""
    for sight in sights:
        seed_block = protocol.seed_block(sight.state)
        if sight.phase != Phase.DRAWING:
            why_not = f"the job is {sight.phase.name}"
        elif sight.head.number <= seed_block:
            why_not = f"the seed comes from block {seed_block}, the chain is at {sight.head.number}"
        else:
            seeds[sight.job_id] = seed_block
    if not seeds:
        return Nothing("draw", why_not)
    headers = block_header.fetch_each(context.contracts.endpoint, set(seeds.values()))
    calls = [context.contracts.oracle.draw(job_id, headers[block]) for job_id, block in seeds.items()]
    try:
        drawn = _draw_all(context, calls, headers)
    except Reverted:
        if len(calls) == 1:
            raise
        drawn = Nothing("draw", "one of several could not be drawn")
    if isinstance(drawn, Done) or len(calls) == 1:
        return drawn
    calls = [call for call in calls if _passes(context, call)]  # somebody else was first with some of them
    return _draw_all(context, calls, headers) if calls else drawn


def _draw_all(context: SignerContext, calls: Sequence[Call], seeds: Iterable[int]) -> Result:
    call = calls[0] if len(calls) == 1 else context.contracts.oracle.multicall(calls)
    blocks = f"seed of block {', '.join(map(str, sorted(seeds)))}"
    detail = blocks if len(calls) == 1 else f"{len(calls)} jobs, {blocks}"
    return send(context, "draw", call, ("AlreadyDrawn", "WrongPhase"), detail=detail, spare=True)


def _passes(context: SignerContext, call: Call) -> bool:
    try:
        context.transactor.simulate(call)
    except Reverted:
        return False
    return True


def commit(context: SignerContext, job: Job, root: bytes | None = None) -> Result:
    """Take seats with every ticket that has won by now; with seats already, add those that won since.

    root: the job's result as this operator computed it; None: the one of which all chunks were collected. A worker that is
    committed stays with its commitment. Raises PolicyRefusal, salt.NotOurs, UntoldSeats.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return Nothing("commit", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    held = context.view.seats(sight, history, context.worker)
    if held is None:
        policy.check_terms(context.settings, job.terms, pay.reward(context, job))
        root = root or context.collection.root(sight.job_id, context.plan(job))
    else:
        root = _opened(context, sight, held[0]).root
    if root is None:
        return Nothing(
            "commit", f"{len(context.collection.missing(sight.job_id, context.plan(job)))} chunks are missing"
        )
    return _commit_to(context, sight, history, held[0] if held else None, root)


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


def note_failed_try(context: SignerContext, body: Mapping[str, Any]) -> Result:
    """Remember that compute could not get a job's data, and abstain once that is due. `body` is from an authentic message.

    Raises BadMessage, UnknownJob, and what `abstain` raises.
    """
    if set(body) != {"job", "began", "failed"}:
        raise BadMessage("a failed try has job, began and failed")
    job, _ = job_from_json(body["job"])
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return Nothing("abstain", f"the job is {sight.phase.name}")
    context.tries.add(sight.job_id, count_of(body["began"], "began"), count_of(body["failed"], "failed"))
    return abstain(context, job)


def abstain(context: SignerContext, job: Job) -> Result:
    """Commit to DATA_UNAVAILABLE, once data that matches the data root could not be had for half of the commit window.

    That is final: a worker that gets the data later stays with it. So nothing of it is done as long as any chunk was
    computed, or where the last failure is so long ago that another try may have succeeded since.
    Raises PolicyRefusal, UntoldSeats.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.COMMITTING:
        return Nothing("abstain", f"the job is {sight.phase.name}")
    if why := _why_not_abstain(context, sight):
        return Nothing("abstain", why)
    policy.check_abstention(context.settings, pay.fee(context, job))
    return commit(context, job, DATA_UNAVAILABLE)


def reveal(context: SignerContext, job: Job) -> Result:
    """Open this worker's commitment, from key and chain alone, once the commit phase cannot be undone.

    That is when the block that closed it has `confirmations` blocks on top, or at half the reveal window at the latest: a
    reveal too early risks a copied root after a reorganisation, a reveal too late costs the stake. Until then a relay may
    send it. Raises salt.NotOurs, UntoldSeats.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.REVEALING:
        return Nothing("reveal", f"the job is {sight.phase.name}")
    history = context.view.history(sight)
    held = context.view.seats(sight, history, context.worker)
    if held is None or held[1].status != SeatStatus.SEALED:
        return Nothing("reveal", "this worker has nothing to open")
    closed, end = protocol.commit_end(sight.state, job.terms), protocol.reveal_end(sight.state, job.terms)
    hurry = sight.head.timestamp - closed >= job.terms.reveal_window / 2
    if not hurry and not context.view.is_commit_deep(sight, history, context.settings.confirmations):
        return Nothing("reveal", "the block that closed the commit phase is not deep enough")
    opened = _opened(context, sight, held[0])
    opening = Opening(context.worker, held[0].lane, opened.salt)
    relay = context.relay
    if relay and not hurry and _is_taken_on(lambda: relay.hand_in_opening(job, opened.root, opening)):
        return Done("reveal", f"0x{opened.root.hex()}, handed to the relay")
    call = context.contracts.oracle.reveal(job, opened.root, [opening])
    overtaken = ("WrongPhase", "NothingRevealed")
    return send(context, "reveal", call, overtaken, deadline=end, detail=f"0x{opened.root.hex()}", urgent=True)


def _commit_to(context: SignerContext, sight: Sight, history: History, held: SeenSeats | None, root: bytes) -> Result:
    """Take what seats there are for this root, directly or, in the first half of the window, by the relay."""
    job, account = sight.job, context.view.account(sight, context.worker)
    count = held.count if held else 0
    lane = held.lane if held else _lane(account, sight.job_id, relayed=context.relay is not None)
    if lane is None:
        return Nothing("commit", f"all {LANES} lanes hold seats of jobs that are not released yet")
    tickets = _tickets(context, sight, history, account, count)
    if len(tickets) <= count:
        return Nothing("commit", f"no ticket beyond the {count} seats held wins by now, or no seat or stake is left")
    if held is None:
        usual = BLOCKS_A_TRANSACTION * context.contracts.oracle.bounds().block_time
        policy.check_reveals(job.terms, account.lanes.bit_count(), context.pace.seconds(usual))
        _check_gas_money(context, sight, account)
        if root != DATA_UNAVAILABLE and context.relay is None:  # abstaining is paid by a fee, a relay pays for the gas
            gas = gas_money.COMMIT_GAS + gas_money.REVEAL_GAS
            cost = gas_money.usual(sight.head.base_fee) * gas
            policy.check_gain(context.settings, len(tickets), job.terms, pay.reward(context, job), cost)
        claims.clear(context, lane)
        if context.tokens is not None:
            context.lane_jobs[lane] = sight.job_id
    sealed = salt.seal(context.secret, sight.job_id, context.worker, root)
    end = protocol.commit_end(sight.state, job.terms)
    half = end - job.terms.commit_window // 2
    relay = context.relay
    if relay and sight.head.timestamp < half:
        signed = signed_commit.sign(
            context.account,
            context.contracts.deployment.chain_id,
            context.contracts.deployment.oracle,
            sight.job_id,
            lane,
            sealed.commitment,
            sealed.sealed_root,
            tickets,
            half,  # from then on it is sent from here: what the relay held back is worth nothing any more
        )
        if _is_taken_on(lambda: relay.hand_in_commit(job, signed)):
            return Done("commit", f"{len(tickets)} seats, handed to the relay")
    call = context.contracts.oracle.commit(job, lane, sealed.commitment, sealed.sealed_root, tickets)
    return send(context, "commit", call, OVERTAKEN_COMMIT, deadline=end, detail=f"{len(tickets)} seats")


def _why_not_abstain(context: SignerContext, sight: Sight) -> str | None:
    window = sight.job.terms.commit_window
    tries = context.tries.of(sight.job_id)
    if tries is None:
        return "fetching the data has not failed"
    if context.collection.is_begun(sight.job_id):
        return "compute has the data: some chunks are there"
    if tries.count < context.settings.data_tries or 2 * tries.seconds < window:
        return f"the data could not be had {tries.count} times in {tries.seconds} s: not yet often enough, or for long enough"
    if STALE_SHARE * (sight.head.timestamp - tries.failed) > window:
        return "the data could not be had a while ago: another try may have succeeded since"
    return None


def _is_taken_on(hand_in: Callable[[], None]) -> bool:
    """Whether the relay takes it on. That is not believed: what is not on chain at half of the window is sent from here."""
    try:
        hand_in()
    except RelayFailed as failure:
        log.warning("%s; sending it from here", failure)
        return False
    return True


def _opened(context: SignerContext, sight: Sight, seats: SeenSeats) -> Opened:
    """What opens this worker's commitment, from the chain and the key."""
    for sealed in seats.sealed:
        try:
            return salt.open_(context.secret, sight.job_id, context.worker, sealed)
        except salt.NotOurs:
            continue
    raise salt.NotOurs(sight.job_id, context.worker)


def _lane(account: Account, job_id: bytes, *, relayed: bool) -> int | None:
    """A lane for a new job, or None if none is free.

    The lowest: it was used before, and costs less than a new one. By a relay each job begins to look at a place of its own:
    until it is on chain its lane seems free, and two jobs shall not be signed for the same one.
    """
    free = list(account.free_lanes())
    if not free:
        return None
    return free[int.from_bytes(job_id[:8], "big") % len(free)] if relayed else free[0]


def _tickets(context: SignerContext, sight: Sight, history: History, account: Account, held: int) -> list[int]:
    """This worker's winning tickets, as many as there are seats and free stake for."""
    terms, state = sight.job.terms, sight.state
    room = held + min(terms.seats - state.granted_seats, account.free // terms.seat_stake)
    owned = context.contracts.oracle.stake_before(context.worker, state.created_block) // terms.seat_stake
    remaining = protocol.commit_end(state, terms) - sight.head.timestamp
    expected = stake.odds_factor(terms.commit_window, remaining) * terms.seats * terms.seat_stake
    won = stake.winning_tickets(state.seed, context.worker, owned, expected, history.total_stake)
    return list(islice(won, room))


def _check_gas_money(context: SignerContext, sight: Sight, account: Account) -> None:
    """A worker that cannot pay for its reveal loses its stake: it does not commit."""
    needed = gas_money.for_commit(context, account, sight.head.base_fee)
    if (has := context.transactor.balance()) < needed:
        raise policy.PolicyRefusal(
            f"{context.worker} has {has} wei and should have {needed} for this commit, its reveal and those of all seats held "
            f"(at least reveals_in_reserve, {context.settings.reveals_in_reserve}): send it more"
        )
