"""Runs an integer network on ONNX Runtime's CPU kernels: fast, and equal to the interpreter to the last bit.

It executes the graph that `to_onnx` writes from the plain network, never a file somebody supplied, so nothing hidden in
a file can decide an output.
"""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import onnxruntime as onnxruntime_untyped
from numpy.typing import NDArray

from models.canonical import INPUT_NAME, OUTPUT_NAME, to_onnx
from models.interpreter import check_rows
from models.network import IntegerNetwork

onnxruntime: Any = onnxruntime_untyped  # its annotations do not export its own names

Optimisation = Literal["none", "basic", "extended", "all"]

_LEVELS = {
    "none": onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL,
    "basic": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC,
    "extended": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED,
    "all": onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL,
}
_ACTIVATIONS_PER_BATCH = (
    1 << 22
)  # bounds memory: 16 MiB of float32, were nothing fused, in all but networks of more for one row
_ROWS_PER_BATCH = 4096
_OUTPUTS = [OUTPUT_NAME]
_UINT8 = np.dtype(np.uint8)


class Runtime:
    """One network, ready to run. threads: cores a batch may use. Results depend on neither threads nor optimisation."""

    def __init__(self, network: IntegerNetwork, threads: int = 1, optimisation: Optimisation = "all") -> None:
        """Raises NotCanonical where the network is outside the canonical form, ValueError for threads < 1."""
        if threads < 1:
            raise ValueError(f"threads must be at least 1, not {threads}")
        self.network = network
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.graph_optimization_level = _LEVELS[optimisation]
        options.log_severity_level = 3
        options.add_session_config_entry(
            "session.intra_op.allow_spinning", "0"
        )  # idle threads leave the cores to others
        model = to_onnx(network).SerializeToString()
        self._session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        held = sum(map(math.prod, network.shapes))
        self._row_length = network.row_length
        self._batch = max(1, min(_ROWS_PER_BATCH, _ACTIVATIONS_PER_BATCH // held))

    def run(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        """The logits of each row, in batches of bounded size.

        rows: uint8 (n, row_length); result: int32 (n, output_length). Raises ValueError for another type or shape.
        """
        # what check_rows says, without looking the length up anew: one row takes no longer than some microseconds
        if rows.dtype != _UINT8 or rows.ndim != 2 or rows.shape[1] != self._row_length:
            check_rows(self.network, rows)
        if 0 < len(rows) <= self._batch:
            return self._run_batch(rows)
        logits = np.empty((len(rows), self.network.output_length), np.int32)
        for start in range(0, len(rows), self._batch):
            batch = rows[start : start + self._batch]
            logits[start : start + len(batch)] = self._run_batch(batch)
        return logits

    def _run_batch(self, rows: NDArray[np.uint8]) -> NDArray[np.int32]:
        if not rows.flags.c_contiguous:
            rows = np.ascontiguousarray(rows)
        logits: NDArray[np.int32] = self._session.run(_OUTPUTS, {INPUT_NAME: rows})[0]
        return logits
