"""What an exported graph says in several nodes as one: scalings in the layer before them, clips, transpositions that cancel."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import numpy as np

from models.float_model import Affine, FloatAdd, FloatConv, FloatDense, FloatNode, FloatOperator, Function
from models.network import Shape, Transpose


def fuse(nodes: list[FloatNode], shapes: list[Shape]) -> list[FloatNode]:
    """The nodes with scalings folded into the layer before them, and clips that begin at 0 made part of it.

    What goes value by value comes before a transposition, so that channels that an export puts last, and back, stay first.
    """
    readers = Counter(value for node in nodes for value in node.reads)
    kept: list[FloatNode] = []
    uses: dict[int, int] = {0: readers[0]}  # of each value among those kept
    now = {0: 0}  # where each value is among those kept
    for index, node in enumerate(nodes):
        reads = tuple(now[value] for value in node.reads)
        now[index + 1] = _keep(kept, uses, replace(node, reads=reads), shapes[index + 1])
        uses[now[index + 1]] = readers[index + 1]
    return kept


def _keep(kept: list[FloatNode], uses: dict[int, int], node: FloatNode, shape: Shape) -> int:
    """Add a node to those kept, as a part of the one before it where it can be; where its value is among theirs."""
    at, operator = node.reads[0], node.operator
    before = kept[at - 1] if at and uses[at] == 1 else None
    joined = None if before is None else _join(before.operator, operator, shape)
    if before is not None and joined is not None:
        kept[at - 1] = replace(before, operator=joined)
        return at
    if before is not None and isinstance(before.operator, Transpose) and isinstance(operator, Affine | Function):
        inverse = tuple(int(place) for place in np.argsort(before.operator.order))
        if isinstance(operator, Affine):
            operator = Affine(operator.factor.transpose(inverse), operator.offset.transpose(inverse))
        earlier = replace(node, operator=operator, reads=before.reads)
        found = _keep(kept, uses, earlier, tuple(shape[place] for place in inverse))
        if found == len(kept):  # it stands behind the transposition, which moves behind it
            kept[at - 1], kept[found - 1] = earlier, replace(before, reads=(at,))
            uses[at] = 1
            return found
        return at
    kept.append(node)
    return len(kept)


def _join(before: FloatOperator, operator: FloatOperator, shape: Shape) -> FloatOperator | None:
    """One operator that does both, if there is one."""
    if isinstance(before, Transpose) and isinstance(operator, Transpose):
        return Transpose(tuple(before.order[dimension] for dimension in operator.order))
    if not isinstance(before, FloatDense | FloatConv | FloatAdd):
        return None
    if isinstance(operator, Function) and operator.clip is not None and operator.clip[0] == 0:
        return replace(before, clip=(0.0, min(operator.clip[1], before.clip[1] if before.clip else math.inf)))
    if not isinstance(operator, Affine) or isinstance(before, FloatAdd) or before.clip is not None:
        return None
    factor, offset = (part.reshape(shape[0], -1) for part in (operator.factor, operator.offset))
    if (factor != factor[:, :1]).any() or (offset != offset[:, :1]).any():
        return None
    along = (-1, *(1,) * (before.weights.ndim - 1))
    with np.errstate(over="ignore", invalid="ignore"):
        weights, bias = before.weights * factor[:, 0].reshape(along), before.bias * factor[:, 0] + offset[:, 0]
    is_finite = bool(np.isfinite(weights).all() and np.isfinite(bias).all())
    return replace(before, weights=weights, bias=bias) if is_finite else None
