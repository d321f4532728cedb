"""A Merkle path as a picture: from the item's leaf at the bottom to the accepted root at the top."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.dashboard import wording
from coordinator.dashboard.parts import Tag
from coordinator.explorer.read_model import ProofStep

_GAP = 46
"""From a node to its sibling; the parent stands half way."""
_ROW = 44
_MARGIN = 120
"""For the hashes at both sides."""
_ROOT_LABEL = 175


def positions(lefts: Sequence[bool]) -> list[tuple[float, float]]:
    """(x of the path's node, x of its sibling) of each step from the leaf up; the root's x is the mean of the last pair.

    lefts: whether the path's node is the left one of its pair.
    """
    made = []
    x = 0.0
    for is_left in lefts:
        sibling = x + (_GAP if is_left else -_GAP)
        made.append((x, sibling))
        x = (x + sibling) / 2
    return made


def draw_proof(leaf: bytes, path: Sequence[ProofStep], root: bytes, index: int) -> None:
    """The picture, and what it shows in words."""
    places = positions([step.node_is_left for step in path])
    top = (places[-1][0] + places[-1][1]) / 2 if places else 0.0
    every = [x for pair in places for x in pair] + [top]
    left = min(every) - _MARGIN
    width = max(max(every) + _MARGIN, top + _ROOT_LABEL) - left
    height = _ROW * len(path) + 60
    label = (
        f"The path of item {index} through {len(path)} levels to the accepted root {wording.short(wording.hex_(root))}."
    )
    with (
        Tag("div", classes="scroll", tabindex=0, role="region", aria_label="Proof path"),
        Tag(
            "svg",
            classes="drawing",
            viewBox=f"{left:.0f} 0 {width:.0f} {height}",
            role="img",
            aria_label=label,
            style=f"max-width:{min(width * 1.15, 900):.0f}px;min-width:{min(width, 320):.0f}px;margin:0 auto",
        ),
    ):
        for step, (x, sibling) in enumerate(places):
            y = height - 30 - _ROW * step
            parent = (x + sibling) / 2
            Tag("path", d=f"M{sibling} {y}L{parent} {y - _ROW}", classes="edge")
            Tag("path", d=f"M{x} {y}L{parent} {y - _ROW}", classes="edge path")
        for step, (x, sibling) in enumerate(places):
            y = height - 30 - _ROW * step
            _node(x, y, path[step].node if step else leaf, "path", step)
            _node(sibling, y, path[step].sibling, "sibling", None)
            _label(x, y, path[step].node if step else leaf, at_left=sibling > x)
            _label(sibling, y, path[step].sibling, at_left=sibling < x)
        y = height - 30 - _ROW * len(path)
        _node(top, y, root, "path", len(path))
        Tag("text", f"root {wording.short(wording.hex_(root))}", x=top + 16, y=y + 4)
        Tag("text", f"item {index}", "small", x=places[0][0] if places else top, y=height - 6, text_anchor="middle")
    with Tag("div", classes="legend"):
        for kind, words in (("path", "computed on the way up"), ("sibling", "given by the proof")):
            with Tag("span"):
                Tag("i", classes=kind)
                Tag("span", words)


def _node(x: float, y: float, value: bytes, kind: str, step: int | None) -> None:
    with Tag("circle", cx=x, cy=y, r=9, classes=f"node {kind}", data_step=step):
        Tag("title", wording.hex_(value))


def _label(x: float, y: float, value: bytes, *, at_left: bool) -> None:
    Tag(
        "text",
        value.hex()[:8] + "…",
        x=x - 15 if at_left else x + 15,
        y=y + 4,
        text_anchor="end" if at_left else "start",
    )
