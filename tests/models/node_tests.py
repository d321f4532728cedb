"""ONNX's own tests of single operators, said as integer networks.

They are files of the onnx 1.19 wheel (later ones do not ship them): a node, its inputs, and the output that was recorded. An
operator that only moves or compares values means the same whatever the values are called, so floats are called by the rank that
they have among a test's values, which is a byte.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper

from models.network import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    IntegerNetwork,
    MaxPool,
    Operator,
    Pad,
    Pads,
    Reshape,
    Table,
    Transpose,
)
from tests.requirements import missing

FOLDER = Path(
    os.environ.get("QUORATE_ONNX_NODE_TESTS")
    or Path(__file__).parents[2] / ".tools/onnx-node-tests/onnx/backend/test/data/node"
)
OPERATORS = (
    "Add", "AveragePool", "Concat", "Conv", "ConvInteger", "DequantizeLinear", "Flatten", "Gather", "Gemm",
    "GlobalAveragePool", "GlobalMaxPool", "MatMul", "MatMulInteger", "MaxPool", "Pad", "QLinearConv", "QLinearMatMul",
    "QuantizeLinear", "Reshape", "Transpose",
)  # fmt: skip


def need_folder() -> Path:
    """Where the tests are; skips where they are not."""
    if not FOLDER.is_dir():
        missing("the onnx 1.19 wheel", "make node-tests")
    return FOLDER


@dataclass(frozen=True)
class NodeTest:
    """One of ONNX's tests."""

    name: str

    @cached_property
    def node(self) -> onnx.NodeProto:
        (node,) = onnx.load(FOLDER / self.name / "model.onnx").graph.node
        return node

    @property
    def attributes(self) -> dict[str, Any]:
        return {one.name: helper.get_attribute_value(one) for one in self.node.attribute}

    def inputs(self) -> list[np.ndarray]:
        return self._tensors("input")

    def output(self) -> np.ndarray:
        return self._tensors("output")[0]

    def _tensors(self, kind: str) -> list[np.ndarray]:
        found = []
        while (path := FOLDER / self.name / "test_data_set_0" / f"{kind}_{len(found)}.pb").exists():
            found.append(numpy_helper.to_array(onnx.TensorProto.FromString(path.read_bytes())))
        return found


@dataclass(frozen=True)
class Said:
    """A test as a network, the row that has its inputs, and the logits that its recorded output stands for."""

    network: IntegerNetwork
    row: np.ndarray
    logits: np.ndarray


def say(test: NodeTest) -> Said:
    """The test as an integer network."""
    return _WAYS[test.node.op_type](test)


def _said(operators: list[Operator], row: np.ndarray, expected: np.ndarray, *, is_raw: bool = False) -> Said:
    """A chain, after which the bytes are read as they are, unless its last operator gives logits itself."""
    if not is_raw:
        operators = [*operators, Reshape((expected.size,)), _diagonal(np.ones(expected.size), np.zeros(expected.size))]
    return Said(IntegerNetwork(tuple(operators)), row.reshape(1, -1).astype(np.uint8), expected.reshape(1, -1))


def _diagonal(weights: np.ndarray, bias: np.ndarray) -> Dense:
    return Dense(np.diag(weights.reshape(-1)).astype(np.int8), bias.reshape(-1).astype(np.int32), None)


def _ranked(*arrays: np.ndarray) -> list[np.ndarray]:
    """The values as ranks, in the same order: bytes, if there are at most 256 of them."""
    names = np.unique(np.concatenate([array.reshape(-1) for array in arrays]))
    assert len(names) <= 256
    return [np.searchsorted(names, array) for array in arrays]


