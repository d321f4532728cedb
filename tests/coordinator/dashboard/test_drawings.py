"""Where the nodes of a disputed tree and of a proof stand in their pictures."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from contracts.merkle import last_level, level_depth
from coordinator.dashboard.proof_drawing import positions
from coordinator.dashboard.tree_drawing import MOST_GROUPS, layout
from coordinator.explorer.read_model import DemandedNode, DisputedRoot, Refutation, RootTally, Standing

ADDRESS = "0x" + "11" * 20


def demand(level: int, index: int, children: int = 0, *, leaf: bool = False) -> DemandedNode:
    answered = bool(children) or leaf
    return DemandedNode(
        level=level,
        index=index,
        first_item=0,
        last_item=0,
        parent=None,
        demander=ADDRESS,
        bond=1,
        demanded_at=1,
        demand_transaction=bytes(32),
        answer_by=2,
        answerer=ADDRESS if answered else None,
        answered_at=1 if answered else None,
        answer_transaction=None,
        seconds_left=None,
        children=(bytes(32),) * children,
        leaf=bytes(32) if leaf else None,
        released_to=None,
        released=None,
    )


def disputed(depth: int, nodes: list[DemandedNode], refuted: int | None = None) -> DisputedRoot:
    tally = RootTally(bytes(32), 2, Standing.REFUTED, False, len(nodes), 0, None, None)
    refutation = (
        Refutation(bytes(32), refuted, bytes(32), bytes(32), ADDRESS, 1, 1, bytes(32)) if refuted is not None else None
    )
    return DisputedRoot(tally, depth, last_level(depth) + 1, (), tuple(nodes), refutation)


def test_the_path_to_the_refuted_item_is_marked_from_the_root_down() -> None:
    root = disputed(8, [demand(0, 0, 16), demand(1, 6, 16)], refuted=100)
    boxes = layout(root)
    assert len(boxes) == 1 + 16 + 16
    assert [(box.level, box.index) for box in boxes if box.is_refuted] == [(0, 0), (1, 6), (2, 100)]


def test_a_last_level_that_is_narrower_has_as_many_nodes_as_the_answer_gave() -> None:
    boxes = layout(disputed(6, [demand(0, 0, 16), demand(1, 15, 4)]))
    assert [box.index for box in boxes if box.level == 2] == [60, 61, 62, 63]


def test_what_was_not_answered_has_no_children() -> None:
    boxes = layout(disputed(8, [demand(0, 0, 16), demand(1, 3)]))
    assert max(box.level for box in boxes) == 1
    assert [box.index for box in boxes if box.demand and box.demand.answerer is None] == [3]


def test_a_flood_of_answered_demands_is_drawn_only_as_far_as_it_can_be_read() -> None:
    boxes = layout(disputed(8, [demand(0, 0, 16), *(demand(1, index, 16) for index in range(16))]))
    assert sum(box.level == 2 for box in boxes) == MOST_GROUPS * 16


@given(st.integers(0, 12), st.data())
def test_no_two_nodes_of_a_level_overlap(depth: int, data: st.DataObject) -> None:
    nodes = [demand(0, 0, 1 << level_depth(1, depth))] if depth else []
    if depth > 4:
        below = 1 << (level_depth(2, depth) - 4)
        nodes += [demand(1, index, below) for index in data.draw(st.sets(st.integers(0, 15), max_size=6))]
    boxes = layout(disputed(depth, nodes))
    for level in {box.level for box in boxes}:
        places = sorted(box.x for box in boxes if box.level == level)
        assert all(right - left >= 26 for left, right in pairwise(places))


@given(st.lists(st.booleans(), max_size=32))
def test_a_parent_stands_between_its_children_and_the_left_one_is_left(lefts: list[bool]) -> None:
    made = positions(lefts)
    for is_left, (node, sibling) in zip(lefts, made, strict=True):
        assert (node < sibling) == is_left
    for (node, sibling), (parent, _) in pairwise(made):
        assert parent == (node + sibling) / 2
