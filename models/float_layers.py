"""Layers and pools of a float ONNX graph."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from models.float_model import (
    FloatConv,
    FloatDense,
    Floats,
)
from models.float_values import Value, ValueReader
from models.form import MOST_VALUES
from models.network import AveragePool, MaxPool, Pads, Reshape, Shape
from models.onnx_file import MAX_FILE_BYTES


class LayerReader(ValueReader):
    """Dense and convolutional layers, and windows without weights."""

    def _gemm(self, index: int) -> None:
        is_gemm = self._file_nodes[index].op_type == "Gemm"
        read = self._input(index)
        found = self._attributes(index, {"alpha": 1.0, "beta": 1.0, "transA": 0, "transB": 0} if is_gemm else {})
        if found.get("transA"):
            self._refuse(index, "attribute", "transA must be 0: rows run along the first dimension")
        weights = self._constant(index, 1) * found.get("alpha", 1.0)
        if weights.ndim != 2:
            self._refuse(index, "shape", f"weights of shape {weights.shape}: a matrix is needed")
        weights = weights if found.get("transB") else weights.T
        bias = np.zeros(len(weights))
        if is_gemm and len(self._file_nodes[index].input) == 3:
            given = self._constant(index, 2)
            if given.size not in (1, len(weights)) or (given.ndim and given.shape[-1] != given.size):
                self._refuse(index, "shape", f"a bias of shape {given.shape} for {len(weights)} outputs")
            bias = bias + given.reshape(-1) * found["beta"]
        self._give(index, FloatDense(weights, bias), read)

    def _linear_classifier(self, index: int) -> None:
        node = self._file_nodes[index]
        attributes = {attribute.name: attribute for attribute in node.attribute}
        if not {"coefficients", "intercepts"} <= set(attributes) or len(node.output) != 2:
            self._refuse(index, "attribute", "coefficients and intercepts are needed")
        bias = np.array(attributes["intercepts"].floats, np.float64)
        weights = np.array(attributes["coefficients"].floats, np.float64)
        if not len(bias) or len(weights) % len(bias) or not np.isfinite(weights).all() or not np.isfinite(bias).all():
            self._refuse(index, "tensor", f"{len(weights)} coefficients of {len(bias)} classes do not fit, or hold NaN")
        dense = FloatDense(weights.reshape(len(bias), -1), bias)
        self._values[node.output[1]] = Value(self._append(self._label(index), dense, self._input(index)))

    def _conv(self, index: int) -> None:
        read = self._input(index)
        weights = self._constant(index, 1)
        if weights.ndim not in (3, 4):
            self._refuse(index, "shape", f"weights of shape {weights.shape}: one or two dimensions are convolved")
        bias = self._constant(index, 2) if len(self._file_nodes[index].input) == 3 else np.zeros(len(weights))
        found = self._attributes(
            index,
            {"kernel_shape": (), "strides": (), "pads": (), "dilations": (), "group": 1, "auto_pad": "NOTSET"},
        )
        if bias.shape != (len(weights),) or found["group"] < 1 or found["kernel_shape"] not in ((), weights.shape[2:]):
            self._refuse(index, "shape", f"weights {weights.shape}, bias {bias.shape} and group or kernel do not fit")
        weights = self._dilate(index, weights, found["dilations"])
        _, strides, pads = self._window(index, found, weights.shape[2:], self._shapes[read])
        self._give(index, FloatConv(weights, bias, strides, pads, found["group"]), read)

    def _dilate(self, index: int, weights: Floats, dilations: Shape) -> Floats:
        """The kernel with its holes as zeros."""
        steps = dilations or (1,) * (weights.ndim - 2)
        if len(steps) != weights.ndim - 2 or min(steps) < 1:
            self._refuse(index, "attribute", f"dilations {steps}: at least 1 for each dimension of the kernel")
        sides = tuple((side - 1) * step + 1 for side, step in zip(weights.shape[2:], steps, strict=True))
        if math.prod(weights.shape[:2]) * math.prod(sides) > MAX_FILE_BYTES:
            self._refuse(index, "size", f"a kernel of {sides} with its holes is too large: use smaller dilations")
        wide = np.zeros((*weights.shape[:2], *sides))
        wide[(slice(None), slice(None), *(slice(None, None, step) for step in steps))] = weights
        return wide

    def _pool(self, index: int) -> None:
        node = self._file_nodes[index]
        read = self._input(index)
        size = self._shapes[read][1:]
        if not 1 <= len(size) <= 2:
            self._refuse(index, "shape", f"it reads {self._shapes[read]}: one or two dimensions are pooled")
        if node.op_type.startswith("Global"):
            self._attributes(index, {})
            kernel, strides, pads = size, (1,) * len(size), ((0, 0),) * len(size)
            counts_pads = True
        else:
            found = self._attributes(
                index,
                {
                    "kernel_shape": (),
                    "strides": (),
                    "pads": (),
                    "dilations": (),
                    "auto_pad": "NOTSET",
                    "ceil_mode": 0,
                    "count_include_pad": 0,
                    "storage_order": 0,
                },
            )
            if any(step != 1 for step in found["dilations"]) or found["storage_order"]:
                self._refuse(index, "attribute", "dilations and storage_order are not accepted: pool plainly")
            kernel, strides, pads = self._window(index, found, found["kernel_shape"], self._shapes[read])
            counts_pads = bool(found["count_include_pad"])
            if found["ceil_mode"]:
                pads = _ceil(size, kernel, strides, pads)
                counts_pads = False
        if node.op_type.endswith("MaxPool"):
            self._give(index, MaxPool(kernel, strides, pads), read)
            return
        if any(map(any, pads)) and not counts_pads:
            advice = "it leaves its pads out of the mean, so windows differ: set count_include_pad, or drop the padding"
            self._refuse(index, "attribute", advice)
        self._give(index, AveragePool(kernel, strides, pads), read)

    def _window(self, index: int, found: dict[str, Any], kernel: Shape, read: Shape) -> tuple[Shape, Shape, Pads]:
        strides = found["strides"] or (1,) * len(kernel)
        around = found["pads"] or (0,) * (2 * len(kernel))
        if not kernel or not len(kernel) == len(strides) == len(read) - 1 or len(around) != 2 * len(kernel):
            self._refuse(
                index, "shape", f"kernel {kernel}, strides {strides}, pads {around} on a value of shape {read}"
            )
        if min(kernel) < 1 or min(strides) < 1 or min(around) < 0 or max(*around, *kernel) > MOST_VALUES:
            self._refuse(index, "attribute", f"kernel {kernel}, strides {strides}, pads {around} are out of range")
        if found["auto_pad"] in ("SAME_UPPER", "SAME_LOWER"):
            pads = []
            for size, side, stride in zip(read[1:], kernel, strides, strict=True):
                missing = max(0, (-(-size // stride) - 1) * stride + side - size)
                small, large = missing // 2, missing - missing // 2
                pads.append((small, large) if found["auto_pad"] == "SAME_UPPER" else (large, small))
            return kernel, strides, tuple(pads)
        if found["auto_pad"] not in ("NOTSET", "VALID"):
            self._refuse(index, "attribute", f"auto_pad {found['auto_pad']!r} is not known")
        if found["auto_pad"] == "VALID":
            around = (0,) * (2 * len(kernel))
        return kernel, strides, tuple(zip(around[: len(kernel)], around[len(kernel) :], strict=True))

    def _reduce(self, index: int) -> None:
        """The mean or the maximum over all dimensions but the channels'."""
        node = self._file_nodes[index]
        found = self._attributes(index, {"keepdims": 1, "noop_with_empty_axes": 0, "axes": ()})
        read = self._input(index)
        shape = self._shapes[read]
        axes = list(found["axes"]) if len(node.input) < 2 else self._axes(index, 1)
        if (
            sorted(axis % (len(shape) + 1) for axis in axes) != list(range(2, len(shape) + 1))
            or not 2 <= len(shape) <= 3
        ):
            self._refuse(
                index, "attribute", f"axes {axes} of {shape}: only all dimensions after the channels are reduced"
            )
        size = shape[1:]
        pool = AveragePool if node.op_type == "ReduceMean" else MaxPool
        self._give(index, pool(size, (1,) * len(size), ((0, 0),) * len(size)), read)
        if not found["keepdims"]:
            self._give(index, Reshape((shape[0],)), self._values[node.output[0]].base)


def _ceil(size: Shape, kernel: Shape, strides: Shape, pads: Pads) -> Pads:
    """The pads with which as many windows fit as where the last one may run over the end."""
    result = []
    for length, side, stride, (before, behind) in zip(size, kernel, strides, pads, strict=True):
        windows = -(-(length + before + behind - side) // stride) + 1
        if (windows - 1) * stride >= length + before:
            windows -= 1
        result.append((before, max(behind, (windows - 1) * stride + side - length - before)))
    return tuple(result)
