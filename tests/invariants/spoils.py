"""Near-misses and hostile nonsense: too early, too late, twice, with a wrong proof, for a job that is not.

Whether such a move is refused, and how, is for the specification to say; some do happen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields, replace
from random import Random
from typing import Any

from contracts import specification as spec
from contracts.commitment import DATA_UNAVAILABLE
from contracts.compute_oracle import Opening, SeatRef
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.job import NOBODY, Job, Phase
from contracts.signed_commit import SignedCommit
from contracts.specification.books import free, stake_before
from contracts.specification.phases import demand_end
from contracts.specification.vote import decide
from tests.invariants import moves
from tests.invariants.arena import DATA_URI, EVERYBODY, GWEI, REQUESTERS, SEED_PROOF, WORKERS
from tests.invariants.driver import Driver, Move
from tests.invariants.moves import seal
from tests.invariants.scheme import Scheme

HUGE = (2**64, 2**255, 2**256 - 1)
PLENTY = 10**18


def spoil(driver: Driver, scheme: Scheme | None, rng: Random) -> Move | None:
    """A random move that should rather not be made; None if this one cannot be made now."""
    if scheme is None or rng.random() < 0.15:
        return without_job(driver, rng)
    kinds: tuple[Callable[[Driver, Scheme, Random], Move | None], ...] = (
        wrong_phase,
        unknown_job,
        again,
        bad_ticket,
        bad_opening,
        bad_dispute,
        bad_demand,
        bad_gold,
        bad_settlement,
        bad_delivery,
        bad_batch,
        mutated,
        mutated,
    )
    return rng.choice(kinds)(driver, scheme, rng)


# Without a job


def without_job(driver: Driver, rng: Random) -> Move | None:
    someone = rng.choice(EVERYBODY)
    available = free(driver.state, someone)
    party = driver.party(someone)
    choices = [
        Move(spec.deposit, someone),
        Move(spec.deposit, someone, (), rng.choice((1, GWEI + 1, GWEI - 1))),
        Move(spec.deposit, someone, (), 2**57 * GWEI),
        Move(spec.unbond, someone, (available + GWEI,)),
        Move(spec.unbond, someone, (rng.choice((0, 1, GWEI - 1, *HUGE)),)),
        Move(spec.draw, someone, (rng.randbytes(32), SEED_PROOF)),
        Move(spec.unbond, someone, (GWEI,), value=1),
        Move(spec.multicall, someone, ([(spec.unbond, (GWEI,)), (spec.deposit, ())],)),
        Move(spec.multicall, someone, ([],)),
    ]
    if not party.credit:
        choices += [Move(spec.withdraw, someone, (someone,))] * 3
    choice = rng.choice((*choices, None, None))
    return choice or bad_creation(driver, rng)


def bad_creation(driver: Driver, rng: Random) -> Move | None:
    made = moves.make_terms(driver, rng)
    if made is None:
        return None
    terms, _ = made
    gold = {"gold_root": bytes(32), "gold_count": 0, "audit_bond": 0}
    without_time = {"commit_window": 8, "challenge_window": 8, "response_window": 8}
    bad = rng.choice(
        (
            {"quorum": terms.seats // 2},
            {"quorum": (2 * terms.seats + 2) // 3 + 1},
            {"seats": 0},
            {"seats": 65},
            {"item_count": 0},
            {"item_count": 2**20 + 1},
            {"call_out_fee": terms.reward // 10 + 1},
            {"commit_window": 7},
            {"challenge_window": terms.commit_window - 1},
            {"reveal_window": 3601},
            {"response_window": 7},
            {"seat_stake": 10**6},
            {"seat_stake": terms.seat_stake + 1},
            {"seat_stake": 2**95 // GWEI * GWEI},
            {"model_id": rng.randbytes(32)},
            {**gold, "gold_count": 1},
            {**gold, "audit_bond": 1},
            {**gold, "gold_root": rng.randbytes(32)},
            {"gold_root": rng.randbytes(32), "gold_count": terms.item_count + 1, "audit_bond": 1},
            {**without_time, "gold_root": rng.randbytes(32), "gold_count": 1, "audit_bond": 1},
            {"consumer": NOBODY, "callback_gas": 1},
            {"consumer": EVERYBODY[0], "callback_gas": 1_000_001},
            {"data_uri_hash": rng.randbytes(32)},
            {},
        )
    )
    changed = replace(terms, **bad)
    value = changed.payment if bad else terms.payment + 1
    return Move(spec.create_job, rng.choice(REQUESTERS), (driver.nonce + 10**6, changed, DATA_URI), value)


# Too early, too late, twice, elsewhere


def some_move(driver: Driver, scheme: Scheme, needed: Phase, rng: Random) -> Move | None:
    """What one might do in that phase, whatever the phase is now."""
    by, someone = rng.choice(EVERYBODY), rng.choice(WORKERS)
    root = next(iter(driver.roots(scheme)), scheme.truth.root)
    node, result, given = Node(root, 0, 0), scheme.truth.proof(0), scheme.data.proof(0)
    rows = b"".join(scheme.data.rows)
    job = scheme.job
    if needed == Phase.DRAWING:
        return Move(spec.draw, by, (scheme.id, SEED_PROOF if rng.random() < 0.8 else b"another"))
    if needed == Phase.COMMITTING:
        return Move(spec.commit, someone, (job, 0, rng.randbytes(32), bytes(32), [0]))
    if needed == Phase.REVEALING:
        return Move(spec.reveal, by, (job, root, [Opening(someone, 0, bytes(32))]))
    if needed == Phase.SETTLING:
        return Move(spec.settle, by, (job, root, ()))
    ended = (
        Move(spec.release, by, (job, root, [SeatRef(someone, 0)])),
        moves.delivery(driver, scheme, by),
        Move(spec.release_bounty, by, (job, root)),
        Move(spec.release_bond, by, (job, node)),
    )
    if needed == Phase.SETTLED:
        return rng.choice(ended)
    disputes = [
        Move(spec.refute, by, (job, result, given)),
        Move(spec.demand, by, (job, node), PLENTY),
        Move(spec.answer, by, (job, node, *scheme.truth.nodes(0, 0))) if scheme.last_level else None,
        Move(spec.answer_leaf, by, (job, result, given)),
        Move(spec.execute_job, by, (job, rng.choice((b"", given.row, rows[1:], rows[::-1], rows[::-1])))),
        Move(spec.extend_challenge, by, (job, result, given)),
    ]
    if scheme.gold:
        gold = scheme.gold.opening(0)
        disputes.append(Move(spec.accuse, by, (job, gold, scheme.truth.proof(gold.index))))
        disputes.append(Move(spec.judge, by, (job, gold, result, given)))
    return rng.choice(disputes)


def wrong_phase(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """An entry point of another phase."""
    needed = rng.choice(list(Phase))
    if needed == driver.phase(scheme) == Phase.COMMITTING:
        return None  # a commitment without a plan would only be a no-show
    if needed == Phase.DRAWING and moves.is_drawable(driver, scheme):
        return None  # jobs should also stay undrawn
    return some_move(driver, scheme, needed, rng)


def unknown_job(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """A move that would be right, if the job's terms were others."""
    move = moves.move_job(driver, scheme, rng)
    if move is None or not move.arguments or not isinstance(move.arguments[0], Job):
        return None
    other = replace(scheme.job, terms=replace(scheme.terms, reward=scheme.terms.reward + 1))
    return replace(move, arguments=(other, *move.arguments[1:]))


