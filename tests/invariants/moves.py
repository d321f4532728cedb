"""Moves that the rules allow: what anyone might do next, and what an honest guard must."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from contracts import commitment, gas_budget, merkle
from contracts.job import Phase, Terms, quorum_bounds
from tests.contracts.world import DATA_URI, SEED_PROOF
from tests.invariants import calldata
from tests.invariants.calldata import NodeName, address_word, word
from tests.invariants.driver import CHALLENGERS, EVERYBODY, REQUESTERS, WORKERS, Driver, Move
from tests.invariants.job_model import JobModel, Plan, data_of, lie_of

ITEM_COUNTS = (1, 2, 3, 5, 16, 17, 20)
SHORT = 8  # seconds: the least window


# Stake and creation


def stake_move(driver: Driver, rng: Random) -> Move:
    """Deposit, unbond or withdraw."""
    unit = driver.world.least_stake
    if rng.random() < 0.5:
        worker = rng.choice(WORKERS)
        if driver.books.bonded[worker] < 12 * unit:
            return Move("deposit", worker, calldata.plain("deposit"), rng.choice((1, unit // 3, unit, 3 * unit)))
    if rng.random() < 0.4:
        worker = rng.choice(WORKERS)
        if free := driver.free(worker):
            amount = rng.choice((1, free, min(free, unit)))
            return Move("unbond", worker, calldata.plain("unbond", word(amount)))
    payable = [someone for someone in EVERYBODY if withdrawable(driver, someone)]
    if not payable:
        return Move("deposit", rng.choice(WORKERS), calldata.plain("deposit"), 2 * unit)
    someone = rng.choice(payable)
    return Move("withdraw", someone, calldata.plain("withdraw", address_word(rng.choice(EVERYBODY))))


def withdrawable(driver: Driver, someone: str) -> int:
    """Wei that somebody could take out now."""
    unbonding = driver.books.unbonding[someone]
    ready = unbonding and driver.chain.time >= driver.ready_at[someone]
    return driver.books.credits[someone] + (unbonding if ready else 0)


def make_terms(driver: Driver, rng: Random) -> Terms | None:
    """Terms that the stake of the last block can fill."""
    stake = driver.world.least_stake + rng.choice((0, 0, 1))
    history = [bonded for number, bonded in driver.histories["total"] if number < driver.chain.number]
    most = min(7, (history[-1] if history else 0) // stake)
    if not most:
        return None
    seats = rng.randint(1, most)
    data = data_of(rng.choice(ITEM_COUNTS))
    terms = driver.world.terms(data, seats, rng.randint(*quorum_bounds(seats)), seat_stake=stake)
    commit = rng.choice((SHORT, 12, 20))
    return replace(
        terms,
        reward=rng.choice((0, 1, 10**9 + 7)),
        commit_window=commit,
        reveal_window=rng.choice((SHORT, 10)),
        challenge_window=commit + rng.choice((0, 5)),
        response_window=SHORT,
    )


def create(driver: Driver, rng: Random) -> Move | None:
    """Create a job; three in four are guarded."""
    terms = make_terms(driver, rng)
    if terms is None:
        return None
    driver.nonce += 1
    requester = rng.choice(REQUESTERS)
    move = Move("createJob", requester, calldata.create_job(driver.nonce, terms, DATA_URI), terms.reward)
    driver.play(move)
    driver.created(requester, driver.nonce, terms, guarded=rng.random() < 0.75)
    return move


# A job, phase by phase


def job_move(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """Something that somebody might do about this job now; None if there is nothing but to wait."""
    phase = driver.phase(job)
    if phase == Phase.DRAWING:
        if not job.is_drawable(driver.chain.number) or (not job.guarded and rng.random() < 0.9):
            return None
        return Move("draw", rng.choice(EVERYBODY), calldata.draw(job.id, SEED_PROOF))
    if phase == Phase.COMMITTING:
        return commit(driver, job, rng)
    if phase == Phase.REVEALING:
        return reveal(job, rng)
    if phase == Phase.CHALLENGING:
        choose = rng.choice((refute, demand, answer, answer))
        return choose(driver, job, rng)
    if phase == Phase.SETTLING:
        _, winner = job.book.judge()
        root = winner if winner is not None else rng.randbytes(32)
        return Move("settle", rng.choice(EVERYBODY), calldata.plain("settle", job.words, root))
    return release(job, rng)


def commit(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    left = job.terms.seats - job.book.granted
    for worker in rng.sample(WORKERS, 3):
        won = job.winners(worker, driver.tickets_of(job, worker), driver.chain.time)
        held = job.book.seats.get(worker, 0)
        affordable = held + driver.free(worker) // job.terms.seat_stake
        wanted = min(len(won), affordable)
        if wanted > held:
            count = rng.randint(held + 1, wanted)
            if min(count - held, left) * job.terms.seat_stake > driver.free(worker):
                continue
            plan = job.plans.get(worker) or make_plan(job, worker, rng)
            job.plans[worker] = plan
            return Move("commit", worker, calldata.commit(job.words, plan.commitment, sorted(rng.sample(won, count))))
    return None


def make_plan(job: JobModel, worker: str, rng: Random) -> Plan:
    """Honest, lying alone, lying with others, or sealing a root that is no tree's; some never reveal."""
    roll = rng.random()
    claim, wrong = job.truth, None
    if roll > 0.5:
        wrong = rng.randrange(1 << job.depth) if roll > 0.8 else 0
        claim = lie_of(job.terms.item_count, wrong)
        if rng.random() < 0.5:
            job.published.add(claim.root)
    salt, shows_up = rng.randbytes(32), rng.random() < 0.9
    if roll > 0.95:
        # A word that begins like the true root, or any word at all: nobody can answer for either.
        root = rng.choice((job.truth.root[:29] + b"\1\2\3", rng.randbytes(32)))
        return Plan(root, salt, commitment.compute(job.id, worker, root, salt), None, None, shows_up)  # type: ignore[arg-type]
    sealed = commitment.compute(job.id, worker, claim.root, salt)  # type: ignore[arg-type]
    return Plan(claim.root, salt, sealed, claim, wrong, shows_up)


