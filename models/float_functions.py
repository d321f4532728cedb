"""The functions of one number that float ONNX models use, each as NumPy float64."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from models.float_model import Floats
from models.onnx_file import Attribute

Call = Callable[[Floats], Floats]

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: Floats) -> Floats:
    return np.asarray(0.5 * (1 + np.tanh(x / 2)))


def _softplus(x: Floats) -> Floats:
    return np.asarray(np.logaddexp(0.0, x))


def _gelu(x: Floats, approximate: str) -> Floats:
    if approximate == "tanh":
        return np.asarray(x / 2 * (1 + np.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))))
    return np.asarray(x / 2 * (1 + _erf(x / math.sqrt(2))))


def _elu(x: Floats, alpha: float, gamma: float = 1.0, width: float = 1.0) -> Floats:
    return np.asarray(gamma * np.where(x > 0, x, alpha * np.expm1(np.minimum(x, 0) / width)))


PLAIN: dict[str, Call] = {
    "Relu": lambda x: np.maximum(x, 0),
    "Sigmoid": _sigmoid,
    "Tanh": np.tanh,
    "Softplus": _softplus,
    "Softsign": lambda x: x / (1 + np.abs(x)),
    "HardSwish": lambda x: x * np.clip(x / 6 + 0.5, 0, 1),
    "Mish": lambda x: x * np.tanh(_softplus(x)),
    "Erf": _erf,
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Abs": np.abs,
    "Neg": np.negative,
    "Reciprocal": np.reciprocal,
    "Floor": np.floor,
    "Ceil": np.ceil,
    "Round": np.rint,
    "Sign": np.sign,
    "Sin": np.sin,
    "Cos": np.cos,
    "Atan": np.arctan,
}
"""Functions without attributes."""

ATTRIBUTES: dict[str, dict[str, Attribute]] = {
    "LeakyRelu": {"alpha": 0.01},
    "ThresholdedRelu": {"alpha": 1.0},
    "Elu": {"alpha": 1.0},
    "Celu": {"alpha": 1.0},
    "Selu": {"alpha": 1.67326319217681884765625, "gamma": 1.05070102214813232421875},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "Gelu": {"approximate": "none"},
    "Swish": {"alpha": 1.0},
}
"""Functions with attributes, and these attributes' defaults."""


def with_attributes(operator: str, values: dict[str, Any]) -> Call:
    """The function of an operator of ATTRIBUTES."""
    alpha = values.get("alpha", 0.0)
    calls: dict[str, Call] = {
        "LeakyRelu": lambda x: np.where(x > 0, x, alpha * x),
        "ThresholdedRelu": lambda x: np.where(x > alpha, x, 0),
        "Elu": lambda x: _elu(x, alpha),
        "Celu": lambda x: _elu(x, alpha, width=alpha),
        "Selu": lambda x: _elu(x, alpha, values["gamma"]),
        "HardSigmoid": lambda x: np.clip(alpha * x + values["beta"], 0, 1),
        "Gelu": lambda x: _gelu(x, values["approximate"]),
        "Swish": lambda x: x * _sigmoid(alpha * x),
    }
    return calls[operator]
