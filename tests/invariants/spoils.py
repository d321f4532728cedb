"""Moves that the rules forbid: too early, too late, twice, with a wrong proof, for a job that is not. Each must revert."""

from __future__ import annotations

from dataclasses import replace
from random import Random

from contracts.job import Phase, Terms
from tests.contracts.world import DATA_URI, SEED_PROOF
from tests.invariants import calldata, moves
from tests.invariants.calldata import address_word, job_words, word
from tests.invariants.driver import EVERYBODY, REQUESTERS, WORKERS, Driver, Move
from tests.invariants.job_model import JobModel


def spoil(driver: Driver, job: JobModel | None, rng: Random) -> Move | None:
    """A random forbidden move; None if this one cannot be made now."""
    if job is None or rng.random() < 0.15:
        move = without_job(driver, rng)
    else:
        kinds = (wrong_phase, unknown_job, again, bad_ticket, bad_opening, bad_dispute, bad_demand, bad_settlement)
        move = rng.choice(kinds)(driver, job, rng)
    return replace(move, legal=False) if move else None


def without_job(driver: Driver, rng: Random) -> Move | None:
    someone = rng.choice(EVERYBODY)
    choice = rng.randrange(6)
    if choice == 0:
        return Move("deposit", someone, calldata.plain("deposit"))
    if choice == 1:
        return Move("unbond", someone, calldata.plain("unbond", word(driver.free(someone) + 1)))
    if choice == 2:
        return Move("unbond", someone, calldata.plain("unbond", word(0)))
    if choice == 3:
        return Move("draw", someone, calldata.draw(rng.randbytes(32), SEED_PROOF))
    if choice == 4:
        terms = moves.make_terms(driver, rng)
        return bad_creation(driver, terms, rng) if terms else None
    if moves.withdrawable(driver, someone):
        return None
    return Move("withdraw", someone, calldata.plain("withdraw", address_word(someone)))


