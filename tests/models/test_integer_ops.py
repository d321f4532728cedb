"""The specification against arithmetic that nobody disputes: Python's integers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.integer_ops import (
    compute_add,
    compute_average_pool,
    compute_channel_bounds,
    compute_conv,
    compute_dense,
    compute_max_pool,
    compute_requantised,
    compute_verdicts,
)

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


WINDOWS = st.tuples(*(st.integers(1, 3),) * 4, *(st.integers(0, 2),) * 4)


def places(image: np.ndarray, window: tuple[int, ...]) -> list[list[np.ndarray]]:
    """What each window of an image (channels, height, width) sees, (channels, kernel), pads as zeros."""
    high, wide, down, right, top, left, bottom, after = window
    channels, height, width = image.shape
    padded = np.zeros((channels, top + height + bottom, left + width + after), np.int64)
    padded[:, top : top + height, left : left + width] = image
    return [
        [padded[:, y : y + high, x : x + wide] for x in range(0, padded.shape[2] - wide + 1, right)]
        for y in range(0, padded.shape[1] - high + 1, down)
    ]


@given(WINDOWS, st.sampled_from([(1, 1, 1), (4, 2, 1), (4, 4, 2), (6, 3, 3)]), st.integers(0, 1 << 30))
def test_a_convolution_sums_the_products_that_each_window_sees(
    window: tuple[int, ...], channels: tuple[int, int, int], seed: int
) -> None:
    rng = np.random.default_rng(seed)
    inputs, groups, per_group = channels
    image = rng.integers(0, 256, (inputs, 4, 5))
    weights = rng.integers(-63, 64, (groups * per_group, inputs // groups, *window[:2])).astype(np.int8)
    bias = rng.integers(-999, 999, groups * per_group).astype(np.int32)
    pads = (window[4], window[6]), (window[5], window[7])
    found = compute_conv(image[None], weights, bias, window[2:4], pads, groups)[0]
    for output in range(len(weights)):
        first = output // per_group * (inputs // groups)
        mine = slice(first, first + inputs // groups)
        for y, line in enumerate(places(image, window)):
            for x, seen in enumerate(line):
                wanted = sum(int(w) * int(v) for w, v in zip(weights[output].flat, seen[mine].flat, strict=True))
                assert found[output, y, x] == wanted + bias[output]
    assert found.shape[1:] == (len(places(image, window)), len(places(image, window)[0]))


@given(WINDOWS, st.integers(0, 1 << 30))
def test_pools_take_the_largest_or_the_mean_rounded_half_to_even(window: tuple[int, ...], seed: int) -> None:
    image = np.random.default_rng(seed).integers(0, 8, (2, 4, 5))  # few values, so many ties
    pads = (window[4], window[6]), (window[5], window[7])
    largest = compute_max_pool(image[None], window[:2], window[2:4], pads)[0]
    size = window[0] * window[1]
    means = compute_average_pool(image[None], window[:2], window[2:4], pads)[0] if size.bit_count() == 1 else None
    for y, line in enumerate(places(image, window)):
        for x, seen in enumerate(line):
            for channel in (0, 1):
                assert largest[channel, y, x] == max(seen[channel].flat)
                if means is not None:
                    assert means[channel, y, x] == round(Fraction(sum(map(int, seen[channel].flat)), size))


def test_an_addition_weighs_both_values_channel_by_channel() -> None:
    one, other = np.arange(12).reshape(1, 2, 3, 2), np.arange(12)[::-1].reshape(1, 2, 3, 2)
    weights, bias = np.array([[1, -2], [3, 0]], np.int8), np.array([7, -5], np.int32)
    found = compute_add(one, other, weights, bias)
    assert found[0, 0].tolist() == (one[0, 0] - 2 * other[0, 0] + 7).tolist()
    assert found[0, 1].tolist() == (3 * one[0, 1] - 5).tolist()


def test_the_channel_bound_is_reached_by_the_worst_row() -> None:
    weights, bias = np.array([[63, -2, 0], [-1, -1, -1]], np.int8), np.array([7, -9], np.int32)
    assert compute_channel_bounds(weights, bias).tolist() == [65 * 255 + 7, 3 * 255 + 9]


@pytest.mark.parametrize(("logits", "verdict"), [([1, 3, 3], 1), ([5, 5, 5], 0), ([-4, -9, -1], 2)])
def test_the_lowest_index_wins_among_equal_logits(logits: list[int], verdict: int) -> None:
    assert compute_verdicts(np.array([logits], np.int32)).tolist() == [verdict]
