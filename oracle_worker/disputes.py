"""What is due in a dispute: pure functions of trees and of what the chain has seen. Nothing here does I/O or guesses.

Level l of a dispute is binary depth min(4l, depth). An answer at level l gives all nodes of level l + 1 below one node, so
the answers lead from a foreign root, along nodes that differ from one's own, down to a leaf that differs.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

from contracts import merkle
from contracts.disputes import Gold, InputProof, Node, ResultProof
from oracle_worker.result import WorkerError

Position: TypeAlias = tuple[int, int]
"""(level, index) of a node."""


class InconsistentAnswer(WorkerError):
    """Nodes said to have been accepted by the chain do not hash to the node they answer: the RPC node lies."""

    def __init__(self, root: bytes, level: int, index: int) -> None:
        super().__init__(
            f"the answer for node {index} of level {level} under 0x{root.hex()} does not hash to it: "
            "the RPC node gives events that the contract cannot have emitted; use another"
        )


class Tree(Protocol):
    """One's own result tree. merkle.MerkleTree is one, and result_tree.ResultTree, which keeps chunks on disk."""

    @property
    def root(self) -> bytes: ...
    @property
    def depth(self) -> int: ...
    def nodes(self, depth: int, start: int, stop: int) -> list[bytes]: ...
    def path(self, depth: int, index: int) -> list[bytes]: ...


@dataclass(frozen=True, slots=True)
class Demand:
    """Nobody demanded this node yet, and it leads to a wrong leaf."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Wait:
    """Somebody demanded this node; its answer is awaited, or its silence."""

    level: int
    index: int


@dataclass(frozen=True, slots=True)
class Refute:
    """The foreign root has another leaf here than one's own tree, and this proves that it has."""

    index: int
    leaf: bytes
    siblings: tuple[bytes, ...]


Step: TypeAlias = Demand | Wait | Refute
"""The next step against one root."""


@dataclass(frozen=True, slots=True)
class Answer:
    """The nodes of the next level below a demanded one, and the demanded one's path."""

    nodes: tuple[bytes, ...]
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class LeafAnswer:
    """The demanded leaf and its path; the input row and its proof go with it."""

    leaf: bytes
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class MakeDemand:
    """Send a demand."""

    node: Node


@dataclass(frozen=True, slots=True)
class GiveNodes:
    """Send an answer above the last level."""

    node: Node
    nodes: tuple[bytes, ...]
    siblings: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class GiveLeaf:
    """Send an answer at the last level."""

    result: ResultProof
    given: InputProof


@dataclass(frozen=True, slots=True)
class MakeRefutation:
    """Send a refutation."""

    result: ResultProof
    given: InputProof


@dataclass(frozen=True, slots=True)
class ExecuteJob:
    """Send all rows of the job, one after the other, to be executed."""

    rows: bytes


@dataclass(frozen=True, slots=True)
class MakeJudgement:
    """Have an accused item executed."""

    gold: Gold
    result: ResultProof
    given: InputProof


@dataclass(frozen=True, slots=True)
class ExtendChallenge:
    """Get time for an execution in steps, whose item these show."""

    result: ResultProof
    given: InputProof


@dataclass(frozen=True, slots=True)
class BeginExecution:
    """Open the execution of a row in steps."""

    row: bytes


@dataclass(frozen=True, slots=True)
class AdvanceExecution:
    """Make so many values more of the row with this sha256, from this state."""

    row_hash: bytes
    state: bytes
    values: int


Action: TypeAlias = (
    MakeDemand
    | GiveNodes
    | GiveLeaf
    | MakeRefutation
    | ExecuteJob
    | MakeJudgement
    | ExtendChallenge
    | BeginExecution
    | AdvanceExecution
)


def next_step(
    own: Tree, root: bytes, answers: Mapping[Position, Sequence[bytes]], demanded: Container[Position]
) -> Step | None:
    """The next step against a foreign root of the same depth; None if it is one's own.

    answers: the nodes that answered each demand above the last level; demanded: every node ever demanded. A path that
    others already demanded is followed before a new one is opened. Raises InconsistentAnswer.
    """
    if root == own.root:
        return None
    if own.depth == 0:
        return Refute(0, root, ())
    waiting: Wait | None = None
    wanted: Demand | None = None
    differing: list[tuple[int, int, bytes]] = [(0, 0, root)]
    while differing:
        level, index, node = differing.pop()
        nodes = answers.get((level, index))
        if nodes is None:
            if (level, index) in demanded:
                waiting = waiting or Wait(level, index)
            else:
                wanted = wanted or Demand(level, index)
            continue
        below, first = _children(own.depth, level, index)
        if len(nodes) != _arity(own.depth, level) or merkle.MerkleTree(nodes).root != node:
            raise InconsistentAnswer(root, level, index)
        mine = own.nodes(below, first, first + len(nodes))
        wrong = [
            (first + i, theirs) for i, (theirs, ours) in enumerate(zip(nodes, mine, strict=True)) if theirs != ours
        ]
        if below == own.depth:
            position, leaf = wrong[0]
            return Refute(position, leaf, path_of(own.depth, position, answers))
        differing.extend((level + 1, position, theirs) for position, theirs in reversed(wrong))
    return waiting or wanted


def answer(own: Tree, level: int, index: int) -> Answer | LeafAnswer:
    """What answers a demand for this node of one's own root. IndexError for a node that the tree does not have."""
    if not 0 <= level <= merkle.last_level(own.depth):
        raise IndexError(f"a tree of depth {own.depth} has the levels 0 to {merkle.last_level(own.depth)}, not {level}")
    depth = merkle.level_depth(level, own.depth)
    siblings = tuple(own.path(depth, index))
    if level == merkle.last_level(own.depth):
        return LeafAnswer(own.nodes(depth, index, index + 1)[0], siblings)
    below, first = _children(own.depth, level, index)
    return Answer(tuple(own.nodes(below, first, first + _arity(own.depth, level))), siblings)


def _arity(depth: int, level: int) -> int:
    return 1 << (merkle.level_depth(level + 1, depth) - merkle.level_depth(level, depth))


def _children(depth: int, level: int, index: int) -> tuple[int, int]:
    """(binary depth of the next level, index there of the node's first descendant)."""
    below = merkle.level_depth(level + 1, depth)
    return below, index << (below - merkle.level_depth(level, depth))


def path_of(depth: int, index: int, answers: Mapping[Position, Sequence[bytes]]) -> tuple[bytes, ...]:
    """The siblings of a leaf, from the answered groups of nodes above it. KeyError where one of them is not answered."""
    siblings: list[bytes] = []
    for level in range(merkle.last_level(depth) - 1, -1, -1):
        within = index >> (depth - merkle.level_depth(level + 1, depth))
        arity = _arity(depth, level)
        siblings += merkle.MerkleTree(answers[(level, within // arity)]).proof(within % arity)
    return tuple(siblings)
