"""Dishonest workers against the client: copiers, guessers, no-shows, decoys, floods of demands, thieves of bounties."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from eth_utils import keccak
from numpy.typing import NDArray

from contracts import block_header, errors
from contracts.commitment import compute
from contracts.compute_oracle import Opening
from contracts.disputes import Node
from contracts.endpoint import Call
from contracts.job import Outcome, Phase, challenge_end, seed_block
from contracts.merkle import last_level, level_depth
from oracle_worker import duties, settlement
from oracle_worker.challenges import act
from oracle_worker.disputes import MakeRefutation
from oracle_worker.result import Done
from oracle_worker.salt import compute_salt
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done, nothing
from tests.oracle_worker.test_challenges import challenged, finish, names, root_of

Rows = NDArray[np.uint8]
GUESS = keccak(b"a guess")
SALT = keccak(b"salt")


def send(operator: Operator, call: Call) -> None:
    """A transaction that the client would not make."""
    operator.roles.signer.transactor.send(call)


def drawn(stage: Stage, rows: Rows, jury: list[Operator], **changes: Any) -> Posted:
    posted = stage.post(rows, len(jury), **changes)
    done(duties.draw(jury[0].roles.signer, posted.job))
    return posted


def commit_to(operator: Operator, posted: Posted, commitment: bytes) -> None:
    send(operator, operator.stage.contracts.oracle.commit(posted.job, 0, commitment, bytes(32), [0]))


def reveal(operator: Operator, posted: Posted, root: bytes, salt: bytes) -> None:
    opening = Opening(operator.account.address, 0, salt)
    send(operator, operator.stage.contracts.oracle.reveal(posted.job, root, [opening]))


def commitment_of(operator: Operator, posted: Posted, root: bytes) -> bytes:
    return compute(posted.id, operator.account.address, root, SALT)


def credits(operators: list[Operator]) -> list[int]:
    return [one.books.credit for one in operators]


def test_a_copied_commitment_opens_for_nobody_but_its_author(stage: Stage, wine: Rows) -> None:
    first, second, copier = jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    done(first.commit(posted))
    done(second.commit(posted))
    sight = first.roles.signer.view.sight(posted.job)
    theirs = first.roles.signer.view.history(sight).seats[first.account.address]
    commit_to(copier, posted, theirs.sealed[0].commitment)
    for one in (first, second):
        done(duties.reveal(one.roles.signer, posted.job))
    truth = stage.state(posted).root
    with pytest.raises(errors.NothingRevealed):  # with the author's own opening, shown in its transaction
        reveal(copier, posted, truth, compute_salt(first.roles.signer.secret, posted.id, truth))
    stage.advance(WINDOW)
    finish(stage, posted, first)
    assert stage.state(posted).outcome == Outcome.ACCEPTED
    assert credits(jury) == [ETHER // 2, ETHER // 2, 0]
    assert copier.books.bonded == 0


def test_a_root_that_others_revealed_comes_too_late_for_a_worker_that_did_not_compute(stage: Stage, wine: Rows) -> None:
    first, second, idler = jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in (first, second):
        done(one.commit(posted))
    assert stage.phase(posted) == Phase.COMMITTING
    for one in (first, second):  # the client opens nothing while anybody can still commit
        nothing(duties.reveal(one.roles.signer, posted.job))
    commit_to(idler, posted, commitment_of(idler, posted, GUESS))
    done(duties.reveal(first.roles.signer, posted.job))
    truth = stage.state(posted).root
    with pytest.raises(errors.AlreadyCommitted if stage.phase(posted) == Phase.COMMITTING else errors.WrongPhase):
        commit_to(idler, posted, commitment_of(idler, posted, truth))
    with pytest.raises(errors.NothingRevealed):
        reveal(idler, posted, truth, SALT)


def test_lazy_guessers_in_the_majority_lose_to_one_that_computed(stage: Stage, wine: Rows) -> None:
    *lazy, honest = jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in lazy:
        commit_to(one, posted, commitment_of(one, posted, GUESS))
    done(honest.commit(posted))
    for one in lazy:
        reveal(one, posted, GUESS, SALT)
    done(duties.reveal(honest.roles.signer, posted.job))
    assert names(honest, posted) == ["demand"]  # nobody can answer for a root that stands for nothing
    finish(stage, posted, honest)
    # silence proves nothing false: the survivor alone has no quorum, and nobody honest loses anything
    assert stage.state(posted).outcome == Outcome.HUNG
    settlement.release(honest.roles.signer, posted.job)
    assert honest.books.bonded == stage.seat_stake()
    assert [one.books.bonded for one in lazy] == [0, 0]


def test_the_last_to_reveal_chooses_between_the_truth_and_its_stake(stage: Stage, wine: Rows) -> None:
    first, second, last = jury = stage.jury(3)
    posted = drawn(stage, wine, jury)
    for one in jury:
        done(one.commit(posted))
    for one in (first, second):
        done(duties.reveal(one.roles.signer, posted.job))
    stage.advance(WINDOW)  # it saw all others, and keeps silent
    assert stage.phase(posted) == Phase.CHALLENGING
    finish(stage, posted, first)
    assert (last.books.bonded, credits(jury)) == (0, [ETHER // 2, ETHER // 2, 0])


def test_a_decoy_that_refutes_itself_does_not_carry_its_masters_lie(stage: Stage, wine: Rows) -> None:
    """A liar's second address reveals an absurd root and refutes it: refuted seats must not help the other lie."""
    liar, decoy = stage.jury(2, [Liar(5), Liar(6)])
    (honest,) = stage.jury(1)
    posted = challenged(stage, wine, [liar, decoy, honest], quorum=2)
    for _ in range(12):
        for one in (honest, liar, decoy):
            one.dispute(posted)
    finish(stage, posted, honest)
    state = stage.state(posted)
    assert (state.outcome, state.root) == (Outcome.ACCEPTED, root_of(honest, posted))
    assert honest.books.bonded == stage.seat_stake()


