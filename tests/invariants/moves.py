"""Moves that somebody might make for a reason: what the phase invites, and what an honest guard must do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random
from typing import Any

from eth_typing import ChecksumAddress

from contracts import commitment, merkle, signed_commit
from contracts import specification as spec
from contracts.commitment import DATA_UNAVAILABLE
from contracts.disputes import Node
from contracts.gold import GoldItem, GoldTree
from contracts.job import NOBODY, Job, Phase, Terms, quorum_bounds
from contracts.signed_commit import SignedCommit
from contracts.specification.books import free, taken_lanes
from contracts.specification.disputes import bond_for
from contracts.specification.phases import demand_end
from contracts.specification.settlement import word_of
from contracts.specification.state import NodeKey
from contracts.specification.vote import decide, granted_seats, refuted_roots
from contracts.stake import LANES
from tests.contracts.world import Claim
from tests.invariants import arena
from tests.invariants.arena import (
    CHAIN_ID,
    CHALLENGERS,
    DATA_URI,
    EVERYBODY,
    GWEI,
    KEYS,
    REQUESTERS,
    SEED_PROOF,
    WORKERS,
)
from tests.invariants.driver import Driver, Move
from tests.invariants.scheme import Plan, Scheme

ITEM_COUNTS = (1, 2, 3, 5, 16, 17, 20)
SHORT = 8  # seconds: the least window
CALLBACK_GAS = 30_000
HUNGRY_GAS = 1_000_000
GUARD = CHALLENGERS[0]


# Stake and creation


def move_stake(driver: Driver, rng: Random) -> Move:
    """Deposit, unbond or withdraw."""
    unit = driver.arena.least_stake(arena.SMALL)
    if rng.random() < 0.5:
        worker = rng.choice(WORKERS)
        if driver.party(worker).bonded < 14 * unit:
            return Move(spec.deposit, worker, (), rng.choice((GWEI, unit // 3 // GWEI * GWEI, unit, 3 * unit)))
    if rng.random() < 0.4:
        worker = rng.choice(WORKERS)
        if available := free(driver.state, worker):
            amount = rng.choice((GWEI, available, min(available, unit)))
            return Move(spec.unbond, worker, (amount,))
    payable = [someone for someone in EVERYBODY if driver.withdrawable(someone)]
    if not payable:
        return Move(spec.deposit, rng.choice(WORKERS), (), 2 * unit)
    return withdrawal(driver, rng.choice(payable), rng)


def withdrawal(driver: Driver, who: ChecksumAddress, rng: Random) -> Move:
    """To anybody, who may refuse it."""
    places = driver.arena
    to = rng.choice((*EVERYBODY, places.listener, places.refuser, places.burner))
    return Move(spec.withdraw, who, (to,), circumstances=(to not in (places.refuser, places.burner),))


def make_terms(driver: Driver, rng: Random) -> tuple[Terms, Scheme] | None:
    """Terms that the stake of the last block can fill, and a scheme for the job that has them."""
    model = arena.LARGE if rng.random() < 0.2 else arena.SMALL
    stake = driver.arena.least_stake(model) + rng.choice((0, 0, GWEI))
    most = min(7, driver.stake_for_jobs // stake)
    if not most:
        return None
    seats, items = rng.randint(1, most), rng.choice(ITEM_COUNTS)
    malformed = rng.randrange(items) if rng.random() < 0.08 else None
    data, truth = arena.data_of(items, malformed), arena.truth_of(model, items, malformed)
    terms = driver.arena.terms(model, data, seats, rng.randint(*quorum_bounds(seats)), stake)
    commit_window, reward = rng.choice((SHORT, 12, 20)), rng.choice((0, 1, 10**9 + 7, 10**15))
    terms = replace(
        terms,
        reward=reward,
        call_out_fee=rng.choice((0, reward // 10, reward // 17)),
        commit_window=commit_window,
        reveal_window=rng.choice((SHORT, 10)),
        challenge_window=commit_window + rng.choice((0, 5, SHORT)),
        response_window=SHORT,
    )
    terms = with_consumer(driver, terms, rng)
    gold, is_gold_right = make_gold(truth, items, rng) if rng.random() < 0.5 else (None, True)
    if gold:
        terms = with_audit(terms, gold, rng)
    job = Job(REQUESTERS[0], 0, terms)
    is_dry, guarded = rng.random() < 0.12, rng.random() < 0.75
    return terms, Scheme(job, b"", model, data, truth, malformed is not None, gold, is_gold_right, is_dry, guarded)


def with_consumer(driver: Driver, terms: Terms, rng: Random) -> Terms:
    """Half of the jobs tell somebody how they ended."""
    if rng.random() < 0.5:
        return terms
    places = driver.arena
    consumer = rng.choice((places.listener, places.listener, places.refuser, places.burner, CHALLENGERS[1]))
    return replace(terms, consumer=consumer, callback_gas=rng.choice((0, CALLBACK_GAS, HUNGRY_GAS, HUNGRY_GAS)))


def with_audit(terms: Terms, gold: GoldTree, rng: Random) -> Terms:
    """With a little time to open something, or more."""
    return replace(
        terms,
        gold_root=gold.root,
        gold_count=gold.count,
        audit_bond=rng.choice((1, 2 * 10**9 + 1)),
        challenge_window=max(terms.challenge_window, SHORT + 1) + rng.choice((0, SHORT, 2 * SHORT)),
    )


def make_gold(truth: Claim, items: int, rng: Random) -> tuple[GoldTree, bool]:
    """A verification set, and whether all of it is right."""
    indices = rng.sample(range(items), rng.randint(1, min(items, 3)))
    outputs = [truth.outputs[index] for index in indices]
    is_right = all(outputs) and rng.random() < 0.6
    if not is_right:
        outputs[rng.randrange(len(outputs))] = rng.choice((bytes(8), b"", rng.randbytes(8)))
    return GoldTree(
        [GoldItem(index, out, rng.randbytes(32)) for index, out in zip(indices, outputs, strict=True)]
    ), is_right


def create(driver: Driver, rng: Random) -> Move | None:
    """Create a job; three in four are guarded."""
    made = make_terms(driver, rng)
    if made is None:
        return None
    terms, scheme = made
    driver.nonce += 1
    requester = rng.choice(REQUESTERS)
    move = Move(spec.create_job, requester, (driver.nonce, terms, DATA_URI), terms.payment)
    if driver.play(move):
        scheme.job = Job(requester, driver.nonce, terms)
        scheme.id = scheme.job.id(CHAIN_ID, driver.arena.oracle)
        driver.jobs[scheme.id] = scheme
    return move


# A job, phase by phase


def move_job(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Something that somebody might do about this job now; None if there is nothing but to wait."""
    phase = driver.phase(scheme)
    if phase == Phase.DRAWING:
        if not is_drawable(driver, scheme) or (not scheme.guarded and rng.random() < 0.9):
            return None
        return Move(spec.draw, rng.choice(EVERYBODY), (scheme.id, SEED_PROOF))
    if phase == Phase.COMMITTING:
        return rng.choice((commit, commit, relay))(driver, scheme, rng)
    if phase == Phase.REVEALING:
        return reveal(driver, scheme, rng)
    if phase == Phase.CHALLENGING:
        return challenge(driver, scheme, rng)
    if phase == Phase.SETTLING:
        return settle(driver, scheme, rng)
    return finish_job(driver, scheme, rng)


