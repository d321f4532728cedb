"""From one page of a list to the next."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode

from coordinator.dashboard.parts import Tag, link


def pages(
    path: str,
    query: Mapping[str, str],
    cursor: str | None,
    next_: str | None,
    parameter: str = "cursor",
    place: str = "",
) -> None:
    """Links to the first page of a list and the next, where there are such. place: of the list on its page."""
    if cursor is None and next_ is None:
        return
    with Tag("nav", classes="row more", aria_label="Pages of the list"):
        if cursor is not None:
            link("First", address(path, query) + place, "button small")
        if next_ is not None:
            link("Next", address(path, {**query, parameter: next_}) + place, "button small")


def address(path: str, query: Mapping[str, str]) -> str:
    """Path and query, encoded."""
    return f"{path}?{urlencode(query)}" if query else path