def bad_creation(driver: Driver, terms: Terms, rng: Random) -> Move:
    bad = rng.choice(
        (
            replace(terms, quorum=terms.seats // 2),
            replace(terms, quorum=(2 * terms.seats + 2) // 3 + 1),
            replace(terms, item_count=0),
            replace(terms, call_out_fee=1),
            replace(terms, challenge_window=terms.commit_window - 1),
            replace(terms, response_window=7),
            replace(terms, seat_stake=10**6),
            replace(terms, seat_stake=2**95),
        )
    )
    sender = rng.choice(REQUESTERS)
    return Move("createJob", sender, calldata.create_job(driver.nonce + 10**6, bad, DATA_URI), bad.reward)


def wrong_phase(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """An entry point of another phase."""
    phase, by = driver.phase(job), rng.choice(EVERYBODY)
    someone = rng.choice(WORKERS)
    root = next(iter(job.book.roots), job.truth.root)
    node = (root, 0, 0)
    proofs = (job.truth.proof(0), job.data.proof(0))
    candidates = [
        (Phase.COMMITTING, Move("commit", someone, calldata.commit(job.words, rng.randbytes(32), [0]))),
        (Phase.REVEALING, Move("reveal", by, calldata.reveal(job.words, someone, root, bytes(32)))),
        (Phase.CHALLENGING, Move("refute", by, calldata.with_proofs("refute", job.words, *proofs))),
        (Phase.CHALLENGING, Move("demand", by, calldata.on_node("demand", job.words, node), 10**18)),
        (Phase.CHALLENGING, Move("answerLeaf", by, calldata.with_proofs("answerLeaf", job.words, *proofs))),
        (Phase.SETTLING, Move("settle", by, calldata.plain("settle", job.words, root))),
        (Phase.SETTLED, Move("release", by, calldata.release(job.words, list(job.book.seats) or [someone]))),
        (Phase.SETTLED, Move("releaseBounty", by, calldata.plain("releaseBounty", job.words, root))),
        (Phase.SETTLED, Move("releaseBond", by, calldata.on_node("releaseBond", job.words, node))),
    ]
    if job.state.drawn_at or not job.is_drawable(driver.chain.number):
        candidates.append((Phase.DRAWING, Move("draw", by, calldata.draw(job.id, SEED_PROOF))))
    needed, move = rng.choice(candidates)
    if needed == Phase.DRAWING:
        return move
    return move if needed != phase else None


def unknown_job(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """A move that would be right, if the job's terms were others."""
    real = job.words
    terms = replace(job.terms, reward=job.terms.reward + 1)
    job.words = job_words(replace(job.job, terms=terms))
    try:
        move = moves.job_move(driver, job, rng)
    finally:
        job.words = real
    return move if move and move.name != "draw" else None


def again(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """What can be done once only."""
    book, by, now = job.book, rng.choice(EVERYBODY), driver.phase(job)
    done: list[Move] = []
    if now == Phase.REVEALING:
        done += [moves.reveal_of(job, worker, by) for worker in book.revealed]
    if now == Phase.CHALLENGING:
        refuted = [root for root, tally in book.roots.items() if tally.refuter]
        done += [moves.refutation(job, root, by) for root in refuted]
        done += [moves.demand_of(driver, job, node, by) for node in book.demands]
        answered = [node for node, made in book.demands.items() if made.answerer]
        done += [moves.answer_of(job, node, by) for node in answered]
    if now == Phase.SETTLED:
        if book.released:
            done.append(Move("release", by, calldata.release(job.words, sorted(book.released))))
        done += [Move("releaseBounty", by, calldata.plain("releaseBounty", job.words, root)) for root in book.bounties]
        taken = [node for node, made in book.demands.items() if made.released]
        done += [Move("releaseBond", by, calldata.on_node("releaseBond", job.words, node)) for node in taken]
    return rng.choice(done) if done else None


def bad_ticket(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    if driver.phase(job) != Phase.COMMITTING:
        return None
    worker = rng.choice(WORKERS)
    owned = driver.tickets_of(job, worker)
    won = job.winners(worker, owned, driver.chain.time)
    lost = [ticket for ticket in range(owned) if ticket not in won]
    lists = [[], [owned], [*won, owned], [0, 0], [1, 0]]
    lists += [[ticket, ticket] for ticket in won[:2]] + [won[::-1]] * (len(won) > 1)
    lists += [[ticket] for ticket in lost[:2]] + [sorted([*won, ticket]) for ticket in lost[:2]]
    if job.book.seats.get(worker):
        lists.append(won[: job.book.seats[worker]])
    plan = job.plans.get(worker) or moves.make_plan(job, worker, rng)
    return Move("commit", worker, calldata.commit(job.words, plan.commitment, rng.choice(lists)))


def bad_opening(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    if driver.phase(job) == Phase.COMMITTING and job.book.seats:
        worker = rng.choice(list(job.book.seats))
        won = job.winners(worker, driver.tickets_of(job, worker), driver.chain.time)
        return Move("commit", worker, calldata.commit(job.words, rng.randbytes(32), won))
    if driver.phase(job) != Phase.REVEALING:
        return None
    worker = rng.choice(list(job.book.seats))
    plan = job.plans[worker]
    others = [other for other in WORKERS if other != worker]
    wrong = rng.choice(
        (
            (worker, rng.randbytes(32), plan.salt),
            (worker, plan.root, rng.randbytes(32)),
            (rng.choice(others), plan.root, plan.salt),
            (worker, plan.root[:29] + b"\7\7\7", plan.salt),
        )
    )
    return Move("reveal", rng.choice(EVERYBODY), calldata.reveal(job.words, *wrong))  # type: ignore[arg-type]


def bad_dispute(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """A right leaf refuted, or a wrong one with a wrong proof; an answer that is not the node, or late."""
    if driver.phase(job) != Phase.CHALLENGING or not job.book.roots:
        return None
    by = rng.choice(EVERYBODY)
    root = rng.choice(list(job.book.roots))
    claim = job.claim_of(root)
    if claim is None or job.book.roots[root].refuter:
        return None
    index = rng.randrange(1 << job.depth)
    result, row = claim.proof(index), job.data.proof(index)
    choice = rng.randrange(4)
    if choice == 0 and index != job.wrong_index(root):
        return Move("refute", by, calldata.with_proofs("refute", job.words, result, row))
    if choice == 1:
        result = (rng.choice((root[:29] + b"\3\3\3", bytes(32))), *result[1:])
        return Move("refute", by, calldata.with_proofs("refute", job.words, result, row))
    if choice == 2:
        result = (root, index, rng.randbytes(32), result[3])
        return Move("refute", by, calldata.with_proofs("refute", job.words, result, row))
    late = [node for node in job.open_demands() if driver.chain.time >= job.answer_by[node] and job.claim_of(node[0])]
    return moves.answer_of(job, rng.choice(late), by) if late else None


def bad_demand(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    if driver.phase(job) != Phase.CHALLENGING or not job.book.roots:
        return None
    by = rng.choice(EVERYBODY)
    root = rng.choice(list(job.book.roots))
    level = rng.randrange(job.last_level + 2)
    index = rng.randrange(1 << job.depth)
    node = (root, level, index)
    end, now = driver.challenge_end(job), driver.chain.time
    if level <= job.last_level and index < job.width(level) and job.is_demandable(node, end, now):
        short = moves.bond_of(driver, job, node) - 1
        return Move("demand", by, calldata.on_node("demand", job.words, node), short)
    if rng.random() < 0.2:
        node = (root[:29] + b"\5\5\5", 0, 0)
    return Move("demand", by, calldata.on_node("demand", job.words, node), 10**18)


def bad_settlement(driver: Driver, job: JobModel, rng: Random) -> Move | None:
    """A root that did not win, where one did."""
    if driver.phase(job) != Phase.SETTLING:
        return None
    _, winner = job.book.judge()
    if winner is None:
        return None
    others = [root for root in job.book.roots if root != winner] + [winner[:29] + b"\0\0\1", bytes(32)]
    return Move("settle", rng.choice(EVERYBODY), calldata.plain("settle", job.words, rng.choice(others)))