def reveal(job: JobModel, rng: Random) -> Move | None:
    waiting = [worker for worker in job.book.seats if worker not in job.book.revealed and job.plans[worker].shows_up]
    if not waiting:
        return None
    worker = rng.choice(waiting)
    return reveal_of(job, worker, rng.choice((worker, worker, rng.choice(EVERYBODY))))


def reveal_of(job: JobModel, worker: str, by: str) -> Move:
    plan = job.plans[worker]
    return Move("reveal", by, calldata.reveal(job.words, worker, plan.root, plan.salt))  # type: ignore[arg-type]


def refute(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    wrong = [root for root, tally in job.book.roots.items() if not tally.refuter and job.wrong_index(root) is not None]
    if not wrong or rng.random() < 0.5:
        return None
    return refutation(job, rng.choice(wrong), rng.choice(WORKERS + CHALLENGERS))


def refutation(job: JobModel, root: bytes, by: str) -> Move:
    claim, index = job.claim_of(root), job.wrong_index(root)
    assert claim is not None and index is not None
    return Move("refute", by, calldata.with_proofs("refute", job.words, claim.proof(index), job.data.proof(index)))


def demand(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """A random node of a random root, known or not."""
    if not job.book.roots:
        return None
    root = rng.choice(list(job.book.roots))
    above = [node for node, made in job.book.demands.items() if node[0] == root and made.answerer]
    node: NodeName = (root, 0, 0)
    if above:
        parent = rng.choice(above)
        if parent[1] == job.last_level:
            return None
        step = merkle.level_depth(parent[1] + 1, job.depth) - merkle.level_depth(parent[1], job.depth)
        node = (root, parent[1] + 1, (parent[2] << step) + rng.randrange(1 << step))
    if node[2] >= job.width(node[1]) or not job.is_demandable(node, driver.challenge_end(job), driver.chain.time):
        return None
    return demand_of(driver, job, node, rng.choice(WORKERS + CHALLENGERS), rng.choice((0, 0, 5)))


def demand_of(driver: Driver, job: JobModel, node: NodeName, by: str, extra: int = 0) -> Move:
    return Move("demand", by, calldata.on_node("demand", job.words, node), bond_of(driver, job, node) + extra)


def bond_of(driver: Driver, job: JobModel, node: NodeName) -> int:
    """By the rule in docs/protocol.md."""
    price = driver.world.bounds.reference_price
    opened = job.book.roots[node[0]].open_demands
    return gas_budget.bond(node[1], job.depth, len(job.data.rows[0]), price, opened)


def answer(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    now = driver.chain.time
    answerable = [node for node in job.open_demands() if job.claim_of(node[0]) and now < job.answer_by[node]]
    return answer_of(job, rng.choice(answerable), rng.choice(EVERYBODY)) if answerable else None


def answer_of(job: JobModel, node: NodeName, by: str) -> Move:
    claim = job.claim_of(node[0])
    assert claim is not None
    if node[1] == job.last_level:
        proofs = (claim.proof(node[2]), job.data.proof(node[2]))
        return Move("answerLeaf", by, calldata.with_proofs("answerLeaf", job.words, *proofs))
    return Move("answer", by, calldata.answer(job.words, node, *claim.nodes(node[1], node[2])))


def release(job: JobModel, rng: Random) -> Move | None:
    """Release seats, a bounty or a bond, whichever is left."""
    book, by = job.book, rng.choice(EVERYBODY)
    kinds: list[Move] = []
    if left := [worker for worker in book.seats if worker not in book.released]:
        some = rng.sample(left, rng.randint(1, len(left))) + rng.sample(WORKERS, rng.randint(0, 1))
        kinds.append(Move("release", by, calldata.release(job.words, some)))
    if bounties := [root for root, tally in book.roots.items() if tally.refuter and root not in book.bounties]:
        kinds.append(Move("releaseBounty", by, calldata.plain("releaseBounty", job.words, rng.choice(bounties))))
    if bonds := [node for node, made in book.demands.items() if not made.released]:
        kinds.append(Move("releaseBond", by, calldata.on_node("releaseBond", job.words, rng.choice(bonds))))
    return rng.choice(kinds) if kinds else None


# What the guard of a job must do before time passes


def duty(driver: Driver, job: JobModel) -> Move | None:
    """The next thing that an honest operator's client would do."""
    phase = driver.phase(job)
    if phase == Phase.DRAWING and job.is_drawable(driver.chain.number):
        return Move("draw", CHALLENGERS[0], calldata.draw(job.id, SEED_PROOF))
    if phase == Phase.REVEALING:
        for worker in job.book.seats:
            if worker not in job.book.revealed and job.plans[worker].root == job.truth.root:
                return reveal_of(job, worker, worker)
    if phase == Phase.CHALLENGING:
        for node in job.open_demands():
            if node[0] == job.truth.root:
                return answer_of(job, node, CHALLENGERS[0])
        for root, tally in job.book.roots.items():
            if root != job.truth.root and not tally.refuter and (move := pursue(driver, job, root)):
                return move
    return None


def pursue(driver: Driver, job: JobModel, root: bytes) -> Move | None:
    """Refute a wrong root, or demand the way down to what is wrong with it; the liars' files are never read."""
    wrong = job.wrong_index(root)
    if wrong is not None and root in job.published:
        return refutation(job, root, CHALLENGERS[0])
    for node in job.path(root, wrong or 0):
        if node[2] >= job.width(node[1]):
            break  # padding is not demanded: the nodes above it have shown the wrong leaf
        made = job.book.demands.get(node)
        if made is None:
            return demand_of(driver, job, node, CHALLENGERS[0])
        if not made.answerer:
            return None  # silence is an answer too
    return refutation(job, root, CHALLENGERS[0])
