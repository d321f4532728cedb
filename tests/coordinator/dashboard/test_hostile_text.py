"""Whatever a stranger writes on the chain is shown harmlessly: as text, bounded, visible, and linked only where it is safe."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard import chain_text
from coordinator.explorer.links import link_of

PAGES = Path(chain_text.__file__).parent


@pytest.mark.parametrize(
    "uri",
    [
        "javascript:alert(1)",
        "JaVaScRiPt:alert(1)",
        "java\tscript:alert(1)",
        " https://example.org",
        "https://example.org\u202egnp.exe",
        "https://user:pass@example.org/",
        "https://trusted.example\\@evil.example/",
        "data:text/html,<script>alert(1)</script>",
        "file:///etc/passwd",
        "http://example.org",
        "https:evil",
        "//example.org",
        "https://example.org/it's",
        "https://",
        "https://[",
        "https://example.org:99999",
        'https://example.org/"onmouseover="alert(1)',
        "https://example.org/" + "a" * 3000,
        "https://exämple.org/",
        "",
    ],
)
def test_such_an_address_is_no_link(uri: str) -> None:
    assert link_of(uri) is None


@pytest.mark.parametrize("uri", ["https://example.org/rows.bin?x=1#y", "ipfs://bafybeigdyrzt5sfp7udm7hu76uh7y26nf3"])
def test_https_and_ipfs_addresses_are_links(uri: str) -> None:
    assert link_of(uri) == uri


def test_marks_that_turn_the_line_around_are_shown_by_number() -> None:
    assert chain_text.shown("invoice\u202egnp.exe\u2066\u200b") == "invoice⟨U+202E⟩gnp.exe⟨U+2066⟩⟨U+200B⟩"


def test_line_breaks_and_control_characters_do_not_leave_the_line() -> None:
    assert chain_text.shown("a\nb\x00\x1b[31m") == "a⟨U+000A⟩b⟨U+0000⟩⟨U+001B⟩[31m"


def test_marks_piled_upon_a_letter_are_shown_by_number() -> None:
    assert chain_text.shown("a" + "\u0301" * 2) == "a⟨U+0301⟩⟨U+0301⟩"


def test_a_long_text_is_cut_and_says_by_how_much() -> None:
    assert chain_text.shown("x" * 10_000, 10) == "xxxxxxxxxx… (9,990 more characters)"
    assert chain_text.shown("x" * 20, 10, length=10_000) == "xxxxxxxxxx… (9,990 more characters)"


@given(st.text(max_size=500))
def test_what_is_shown_is_printable_and_bounded(text: str) -> None:
    shown = chain_text.shown(text, 50)
    assert shown.isprintable()
    assert len(shown) <= 50 * len("⟨U+10FFFF⟩") + 40


@given(st.text(max_size=100))
def test_a_link_is_never_to_anything_but_https_or_ipfs(text: str) -> None:
    for uri in (text, "https://" + text, "javascript:" + text):
        link = link_of(uri)
        assert link is None or link.startswith(("https://", "ipfs://"))


def test_no_page_hands_the_browser_markup() -> None:
    """No element of NiceGUI that parses its text as HTML or Markdown, no `innerHTML`, no property that is run as a script."""
    parsing = {"html", "markdown", "interactive_image", "mermaid", "restructured_text", "add_body_html", "chat_message"}
    for path in PAGES.glob("*.py"):
        tree = ast.parse(path.read_text("utf-8"))
        used = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}
        assert not used & parsing, path.name
        texts = [
            node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)
        ]
        assert not any("innerHTML" in text for text in texts), path.name
        if "add_head_html" in used:  # of constants and file times alone
            assert path.name == "frame.py"
    for path in (PAGES / "static").glob("*.js"):
        source = path.read_text("utf-8")
        assert not any(
            word in source for word in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(")
        )
