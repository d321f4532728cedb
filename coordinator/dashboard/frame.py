"""The frame around every page: navigation, search, theme, the chain's clock, and what is said when the server is gone."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, Protocol, TypeVar

from nicegui import ui

from coordinator.dashboard import chain_text
from coordinator.dashboard.parts import Element, Picture, Tag, drawn, link, text
from coordinator.database import StoreDamaged, StoreUnusable
from coordinator.explorer.explorer import Explorer, NotFound
from coordinator.explorer.read_model import ChainStanding

log = logging.getLogger(__name__)

STATIC = Path(__file__).with_name("static")
STATIC_URL = "/dashboard/static"
POLL_SECONDS = 1.0
"""How often a page looks whether something changed; it is rebuilt only where something did."""
_PAGES = (("Overview", "/"), ("Operators", "/operators"), ("Models", "/models"), ("Submit", "/submit"))


def head() -> None:
    """The style sheet and scripts, once for all pages; the theme is set before anything is drawn."""
    version = max(int(path.stat().st_mtime) for path in STATIC.iterdir())
    ui.add_head_html(
        f'<script src="{STATIC_URL}/theme.js?{version}"></script>'
        f'<link rel="stylesheet" href="{STATIC_URL}/dashboard.css?{version}">'
        f'<script defer src="{STATIC_URL}/dashboard.js?{version}"></script>'
        f'<script defer src="{STATIC_URL}/proof.js?{version}"></script>'
        f'<script defer src="{STATIC_URL}/wallet.js?{version}"></script>',
        shared=True,
    )


@contextmanager
def frame(explorer: Explorer, title: str, here: str, lead: str = "") -> Any:
    """A page; gives its Clock. here: the path of the navigation's entry it belongs to."""
    ui.page_title(f"{title} · Quorate")
    with ui.header(fixed=False, elevated=False).classes("top"):
        Picture(_drawn_top(here))
    with Element("div", classes="page", id="content", tabindex=-1):
        Picture(drawn(lambda: Tag("div", "", "banner", id="connection", role="status", aria_live="polite")))
        with Element("div", classes="title"):
            Element("h1", title)
            clock = Clock(explorer)
            if lead:
                Element("p", lead, "lead")
        yield clock
    Picture(_drawn_foot())


@cache
def _drawn_top(here: str) -> str:
    return drawn(lambda: _top(here))


@cache
def _drawn_foot() -> str:
    return drawn(_foot)


def _top(here: str) -> None:
    Tag("a", "Skip to content", "skip", href="#content")
    with Tag("div", classes="top-row"):
        with Tag("a", classes="brand", href="/", aria_label="Quorate, overview"):
            _logo()
            text("Quorate")
        with Tag("nav", aria_label="Pages"), Tag("ul"):
            for name, path in _PAGES:
                with Tag("li"):
                    Tag("a", name, href=path, aria_current="page" if path == here else None)
        with Tag("form", classes="search", role="search", action="/search", method="get"):
            Tag("label", "Search by id or address", "unseen", for_="search")
            Tag(
                "input",
                id="search",
                name="q",
                type="search",
                placeholder="Job, model or address  0x…",
                maxlength=200,
                autocomplete="off",
                spellcheck="false",
            )
        Tag("button", "◐", "theme", type="button", id="theme", aria_label="Theme: as the system")


def _foot() -> None:
    with Tag("footer", classes="foot"):
        text(
            "Read-only. Everything shown is read from the chain by this coordinator; nothing here holds a key. Times are UTC."
        )
        link("API", "/api/v1/openapi.json")


def _logo() -> None:
    with Tag("svg", viewBox="0 0 24 24", width="22", height="22", aria_hidden="true", classes="logo"):
        Tag("path", d="M12 4v5M12 9L6 14M12 9l6 5", fill="none", stroke="currentColor", stroke_width="1.6")
        for x, y in ((12, 4), (6, 15), (18, 15)):
            Tag("circle", cx=x, cy=y, r=3.1, fill="currentColor")
        Tag("circle", cx=12, cy=20, r=1.6, fill="currentColor", classes="accent")


_T = TypeVar("_T")


class Shared:
    """What is the same on all pages that are open: made once for each state of what it shows."""

    def __init__(self) -> None:
        self._made: dict[str, tuple[object, Any]] = {}

    def of(self, name: str, version: object, make: Callable[[], _T]) -> _T:
        """What was made under this name of an equal version, or what `make` makes now. The last one is kept."""
        known = self._made.get(name)
        if known is None or known[0] != version:
            self._made[name] = known = version, make()
        made: _T = known[1]
        return made


class Live:
    """A part of a page that is drawn anew when what it shows has changed, and not otherwise."""

    def __init__(
        self, version: Callable[[], object], build: Callable[[], None], shared: Shared | None = None, name: str = ""
    ) -> None:
        """version: compared with the one before at every look; cheap.

        shared: keeps the drawing under this name for all pages; it must follow from the version alone.
        """
        self._version, self._build = version, build
        self._shared, self._name = shared, name
        self._seen = version()
        self._begin()

    def look(self) -> bool:
        """Draw anew if there is reason to; whether there was."""
        version = self._version()
        if version == self._seen:
            return False
        self._seen = version
        self._again()
        return True

    def _begin(self) -> None:
        self._picture = Picture(self._drawn())

    def _again(self) -> None:
        self._picture.change(self._drawn())

    def _drawn(self) -> str:
        if self._shared is None:
            return drawn(self._build)
        return self._shared.of(self._name, self._seen, lambda: drawn(self._build))


class LiveElements(Live):
    """The same of elements, where people do something that the server must hear of."""

    def _begin(self) -> None:
        self._inside = Element("div", classes="live")
        with self._inside:
            self._build()

    def _again(self) -> None:
        self._inside.clear()
        with self._inside:
            self._build()


class Clock:
    """The chain's time for the browser, which counts on from it."""

    def __init__(self, explorer: Explorer) -> None:
        self._explorer = explorer
        standing = explorer.standing()
        self._tag = Element("span", _block(standing), "clock", id="clock", data_now=standing.head_time)

    def look(self) -> None:
        """Set it to the newest block's."""
        standing = self._explorer.standing()
        if self._tag._props["data-now"] != standing.head_time:
            self._tag._props["data-now"] = standing.head_time
            self._tag._text = _block(standing)
            self._tag.update()


def _block(standing: ChainStanding) -> str:
    return f"block {standing.confirmed_block:,}"


class Part(Protocol):
    """What keeps itself current."""

    def look(self) -> object:
        """Show what changed since the last look."""


def follow(*parts: Part) -> None:
    """Look at the parts once in a while, as long as somebody has the page open."""

    def look() -> None:
        try:
            for part in parts:
                part.look()
        except (NotFound, StoreDamaged, StoreUnusable) as error:
            log.warning("a page cannot be kept current: %s", error)
            said.say(f"This page cannot be kept current: {chain_text.shown(str(error))}")
            said._props["data-kind"] = "lost"
            said.update()

    said = Element("p", "", "banner", role="alert", data_kind="")
    ui.timer(POLL_SECONDS, look, immediate=False)
