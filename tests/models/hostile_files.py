"""Float ONNX files made to take long, to fill the memory, to read other files or to confuse: each has to be refused.

Run as a program, it quantises every one of them in a process whose memory is limited, and prints a JSON line for each: what
was said, and the CPU seconds it took.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from onnx import AttributeProto, ModelProto, NodeProto, TensorProto, ValueInfoProto, helper, numpy_helper

MEMORY = 3 << 30  # bytes of address space, of which the libraries themselves take about one


def model(
    nodes: list[NodeProto],
    constants: list[TensorProto] | None = None,
    shape: tuple[int, ...] = (4,),
    output: str = "y",
    domains: tuple[str, ...] = ("",),
) -> bytes:
    rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *shape])
    logits = helper.make_tensor_value_info(output, TensorProto.FLOAT, None)
    graph = helper.make_graph(nodes, "hostile", [rows], [logits], constants or [])
    opsets = [helper.make_opsetid(domain, 17) for domain in domains]
    made: ModelProto = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    return bytes(made.SerializeToString())


def stored(name: str, values: Any, kind: Any = np.float32) -> TensorProto:
    made: TensorProto = numpy_helper.from_array(np.asarray(values, kind), name)
    return made


def node(operator: str, inputs: list[str], output: str, **attributes: Any) -> NodeProto:
    made: NodeProto = helper.make_node(operator, inputs, [output], output, **attributes)
    return made


def external(location: str) -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value=location)
    return model([node("Gemm", ["x", "w"], "y", transB=1)], [weights])


def external_constant() -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=[2, 4], data_location=TensorProto.EXTERNAL)
    weights.external_data.add(key="location", value="/etc/passwd")
    constant = node("Constant", [], "w")
    constant.attribute.append(AttributeProto(name="value", type=AttributeProto.TENSOR, t=weights))
    return model([constant, node("Gemm", ["x", "w"], "y", transB=1)])


def declared(dims: list[int], data: bytes = b"") -> bytes:
    weights = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, raw_data=data)
    return model([node("Gemm", ["x", "w"], "y", transB=1)], [weights])


def input_of(shape: tuple[int, ...]) -> bytes:
    return model([node("Relu", ["x"], "y")], shape=shape)


def input_of_rank(rank: int) -> bytes:
    return model([node("Flatten", ["x"], "y")], shape=(1,) * rank)


def cycle() -> bytes:
    return model(
        [node("Add", ["x", "b"], "a"), node("Relu", ["a"], "b"), node("Gemm", ["b", "w"], "y")],
        [stored("w", np.eye(4))],
    )


def unknown_domain() -> bytes:
    odd = node("Gemm", ["x", "w"], "y")
    odd.domain = "com.evil"
    return model([odd], [stored("w", np.eye(4))], domains=("", "com.evil"))


def unnamed_domain() -> bytes:
    odd = node("Gemm", ["x", "w"], "y")
    odd.domain = "com.evil"
    return model([odd], [stored("w", np.eye(4))])


def giant_initializer() -> bytes:
    return model([node("Gemm", ["x", "w"], "y", transB=1)], [stored("w", np.zeros((4096, 4097)))])


def shared_weights() -> bytes:
    """One matrix of 16 MiB as the weights of 900 layers: 30 GB of float64, were each to have its own."""
    names = ["x", *(f"v{index}" for index in range(900))]
    nodes = [node("Gemm", [names[index], "w"], names[index + 1]) for index in range(900)]
    return model(nodes, [stored("w", np.zeros((2048, 2048)))], (2048,), names[-1])


def doubling_constants() -> bytes:
    """A constant joined to itself forty times: 2^40 elements."""
    nodes = [node("Concat", [f"c{index}", f"c{index}"], f"c{index + 1}", axis=0) for index in range(40)]
    nodes += [node("Reshape", ["c40", "shape"], "w"), node("Gemm", ["x", "w"], "y")]
    return model(nodes, [stored("c0", [1.0]), stored("shape", [4, -1], np.int64)])


def gathered_constants() -> bytes:
    """2^18 places of a row of 2^18: 2^36 elements from 3 MiB."""
    nodes = [node("Gather", ["c", "places"], "w", axis=0), node("Gemm", ["x", "w"], "y")]
    return model(nodes, [stored("c", np.zeros((1, 1 << 18))), stored("places", np.zeros(1 << 18), np.int64)])


def broadcast_constants() -> bytes:
    nodes = [node("Mul", ["column", "row"], "w"), node("Gemm", ["x", "w"], "y")]
    return model(nodes, [stored("column", np.ones((1 << 17, 1))), stored("row", np.ones((1, 1 << 17)))])


def called_to_the_end(nodes: list[NodeProto], value: str) -> bytes:
    """The model with a logarithm of what is not positive after the value: refused once everything before has been computed."""
    nodes = [*nodes, node("Abs", [value], "p"), node("Neg", ["p"], "m"), node("Log", ["m"], "l")]
    return model([*nodes, node("Gemm", ["l", "w"], "y")], [stored("w", np.eye(4))])


def doubling_calls() -> bytes:
    """y = f(x)·f(x), of that again forty times: 2^40 calls, were each to call both."""
    nodes = [node("Sin", ["x"], "v0")]
    nodes += [node("Mul", [f"v{index}", f"v{index}"], f"v{index + 1}") for index in range(40)]
    return called_to_the_end(nodes, "v40")


def nested_calls() -> bytes:
    nodes = [node("Sin", ["x" if index == 0 else f"v{index - 1}"], f"v{index}") for index in range(1000)]
    return called_to_the_end(nodes, "v999")


def branching_tail() -> bytes:
    """Sixteen joins of fifty times the same value after the logits: 50^16 ways back."""
    nodes = [node("Gemm", ["x", "w"], "v0")]
    nodes += [node("Concat", [f"v{index}"] * 50, f"v{index + 1}", axis=1) for index in range(16)]
    return model(nodes, [stored("w", np.eye(4))], output="v16")


def deep_tail() -> bytes:
    nodes = [node("Frobnicate", ["x"], "v0")]
    nodes += [node("Identity", [f"v{index}"], f"v{index + 1}") for index in range(1000)]
    return model(nodes, output="v1000")


def doubling_values() -> bytes:
    """A value joined to itself thirty times: 2^32 channels, and not one multiplication."""
    nodes = [node("Concat", ["x" if index == 0 else f"v{index - 1}"] * 2, f"v{index}", axis=1) for index in range(30)]
    return model([*nodes, node("Gemm", ["v29", "w"], "y")], [stored("w", np.eye(4))])


def padded_to_death() -> bytes:
    pads = stored("pads", [0, 0, 1 << 30, 1 << 30, 0, 0, 1 << 30, 1 << 30], np.int64)
    return model([node("Pad", ["x", "pads"], "v"), node("GlobalMaxPool", ["v"], "y")], [pads], (1, 2, 2))


def pools_of_everything() -> bytes:
    """Windows as large as the image at every place of it: 2^40 comparisons, no weights at all."""
    window = {"kernel_shape": [300, 300], "pads": [299] * 4, "strides": [1, 1]}
    nodes = [node("MaxPool", ["x"], "v", **window), node("GlobalMaxPool", ["v"], "w"), node("Flatten", ["w"], "y")]
    return model(nodes, shape=(1, 300, 300))


def thousand_images() -> bytes:
    """Eight hundred values of a million each, all still to be read at the end: no weights at all."""
    pads = stored("pads", [0, 0, 400, 400, 0, 0, 400, 400], np.int64)
    nodes = [node("Pad", ["x", "pads"], "v0")]
    nodes += [node("Abs" if index % 2 else "Sin", [f"v{index}"], f"v{index + 1}") for index in range(800)]
    sums = [node("MaxPool", [f"v{index}"], f"p{index}", kernel_shape=[1, 1]) for index in range(100)]
    last = node("Frobnicate", ["v800", *(f"p{index}" for index in range(100))], "y")
    return model([*nodes, *sums, last], [pads], (1, 200, 200))


def huge_dilation() -> bytes:
    weights = stored("w", np.ones((1, 1, 2, 2)))
    return model([node("Conv", ["x", "w"], "y", dilations=[1 << 40, 1 << 40])], [weights], (1, 4, 4))


def huge_stride() -> bytes:
    weights = stored("w", np.ones((1, 1, 2, 2)))
    return model([node("Conv", ["x", "w"], "y", strides=[1 << 62, 0])], [weights], (1, 4, 4))


def long_shape() -> bytes:
    return model([node("Reshape", ["x", "shape"], "y")], [stored("shape", np.ones(4 << 20), np.int64)])


def overflowing_scales() -> bytes:
    """3·10³⁸ times itself until it is infinite: NaN in every weight, were they folded."""
    nodes = [node("Gemm", ["x", "w"], "v0")]
    nodes += [node("Mul", [f"v{index}", "large"], f"v{index + 1}") for index in range(20)]
    return model([*nodes, node("Gemm", ["v20", "w"], "y")], [stored("w", np.eye(4)), stored("large", np.full(4, 3e38))])


def no_variance() -> bytes:
    constants = [stored(name, np.zeros(4)) for name in ("s", "b", "m")] + [stored("v", np.full(4, -1.0))]
    return model([node("BatchNormalization", ["x", "s", "b", "m", "v"], "y")], constants)


def missing_inputs() -> bytes:
    return model([node("Conv", [], "a"), node("Gemm", [], "y")])


def no_output() -> bytes:
    made = ModelProto.FromString(model([node("Relu", ["x"], "y")]))
    del made.graph.output[:]
    return bytes(made.SerializeToString())


def typeless_input() -> bytes:
    made = ModelProto.FromString(model([node("Relu", ["x"], "y")]))
    made.graph.input[0].CopyFrom(ValueInfoProto(name="x"))
    return bytes(made.SerializeToString())


FILES: dict[str, Callable[[], bytes]] = {
    "external data by absolute path": lambda: external("/etc/passwd"),
    "external data by relative path": lambda: external("../../../../etc/passwd"),
    "external data of an endless device": lambda: external("/dev/zero"),
    "external data of a constant": external_constant,
    "declared shape of exabytes": lambda: declared([1 << 31, 1 << 31]),
    "declared shape that overflows": lambda: declared([1 << 62, 1 << 62, 16]),
    "declared shape that is negative": lambda: declared([-1, 4]),
    "declared shape of no element": lambda: declared([0, 4]),
    "declared shape of a thousand dimensions": lambda: declared([1] * 1000, bytes(4)),
    "declared shape beyond its data": lambda: declared([1024, 1024], bytes(16)),
    "input of exabytes": lambda: input_of((1 << 31, 1 << 31)),
    "input of forty dimensions": lambda: input_of_rank(40),
    **{
        each.__name__.replace("_", " "): each
        for each in (
            cycle, unknown_domain, unnamed_domain, giant_initializer, shared_weights, doubling_constants,
            gathered_constants, broadcast_constants, doubling_calls, nested_calls, branching_tail, deep_tail,
            doubling_values, padded_to_death, pools_of_everything, thousand_images, huge_dilation, huge_stride,
            long_shape, overflowing_scales, no_variance, missing_inputs, no_output, typeless_input,
        )
    },
}  # fmt: skip


def main() -> None:
    from models.form import RefusedModel
    from models.quantizer import quantize

    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    for name, make in FILES.items():
        data = make()
        began = time.process_time()
        try:
            quantize(data, np.full((16, 4), 200, np.uint8))
            kind, said = "accepted", ""
        except RefusedModel as refused:
            kind, said = "refused", str(refused)
        except Exception as error:
            kind, said = "failed", f"{type(error).__name__}: {error}"
        line = {"file": name, "kind": kind, "said": said, "seconds": time.process_time() - began}
        sys.stdout.write(json.dumps(line) + "\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
