"""Rows without a verdict, and rows that only the chain tells of: who can know a row refutes with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from contracts import merkle
from contracts.disputes import InputProof, Node, ResultProof
from contracts.job import Outcome, Phase
from contracts.merkle import MerkleTree, input_leaf, result_leaf
from oracle_worker import challenges, disputes, duties, examination, settlement
from oracle_worker.data_errors import DataNotHere, DataSizeMismatch
from oracle_worker.disputes import Answer, MakeRefutation
from oracle_worker.result import Done
from tests.oracle_worker.stage import ETHER, WINDOW, Liar, Operator, Posted, Stage, done

Rows = NDArray[np.uint8]


@dataclass
class Claimant:
    """Somebody who made up verdicts for rows, and answers for them with the rows."""

    stage: Stage
    posted: Posted
    rows: Sequence[bytes]
    leaves: Sequence[bytes]

    @property
    def tree(self) -> MerkleTree:
        return MerkleTree(self.leaves)

    def answer_all(self) -> None:
        """Whatever is demanded, from the owner's purse."""
        operator = self.stage.operators[0]
        view = operator.roles.signer.view
        history = view.history(view.sight(self.posted.job))
        inputs = MerkleTree([input_leaf(row) for row in self.rows])
        for made in list(history.open_demands()):
            node = made.node
            given = disputes.answer(self.tree, node.level, node.index)
            if isinstance(given, Answer):
                call = self.stage.contracts.disputes.answer(self.posted.job, node, given.nodes, given.siblings)
            else:
                result = ResultProof(node.root, node.index, given.leaf, given.siblings)
                row = InputProof(self.rows[node.index], inputs.proof(node.index))
                call = self.stage.contracts.disputes.answer_leaf(self.posted.job, result, row)
            self.stage.owner.send(call)


def claimed(stage: Stage, rows: Sequence[bytes], jury: list[Operator], content: bytes | None = None) -> Claimant:
    """A job over these rows, for each of which the whole jury claims the same verdict."""
    path = stage.folder / "rows.bin"
    path.write_bytes(b"".join(rows) if content is None else content)
    uri = path.as_uri()
    leaves = [result_leaf(index, bytes(12)) for index in range(len(rows))]
    made = post_over(stage, rows, uri, len(jury))
    done(duties.draw(jury[0].roles.signer, made.job))
    root = MerkleTree(leaves).root
    for one in jury:
        done(duties.commit(one.roles.signer, made.job, root))
    for one in jury:
        done(duties.reveal(one.roles.signer, made.job))
    assert stage.phase(made) == Phase.CHALLENGING
    return Claimant(stage, made, rows, leaves)


def post_over(stage: Stage, rows: Sequence[bytes], uri: str, seats: int) -> Posted:
    root = MerkleTree([input_leaf(row) for row in rows]).root
    return stage.post(
        np.zeros((len(rows), 13), np.uint8), seats, name="unused", data_uri=uri, data_root=root, quorum=seats // 2 + 1
    )


def play(claimant: Claimant, operator: Operator, rounds: int = 5) -> list[str]:
    said = []
    for _ in range(rounds):
        said += [result.duty for result in operator.dispute(claimant.posted) if isinstance(result, Done)]
        claimant.answer_all()
    return said


def refuter(stage: Stage, claimant: Claimant) -> str:
    return stage.contracts.oracle.tally(claimant.posted.id, claimant.tree.root).refuter


@pytest.mark.parametrize("length", [1, 12, 14, 4000])
def test_verdicts_on_rows_of_another_length_are_refuted(stage: Stage, length: int) -> None:
    jury = stage.jury(1)
    honest = stage.operator()
    rows = [bytes([index]) * length for index in range(20)]
    claimant = claimed(stage, rows, jury)
    assert play(claimant, honest) == ["demand", "demand", "refute"]
    assert refuter(stage, claimant) == honest.account.address
    while stage.phase(claimant.posted) == Phase.CHALLENGING:
        stage.advance(WINDOW)
    done(settlement.settle(honest.roles.signer, claimant.posted.job))
    assert stage.state(claimant.posted).outcome == Outcome.HUNG


def test_nobody_stakes_on_rows_of_another_length(stage: Stage) -> None:
    (one,) = stage.jury(1)
    rows = [bytes([index]) * 12 for index in range(20)]
    uri = (stage.folder / "rows.bin").as_uri()
    (stage.folder / "rows.bin").write_bytes(b"".join(rows))
    posted = post_over(stage, rows, uri, 1)
    done(duties.draw(one.roles.signer, posted.job))
    with pytest.raises(DataSizeMismatch):
        one.commit(posted)


