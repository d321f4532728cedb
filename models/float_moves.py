"""Operators of a float ONNX graph that only move values."""

from __future__ import annotations

import math

from models.float_model import (
    FloatPad,
)
from models.float_values import ValueReader
from models.form import MOST_VALUES
from models.network import Concat, Reshape, Shape, Transpose
from models.onnx_file import read_scalar


class MoveReader(ValueReader):
    """Joins, reshapes, transpositions and pads."""

    def _concat(self, index: int) -> None:
        node = self._file_nodes[index]
        axis = self._attributes(index, {"axis": 0})["axis"]
        read = [self._input(index, place) for place in range(len(node.input))]
        rank = len(self._shapes[read[0]])
        if axis % (rank + 1) != 1 or not -rank - 1 <= axis <= rank:
            self._refuse(index, "attribute", f"axis {axis}: only channels are joined, axis 1")
        if len(read) == 1:
            self._pass(index)
        else:
            self._give(index, Concat(), *read)

    def _reshape(self, index: int) -> None:
        node = self._file_nodes[index]
        read = self._input(index)
        shape = self._shapes[read]
        if node.op_type == "Flatten":
            if self._attributes(index, {"axis": 1})["axis"] not in (1, -len(shape)):
                self._refuse(index, "attribute", "axis must be 1: rows run along the first dimension")
            wanted: Shape = (math.prod(shape),)
        elif node.op_type == "Reshape":
            allows_zero = self._attributes(index, {"allowzero": 0})["allowzero"]
            sizes = self._axes(index, 1)
            if len(sizes) < 2 or len(sizes) > 6 or sizes[0] not in (0, -1, 1) or (allows_zero and 0 in sizes):
                self._refuse(index, "shape", f"shape {sizes}: the first must keep the rows, 0 or -1")
            rest = [shape[at] if size == 0 and at < len(shape) else size for at, size in enumerate(sizes[1:])]
            missing = [at for at, size in enumerate(rest) if size == -1]
            known = math.prod(size for size in rest if size != -1)
            if len(missing) == 1 and known > 0:
                rest[missing[0]] = math.prod(shape) // known
            if min(rest) < 1:
                self._refuse(index, "shape", f"shape {sizes} does not fit values of shape {shape}")
            wanted = tuple(rest)
        else:
            given = self._axes(index, 1)
            is_squeeze = node.op_type == "Squeeze"
            axes = sorted(axis % (len(shape) + 1 + (0 if is_squeeze else len(given))) for axis in given)
            if 0 in axes or len(set(axes)) != len(axes):
                self._refuse(index, "attribute", "it must leave the rows' dimension alone")
            full = list(shape)
            for axis in reversed(axes) if is_squeeze else axes:
                if is_squeeze and full.pop(axis - 1) != 1:
                    self._refuse(index, "shape", f"axes {axes} of {shape} are not 1")
                elif not is_squeeze:
                    full.insert(axis - 1, 1)
            wanted = tuple(full) or (1,)
        self._give(index, Reshape(wanted), read)

    def _transpose(self, index: int) -> None:
        read = self._input(index)
        order = self._attributes(index, {"perm": ()})["perm"]
        if not order or order[0] != 0:
            self._refuse(index, "attribute", "perm must keep the rows' dimension first")
        self._give(index, Transpose(tuple(axis - 1 for axis in order[1:])), read)

    def _pad(self, index: int) -> None:
        found = self._attributes(index, {"mode": "constant", "pads": (), "value": 0.0})  # attributes before opset 11
        if found["mode"] != "constant" or len(self._file_nodes[index].input) > 3:
            self._refuse(index, "attribute", "only a constant is padded with, and along all axes: mode constant")
        read = self._input(index)
        pads = list(found["pads"]) if len(self._file_nodes[index].input) < 2 else self._axes(index, 1)
        value = float(found["value"])
        if len(self._file_nodes[index].input) > 2 and self._file_nodes[index].input[2]:
            number = read_scalar(self._constant(index, 2))
            if number is None:
                self._refuse(index, "shape", "it pads with one number")
            value = float(number)
        rank = len(self._shapes[read]) + 1
        if len(pads) != 2 * rank or any(pads[:2] + pads[rank : rank + 2]) or min(pads) < 0 or max(pads) > MOST_VALUES:
            self._refuse(index, "attribute", f"pads {pads}: rows and channels are not padded, and nothing is cut off")
        self._give(index, FloatPad(tuple(zip(pads[2:rank], pads[rank + 2 :], strict=True)), value), read)