def _window(test: NodeTest, size: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...], Pads]:
    """Kernel, strides and pads of a convolution or pool over an image of this size, as numbers."""
    given = test.attributes
    kernel = tuple(given.get("kernel_shape", size))
    strides = tuple(given.get("strides", (1,) * len(size)))
    flat = given.get("pads", [0] * 2 * len(size))
    pads = [list(pair) for pair in zip(flat[: len(size)], flat[len(size) :], strict=True)]
    places = test.output().shape[2:]
    for axis, pad in enumerate(pads):
        lacking = (places[axis] - 1) * strides[axis] + kernel[axis] - size[axis] - sum(pad)
        if lacking > 0:  # auto_pad, ceil_mode
            before = {b"SAME_UPPER": lacking // 2, b"SAME_LOWER": lacking - lacking // 2}.get(given.get("auto_pad"), 0)
            pad[0] += before
            pad[1] += lacking - before
    return kernel, strides, tuple((before, behind) for before, behind in pads)


def _moved(test: NodeTest, *operators: Operator) -> Said:
    """Operators that move the bytes of the first input."""
    given, expected = _ranked(test.inputs()[0], test.output())
    return _said([Reshape(given.shape), *operators], given, expected)


def _transpose(test: NodeTest) -> Said:
    rank = test.inputs()[0].ndim
    return _moved(test, Transpose(tuple(test.attributes.get("perm", range(rank)[::-1]))))


def _reshape(test: NodeTest) -> Said:
    return _moved(test, Reshape(test.output().shape))


def _pad(test: NodeTest) -> Said:
    data, flat, value, *axes = test.inputs()
    chosen = [int(axis) % data.ndim for axis in axes[0]] if axes else list(range(data.ndim))
    pads = [(0, 0)] * data.ndim
    for place, axis in enumerate(chosen):
        pads[axis] = (int(flat[place]), int(flat[place + len(chosen)]))
    given, around, expected = _ranked(data, value, test.output())
    assert pads[0] == (0, 0)
    return _said([Reshape(data.shape), Pad(tuple(pads[1:]), int(around)), Reshape((expected.size,))], given, expected)


def _max_pool(test: NodeTest) -> Said:
    data = test.inputs()[0]
    given, expected = _ranked(data, test.output())
    return _said([Reshape(data.shape[1:]), MaxPool(*_window(test, data.shape[2:]))], given, expected)


def _average_pool(test: NodeTest) -> Said:
    data = test.inputs()[0]
    return _said([Reshape(data.shape[1:]), AveragePool(*_window(test, data.shape[2:]))], data, test.output())


def _conv(test: NodeTest) -> Said:
    """Also ConvInteger, whose zero point is what surrounds the image."""
    data, weights, *zero = test.inputs()
    kernel, strides, pads = _window(test, data.shape[2:]) if "kernel_shape" in test.attributes else (None, None, None)
    zero_point = int(zero[0]) if zero else 0
    flat = test.attributes.get("pads", [0, 0, 0, 0])
    around = pads or ((flat[0], flat[2]), (flat[1], flat[3]))
    bias = -zero_point * weights.reshape(len(weights), -1).astype(np.int64).sum(axis=1)
    layer = Conv(
        weights.astype(np.int8), bias.astype(np.int32), np.zeros(len(weights), np.uint8), strides or (1, 1),
        ((0, 0), (0, 0)), 1,
    )  # fmt: skip
    assert kernel in (None, layer.kernel)
    return _said([Reshape(data.shape[1:]), Pad(around, zero_point), layer], data, test.output())


def _two_values(test: NodeTest) -> tuple[list[Operator], list[tuple[int, ...]], np.ndarray, np.ndarray]:
    """The beginning of a network whose values 2 and 4 are the two inputs, which stand in the row one after the other."""
    *given, expected = _ranked(*test.inputs(), test.output())
    row = np.concatenate([one.reshape(-1) for one in given])
    operators: list[Operator] = []
    for first, one in zip((0, given[0].size), given, strict=True):
        weights = np.eye(one.size, row.size, first, np.int8)
        operators += [Dense(weights, np.zeros(one.size, np.int32), np.zeros(one.size, np.uint8)), Reshape(one.shape)]
    return operators, [(0,), (1,), (0,), (3,)], row, expected


def _concat(test: NodeTest) -> Said:
    operators, reads, row, expected = _two_values(test)
    rank = test.output().ndim
    axis = test.attributes["axis"] % rank
    order = (axis, *(other for other in range(rank) if other != axis))
    back = tuple(int(place) for place in np.argsort(order))
    operators += [Transpose(order), Transpose(order), Concat(), Transpose(back), Reshape((expected.size,))]
    operators.append(_diagonal(np.ones(expected.size), np.zeros(expected.size)))
    reads += [(2,), (4,), (5, 6), (7,), (8,), (9,)]
    return Said(IntegerNetwork(tuple(operators), tuple(reads)), row[None].astype(np.uint8), expected.reshape(1, -1))


def _add(test: NodeTest) -> Said:
    one, other = (array.astype(np.int64) for array in test.inputs())
    operators, reads, _, _ = _two_values(test)
    channels = len(one)
    layer = Add(np.ones((channels, 2), np.int8), np.zeros(channels, np.int32), np.zeros(channels, np.uint8))
    operators += [layer, Reshape((one.size,)), _diagonal(np.ones(one.size), np.zeros(one.size))]
    reads += [(2, 4), (5,), (6,)]
    row = np.concatenate([one.reshape(1, -1), other.reshape(1, -1)], axis=1).astype(np.uint8)
    return Said(IntegerNetwork(tuple(operators), tuple(reads)), row, test.output().reshape(1, -1).astype(np.int64))


def _dequantize(test: NodeTest) -> Said:
    data, scale, zero = test.inputs()
    along = (1, -1, *(1,) * (data.ndim - 2)) if scale.ndim else ()
    weights = np.broadcast_to(scale.reshape(along), data.shape)
    bias = -weights * np.broadcast_to(zero.reshape(along), data.shape).astype(np.float64)
    return _said([_diagonal(weights, bias)], data, test.output(), is_raw=True)


def _quantize(test: NodeTest) -> Said:
    """Each real is a bias, so that what is left to do is to divide by the scale, round and clamp."""
    data, scale, zero = test.inputs()
    shift = int(scale).bit_length() - 1
    bias = (data + int(zero) * float(scale)).astype(np.int32)
    weights = np.zeros((data.size, 1), np.int8)
    return _said([Dense(weights, bias, np.full(data.size, shift, np.uint8))], np.zeros(1), test.output())


def _mat_mul_integer(test: NodeTest) -> Said:
    a, b, a_zero, b_zero = (array.astype(np.int64) for array in test.inputs())
    return Said(_product(b - b_zero, int(a_zero[0])), a.astype(np.uint8), test.output())


def _qlinear_mat_mul(test: NodeTest) -> Said:
    """What is recorded is a function of exact sums: those of which it is, are found again from it by `requantised`."""
    a, _, a_zero, b, _, b_zero, _, _ = test.inputs()
    up = 128 if a.dtype == np.int8 else 0
    weights = b.astype(np.int64) - int(b_zero[0])
    sums = (a.astype(np.int64) - int(a_zero[0])) @ weights
    rows, zero = (a.astype(np.int64) + up).astype(np.uint8), int(a_zero[0]) + up
    if a.ndim == 2:
        return Said(_product(weights, zero), rows, sums)
    return Said(
        _product(np.concatenate(list(weights), axis=1), zero),
        rows.reshape(-1, a.shape[-1]),
        _both(a, weights, int(a_zero[0])),
    )


def _both(a: np.ndarray, weights: np.ndarray, zero: int) -> np.ndarray:
    """Every row by the columns of all matrices."""
    return (a.reshape(-1, a.shape[-1]).astype(np.int64) - zero) @ np.concatenate(list(weights), axis=1)


def requantised(test: NodeTest, sums: np.ndarray) -> np.ndarray:
    """What QLinearMatMul makes of the exact sums (of a batch: every row by the columns of all matrices), in exact fractions."""
    a, a_scale, _, b, b_scale, _, scale, zero = test.inputs()
    if a.ndim == 3:
        cut = sums.reshape(len(a), a.shape[1], len(b), b.shape[2])
        sums = np.stack([cut[index, :, index] for index in range(len(a))])
    factor = Fraction(float(a_scale[0])) * Fraction(float(b_scale[0])) / Fraction(float(scale[0]))
    limits = np.iinfo(zero.dtype)
    return np.clip(
        np.vectorize(lambda each: round(each * factor))(sums.astype(object)) + int(zero[0]), limits.min, limits.max
    )


def _product(weights: np.ndarray, zero: int) -> IntegerNetwork:
    """(x - zero)·weights for rows of bytes x; a weight beyond ±63 is the sum of several of the same byte."""
    parts = [np.clip(weights, -63, 63)]
    while (left := weights - sum(parts)).any():
        parts.append(np.clip(left, -63, 63))
    copies = np.concatenate([np.eye(len(weights), dtype=np.int8)] * len(parts))
    copy = Dense(copies, np.zeros(len(copies), np.int32), np.zeros(len(copies), np.uint8))
    bias = (-zero * weights.sum(axis=0)).astype(np.int32)
    return IntegerNetwork((copy, Dense(np.concatenate(parts).T.astype(np.int8), bias, None)))


def _qlinear_conv(test: NodeTest) -> Said:
    """A window of one value and one channel: a function of a byte."""
    data, scale, zero, weight, weight_scale, weight_zero, out_scale, out_zero = test.inputs()
    factor = Fraction(float(scale)) * Fraction(float(weight_scale[0])) / Fraction(float(out_scale))
    factor *= int(weight.reshape(-1)[0]) - int(weight_zero[0])
    entries = [min(max(round((byte - int(zero)) * factor) + int(out_zero), 0), 255) for byte in range(256)]
    return _said([Reshape(data.shape[1:]), Table(np.array(entries, np.uint8))], data, test.output())


_WAYS: dict[str, Callable[[NodeTest], Said]] = {
    "Add": _add, "AveragePool": _average_pool, "Concat": _concat, "Conv": _conv, "ConvInteger": _conv,
    "DequantizeLinear": _dequantize, "Flatten": _reshape, "GlobalMaxPool": _max_pool, "MatMulInteger": _mat_mul_integer,
    "MaxPool": _max_pool, "Pad": _pad, "QLinearConv": _qlinear_conv, "QLinearMatMul": _qlinear_mat_mul,
    "QuantizeLinear": _quantize, "Reshape": _reshape, "Transpose": _transpose,
}  # fmt: skip
