"""What pages are built of: plain HTML elements, each with a way to show one kind of thing.

Everything is an element with text, never a piece of markup: no text, wherever it comes from, is parsed by the browser.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nicegui import ui

from coordinator.dashboard import chain_text, wording
from coordinator.explorer.links import link_of


class Element(ui.element):
    """One HTML or SVG element that the server keeps hold of: what people do to it arrives there, and it can be changed.

    Attributes are given with underscores: `aria_label`, `data_until`; `None` leaves one out.
    start: the value that an input begins with. (As a property Vue would set it again and again, over what is being typed.)
    """

    def __init__(
        self, tag: str, text: str | None = None, classes: str = "", start: object = None, **attributes: Any
    ) -> None:
        assert _tree.get() is None, "a picture has no elements of its own"
        super().__init__(tag)
        if classes:
            self.classes(classes)
        self._text = text
        if start is not None:
            self._props["^value"] = str(start)
        for name, value in _named(attributes):
            self._props[name] = value

    def say(self, text: str) -> None:
        """Another text."""
        if text != self._text:
            self._text = text
            self.update()


class Node:
    """One element of a picture: the server forgets it once it is drawn. A hundredth of what an Element costs."""

    def __init__(self, above: list[Any], tag: str, text: str | None, classes: str, attributes: dict[str, Any]) -> None:
        self._attributes = dict(_named(attributes))
        self._children: list[Any] = [] if text is None else [text]
        if classes:
            self._attributes["class"] = classes
        above.append([tag, self._attributes, self._children])

    def __enter__(self) -> Node:
        self._before = _tree.set(self._children)
        return self

    def __exit__(self, *_: object) -> None:
        _tree.reset(self._before)

    def classes(self, more: str) -> None:
        """Add to its classes."""
        self._attributes["class"] = f"{self._attributes.get('class', '')} {more}".strip()


_tree: ContextVar[list[Any] | None] = ContextVar("tree", default=None)
"""Where the nodes of the picture that is being drawn go."""


def Tag(  # noqa: N802 - it stands for either class
    tag: str, text: str | None = None, classes: str = "", start: object = None, **attributes: Any
) -> Element | Node:
    """A node of the picture that is being drawn; where none is, an element of the page."""
    above = _tree.get()
    if above is None:
        return Element(tag, text, classes, start, **attributes)
    assert start is None, "an input is an element"
    return Node(above, tag, text, classes, attributes)


def _named(attributes: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    for name, value in attributes.items():
        if value is not None:
            yield name.rstrip("_").replace("_", "-"), value


class Picture(ui.element, component="static/picture.js"):
    """Nodes in one element, which changes as a whole."""

    def __init__(self, tree: str) -> None:
        """tree: what `drawn` gives."""
        super().__init__()
        self._props["number"] = 0
        self._props["tree"] = tree

    def change(self, tree: str) -> None:
        """Show another."""
        self._props["number"] += 1
        self._props["tree"] = tree
        self.update()


def drawn(build: Callable[[], object]) -> str:
    """What `build` makes, as the tree of a Picture."""
    nodes: list[Any] = []
    before = _tree.set(nodes)
    try:
        build()
    finally:
        _tree.reset(before)
    return json.dumps(nodes, separators=(",", ":"))


def text(words: str, classes: str = "") -> Element | Node:
    """Words in a line."""
    return Tag("span", words, classes)


def hidden(words: str) -> Element | Node:
    """Words for screen readers alone."""
    return Tag("span", words, "unseen")


def paragraph(words: str, classes: str = "") -> Element | Node:
    """A paragraph."""
    return Tag("p", words, classes)


def heading(words: str, level: int = 2, name: str | None = None) -> Element | Node:
    """A heading; `name` is its place in the address (#name)."""
    return Tag(f"h{level}", words, id=name)


def link(
    words: str, to: str, classes: str = "", title: str | None = None, key: str | None = None, current: bool = False
) -> Element | Node:
    """A link to another page of ours. current: to the one that is shown."""
    now = "page" if current else None
    return Tag("a", words, classes, href=to, title=title, data_key=key or f"{to} {words}", aria_current=now)


def foreign(words: str, length: int = 0) -> Element | Node:
    """Text from the chain, harmless; a link where it is an https or ipfs address. length: of the whole, if it was cut."""
    shown = chain_text.shown(words, length=length)
    to = link_of(words) if length <= len(words) else None
    if to is None:
        return Tag("span", shown, "foreign", dir="ltr")
    return Tag("a", shown, "foreign", dir="ltr", href=to, rel="noopener noreferrer nofollow ugc", target="_blank")


def amount(wei: int, classes: str = "") -> Element | Node:
    """An amount as people read it; the exact one on hover, on focus and for screen readers."""
    return Tag("data", wording.amount(wei), f"amount {classes}", value=str(wei), title=wording.exact(wei))


def big_amount(wei: int) -> None:
    """An amount as one of a page's figures: its unit is smaller."""
    number, _, unit = wording.amount(wei).rpartition(" ")
    with Tag("data", classes="amount", value=str(wei), title=wording.exact(wei)):
        text(number)
        text(f" {unit}", "unit")


def moment(seconds: int) -> Element | Node:
    """A time; the browser adds how long ago, in `title`."""
    if not seconds:
        return Tag("span", "never", "quiet")
    return Tag("time", wording.moment(seconds), datetime=wording.iso(seconds), data_moment=seconds)


def countdown(until: int, now: int) -> Element | Node:
    """How long is left; the browser counts on between blocks."""
    words = wording.duration(until - now) if until > now else "over"
    return Tag("span", words, "countdown", data_until=until, title=wording.moment(until))


def identifier(value: str, to: str | None = None, what: str = "", name: str | None = None) -> None:
    """A hex id or address: its ends, all of it on hover and for copying, a link where there is a page for it.

    name: stands in its place, where it has one; then there is nothing to copy.
    """
    shown = chain_text.shown(name, 40) if name else wording.short(value)
    with Tag("span", classes="identifier"):
        if to:
            Tag("a", shown, "" if name else "mono", href=to, title=value, data_key=f"{to} {what}")
        else:
            Tag("span", shown, "mono", title=value)
        if not name:
            label = f"Copy {what or 'the id'} {wording.short(value)}"
            Tag("button", None, "copy", type="button", data_copy=value, aria_label=label, title="Copy")


def badge(words: str, kind: str = "") -> Element | Node:
    """A state in a word. kind: good, bad, warn, live or nothing."""
    return Tag("span", words, f"badge {kind}")


def root_mark(place: int | None, root: bytes | None = None) -> Element | Node:
    """The letter and colour of a revealed root within its job; a dash where nothing is revealed."""
    if place is None:
        return Tag("span", "–", "root none")
    title = wording.hex_(root) if root else None
    return Tag("span", wording.letter(place), f"root r{place % 6}", title=title)


@contextmanager
def section(title: str, name: str, note: str = "") -> Any:
    """A part of a page with its heading, which can be linked to."""
    with Tag("section", classes="card", aria_labelledby=name) as made:
        with Tag("div", classes="card-head"):
            heading(title, 2, name)
            if note:
                paragraph(note, "quiet")
        yield made


@contextmanager
def facts() -> Any:
    """A list of facts; see `fact`."""
    with Tag("dl", classes="facts") as made:
        yield made


@contextmanager
def fact(name: str, wide: bool = False) -> Any:
    """One of them: its name, and what is put inside."""
    with Tag("div", classes="fact wide" if wide else "fact"):
        Tag("dt", name)
        with Tag("dd") as made:
            yield made


@contextmanager
def figure(name: str) -> Any:
    """One big number with its name."""
    with Tag("div", classes="figure"):
        Tag("dt", name)
        with Tag("dd") as made:
            yield made


@contextmanager
def table(caption: str, columns: Sequence[str], numbers: Iterable[str] = (), classes: str = "") -> Any:
    """A table that scrolls sideways on a small screen; rows are put inside. A column named "(so)" has no visible name."""
    right = frozenset(numbers)
    region = f"{caption}: table, scrolls sideways"
    with Tag("div", classes="scroll", tabindex=0, role="region", aria_label=region), Tag("table", classes=classes):
        Tag("caption", caption, "unseen")
        with Tag("thead"), Tag("tr"):
            for column in columns:
                if column.startswith("("):  # for screen readers alone
                    with Tag("th", scope="col"):
                        hidden(column.strip("()"))
                else:
                    Tag("th", column, "number" if column in right else "", scope="col")
        with Tag("tbody") as body:
            yield body


@contextmanager
def cell(number: bool = False, classes: str = "") -> Any:
    """A cell; what it shows is put inside."""
    with Tag("td", classes=f"{'number' if number else ''} {classes}".strip()) as made:
        yield made


def empty(words: str, advice: str = "") -> None:
    """What stands where there is nothing yet, and what can be done about it."""
    with Tag("div", classes="empty"):
        paragraph(words, "empty-words")
        if advice:
            paragraph(advice, "quiet")


def command_line(words: str, label: str) -> None:
    """A command line with a button that copies it."""
    with Tag("div", classes="command"):
        Tag("pre", words, tabindex=0, role="region", aria_label=label)
        Tag("button", "Copy", "button small", type="button", data_copy=words, aria_label=f"Copy {label}")
