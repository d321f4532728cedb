"""An output's logits, one bar each: the largest is the verdict."""

from __future__ import annotations

from collections.abc import Sequence

from coordinator.dashboard import chain_text
from coordinator.dashboard.parts import Tag, text


def logit_bars(logits: Sequence[int], classes: Sequence[str] | None, best: int) -> None:
    """classes: the name of each logit, where a card has it. A single logit says yes or no by its sign."""
    low, high = min(*logits, 0), max(*logits, 0)
    with Tag("ul", classes="logits", aria_label="Logits"):
        for place, value in enumerate(logits):
            named = chain_text.shown(classes[place], 40) if classes and place < len(classes) else f"logit {place}"
            share = 100 * (value - low) / (high - low) if high > low else 0
            with Tag("li", classes="logit best" if place == best and len(logits) > 1 else "logit"):
                text(named)
                with Tag("span", classes="track", aria_hidden="true"):
                    Tag("span", style=f"width:{share:.1f}%")
                text(f"{value:,}", "number")
