"""Canonical ONNX files made to take long, to fill the memory, to read other files or to confuse: each has to be refused.

Run as a program, it reads every one of them in a process whose memory is limited, and prints a JSON line for each: what was
said, and the CPU seconds it took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

MEMORY = 3 << 30  # bytes of address space, of which the libraries themselves take about one


def model(nodes: list[NodeProto], constants: list[TensorProto], length: int = 4, classes: int = 4) -> bytes:
    """The nodes between the rows x and the logits y of a Gemm of ones that reads v."""
    rows = helper.make_tensor_value_info("x", TensorProto.UINT8, ["n", length])
    logits = helper.make_tensor_value_info("y", TensorProto.INT32, ["n", classes])
    graph = helper.make_graph(nodes, "hostile", [rows], [logits], [*plain(), *constants])
    made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(made.SerializeToString())


def plain() -> list[TensorProto]:
    return [stored("one", 1, np.float32), stored("zero", 0, np.uint8)]


def stored(name: str, values: Any, kind: Any) -> TensorProto:
    made: TensorProto = numpy_helper.from_array(np.asarray(values, kind), name)
    return made


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    made: NodeProto = helper.make_node(operator, inputs, [output], output, **attributes)
    return made


def last(value: str, inputs: int, weights: TensorProto | None = None) -> tuple[list[NodeProto], list[TensorProto]]:
    """The block of the last layer, which reads a value of so many bytes."""
    constants = [weights or stored("w", np.zeros((4, inputs)), np.int8), stored("b", np.zeros(4), np.int32)]
    nodes = [
        node("DequantizeLinear", [value, "one", "zero"], "a"),
        node("DequantizeLinear", ["w", "one"], "rw", axis=0),
        node("DequantizeLinear", ["b", "one"], "rb", axis=0),
        node("Gemm", ["a", "rw", "rb"], "s", transB=1),
        node("Cast", ["s"], "y", to=TensorProto.INT32),
    ]
    return nodes, constants


def tensor(kind: int, dims: list[int], **data: Any) -> bytes:
    """A single layer whose weights are stored like this."""
    nodes, constants = last("x", 4, TensorProto(name="w", data_type=kind, dims=dims, **data))
    return model(nodes, constants)


def packed_numbers() -> bytes:
    """32 million weights as numbers of a byte each, which a parser makes four of, and numpy a list."""
    return tensor(TensorProto.INT8, [1 << 13, 1 << 12], int32_data=np.zeros(32 << 20, np.int32))


def weights_of_exabytes() -> bytes:
    return tensor(TensorProto.INT8, [1 << 31, 1 << 31], raw_data=b"")


def overflowing_shape() -> bytes:
    return tensor(TensorProto.INT8, [1 << 62, 4, 1 << 62], raw_data=bytes(16))


def compressed_looking() -> bytes:
    """Text and a sparse-looking header where the numbers should be."""
    return tensor(TensorProto.INT8, [4096, 4096], raw_data=b"\x1f\x8b\x08" + bytes(100))


def external() -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.INT8, dims=[4, 4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="/dev/zero")
    nodes, constants = last("x", 4, weights)
    return model(nodes, constants)


def empty_tensor_pieces() -> bytes:
    """Half a million pieces of no bytes, all of one tensor."""
    good = model(*last("x", 4))
    return good + b"\x3a" + _length(2 * 600_000) + b"\x4a\x00" * 600_000


def padded_to_death() -> bytes:
    nodes, constants = last("f", 4)
    pads = stored("pads", [0, 0, 1 << 40, 1 << 40, 0, 0, 1 << 40, 1 << 40], np.int64)
    shapes = [stored("image", [0, 1, 2, 2], np.int64), stored("flat", [0, 4], np.int64)]
    before = [node("Reshape", ["x", "image"], "i"), node("Pad", ["i", "pads", "zero"], "p")]
    return model([*before, node("Reshape", ["p", "flat"], "f"), *nodes], [*constants, pads, *shapes])


def doubling_concat() -> bytes:
    """A value joined to itself thirty times: 2^32 bytes, and not one multiplication."""
    nodes, constants = last("v29", 4)
    joins = [node("Concat", ["x" if index == 0 else f"v{index - 1}"] * 2, f"v{index}", axis=1) for index in range(30)]
    first = stored("shape", [0, 4], np.int64)
    return model([node("Reshape", ["x", "shape"], "r"), *joins, *nodes], [*constants, first])


def pools_of_everything() -> bytes:
    """Windows as large as the image at each of its places: 2^32 comparisons a row, no weights."""
    nodes, constants = last("f", 4)
    shapes = [stored("image", [0, 1, 256, 256], np.int64), stored("flat", [0, 4], np.int64)]
    pads = stored("pads", [0, 0, 0, 0, 0, 0, 255, 255], np.int64)
    window = {"kernel_shape": [256, 256], "strides": [1, 1]}
    before = [node("Reshape", ["x", "image"], "i"), node("Pad", ["i", "pads", "zero"], "p")]
    pool = node("MaxPool", ["p"], "m", **window)
    return model([*before, pool, node("Reshape", ["m", "flat"], "f"), *nodes], [*constants, *shapes, pads], 1 << 16)


def many_values() -> bytes:
    """Nine hundred tables on an image of a million values."""
    nodes, constants = last("f", 4)
    shapes = [stored("image", [0, 1, 1, 65_536], np.int64), stored("flat", [0, 4], np.int64)]
    pads = stored("pads", [0, 0, 0, 0, 0, 0, 15, 0], np.int64)
    before = [node("Reshape", ["x", "image"], "i"), node("Pad", ["i", "pads", "zero"], "t0")]
    tables = []
    for index in range(480):
        tables.append(node("Cast", [f"t{index}"], f"c{index}", to=TensorProto.INT32))
        tables.append(node("Gather", ["entries", f"c{index}"], f"t{index + 1}", axis=0))
    entries = stored("entries", np.arange(256), np.uint8)
    after = node("Reshape", ["t480", "flat"], "f")
    return model([*before, *tables, after, *nodes], [*constants, *shapes, pads, entries], 65_536)


def shared_weights() -> bytes:
    """One matrix of 16 MiB as the weights of two hundred layers."""
    zeros = [stored("w", np.zeros((4096, 4096)), np.int8), stored("b", np.zeros(4096), np.int32)]
    nodes = []
    for index in range(200):
        value = "x" if index == 0 else f"q{index - 1}"
        nodes += [
            node("DequantizeLinear", [value, "one", "zero"], f"a{index}"),
            node("DequantizeLinear", ["w", "one"], f"rw{index}", axis=0),
            node("DequantizeLinear", ["b", "one"], f"rb{index}", axis=0),
            node("Gemm", [f"a{index}", f"rw{index}", f"rb{index}"], f"s{index}", transB=1),
            node("QuantizeLinear", [f"s{index}", "one", "zero"], f"q{index}"),
        ]
    return model(nodes, zeros, 4096, 4096)


def cycle() -> bytes:
    nodes, constants = last("m", 4)
    return model(
        [node("MaxPool", ["k"], "m", kernel_shape=[1]), node("MaxPool", ["m"], "k", kernel_shape=[1]), *nodes],
        constants,
    )


def unknown_domain() -> bytes:
    nodes, constants = last("x", 4)
    nodes[3].domain = "com.evil"
    return model(nodes, constants)


def huge_stride() -> bytes:
    nodes, constants = last("f", 4)
    shapes = [stored("image", [0, 1, 4], np.int64), stored("flat", [0, 4], np.int64)]
    pool = node("MaxPool", ["i"], "m", kernel_shape=[1], strides=[1 << 62])
    before = [node("Reshape", ["x", "image"], "i"), pool, node("Reshape", ["m", "flat"], "f")]
    return model([*before, *nodes], [*constants, *shapes])


def _length(number: int) -> bytes:
    made = bytearray()
    while number > 127:
        made.append(number & 127 | 128)
        number >>= 7
    return bytes([*made, number])


FILES: dict[str, Callable[[], bytes]] = {
    each.__name__.replace("_", " "): each
    for each in (
        packed_numbers, weights_of_exabytes, overflowing_shape, compressed_looking, external, empty_tensor_pieces,
        padded_to_death, doubling_concat, pools_of_everything, many_values, shared_weights, cycle, unknown_domain,
        huge_stride,
    )
}  # fmt: skip


def main() -> None:
    from models.canonical import from_onnx
    from models.form import RefusedModel

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, make in FILES.items():
        data = make()
        began = time.process_time()
        try:
            from_onnx(data)
            kind, said = "accepted", ""
        except RefusedModel as refused:
            kind, said = "refused", str(refused)
        except Exception as error:
            kind, said = "failed", f"{type(error).__name__}: {error}"
        line = {"file": name, "kind": kind, "said": said, "seconds": round(time.process_time() - began, 3)}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