def test_a_lost_disk_or_a_changed_cache_is_no_way_out(stage: Stage) -> None:
    jury = stage.jury(1)
    honest = stage.operator()
    claimant = claimed(stage, [bytes([index]) * 12 for index in range(20)], jury)
    for _ in range(2):
        honest.dispute(claimant.posted)
        claimant.answer_all()
        honest.lose_disk()
    honest.due(claimant.posted)
    (cached,) = (honest.folder / "data").glob("*.rows")
    cached.write_bytes(bytes(240))  # of the right size
    assert play(claimant, honest, 1) == ["refute"]


def test_rows_of_different_lengths_cannot_be_told_apart_and_are_left_alone(stage: Stage) -> None:
    jury = stage.jury(1)
    honest = stage.operator()
    rows = [bytes([index]) * (12 if index % 2 else 15) for index in range(20)]
    claimant = claimed(stage, rows, jury)
    with pytest.raises(DataSizeMismatch):
        honest.dispute(claimant.posted)
    assert refuter(stage, claimant) == "0x" + 40 * "0"


def demand_down(stage: Stage, claimant: Claimant, index: int) -> None:
    """A consumer that relies on this item demands it."""
    depth = merkle.depth_of(len(claimant.rows))
    for level in range(merkle.last_level(depth) + 1):
        node = Node(claimant.tree.root, level, index >> (depth - merkle.level_depth(level, depth)))
        stage.owner.send(stage.contracts.disputes.demand(claimant.posted.job, node, ETHER))
        claimant.answer_all()


def test_a_malformed_row_that_an_answer_shows_is_refuted_with(stage: Stage) -> None:
    jury = stage.jury(1)
    honest = stage.operator()
    rows = [bytes([index]) * (12 if index == 7 else 13) for index in range(20)]
    claimant = claimed(stage, rows, jury)
    demand_down(stage, claimant, 7)
    found = examination.examine(honest.roles.compute, claimant.posted.job)
    assert isinstance(found.held_up, DataNotHere)
    (action,) = found.actions
    assert isinstance(action, MakeRefutation)
    done(challenges.act(honest.roles.signer, claimant.posted.job, action))
    assert refuter(stage, claimant) == honest.account.address


def test_whoever_could_not_get_the_data_refutes_with_what_answers_show(stage: Stage, wine: Rows) -> None:
    jury = stage.jury(1)
    blind = stage.operator()
    claimant = claimed(stage, [row.tobytes() for row in wine], jury, content=b"")
    demand_down(stage, claimant, 177)
    (action,) = examination.examine(blind.roles.compute, claimant.posted.job).actions
    done(challenges.act(blind.roles.signer, claimant.posted.job, action))
    assert refuter(stage, claimant) == blind.account.address


def test_a_right_leaf_that_an_answer_shows_proves_nothing(stage: Stage, wine: Rows) -> None:
    (liar,) = stage.jury(1, [Liar(100)])
    blind = stage.operator()
    posted = stage.post(wine, 1)
    done(duties.draw(liar.roles.signer, posted.job))
    done(liar.commit(posted))
    done(duties.reveal(liar.roles.signer, posted.job))
    (root,) = liar.roles.signer.view.history(liar.roles.signer.view.sight(posted.job)).revealed
    for level, index in ((0, 0), (1, 6), (2, 99)):  # beside the lie
        stage.owner.send(stage.contracts.disputes.demand(posted.job, Node(root, level, index), ETHER))
        liar.dispute(posted)
    (stage.folder / "rows.bin").unlink()
    assert examination.examine(blind.roles.compute, posted.job).actions == []


def test_a_node_that_makes_up_an_answer_is_not_paid_for(stage: Stage, wine: Rows, monkeypatch: Any) -> None:
    """An RPC node that invents events: the simulation on the same chain refuses what they lead to."""
    jury = stage.jury(1)
    blind = stage.operator()
    claimant = claimed(stage, [row.tobytes() for row in wine[:1]], jury)
    view = blind.roles.compute.view
    genuine = view.history

    def inventing(sight: Any) -> Any:
        history = genuine(sight)
        node = Node(claimant.tree.root, 0, 0)
        history.leaves[node] = type("Leaf", (), {"leaf": claimant.tree.root, "row": b"x", "siblings": ()})()
        return history

    monkeypatch.setattr(type(view), "history", lambda self, sight: inventing(sight) if self is view else genuine(sight))
    (action,) = examination.examine(blind.roles.compute, claimant.posted.job).actions
    before = blind.balance()
    with pytest.raises(Exception, match="BadInputProof"):
        challenges.act(blind.roles.signer, claimant.posted.job, action)
    assert blind.balance() == before
