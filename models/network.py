"""An integer network as plain data: what the ONNX file, the program and the chain all mean."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Dense:
    """y = W·x + b, then (hidden layers) clamp(round_half_even(y / 2^shift), 0, 255).

    weights: int8, shape (outputs, inputs), |w| ≤ 63.
    bias: int32, shape (outputs,). For every output channel Σ|w|·255 + |b| < 2^24.
    shifts: uint8, shape (outputs,), 0 ≤ shift ≤ 24; None for the last layer, whose output is the raw int32 sum.
    """

    weights: NDArray[np.int8]
    bias: NDArray[np.int32]
    shifts: NDArray[np.uint8] | None

    @property
    def inputs(self) -> int:
        return int(self.weights.shape[1])

    @property
    def outputs(self) -> int:
        return int(self.weights.shape[0])

    @property
    def macs(self) -> int:
        """Multiplications of a weight by an activation."""
        return int(self.weights.size)


@dataclass(frozen=True, eq=False)
class IntegerNetwork:
    """Layers applied in order to a row of uint8; the output is the last layer's int32 logits.

    Every layer but the last has shifts; the last has none. layer[i].inputs == layer[i-1].outputs.
    """

    layers: tuple[Dense, ...]

    @property
    def row_length(self) -> int:
        """Bytes in an input row."""
        return self.layers[0].inputs

    @property
    def output_length(self) -> int:
        """Logits in an output."""
        return self.layers[-1].outputs

    @property
    def macs(self) -> int:
        return sum(layer.macs for layer in self.layers)
