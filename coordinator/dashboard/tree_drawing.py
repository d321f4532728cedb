"""A disputed root as the tree it is: every node that was asked for, what was answered, and what is still owed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from contracts.merkle import level_depth
from coordinator.dashboard import wording
from coordinator.dashboard.parts import Tag
from coordinator.explorer.read_model import DemandedNode, DisputedRoot

MOST_GROUPS = 4
"""Answered nodes whose children are drawn, of one level; the list below the picture has all."""
_STEP, _ROW, _TOP = 26, 92, 34
_SIZE = 18


@dataclass(frozen=True, slots=True)
class Box:
    """A node's place in the picture."""

    x: float
    y: float
    level: int
    index: int
    demand: DemandedNode | None
    is_refuted: bool
    parent: tuple[float, float] | None


def layout(root: DisputedRoot) -> list[Box]:
    """The nodes that are drawn: the root, and the children of every answered node; the rows are centred on x = 0."""
    demands = {(node.level, node.index): node for node in root.nodes}
    item = root.refutation.index if root.refutation else None
    made = [Box(0.0, _TOP, 0, 0, demands.get((0, 0)), item is not None, None)]
    for level in range(1, root.levels):
        above = {box.index: box for box in made if box.level == level - 1}
        answered = [n for n in root.nodes if n.level == level - 1 and n.children and n.index in above][:MOST_GROUPS]
        made += _row(root, level, [(above[node.index], len(node.children)) for node in answered], demands, item)
    return made


def _row(
    root: DisputedRoot,
    level: int,
    groups: Sequence[tuple[Box, int]],
    demands: dict[tuple[int, int], DemandedNode],
    item: int | None,
) -> list[Box]:
    count = sum(children for _, children in groups)
    width = count * _STEP + (len(groups) - 1) * _STEP
    x = -width / 2 + _STEP / 2
    made = []
    for parent, children in groups:
        for child in range(children):
            index = parent.index * children + child
            is_refuted = item is not None and item >> (root.depth - level_depth(level, root.depth)) == index
            demand = demands.get((level, index))
            made.append(Box(x, _TOP + _ROW * level, level, index, demand, is_refuted, (parent.x, parent.y)))
            x += _STEP
        x += _STEP
    return made


def draw_tree(root: DisputedRoot) -> None:
    """The picture, and what it shows in words."""
    boxes = layout(root)
    left = min(box.x for box in boxes) - 96
    width = max(max(box.x for box in boxes) + 40 - left, 320)
    height = max(box.y for box in boxes) + 44
    open_ = sum(node.answerer is None for node in root.nodes)
    words = (
        f"The disputed tree: {len(root.nodes)} nodes demanded, {open_} of them not answered, {root.depth} levels deep."
    )
    with (
        Tag(
            "div",
            classes="scroll",
            tabindex=0,
            role="region",
            aria_label=f"Picture of the tree under {wording.short(wording.hex_(root.tally.root))}",
        ),
        Tag(
            "svg",
            classes="drawing",
            viewBox=f"{left:.0f} 0 {width:.0f} {height:.0f}",
            role="img",
            aria_label=words,
            style=f"min-width:{min(width, 560):.0f}px;max-width:{width * 1.5:.0f}px",
        ),
    ):
        for level in sorted({box.level for box in boxes}):
            Tag("text", _level_name(level, root), "small", x=left + 4, y=_TOP + _ROW * level + 4)
        for box in boxes:
            if box.parent:
                _edge(box)
        for box in boxes:
            _draw(box)
    _legend()


def _level_name(level: int, root: DisputedRoot) -> str:
    return "root" if level == 0 else "items" if level == root.levels - 1 else f"level {level}"


def _edge(box: Box) -> None:
    (px, py), half = box.parent or (0.0, 0.0), _SIZE / 2
    middle = (py + box.y) / 2
    kind = "refuted" if box.is_refuted else "path" if box.demand else ""
    Tag("path", d=f"M{px} {py + half}C{px} {middle} {box.x} {middle} {box.x} {box.y - half}", classes=f"edge {kind}")


def _draw(box: Box) -> None:
    half = _SIZE / 2
    with Tag("g"):
        Tag("title", _words(box))
        Tag("rect", x=box.x - half, y=box.y - half, width=_SIZE, height=_SIZE, rx=4, classes=f"node {_kind(box)}")
        if mark := _MARKS.get(_kind(box)):
            Tag("text", mark, x=box.x, y=box.y + 4, text_anchor="middle", aria_hidden="true")
    if (box.demand or box.is_refuted) and not (box.demand and box.demand.children):
        Tag("text", f"{box.index:,}", "small", x=box.x, y=box.y + half + 14, text_anchor="middle")


_MARKS = {"refuted": "✗", "answered": "✓", "open": "?"}
"""So that colour is not all that tells them apart."""


def _kind(box: Box) -> str:
    if box.is_refuted and box.demand is None:
        return "refuted"
    if box.demand is None:
        return ""
    if box.demand.answerer is None:
        return "open"
    return "refuted" if box.is_refuted and box.demand.leaf else "answered"


def _words(box: Box) -> str:
    name = f"level {box.level}, node {box.index}"
    if box.demand is None:
        return name
    said = "answered" if box.demand.answerer else "not answered"
    return f"{name}: items {box.demand.first_item} to {box.demand.last_item}, demanded and {said}"


def _legend() -> None:
    with Tag("div", classes="legend"):
        for kind, words in (
            ("open", "? demanded, not answered"),
            ("answered", "✓ answered"),
            ("refuted", "✗ shown wrong"),
            ("", "not asked for"),
        ):
            with Tag("span"):
                Tag("i", classes=kind)
                Tag("span", words)


def node_name(node: DemandedNode) -> str:
    """A demanded node for people."""
    if node.first_item == node.last_item:
        return f"item {node.first_item:,}"
    return f"items {node.first_item:,} to {node.last_item:,}"


def left_of(node: DemandedNode, now: int) -> str:
    """How long the answer may still take."""
    return wording.duration(node.answer_by - now) if node.answer_by > now else "over"
