"""Amounts, times and letters as people read them."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coordinator.dashboard import wording


@pytest.mark.parametrize(
    ("wei", "words"),
    [
        (0, "0 wei"),
        (12, "12 wei"),
        (10**18, "1 ETH"),
        (10**17 + 1, "0.1 ETH"),
        (2_727_556_000_000_000, "0.002728 ETH"),
        (123_456 * 10**18, "123,456 ETH"),
        (12_345 * 10**14, "1.235 ETH"),
        (1_500_000_000, "1.5 gwei"),
        (999_999_999_999_999_999, "1 ETH"),
        (-(10**18), "−1 ETH"),
    ],
)
def test_an_amount_reads_in_its_unit(wei: int, words: str) -> None:
    assert wording.amount(wei) == words


@given(st.integers(0, 2**128))
def test_an_amount_is_right_to_four_digits(wei: int) -> None:
    number, unit = wording.amount(wei).replace(",", "").split(" ")
    size = {"wei": 1, "gwei": 10**9, "ETH": 10**18}[unit]
    whole, _, part = number.partition(".")
    shown = (int(whole) * 10 ** len(part) + int(part or 0)) * size // 10 ** len(part)
    assert abs(shown - wei) * 1000 <= wei


@given(st.integers(-(2**96), 2**96))
def test_the_exact_amount_keeps_every_digit(wei: int) -> None:
    assert int(re.sub(r"[^0-9-]", "", wording.exact(wei))) == wei


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(-5, "0 s"), (59, "59 s"), (60, "1 min"), (125, "2 min 5 s"), (3600, "1 h"), (90_000, "1 d 1 h")],
)
def test_a_duration_has_two_units(seconds: int, words: str) -> None:
    assert wording.duration(seconds) == words


def test_a_time_beyond_every_calendar_is_still_shown() -> None:
    assert wording.moment(2**63) == f"second {2**63}"
    assert wording.iso(2**63) == ""


def test_every_place_has_a_letter_of_its_own() -> None:
    assert [wording.letter(place) for place in (0, 25, 26, 51, 52, 701, 702)] == [
        "A",
        "Z",
        "AA",
        "AZ",
        "BA",
        "ZZ",
        "AAA",
    ]
