"""The rows that a machine is examined with have the hazards that they claim to have."""

from __future__ import annotations

from hashlib import sha256

import numpy as np
import pytest

from models import zoo
from models.integer_ops import compute_conv, compute_dense, compute_requantised
from models.interpreter import run
from models.network import Conv, Dense, IntegerNetwork, Reshape
from models.probe import HAZARDS, PROBE_ROWS, make_probe
from models.runtime import Runtime
from tests.models.random_graphs import OPERATORS, STYLES, random_graph

ONE_BYTE = np.array([[1]], np.int8)


def network_of(layer: Dense | Conv, *before: Reshape) -> IntegerNetwork:
    outputs = len(layer.weights)
    last = Dense(np.eye(outputs, dtype=np.int8), np.zeros(outputs, np.int32), None)
    after = (Reshape((outputs,)),) if isinstance(layer, Conv) else ()
    return IntegerNetwork((*before, layer, *after, last))


@pytest.mark.parametrize("shift", [1, 2, 7, 8, 13, 15])
def test_a_channel_is_brought_to_a_tie_on_either_side_at_every_shift_within_its_reach(shift: int) -> None:
    rng = np.random.default_rng(shift)
    layer = Dense(rng.integers(-63, 64, (3, 64)).astype(np.int8), np.zeros(3, np.int32), np.full(3, shift, np.uint8))
    probe = make_probe(network_of(layer))
    sums = compute_dense(probe.rows.astype(np.int64), layer.weights, layer.bias)
    quotients = np.where(sums % (1 << shift) == 1 << (shift - 1), sums >> shift, -1)
    for channel in quotients.T:
        inside = channel[(channel >= 0) & (channel < 255)]
        assert np.any(inside % 2 == 0) and np.any(inside % 2 == 1)
    assert probe.provoked[HAZARDS[0]] == probe.provoked[HAZARDS[1]] == (3, 3)


def test_a_channel_reaches_the_bound_of_its_sum() -> None:
    layer = Dense(np.array([[63, -63] * 500], np.int8), np.array([700], np.int32), np.array([8], np.uint8))
    sums = compute_dense(make_probe(network_of(layer)).rows.astype(np.int64), layer.weights, layer.bias)
    assert {int(sums.min()), int(sums.max())} == {700 - 255 * 63 * 500, 700 + 255 * 63 * 500}


def test_a_window_in_the_middle_of_an_image_is_brought_to_a_tie() -> None:
    rng = np.random.default_rng(5)
    window = {"strides": (2, 1), "pads": ((1, 0), (0, 2)), "groups": 2}
    weights = rng.integers(-63, 64, (4, 3, 5, 5)).astype(np.int8)
    layer = Conv(weights, rng.integers(-999, 999, 4).astype(np.int32), np.full(4, 14, np.uint8), **window)
    probe = make_probe(
        IntegerNetwork(
            (
                Reshape((6, 9, 9)),
                layer,
                Reshape((4 * 3 * 7,)),
                Dense(np.ones((2, 84), np.int8), np.zeros(2, np.int32), None),
            )
        )
    )
    images = probe.rows.reshape(-1, 6, 9, 9).astype(np.int64)
    sums = compute_conv(images, layer.weights, layer.bias, **window)
    inside = (sums >= 0) & (sums < 255 << 14)
    assert np.all(((sums % (1 << 14) == 1 << 13) & inside).any(axis=(0, 2, 3)))


@pytest.mark.parametrize("name", zoo.names())
def test_a_zoo_models_rows_have_almost_all_of_its_hazards(name: str) -> None:
    probe = make_probe(zoo.load(name).network)
    assert probe.rows.shape == (PROBE_ROWS, zoo.load(name).network.row_length)
    for hazard in HAZARDS[:2]:
        provoked, of = probe.provoked[hazard]
        assert provoked >= 0.8 * of


def test_rounding_half_away_from_zero_shows_in_the_rows_of_every_zoo_model() -> None:
    """What a kernel that rounds otherwise would give, of the first layer's channels."""
    for name in zoo.names():
        layer = zoo.load(name).network.layers[0]
        if zoo.load(name).network.operators[0] is not layer:
            continue
        assert layer.shifts is not None
        rows = make_probe(zoo.load(name).network).rows.astype(np.int64)
        sums = compute_dense(rows, layer.weights, layer.bias)
        shifts = layer.shifts.astype(np.int64)
        away = np.clip((2 * sums + (1 << shifts)) >> (shifts + 1), 0, 255)
        assert np.all((away != compute_requantised(sums, layer.shifts)).any(axis=0))


@pytest.mark.parametrize("style", STYLES)
def test_any_network_has_rows_and_they_are_no_hazard_to_the_runtime(style: str) -> None:
    network = random_graph(STYLES.index(style), style, list(OPERATORS))
    rows = make_probe(network, 64).rows
    assert rows.shape == (64, network.row_length) and rows.dtype == np.uint8
    np.testing.assert_array_equal(Runtime(network).run(rows), run(network, rows))


def test_a_row_of_one_byte_is_enough() -> None:
    layer = Dense(ONE_BYTE, np.zeros(1, np.int32), np.array([1], np.uint8))
    assert len(np.unique(make_probe(network_of(layer)).rows)) > 16


def test_the_rows_are_the_same_on_every_machine() -> None:
    """They come from integers and a hash alone: a passport's rows are made anew by whoever verifies it."""
    rows = make_probe(zoo.load("wine-grading").network).rows
    np.testing.assert_array_equal(rows, make_probe(zoo.load("wine-grading").network).rows)
    assert sha256(rows.tobytes()).hexdigest() == "804a8addfbf416afa19e0bf333dba0a1dbb094cf68933fc5b10b8dd9c97204dd"
