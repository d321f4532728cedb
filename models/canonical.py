"""The canonical form as an ONNX file: reading one strictly, and writing the one that is run.

A canonical file is a plain graph of these blocks, one for each operator of the network, in its order:

    Dense, Conv   DequantizeLinear(uint8, scale 1, zero point 0)
                      → Gemm or Conv(·, DequantizeLinear(int8 weights, 2^-k), DequantizeLinear(int32 bias, 2^-k))
                      → QuantizeLinear(scale 1, zero point 0, uint8)     round half to even and clamp
                      → Cast(int32)                                      instead, after the last, whose k is 0: the logits
    Add           Cast(float) × 2 → Mul(·, DequantizeLinear(int8 weights, 2^-k)) × 2 → Add
                      → Add(·, DequantizeLinear(int32 bias, 2^-k)) → QuantizeLinear
    AveragePool   Cast(float) → AveragePool(pads counted) → QuantizeLinear
    Table         Cast(int32) → Gather(uint8 entries, ·)
    MaxPool, Concat, Pad, Reshape, Transpose   the operator itself, on uint8

ONNX Runtime fuses the first block into one int8 kernel (QGemm, QLinearConv); unfused it is float32 arithmetic in which
every value is an exact multiple of 2^-k below 2^(24-k). Both give the integers of `integer_ops`. Add and AveragePool begin
with a Cast, so that nothing fuses them: the fused kernels for them round in ways of their own on some processors. MatMul
followed by Add is read as Gemm.

A file is read to plain data and written anew before it runs: what a reader did not look at cannot decide an output.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import onnx

from models.canonical_reader import Reader
from models.canonical_writer import INPUT_NAME, MAX_LAYERS, OUTPUT_NAME, write
from models.form import NotCanonical, check_network
from models.integer_ops import SHIFT_LIMIT, WEIGHT_LIMIT
from models.network import IntegerNetwork
from models.onnx_file import parse

__all__ = ["INPUT_NAME", "MAX_LAYERS", "OUTPUT_NAME", "RULES", "from_onnx", "to_onnx"]

RULES: Mapping[str, str] = {
    "size": "the file, its structure and its node count are bounded",
    "parse": "the file is an ONNX protocol buffer",
    "domain": "only the standard operator set is used",
    "opset": "one operator set, of a version whose operators are known to mean the same",
    "function": "no local functions",
    "subgraph": "no control flow",
    "plain": "no training information, no sparse tensors",
    "external-data": "all tensors are stored in the file itself",
    "names": "each value is defined once",
    "input": "one input: uint8 rows of shape (n, row length)",
    "output": "one output: the int32 logits of shape (n, classes), that nothing else reads",
    "operator": "only the operators of the canonical blocks, each where its block has it",
    "chain": "each value is computed before it is read, is read, and every node belongs to a block of its own",
    "attribute": "only the attributes of the canonical blocks, at their canonical values",
    "constant": "weights, biases, scales, zero points, tables, pads and shapes are initializers",
    "tensor": "a tensor's data has its stated type and a bounded shape",
    "shape": "layers fit each other: weights (outputs, …), one bias and at most one scale for each output",
    "window": "kernels and strides are at least 1, pads (also by a Pad of zeros before a pool) smaller than the kernel, "
    "averages over a power of two",
    "activation": "activations are uint8 with scale 1 and zero point 0",
    "zero-point": "weights and biases have zero point 0",
    "power-of-two": f"weight scales are 2^-k, 0 ≤ k ≤ {SHIFT_LIMIT}, and the bias has the weights' scales",
    "logits": "the last layer's scale is 1, so that its output is the raw integer sum",
    "weight-range": f"|w| ≤ {WEIGHT_LIMIT}, so that no processor saturates a pair of products",
    "sum-bound": "Σ|w|·255 + |b| < 2^24 in each channel, so that no order of adding can round",
}


def from_onnx(source: bytes | str | Path) -> IntegerNetwork:
    """The network in a canonical ONNX file, given as a path or as its bytes.

    Raises NotCanonical naming node and rule; OSError where a path cannot be read.
    """
    return Reader(parse(source, NotCanonical).graph).read()


def to_onnx(network: IntegerNetwork) -> onnx.ModelProto:
    """The canonical ONNX model of a network: the same bytes for the same network.

    Raises NotCanonical, also for a network of more layers than from_onnx would read back.
    """
    check_network(network)
    return write(network)