def test_every_demand_of_a_flood_on_the_right_root_is_answered_and_paid_for(stage: Stage, wine: Rows) -> None:
    (honest,) = jury = stage.jury(1)
    flooder = stage.operator()
    posted = challenged(stage, wine, jury)
    truth, disputes, depth = root_of(honest, posted), stage.contracts.disputes, 8
    bonds = 0
    for level in range(last_level(depth)):
        for index in range(1 << level_depth(level, depth)):
            if level == 1 and (index << 4) >= len(wine):
                continue
            send(flooder, disputes.demand(posted.job, Node(truth, level, index), ETHER))
            bonds += disputes.demand_of(posted.id, Node(truth, level, index)).bond
        while [one for one in names(honest, posted) if one == "answer"]:
            pass
    finish(stage, posted, honest)
    assert stage.state(posted).root == truth
    earned = honest.books.credit
    done(settlement.release_bond(honest.roles.signer, posted.job))
    assert honest.books.credit - earned == bonds > 0


def test_a_demand_at_the_last_second_leaves_time_to_answer_it(stage: Stage, wine: Rows) -> None:
    (honest,) = jury = stage.jury(1)
    posted = challenged(stage, wine, jury)
    truth, disputes = root_of(honest, posted), stage.contracts.disputes
    now = honest.roles.signer.view.head().timestamp
    stage.advance(challenge_end(stage.state(posted), posted.job.terms) - now - 5)
    stage.owner.send(disputes.demand(posted.job, Node(truth, 0, 0), ETHER))
    stage.advance(posted.job.terms.response_window - 20)
    assert names(honest, posted) == ["answer"]
    finish(stage, posted, honest)
    assert stage.state(posted).root == truth


def test_a_thief_of_the_bounty_refutes_all_the_same(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(177)])
    honest, other = stage.jury(2)
    thief = stage.operator()
    posted = challenged(stage, wine, [liar, honest, other])
    refutation = None
    while refutation is None:
        for action in honest.due(posted):
            if isinstance(action, MakeRefutation):
                refutation = action
            elif refutation is None:
                act(honest.roles.signer, posted.job, action)
        liar.dispute(posted)
    copied = stage.contracts.disputes.refute(posted.job, refutation.result, refutation.given)
    send(thief, copied)  # with a higher fee, from the mempool
    nothing(act(honest.roles.signer, posted.job, refutation))
    lie = root_of(liar, posted)
    assert stage.contracts.oracle.tally(posted.id, lie).refuter == thief.account.address
    finish(stage, posted, honest)
    assert stage.state(posted).root == root_of(honest, posted)
    assert liar.books.bonded == 0


def test_a_refutation_that_is_starved_of_gas_changes_nothing(stage: Stage, wine: Rows) -> None:
    """63/64 of what is left go to the execution: if they do not suffice, what remains must not count as a result."""
    (liar,) = stage.jury(1, [Liar(0)])
    honest, other = stage.jury(2)
    posted = challenged(stage, wine[:1], [liar, honest, other])
    (action,) = [each for each in honest.due(posted) if isinstance(each, MakeRefutation)]
    call = stage.contracts.disputes.refute(posted.job, action.result, action.given)
    sender = honest.account.address
    ask = {"from": sender, "to": call.to, "data": "0x" + call.data.hex()}
    enough = int(stage.owner.endpoint.ask("eth_estimateGas", ask), 16)
    failed = 0
    for gas in range(60_000, enough, 2_500):
        with pytest.raises(Exception):  # noqa: B017  # out of gas, told differently by each node
            stage.owner.endpoint.ask("eth_call", ask | {"gas": hex(gas)}, "latest")
        failed += 1
    assert failed > 10
    assert not stage.contracts.oracle.tally(posted.id, root_of(liar, posted)).refuted
    assert isinstance(act(honest.roles.signer, posted.job, action), Done)


def test_nobody_leaves_before_the_penalty(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(3)])
    honest, other = stage.jury(2)
    posted = challenged(stage, wine, [liar, honest, other], quorum=2)
    with pytest.raises(errors.NotEnoughFreeStake):
        send(liar, stage.contracts.oracle.unbond(10**9))
    for _ in range(6):
        honest.dispute(posted)
        liar.dispute(posted)
    finish(stage, posted, honest)
    assert (liar.books.bonded, liar.books.unbonding) == (0, 0)


def test_waiting_for_another_seed_is_no_use(stage: Stage, wine: Rows) -> None:
    (one,) = jury = stage.jury(1)
    posted = stage.post(wine, len(jury))
    number = seed_block(stage.state(posted))
    stage.mine(3)
    oracle = stage.contracts.oracle
    for other in (number - 1, number + 1, number + 2):
        header = block_header.fetch(stage.contracts.endpoint, other)
        with pytest.raises(errors.HeaderMismatch):
            stage.owner.send(oracle.draw(posted.id, header))
    done(duties.draw(one.roles.signer, posted.job))
