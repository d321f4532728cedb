"""The specification against arithmetic that nobody disputes: Python's integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.integer_ops import compute_channel_bounds, compute_dense, compute_requantised, compute_verdicts

SUMS = st.integers(-(1 << 24) + 1, (1 << 24) - 1)


def requantised(total: int, shift: int) -> int:
    return int(compute_requantised(np.array([[total]]), np.array([shift], np.uint8))[0, 0])


@given(SUMS, st.integers(0, 24))
def test_requantising_is_division_rounded_half_to_even_and_clamped(total: int, shift: int) -> None:
    assert requantised(total, shift) == min(255, max(0, round(Fraction(total, 1 << shift))))


@given(st.integers(-3, 300), st.integers(1, 16))
def test_every_exact_half_goes_to_the_even_neighbour(quotient: int, shift: int) -> None:
    total = (quotient << shift) + (1 << (shift - 1))
    even = quotient if quotient % 2 == 0 else quotient + 1
    assert requantised(total, shift) == min(255, max(0, even))
    if shift > 1:
        assert requantised(total - 1, shift) == min(255, max(0, quotient))
    if shift > 1:
        assert requantised(total + 1, shift) == min(255, max(0, quotient + 1))


def test_a_shift_of_zero_only_clamps() -> None:
    sums = np.array([[-5, 0, 1, 254, 255, 256, (1 << 24) - 1]])
    assert compute_requantised(sums, np.zeros(7, np.uint8)).tolist() == [[0, 0, 1, 254, 255, 255, 255]]


@given(st.data(), st.integers(1, 6), st.integers(1, 4))
def test_dense_is_the_sum_of_products_plus_bias(data: st.DataObject, inputs: int, outputs: int) -> None:
    x = data.draw(st.lists(st.integers(0, 255), min_size=inputs, max_size=inputs))
    w = data.draw(
        st.lists(st.lists(st.integers(-63, 63), min_size=inputs, max_size=inputs), min_size=outputs, max_size=outputs)
    )
    b = data.draw(st.lists(st.integers(-(1 << 23), 1 << 23), min_size=outputs, max_size=outputs))
    found = compute_dense(np.array([x]), np.array(w, np.int8), np.array(b, np.int32))
    assert found.tolist() == [
        [sum(p * q for p, q in zip(x, row, strict=True)) + c for row, c in zip(w, b, strict=True)]
    ]


def test_the_channel_bound_is_reached_by_the_worst_row() -> None:
    weights, bias = np.array([[63, -2, 0], [-1, -1, -1]], np.int8), np.array([7, -9], np.int32)
    assert compute_channel_bounds(weights, bias).tolist() == [65 * 255 + 7, 3 * 255 + 9]


@pytest.mark.parametrize(("logits", "verdict"), [([1, 3, 3], 1), ([5, 5, 5], 0), ([-4, -9, -1], 2)])
def test_the_lowest_index_wins_among_equal_logits(logits: list[int], verdict: int) -> None:
    assert compute_verdicts(np.array([logits], np.int32)).tolist() == [verdict]