def again(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """What can be done once only."""
    record, by, now = driver.record(scheme), rng.choice(EVERYBODY), driver.phase(scheme)
    done: list[Move] = []
    if now == Phase.DRAWING:
        created = (scheme.job.nonce, scheme.terms, DATA_URI)
        done.append(Move(spec.create_job, scheme.job.requester, created, scheme.terms.payment))
    if now == Phase.COMMITTING:
        for who, seats in record.seats.items():
            if scheme.plans[who].commitment == seats.commitment:
                tickets = driver.winners(scheme, who)[: seats.count]
                done.append(Move(spec.commit, who, (scheme.job, seats.lane, seats.commitment, bytes(32), tickets)))
    if now == Phase.REVEALING:
        shown = [who for who, seats in record.seats.items() if seats.root == scheme.plans[who].root]
        done += [Move(spec.reveal, by, (scheme.job, scheme.plans[who].root, [scheme.opening(who)])) for who in shown]
    if now == Phase.CHALLENGING:
        known = [root for root in record.refuters if scheme.wrong_index(root) is not None]
        done += [moves.refutation(driver, scheme, root, by) for root in known]
        done += [moves.demand_of(driver, scheme, node, by) for node in record.demands]
        answered = [node for node, made in record.demands.items() if made.answerer]
        done += [moves.answer_of(scheme, node, by) for node in answered if scheme.claim_of(node[0])]
        done += [moves.accusation(scheme, *case, by) for case in record.accusations]
        done += [moves.judgement(driver, scheme, *case, by) for case in record.accusations]
        if record.is_extended and (move := moves.extend(driver, scheme, rng)):
            done.append(move)
    if now == Phase.SETTLED:
        released = [(who, seats) for who, seats in record.seats.items() if seats.is_released]
        for who, seats in released:
            refs = driver.refs(scheme, [who])
            done.append(Move(spec.release, by, (scheme.job, seats.root or seats.commitment, refs)))
        done += [Move(spec.release_bounty, by, (scheme.job, root)) for root in record.bounties_released]
        taken = [node for node, made in record.demands.items() if made.is_released]
        done += [Move(spec.release_bond, by, (scheme.job, Node(*node))) for node in taken]
        if record.is_delivered:
            done.append(moves.delivery(driver, scheme, by))
    if record.drawn_at is not None:
        done.append(Move(spec.draw, by, (scheme.id, SEED_PROOF)))
    return rng.choice(done) if done else None


# Phase by phase


def bad_ticket(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Tickets, lanes and commitments that are not the worker's to use."""
    if driver.phase(scheme) != Phase.COMMITTING:
        return None
    worker, record = rng.choice(WORKERS), driver.record(scheme)
    owned = stake_before(driver.state, worker, record.created_block) // scheme.terms.seat_stake
    won = driver.winners(scheme, worker)
    lost = [ticket for ticket in range(owned) if ticket not in won]
    lists = [[], [owned], [*won, owned], [0, 0], [1, 0], [*won, rng.choice(HUGE)], won]
    lists += [[ticket, ticket] for ticket in won[:2]] + [won[::-1]] * (len(won) > 1)
    lists += [[ticket] for ticket in lost[:2]] + [sorted([*won, ticket]) for ticket in lost[:2]]
    if worker in record.seats:
        lists.append(won[: record.seats[worker].count])
    plan = moves.plan_of(driver, scheme, worker, rng)
    taken = [seats.lane for other in driver.state.jobs.values() if (seats := other.seats.get(worker))]
    lane = rng.choice((plan.lane, plan.lane, 24, 255, *taken))
    sealed = plan.commitment if rng.random() < 0.8 else rng.randbytes(32)
    return Move(spec.commit, worker, (scheme.job, lane, sealed, bytes(32), rng.choice(lists)))


def bad_opening(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Openings that open nothing; a commitment beside the one that is there."""
    record = driver.record(scheme)
    if driver.phase(scheme) == Phase.COMMITTING and record.seats:
        worker = rng.choice(list(record.seats))
        other = seal(driver, scheme, worker, rng.randbytes(32), None, None, rng)
        lane = rng.choice((record.seats[worker].lane, other.lane))
        tickets = driver.winners(scheme, worker)
        return Move(spec.commit, worker, (scheme.job, lane, other.commitment, bytes(32), tickets))
    if driver.phase(scheme) != Phase.REVEALING:
        return None
    worker = rng.choice(list(record.seats))
    plan, right = scheme.plans[worker], scheme.opening(worker)
    root, opening = rng.choice(
        (
            (rng.randbytes(32), right),
            (plan.root, replace(right, salt=rng.randbytes(32))),
            (plan.root, replace(right, worker=rng.choice(WORKERS))),
            (plan.root, replace(right, lane=rng.choice((right.lane + 1, 24, 255)))),
            (plan.root[:29] + b"\7\7\7", right),
            (DATA_UNAVAILABLE, right),
        )
    )
    return Move(spec.reveal, rng.choice(EVERYBODY), (scheme.job, root, [opening]))


def bad_dispute(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """A right leaf refuted, or a wrong one with a wrong proof; an answer that is not the node, or late."""
    if driver.phase(scheme) != Phase.CHALLENGING or not driver.roots(scheme):
        return None
    by, root = rng.choice(EVERYBODY), rng.choice(driver.roots(scheme))
    claim = scheme.claim_of(root)
    if claim is None:
        return None
    index = rng.randrange(1 << scheme.depth)
    result, given = claim.proof(index), scheme.data.proof(index)
    moves.prepare(driver, scheme, index)
    wrong = rng.choice(
        (
            (result, given),
            (replace(result, root=rng.choice((root[:29] + b"\3\3\3", bytes(32), DATA_UNAVAILABLE))), given),
            (replace(result, leaf=rng.randbytes(32)), given),
            (result, scheme.data.proof(index ^ 1)),
            (result, replace(given, row=given.row + b"\0")),
            (result, InputProof()),
            (replace(result, index=rng.choice(HUGE)), given),
        )
    )
    demands = driver.record(scheme).demands
    late = [node for node in driver.open_nodes(scheme) if driver.now >= demands[node].answer_by]
    if late and scheme.claim_of(late[0][0]) and rng.random() < 0.5:
        return moves.answer_of(scheme, late[0], by)
    if rng.random() < 0.08:
        rows = b"".join(scheme.data.rows)
        return Move(spec.execute_job, by, (scheme.job, rng.choice((rows[::-1], rows[:-1], bytes(len(rows))))))
    choice = rng.random()
    if choice < 0.6:
        return Move(spec.refute, by, (scheme.job, *wrong))
    if choice < 0.8:
        return Move(spec.answer_leaf, by, (scheme.job, *wrong))
    if choice < 0.85:
        return Move(spec.extend_challenge, by, (scheme.job, *wrong))
    level = rng.choice((0, scheme.last_level, scheme.last_level + 1))
    nodes, siblings = scheme.truth.nodes(0, 0)
    return Move(spec.answer, by, (scheme.job, Node(root, level, 0), nodes[: rng.choice((1, 3, 16))], siblings))


def bad_demand(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Any node at all; a payment that is too small or much too large."""
    if driver.phase(scheme) != Phase.CHALLENGING or not driver.roots(scheme):
        return None
    by, root = rng.choice(EVERYBODY), rng.choice(driver.roots(scheme))
    level, index = rng.randrange(scheme.last_level + 2), rng.choice((rng.randrange(1 << scheme.depth), *HUGE))
    record = driver.record(scheme)
    late = [root for root in driver.unrefuted(scheme) if (root, 0, 0) not in record.demands]
    if late and driver.now >= demand_end(record, 0):
        root, level, index = late[0], 0, 0
    elif rng.random() < 0.2:
        root = rng.choice((root[:29] + b"\5\5\5", DATA_UNAVAILABLE, bytes(32)))
    elif rng.random() < 0.4 and level <= scheme.last_level:
        index %= max(scheme.width(level), 1)
        bond = moves.demand_of(driver, scheme, (root, level, index), by).value
        return Move(spec.demand, by, (scheme.job, Node(root, level, index)), rng.choice((bond - 1, 0, 2**89, 2**89)))
    return Move(spec.demand, by, (scheme.job, Node(root, level, index)), rng.choice((PLENTY, PLENTY, 2**89)))


def bad_gold(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Items that the requester never committed to, and results that are none."""
    roots = [root for root in driver.unrefuted(scheme) if scheme.claim_of(root)]
    if driver.phase(scheme) != Phase.CHALLENGING or not roots:
        return None
    claim = scheme.claim_of(rng.choice(roots))
    assert claim is not None
    gold = scheme.gold.opening(0) if scheme.gold else Gold(0, 0, bytes(8), bytes(32), ())
    result = claim.proof(gold.index)
    gold, result = rng.choice(
        (
            (gold, result),
            (replace(gold, position=gold.position + 1), result),
            (replace(gold, position=rng.choice(HUGE)), result),
            (replace(gold, index=rng.choice(HUGE)), result),
            (replace(gold, index=rng.choice(HUGE)), result),
            (replace(gold, output=rng.randbytes(8)), result),
            (replace(gold, salt=rng.randbytes(32)), result),
            (gold, claim.proof(gold.index ^ 1) if scheme.depth else result),
            (gold, replace(result, leaf=rng.randbytes(32))),
            (gold, replace(result, root=rng.choice((bytes(32), DATA_UNAVAILABLE)))),
        )
    )
    by = rng.choice(EVERYBODY)
    if rng.random() < 0.7:
        return Move(spec.accuse, by, (scheme.job, gold, result))
    given = scheme.data.proof(rng.choice((gold.index % scheme.terms.item_count, 0)))
    return Move(spec.judge, by, (scheme.job, gold, result, given))


def bad_settlement(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """A root that did not win, where one did."""
    if driver.phase(scheme) != Phase.SETTLING:
        return None
    _, winner = decide(driver.record(scheme))
    if winner is None:
        return None
    roots = [root for root in driver.roots(scheme) if root != winner]
    root = rng.choice([*roots, winner[:29] + b"\0\0\1", bytes(32), DATA_UNAVAILABLE])
    return Move(spec.settle, rng.choice(EVERYBODY), (scheme.job, root, ()))


def bad_delivery(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Without the gas that the consumer is to have."""
    if driver.phase(scheme) != Phase.SETTLED:
        return None
    move = moves.delivery(driver, scheme, rng.choice(EVERYBODY))
    needed = scheme.terms.callback_gas
    if needed < moves.HUNGRY_GAS or scheme.terms.consumer == NOBODY or driver.record(scheme).is_delivered:
        return move
    return replace(move, gas=rng.choice((needed // 2, needed)), circumstances=gas_that_was_left)


def gas_that_was_left(output: bytes) -> Sequence[Any]:
    """deliver's circumstances: nothing but the chain knows the gas. The specification says that it is too little."""
    return (True, int.from_bytes(output[4:36]))


def bad_batch(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """Two moves in one transaction, the second as a rule bad."""
    pair = [moves.move_job(driver, scheme, rng), mutated(driver, scheme, rng)]
    batch = [move for move in pair if move and not callable(move.circumstances)]
    if not batch or rng.random() < 0.5:
        return None
    return moves.together(batch)


# Any move with something changed


def mutated(driver: Driver, scheme: Scheme, rng: Random) -> Move | None:
    """A move that somebody might make for a reason, with one thing changed."""
    if driver.phase(scheme) == Phase.COMMITTING:
        return None  # bad_ticket's: a commitment that is granted needs its plan
    move = moves.move_job(driver, scheme, rng)
    if move is None:
        return None
    roll = rng.random()
    if roll < 0.1:
        return replace(move, sender=rng.choice(EVERYBODY))
    if roll < 0.2:
        return replace(move, value=max(0, move.value + rng.choice((-1, 1, GWEI))))
    if len(move.arguments) < 2:
        return move
    at = rng.randrange(1, len(move.arguments))
    changed = change(move.arguments[at], rng)
    return replace(move, arguments=(*move.arguments[:at], changed, *move.arguments[at + 1 :]))


STRUCTS = (Gold, InputProof, Node, Opening, ResultProof, SeatRef, SignedCommit)
NARROW = {"lane": 255}
"""The most that a field's type can hold, where that is less than a word."""


def change(value: Any, rng: Random) -> Any:
    """Another value of the same type."""
    if isinstance(value, STRUCTS):
        name = rng.choice([field.name for field in fields(value)])
        new = change(getattr(value, name), rng)
        return replace(value, **{name: new % (NARROW[name] + 1) if name in NARROW else new})
    if isinstance(value, bytes):
        return change_bytes(value, rng)
    if isinstance(value, str):
        return rng.choice(EVERYBODY)
    if isinstance(value, int):
        return rng.choice((value + 1, abs(value - 1), value ^ 1, *HUGE))
    return change_list(list(value), rng)


def change_bytes(value: bytes, rng: Random) -> bytes:
    """A word stays a word."""
    if len(value) == 32:
        flipped = bytearray(value)
        flipped[rng.randrange(32)] ^= 1 << rng.randrange(8)
        return rng.choice((bytes(flipped), bytes(32), rng.randbytes(32)))
    return rng.choice((value[:-1], value + b"\0", rng.randbytes(len(value)), b""))


def change_list(value: list[Any], rng: Random) -> list[Any]:
    if not value:
        return value
    at = rng.randrange(len(value))
    other = [*value]
    if not isinstance(value[at], tuple):
        other[at] = change(value[at], rng)
    return rng.choice((value[:at] + value[at + 1 :], [*value, value[at]], value[::-1], [], other))
