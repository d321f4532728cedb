"""Compute's part while Challenging: what is due against every wrong root, and for the right one.

Every wrong result root is refuted, every demand on the right one is answered, every accusation is judged, seated or not. A
withheld root is demanded down, level by level, until a leaf is known that the chain's own execution contradicts; nothing is
guessed, and no file of anybody else's is read. Rows that answers have put on the chain are rows like any others: who could
not get the data refutes with those.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from contracts import merkle
from contracts.disputes import Gold, InputProof, Node, ResultProof
from contracts.job import Job, Phase
from contracts.model_registry import Model as OnChain
from oracle_worker import disputes, stepping, whole_job
from oracle_worker.chain_view import History, Sight
from oracle_worker.computing import is_seated, prepare
from oracle_worker.context import ComputeContext
from oracle_worker.data import AwaitedData, Rows
from oracle_worker.disputes import (
    Action,
    Answer,
    Demand,
    ExecuteJob,
    GiveLeaf,
    GiveNodes,
    MakeDemand,
    MakeJudgement,
    MakeRefutation,
    Position,
    Refute,
    Step,
    Wait,
)
from oracle_worker.model_store import Model
from oracle_worker.result import WorkerError
from oracle_worker.result_tree import EmptyTree

log = logging.getLogger(__name__)


@dataclass
class Examination:
    """What is due, in the order to send it, and what kept the rest from being found (DataNotHere: the rows must be fetched)."""

    actions: list[Action] = field(default_factory=list)
    held_up: WorkerError | None = None

    def take(self, find: Callable[[], Iterable[Action]]) -> None:
        """Add what can be found."""
        try:
            self.actions += find()
        except WorkerError as error:
            self.held_up = self.held_up or error


@dataclass(frozen=True)
class Own:
    """One's own results and the rows that they are of."""

    tree: disputes.Tree
    rows: Rows

    def leaf(self, index: int) -> bytes:
        """The result leaf of an item."""
        return self.tree.nodes(self.tree.depth, index, index + 1)[0]

    def given(self, index: int) -> InputProof:
        """An item's row and its proof; nothing past the job's items, where leaves are empty. Raises DataNotHere."""
        if index >= self.rows.plan.item_count:
            return InputProof()
        row, siblings = self.rows.proof(index)
        return InputProof(row, tuple(siblings))


def examine(context: ComputeContext, job: Job) -> Examination:
    """What is due in the job's disputes now, from one's own results (computed if they are not on disk) and the chain.

    Raises UnknownJob, WrongModel, ModelNotFound. What else keeps it from finding more is in the examination: PolicyRefusal
    for a job too large, unless this worker is seated in it; DataNotHere.
    """
    sight = context.view.sight(job)
    if sight.phase != Phase.CHALLENGING:
        return Examination()
    history = context.view.history(sight)
    if not history.suspects and not history.accusations:
        return Examination()
    model = context.models.find(job.terms.model_id)
    at = _Examiner(context, sight, history, model, context.contracts.registry.model(job.terms.model_id))
    return at.examine()


@dataclass(frozen=True)
class _Wrong:
    """A root that is known to be wrong: the next step against it, and the row if that is known without one's own."""

    step: Step
    given: InputProof | None = None