def is_drawable(driver: Driver, scheme: Scheme) -> bool:
    return driver.chain.number > driver.record(scheme).created_block + 2 and driver.phase(scheme) == Phase.DRAWING


# Commit


def commit(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    for worker in rng.sample(WORKERS, 3):
        if tickets := choose_tickets(driver, scheme, worker, rng):
            plan = plan_of(driver, scheme, worker, rng)
            sealed_root = rng.randbytes(32)
            return Move(spec.commit, worker, (scheme.job, plan.lane, plan.commitment, sealed_root, tickets))
    return None


def choose_tickets(driver: Driver, scheme: Scheme, worker: ChecksumAddress, rng: Random) -> list[int]:
    """Some winning tickets that would add a seat; none if there is none, or no stake for it."""
    record = driver.record(scheme)
    won = driver.winners(scheme, worker)
    held = record.seats[worker].count if worker in record.seats else 0
    left = scheme.terms.seats - granted_seats(record)
    affordable = held + free(driver.state, worker) // scheme.terms.seat_stake
    wanted = min(len(won), affordable)
    if wanted <= held or not left:
        return []
    return sorted(rng.sample(won, rng.randint(held + 1, wanted)))


def relay(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Signed commitments of some workers, some of which will be skipped."""
    signed: list[SignedCommit] = []
    for worker in rng.sample(WORKERS, rng.randint(1, 3)):
        tickets = choose_tickets(driver, scheme, worker, rng)
        if tickets or (signed and rng.random() < 0.3):
            signed.append(sign(driver, scheme, worker, tickets, rng))
    return Move(spec.commit_for, rng.choice(EVERYBODY), (scheme.job, signed)) if signed else None


def sign(driver: Driver, scheme: Scheme, worker: ChecksumAddress, tickets: list[int], rng: Random) -> SignedCommit:
    """The worker's signature of its plan; a few are late or of something else."""
    plan = plan_of(driver, scheme, worker, rng)
    deadline = driver.now + rng.choice((1, 100, 100, 100, 0))
    sealed = (plan.lane, plan.commitment, rng.randbytes(32), tickets, deadline)
    signed = signed_commit.sign(KEYS[worker], CHAIN_ID, driver.arena.oracle, scheme.id, *sealed)
    roll = rng.random()
    if roll < 0.04:
        return replace(signed, lane=(signed.lane + 1) % LANES)
    if roll < 0.08:
        return replace(signed, worker=rng.choice(WORKERS))
    if roll < 0.12:
        return replace(signed, vs=rng.randbytes(32))
    return signed


def plan_of(driver: Driver, scheme: Scheme, worker: ChecksumAddress, rng: Random) -> Plan:
    """What the worker seals, once and for all if it holds seats."""
    if worker in driver.record(scheme).seats:
        return scheme.plans[worker]
    plan = make_plan(driver, scheme, worker, rng)
    scheme.plans[worker] = plan
    return plan


def make_plan(driver: Driver, scheme: Scheme, worker: ChecksumAddress, rng: Random) -> Plan:
    """Honest, lying alone, lying with others, without data, or sealing a root that is no tree's; some never reveal."""
    roll = rng.random()
    root, claim, wrong = scheme.truth.root, scheme.truth, None
    if scheme.is_dry and (drought := rng.random()) < 0.85:
        word = DATA_UNAVAILABLE if drought < 0.75 else rng.randbytes(32)
        return seal(driver, scheme, worker, word, None, None, rng)
    if roll > 0.9:
        # No data; or a word that begins like the true root, any word, or another's commitment: nobody can answer for those.
        others = [plan.commitment for plan in scheme.plans.values()]
        words = (DATA_UNAVAILABLE, DATA_UNAVAILABLE, root[:29] + b"\1\2\3", rng.randbytes(32), bytes(32), *others[:1])
        return seal(driver, scheme, worker, rng.choice(words), None, None, rng)
    if roll > 0.5:
        wrong = rng.randrange(1 << scheme.depth) if roll > 0.75 else 0
        claim = scheme.truth.lie(wrong) if scheme.is_malformed else lie_about(scheme, wrong)
        if rng.random() < 0.5:
            scheme.published.add(claim.root)
    return seal(driver, scheme, worker, claim.root, claim, wrong, rng)


def lie_about(scheme: Scheme, wrong: int) -> Claim:
    return arena.lie_of(scheme.model, scheme.terms.item_count, None, wrong)


def seal(
    driver: Driver,
    scheme: Scheme,
    worker: ChecksumAddress,
    root: bytes,
    claim: Claim | None,
    wrong: int | None,
    rng: Random,
) -> Plan:
    salt, shows_up = rng.randbytes(32), rng.random() < 0.9
    sealed = commitment.compute(scheme.id, worker, root, salt)
    taken = taken_lanes(driver.state, worker)
    lanes = [lane for lane in range(LANES) if lane not in taken]
    lane = lanes[0] if rng.random() < 0.7 else rng.choice(lanes)
    return Plan(root, salt, sealed, lane, claim, wrong, shows_up)


# Reveal


def reveal(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Open one worker's commitment, or all that are to the same root, with a wrong opening now and then."""
    waiting = [who for who in driver.openable(scheme) if scheme.plans[who].shows_up]
    if not waiting:
        return None
    root = scheme.plans[rng.choice(waiting)].root
    some = [who for who in waiting if scheme.plans[who].root == root]
    if rng.random() < 0.5:
        some = rng.sample(some, 1)
    openings = [scheme.opening(who) for who in some]
    if rng.random() < 0.2:
        openings.insert(0, replace(rng.choice(openings), worker=rng.choice(WORKERS), lane=rng.choice((0, 23, 24, 255))))
    return Move(spec.reveal, rng.choice(EVERYBODY), (scheme.job, root, openings))


# Challenge


def challenge(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    roll = rng.random()
    if roll < (0.4 if is_flooded(driver, scheme) else 0.02):
        return Move(spec.execute_job, rng.choice(EVERYBODY), (scheme.job, b"".join(scheme.data.rows)))
    if scheme.gold and roll < 0.35 and (move := accuse(driver, scheme, rng)):
        return move
    if roll < 0.35 and scheme.model is arena.LARGE and (not driver.record(scheme).is_extended or roll < 0.1):
        return extend(driver, scheme, rng)
    return rng.choice((refute, demand, answer, answer, judge))(driver, scheme, rng)


def is_flooded(driver: Driver, scheme: Scheme) -> bool:
    """Whether the true root has several open demands, which executing every row makes void."""
    return sum(node[0] == scheme.truth.root for node in driver.open_nodes(scheme)) > 1


def refute(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    wrong = [root for root in driver.unrefuted(scheme) if scheme.wrong_index(root) is not None]
    if not wrong or rng.random() < 0.5:
        return None
    return refutation(
        driver, scheme, rng.choice(wrong), rng.choice(WORKERS + CHALLENGERS), is_prepared=rng.random() < 0.5
    )


def refutation(driver: Driver, scheme: Scheme, root: bytes, by: ChecksumAddress, is_prepared: bool = True) -> Move:
    """By the leaf that is known to be wrong; a stepwise execution is brought to its end first, if `is_prepared`."""
    claim, index = scheme.claim_of(root), scheme.wrong_index(root)
    assert claim is not None and index is not None
    if is_prepared:
        prepare(driver, scheme, index)
    return Move(spec.refute, by, (scheme.job, claim.proof(index), scheme.data.proof(index)))


def prepare(driver: Driver, scheme: Scheme, index: int) -> None:
    """See that the item can be executed in one transaction."""
    if scheme.model is arena.LARGE and index < scheme.terms.item_count:
        row = scheme.data.rows[index]
        if len(row) == arena.ROW_LENGTH:
            driver.arena.execute_in_steps(scheme.model, row)


def extend(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    known = [root for root in driver.unrefuted(scheme) if scheme.claim_of(root)]
    if not known:
        return None
    claim, index = scheme.claim_of(rng.choice(known)), rng.randrange(scheme.terms.item_count)
    assert claim is not None
    return Move(
        spec.extend_challenge, rng.choice(EVERYBODY), (scheme.job, claim.proof(index), scheme.data.proof(index))
    )


def demand(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """A random node of a random root, known or not."""
    roots, record = driver.unrefuted(scheme), driver.record(scheme)
    if not roots:
        return None
    root = rng.choice(roots)
    above = [node for node, made in record.demands.items() if node[0] == root and made.answerer]
    node: NodeKey = (root, 0, 0)
    if above:
        parent = rng.choice(above)
        if parent[1] == scheme.last_level:
            return None
        step = merkle.level_depth(parent[1] + 1, scheme.depth) - merkle.level_depth(parent[1], scheme.depth)
        node = (root, parent[1] + 1, (parent[2] << step) + rng.randrange(1 << step))
    if node in record.demands or node[2] >= scheme.width(node[1]) or driver.now >= demand_end(record, node[1]):
        return None
    return demand_of(driver, scheme, node, rng.choice(WORKERS + CHALLENGERS), rng.choice((0, 0, 5)))


def demand_of(driver: Driver, scheme: Scheme, node: NodeKey, by: ChecksumAddress, extra: int = 0) -> Move:
    bond = bond_for(driver.state, driver.env(), driver.record(scheme), node[0], node[1])
    return Move(spec.demand, by, (scheme.job, Node(*node)), bond + extra)


def answer(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    demands = driver.record(scheme).demands
    answerable = [
        node for node in driver.open_nodes(scheme) if scheme.claim_of(node[0]) and driver.now < demands[node].answer_by
    ]
    return answer_of(scheme, rng.choice(answerable), rng.choice(EVERYBODY)) if answerable else None


def answer_of(scheme: Scheme, node: NodeKey, by: ChecksumAddress) -> Move:
    claim = scheme.claim_of(node[0])
    assert claim is not None
    if node[1] == scheme.last_level:
        return Move(spec.answer_leaf, by, (scheme.job, claim.proof(node[2]), scheme.data.proof(node[2])))
    return Move(spec.answer, by, (scheme.job, Node(*node), *claim.nodes(node[1], node[2])))


def accuse(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Open an item of the verification set against a root, as a rule one that says otherwise."""
    roots = [root for root in driver.unrefuted(scheme) if scheme.claim_of(root)]
    record = driver.record(scheme)
    is_late = driver.now >= demand_end(record, 0) - scheme.terms.response_window
    if not roots or not scheme.gold or (is_late and rng.random() < 0.95):
        return None
    accusations = record.accusations
    cases = [(position, root) for root in roots for position in range(scheme.gold.count)]
    contradicting = [case for case in cases if case not in accusations and contradicts(scheme, *case)]
    position, root = rng.choice(contradicting if contradicting and rng.random() < 0.9 else cases)
    if (position, root) not in contradicting and rng.random() < 0.8:
        return None
    return accusation(scheme, position, root, rng.choice(EVERYBODY))


def contradicts(scheme: Scheme, position: int, root: bytes) -> bool:
    assert scheme.gold is not None
    item, claim = scheme.gold.items[position], scheme.claim_of(root)
    assert claim is not None
    return claim.proof(item.index).leaf != merkle.result_leaf(item.index, item.output)


def accusation(scheme: Scheme, position: int, root: bytes, by: ChecksumAddress) -> Move:
    claim = scheme.claim_of(root)
    assert scheme.gold is not None and claim is not None
    gold = scheme.gold.opening(position)
    return Move(spec.accuse, by, (scheme.job, gold, claim.proof(gold.index)))


def judge(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    open_cases = [case for case, is_open in driver.record(scheme).accusations.items() if is_open]
    if not open_cases or rng.random() < 0.3:
        return None
    return judgement(driver, scheme, *rng.choice(open_cases), rng.choice(EVERYBODY), is_prepared=rng.random() < 0.5)


def judgement(
    driver: Driver, scheme: Scheme, position: int, root: bytes, by: ChecksumAddress, is_prepared: bool = True
) -> Move:
    claim = scheme.claim_of(root)
    assert scheme.gold is not None and claim is not None
    gold = scheme.gold.opening(position)
    if is_prepared:
        prepare(driver, scheme, gold.index)
    given = scheme.data.proof(gold.index)
    return Move(spec.judge, by, (scheme.job, gold, claim.proof(gold.index), given))


# Settle, release, deliver


def settle(driver: Driver, scheme: Scheme, rng: Random) -> Move:
    record = driver.record(scheme)
    _, winner = decide(record)
    words = [word_of(seats) for seats in record.seats.values()] or [rng.randbytes(32)]
    root = winner if winner is not None else rng.choice(words)
    seats = driver.refs(scheme, rng.sample(list(record.seats), rng.randint(0, len(record.seats))))
    return Move(spec.settle, rng.choice(EVERYBODY), (scheme.job, root, seats))


def finish_job(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Release seats, a bounty or a bond, whichever is left, or all of them at once; tell the consumer."""
    record, by = driver.record(scheme), rng.choice(EVERYBODY)
    kinds: list[Move] = []
    left = [who for who, seats in record.seats.items() if not seats.is_released]
    if left:
        word = word_of(record.seats[rng.choice(left)])
        some = rng.sample(left, rng.randint(1, len(left)))
        alike = [who for who in left if word_of(record.seats[who]) == word]
        seats = driver.refs(scheme, dict.fromkeys((*alike[:1], *some, *alike)))
        kinds.append(Move(spec.release, by, (scheme.job, word, seats)))
    for root in refuted_roots(record) - record.bounties_released:
        kinds.append(Move(spec.release_bounty, by, (scheme.job, root)))
    for node, made in record.demands.items():
        if not made.is_released:
            kinds.append(Move(spec.release_bond, by, (scheme.job, Node(*node))))
    if scheme.terms.consumer != NOBODY and not record.is_delivered and (listens(driver, scheme) or rng.random() < 0.3):
        kinds.append(delivery(driver, scheme, by))
    if len(kinds) > 1 and rng.random() < 0.2:
        return together(rng.sample(kinds, rng.randint(2, len(kinds))))
    return rng.choice(kinds) if kinds else None


def delivery(driver: Driver, scheme: Scheme, by: ChecksumAddress) -> Move:
    return Move(spec.deliver, by, (scheme.job,), circumstances=(listens(driver, scheme),))


def listens(driver: Driver, scheme: Scheme) -> bool:
    """Whether the job's consumer takes the message."""
    consumer, places = scheme.terms.consumer, driver.arena
    if consumer == places.listener:
        return scheme.terms.callback_gas >= CALLBACK_GAS
    return consumer not in (places.refuser, places.burner)


def together(moves: list[Move]) -> Move:
    """Several unpaid moves of one sender in one transaction."""
    calls = [(move.entry_point, (*move.arguments, *circumstances_of(move))) for move in moves]
    return Move(spec.multicall, moves[0].sender, (calls,))


def circumstances_of(move: Move) -> Sequence[Any]:
    """Those that are known beforehand."""
    return () if callable(move.circumstances) else move.circumstances


# What the guard of a job must do before time passes


def duty(driver: Driver, scheme: Scheme) -> Move | None:
    """The next thing that an honest operator's client would do."""
    phase = driver.phase(scheme)
    if phase == Phase.DRAWING and is_drawable(driver, scheme):
        return Move(spec.draw, GUARD, (scheme.id, SEED_PROOF))
    if phase == Phase.REVEALING:
        for worker in driver.openable(scheme):
            root = scheme.plans[worker].root
            if root in (scheme.truth.root, DATA_UNAVAILABLE):
                return Move(spec.reveal, worker, (scheme.job, root, [scheme.opening(worker)]))
    if phase == Phase.CHALLENGING:
        return defend(driver, scheme)
    return None


def defend(driver: Driver, scheme: Scheme) -> Move | None:
    """Answer for the truth, judge accusations, pursue every lie."""
    for node in driver.open_nodes(scheme):
        if node[0] == scheme.truth.root:
            return answer_of(scheme, node, GUARD)
    for (position, root), is_open in driver.record(scheme).accusations.items():
        if is_open:
            return judgement(driver, scheme, position, root, GUARD)
    for root in driver.unrefuted(scheme):
        if root != scheme.truth.root and (move := pursue(driver, scheme, root)):
            return move
    return None


def pursue(driver: Driver, scheme: Scheme, root: bytes) -> Move | None:
    """Refute a wrong root, or demand the way down to what is wrong with it; the liars' files are never read."""
    wrong = scheme.wrong_index(root)
    if wrong is not None and root in scheme.published:
        return refutation(driver, scheme, root, GUARD)
    record = driver.record(scheme)
    for node in scheme.path(root, wrong or 0):
        if node[2] >= scheme.width(node[1]):
            break  # padding is not demanded: the nodes above it have shown the wrong leaf
        made = record.demands.get(node)
        if made is None:
            return demand_of(driver, scheme, node, GUARD)
        if made.answerer is None:
            return None  # silence is an answer too
    return refutation(driver, scheme, root, GUARD)
