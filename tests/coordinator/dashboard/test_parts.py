"""What a page is made of: trees of elements and text, drawn once for all who look at the same."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard.frame import Shared
from coordinator.dashboard.parts import Tag, cell, drawn, link, section, table, text


def test_a_drawing_is_its_elements_with_attributes_and_text_in_order() -> None:
    def build() -> None:
        with section("Jobs", "jobs"), table("All", ("Job",)), Tag("tr"), cell(number=True):
            text("7", "quiet")
            link("to", "/jobs/7")

    (made,) = json.loads(drawn(build))
    assert made[:2] == ["section", {"aria-labelledby": "jobs", "class": "card"}]
    _, scroll = made[2]
    body = scroll[2][0][2][-1]
    assert body == [
        "tbody",
        {},
        [["tr", {}, [["td", {"class": "number"}, [["span", {"class": "quiet"}, ["7"]], body[2][0][2][0][2][1]]]]]],
    ]
    assert body[2][0][2][0][2][1][1]["href"] == "/jobs/7"


@given(st.text())
def test_any_text_stays_the_text_of_one_element(words: str) -> None:
    (made,) = json.loads(drawn(lambda: text(words)))
    assert made == ["span", {}, [words]]


def test_a_drawing_that_fails_leaves_nothing_for_the_next_one() -> None:
    def fail() -> None:
        with Tag("div"):
            raise LookupError

    with pytest.raises(LookupError):
        drawn(fail)
    assert json.loads(drawn(lambda: text("whole"))) == [["span", {}, ["whole"]]]


def test_what_all_see_is_made_once_for_each_state() -> None:
    made: list[int] = []
    shared = Shared()
    for version in (1, 1, 2, 2, 1):
        assert shared.of("jobs", version, lambda version=version: made.append(version) or version) == version
    assert made == [1, 2, 1]
    assert shared.of("disputes", 1, lambda: "others") == "others"