@dataclass(frozen=True)
class _Examiner:
    """One examination of one job."""

    context: ComputeContext
    sight: Sight
    history: History
    model: Model
    on_chain: OnChain
    found: Examination = field(default_factory=Examination)

    def examine(self) -> Examination:
        """Answers, judgements, and then what is due against the wrong roots."""
        wrong = dict(self._told())
        own: Own | None = None
        try:
            own = self._own()
        except WorkerError as error:
            self.found.held_up = error
        if own is not None:
            self._answer(own)
            judged = self._judge(own)
            wrong |= self._others(own, {*wrong, *judged})
            if self._is_whole_job_better(own, wrong) and not self.history.accusations:
                self.found.take(lambda: [ExecuteJob(_all(own.rows))])
                return self.found
            wrong = {root: one for root, one in wrong.items() if root not in judged}
        for root, one in wrong.items():
            self.found.take(partial(self._act_on, root, one, own))
        return self.found

    def _own(self) -> Own:
        """Raises PolicyRefusal, DataNotHere."""
        work = prepare(self.context, self.sight, bounded=not is_seated(self.context, self.history))
        row_length = self.model.network.row_length
        terms, store = self.sight.job.terms, self.context.data
        malformed = store.cached_malformed(terms, row_length)
        if malformed is not None:
            return Own(EmptyTree(self.sight.depth), AwaitedData(store, terms, malformed.row_length))
        return Own(work.tree(), work.data)

    def _told(self) -> Iterator[tuple[bytes, _Wrong]]:
        """Roots whose leaf is wrong for a row that an answer put on the chain."""
        for node, told in self.history.leaves.items():
            if node.root in self.history.suspects and told.leaf != self._right_leaf(node.index, told.row):
                siblings = disputes.path_of(self.sight.depth, node.index, self._answers(node.root))
                yield node.root, _Wrong(Refute(node.index, told.leaf, siblings), InputProof(told.row, told.siblings))

    def _right_leaf(self, index: int, row: bytes) -> bytes:
        if len(row) != self.model.network.row_length:
            return merkle.EMPTY_LEAF
        rows = np.frombuffer(row, np.uint8)[None]
        return merkle.result_leaf(index, self.context.inference.run(self.model, rows, index)[0].astype(">i4").tobytes())

    def _answer(self, own: Own) -> None:
        """Answers to open demands on the root that is right."""
        for made in self.history.open_demands():
            if made.node.root == own.tree.root and self.sight.head.timestamp < made.answer_by:
                self.found.take(partial(_answer_to, made.node, own))

    def _judge(self, own: Own) -> set[bytes]:
        """Judgements of accusations in which a root or the gold is wrong; the roots that they refute."""
        judged = set()
        for accusation in self.history.accusations.values():
            gold, result = accusation.gold, accusation.result
            right = own.leaf(gold.index)
            if result.leaf != right and result.root in self.history.suspects:
                judged.add(result.root)
            elif merkle.result_leaf(gold.index, gold.output) == right:
                continue
            self.found.take(partial(self._judgement, gold, result, own))
        return judged

    def _judgement(self, gold: Gold, result: ResultProof, own: Own) -> Iterable[Action]:
        return self._on_the_way(MakeJudgement(gold, result, own.given(gold.index)))

    def _others(self, own: Own, known: Collection[bytes]) -> dict[bytes, _Wrong]:
        """The next step against every other root than one's own."""
        steps = {}
        for root in self.history.suspects:
            if root in known:
                continue
            demanded = {(node.level, node.index) for node in self.history.demands if node.root == root}
            try:
                step = disputes.next_step(own.tree, root, self._answers(root), demanded)
            except WorkerError as error:
                self.found.held_up = self.found.held_up or error
                continue
            if step is not None:
                steps[root] = _Wrong(step)
        return steps

    def _is_whole_job_better(self, own: Own, wrong: Mapping[bytes, _Wrong]) -> bool:
        if isinstance(own.tree, EmptyTree):
            return False
        return whole_job.is_better(self.sight, self.on_chain, [one.step for one in wrong.values()])

    def _act_on(self, root: bytes, wrong: _Wrong, own: Own | None) -> Iterable[Action]:
        match wrong.step:
            case Demand(level, index):
                return [MakeDemand(Node(root, level, index))]
            case Wait(level, index):
                log.info("0x%s: waiting for the answer to node %d of level %d", root.hex(), index, level)
                return []
            case Refute(index, leaf, siblings):
                given = wrong.given
                if given is None:
                    assert own is not None  # only one's own results led there
                    given = own.given(index)
                return self._on_the_way(MakeRefutation(ResultProof(root, index, leaf, siblings), given))

    def _on_the_way(self, then: MakeRefutation | MakeJudgement) -> Iterable[Action]:
        if not self.on_chain.stepwise:
            return [then]
        return stepping.way_to(self.context.contracts, self.sight, self.model.network, then)

    def _answers(self, root: bytes) -> dict[Position, tuple[bytes, ...]]:
        return {(node.level, node.index): nodes for node, nodes in self.history.answers.items() if node.root == root}


def _answer_to(node: Node, own: Own) -> Iterator[Action]:
    given = disputes.answer(own.tree, node.level, node.index)
    if isinstance(given, Answer):
        yield GiveNodes(node, given.nodes, given.siblings)
    else:
        yield GiveLeaf(ResultProof(node.root, node.index, given.leaf, given.siblings), own.given(node.index))


def _all(rows: Rows) -> bytes:
    """Every row, one after the other. Raises DataNotHere."""
    return b"".join(block.tobytes() for chunk in range(rows.plan.count) for block in rows.blocks(chunk))
