"""Which values of a float network tables read: they need one scale for the whole value, and only as far as they bend."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from models.float_model import FloatNetwork, Floats, Function, compute
from models.network import Concat, MaxPool, Reshape, Transpose

_HARDLY = 2.0**-10  # of its range: how little a function may change where its argument is cut off


@dataclass(frozen=True)
class Tables:
    """The functions that read a value and so need one scale for all of it, and whether anything else reads it."""

    functions: tuple[Function, ...]
    has_others: bool

    def narrow(self, low: Floats, high: Floats) -> tuple[Floats, Floats]:
        """The part of low … high outside which none of the functions changes to speak of."""
        places = np.linspace(float(low.min()), float(high.max()), 4097)
        bent = np.zeros(len(places), bool)
        for function in self.functions:
            results = np.nan_to_num(compute(function, [places]))
            least = _HARDLY * float(np.ptp(results))
            after = np.flatnonzero(np.abs(results - results[0]) > least)
            before = np.flatnonzero(np.abs(results - results[-1]) > least)
            if len(after) and len(before):
                bent[max(0, after[0] - 1) : before[-1] + 2] = True
        inside = places[bent] if bent.any() else places
        return np.maximum(low, min(0.0, float(inside[0]))), np.minimum(high, max(0.0, float(inside[-1])))


NO_TABLES = Tables((), True)


def find_tables(network: FloatNetwork) -> list[Tables]:
    """For each value the functions that read it, perhaps after operators that only move it."""
    found: list[dict[int, Function]] = [{} for _ in range(len(network.nodes) + 1)]
    has_others = [False] * len(found)
    for index in reversed(range(len(network.nodes))):
        operator = network.nodes[index].operator
        for value in network.nodes[index].reads:
            if isinstance(operator, Function):
                found[value][id(operator)] = operator
            elif isinstance(operator, MaxPool | Reshape | Transpose | Concat):
                found[value] |= found[index + 1]
                has_others[value] |= has_others[index + 1]
            else:
                has_others[value] = True
    return [Tables(tuple(each.values()), others) for each, others in zip(found, has_others, strict=True)]
