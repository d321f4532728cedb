"""Every rule of the canonical form is raised by a file that breaks it, and no file, however made, gets past the reader."""

from __future__ import annotations

import os
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, helper, numpy_helper

from models.canonical import MAX_LAYERS, RULES, from_onnx, to_onnx
from models.form import NotCanonical, check_network
from models.interpreter import run
from models.network import (
    Add,
    AveragePool,
    Concat,
    Conv,
    Dense,
    IntegerNetwork,
    MaxPool,
    Pad,
    Reshape,
    Table,
    Transpose,
)
from models.onnx_file import MAX_FILE_BYTES, MAX_STRUCTURE_BYTES
from models.runtime import onnxruntime
from tests.models.random_networks import hazard_rows, random_networks
from tests.models.registry import constant_network

Change = Callable[[ModelProto], ModelProto | bytes | None]


def network() -> IntegerNetwork:
    hidden = Dense(
        np.array([[1, -2, 3], [63, -63, 5], [0, 7, 0], [9, 9, 9]], np.int8),
        np.array([5, -6, 7, 0], np.int32),
        np.array([0, 6, 2, 3], np.uint8),
    )
    return IntegerNetwork(
        (hidden, Dense(np.array([[1, 2, 3, 4], [-4, 3, -2, 1]], np.int8), np.array([1, -1], np.int32), None))
    )


def graph() -> IntegerNetwork:
    """Every operator once: rows as images of 2 channels, a convolution and its residual, two pools joined, the logits."""
    kernels = np.arange(-9, 9, dtype=np.int8).reshape(2, 1, 3, 3)
    bias, shifts = np.array([5, -5], np.int32), np.array([2, 3], np.uint8)
    last = Dense(np.array([range(36), range(0, -36, -1)], np.int8), bias, None)
    return IntegerNetwork(
        (
            Reshape((2, 4, 4)),
            Conv(kernels, bias, shifts, strides=(1, 1), pads=((1, 1), (1, 1)), groups=2),
            Add(np.array([[1, 2], [3, 4]], np.int8), bias, shifts),
            MaxPool((2, 2), (2, 2), ((0, 0), (0, 0))),
            AveragePool((2, 2), (3, 3), ((1, 1), (1, 1))),
            Table(np.arange(255, -1, -1, dtype=np.uint8)),
            Concat(),
            Pad(((1, 0), (0, 1)), 7),
            Transpose((0, 2, 1)),
            Reshape((36,)),
            last,
        ),
        ((0,), (1,), (1, 2), (3,), (3,), (5,), (4, 6), (7,), (8,), (9,), (10,)),
    )


def node(model: ModelProto, name: str) -> NodeProto:
    found: NodeProto = next(node for node in model.graph.node if node.name == name)
    return found


def tensor(model: ModelProto, name: str) -> TensorProto:
    found: TensorProto = next(tensor for tensor in model.graph.initializer if tensor.name == name)
    return found


def replace(model: ModelProto, name: str, values: np.ndarray) -> None:
    tensor(model, name).CopyFrom(numpy_helper.from_array(values, name))


def too_large(model: ModelProto) -> bytes:
    return bytes(MAX_FILE_BYTES + 1)


def bloated(model: ModelProto) -> bytes:
    """Two-byte empty nodes: a parser makes of each an object a hundred times its size."""
    graph = b"\x0a\x00" * (MAX_STRUCTURE_BYTES // 2 + 1)
    return b"\x3a" + bytes([len(graph) & 127 | 128, len(graph) >> 7 & 127 | 128, len(graph) >> 14]) + graph


def bloated_tensor(model: ModelProto) -> None:
    for _ in range(MAX_STRUCTURE_BYTES // 2):
        tensor(model, "dense0.weights").string_data.append(b"")


def many_nodes(model: ModelProto) -> None:
    for index in range(2000):
        model.graph.node.append(helper.make_node("Relu", ["rows"], [f"r{index}"]))


def not_protobuf(model: ModelProto) -> bytes:
    return b"this is not a model"


def truncated(model: ModelProto) -> bytes:
    return bytes(model.SerializeToString()[:-7])


def other_opset_domain(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("com.microsoft", 1))


def other_node_domain(model: ModelProto) -> None:
    node(model, "dense0.sums").domain = "com.microsoft"


def old_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 12


def future_opset(model: ModelProto) -> None:
    model.opset_import[0].version = 1 << 40


def two_opsets(model: ModelProto) -> None:
    model.opset_import.append(helper.make_opsetid("ai.onnx", 17))


def no_opset(model: ModelProto) -> None:
    del model.opset_import[:]


def local_function(model: ModelProto) -> None:
    model.functions.append(helper.make_function("evil", "Gemm", [], [], [], [helper.make_opsetid("", 17)]))


def control_flow(model: ModelProto) -> None:
    branch = helper.make_graph([], "branch", [], [])
    node(model, "dense1.sums").attribute.append(helper.make_attribute("then_branch", branch))


def training_info(model: ModelProto) -> None:
    model.training_info.add()


def sparse_weights(model: ModelProto) -> None:
    model.graph.sparse_initializer.add()


def external_location(model: ModelProto) -> None:
    weights = tensor(model, "dense0.weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="/etc/passwd")


def external_beside_raw(model: ModelProto) -> None:
    tensor(model, "dense0.weights").external_data.add(key="location", value="../weights")


def name_twice(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((4, 3), np.int8), "dense0.weights"))


def output_twice(model: ModelProto) -> None:
    node(model, "dense1.sums").output[0] = "dense0.sums"


def two_inputs(model: ModelProto) -> None:
    model.graph.input.append(helper.make_tensor_value_info("more", TensorProto.UINT8, ["n", 3]))


def float_input(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.elem_type = TensorProto.FLOAT


def input_of_rank_three(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim.add().dim_value = 1


def lying_row_length(model: ModelProto) -> None:
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = 4


def two_outputs(model: ModelProto) -> None:
    model.graph.output.append(helper.make_tensor_value_info("dense0.sums", TensorProto.FLOAT, ["n", 4]))


def output_inside(model: ModelProto) -> None:
    model.graph.output[0].name = "dense1.sums"


def float_output(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.elem_type = TensorProto.FLOAT


def lying_output_length(model: ModelProto) -> None:
    model.graph.output[0].type.tensor_type.shape.dim[1].dim_value = 3


def logits_read(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("ArgMax", ["logits"], ["class"]))


def relu(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["dense0.sums"], ["positive"], "relu"))
    node(model, "dense0.bytes").input[0] = "positive"


def weights_without_dequantise(model: ModelProto) -> None:
    node(model, "dense0.sums").input[1] = "dense0.weights"


def dead_node(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("MaxPool", ["one"], ["dead"], kernel_shape=[1]))


def dead_weights(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("DequantizeLinear", ["dense0.weights", "one"], ["dead"]))


def read_twice(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("Relu", ["dense0.sums"], ["again"]))


def cycle(model: ModelProto) -> None:
    node(model, "dense0.activations").input[0] = "dense0.bytes"


def cycle_beyond_the_input(model: ModelProto) -> None:
    node(model, "dense1.activations").input[0] = "rows"
    node(model, "dense0.activations").input[0] = "dense0.bytes"


def shared_weights(model: ModelProto) -> None:
    node(model, "dense1.sums").input[1] = "dense0.real_weights"


def activations_second(model: ModelProto) -> None:
    inputs = node(model, "dense0.sums").input
    inputs[0], inputs[1] = inputs[1], inputs[0]


def missing_bias(model: ModelProto) -> None:
    del node(model, "dense0.sums").input[2]


def gemm_alpha(model: ModelProto) -> None:
    node(model, "dense0.sums").attribute.append(helper.make_attribute("alpha", 0.5))


def gemm_alpha_nan(model: ModelProto) -> None:
    node(model, "dense0.sums").attribute.append(helper.make_attribute("alpha", float("nan")))


def cast_to_float(model: ModelProto) -> None:
    node(model, "dense1.logits").attribute[0].i = TensorProto.FLOAT


def unknown_attribute(model: ModelProto) -> None:
    node(model, "dense0.bytes").attribute.append(helper.make_attribute("block_size", 2))


def text_attribute(model: ModelProto) -> None:
    node(model, "dense0.real_bias").attribute[0].CopyFrom(helper.make_attribute("axis", "zero"))


def attribute_reference(model: ModelProto) -> None:
    reference = AttributeProto(name="axis", type=AttributeProto.INT, ref_attr_name="axis")
    node(model, "dense0.real_bias").attribute[0].CopyFrom(reference)


def attribute_twice(model: ModelProto) -> None:
    node(model, "dense0.sums").attribute.append(helper.make_attribute("transB", 0))


def computed_weights(model: ModelProto) -> None:
    node(model, "dense0.real_weights").input[0] = "computed elsewhere"


def short_data(model: ModelProto) -> None:
    weights = tensor(model, "dense0.weights")
    weights.raw_data = weights.raw_data[:-1]


def huge_shape(model: ModelProto) -> None:
    del tensor(model, "dense0.weights").dims[:]
    tensor(model, "dense0.weights").dims.extend([1 << 31, 1 << 31])


def empty_weights(model: ModelProto) -> None:
    replace(model, "dense0.weights", np.zeros((0, 3), np.int8))


def unsigned_weights(model: ModelProto) -> None:
    replace(model, "dense0.weights", np.ones((4, 3), np.uint8))


def layers_that_do_not_fit(model: ModelProto) -> None:
    replace(model, "dense1.weights", np.ones((2, 5), np.int8))


def bias_of_another_length(model: ModelProto) -> None:
    replace(model, "dense0.bias", np.ones(3, np.int32))


def scales_along_inputs(model: ModelProto) -> None:
    node(model, "dense0.real_weights").attribute[0].i = 1


def scales_of_another_length(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.ones(3, np.float32))


def activation_scale(model: ModelProto) -> None:
    replace(model, "one", np.array(0.5, np.float32))


def activation_scale_nan(model: ModelProto) -> None:
    replace(model, "one", np.array(np.nan, np.float32))


def activation_zero_point(model: ModelProto) -> None:
    replace(model, "zero", np.array(1, np.uint8))


def weight_zero_point(model: ModelProto) -> None:
    replace(model, "dense0.weight_zeros", np.array([0, 0, 1, 0], np.int8))


def bias_zero_point(model: ModelProto) -> None:
    replace(model, "dense0.bias_zeros", np.array([0, 0, 1, 0], np.int32))


def arbitrary_scale(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, 0.3, 1, 1], np.float32))


def scale_of_two(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, 2, 1, 1], np.float32))


def vanishing_scale(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, 2**-25, 1, 1], np.float32))


def scale_zero(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, 0, 1, 1], np.float32))


def scale_negative(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, -0.5, 1, 1], np.float32))


def scale_infinite(model: ModelProto) -> None:
    replace(model, "dense0.scales", np.array([1, np.inf, 1, np.nan], np.float32))


def bias_with_other_scales(model: ModelProto) -> None:
    model.graph.initializer.append(numpy_helper.from_array(np.ones(4, np.float32), "other"))
    node(model, "dense0.real_bias").input[1] = "other"


def scaled_logits(model: ModelProto) -> None:
    replace(model, "dense1.scales", np.array([1, 0.5], np.float32))


def heavy_weight(model: ModelProto) -> None:
    weights = network().layers[0].weights.copy()
    weights[1, 1] = -64
    replace(model, "dense0.weights", weights)


def weight_of_minus_128(model: ModelProto) -> None:
    weights = network().layers[0].weights.copy()
    weights[1, 1] = -128
    replace(model, "dense0.weights", weights)


def bias_at_the_bound(model: ModelProto) -> None:
    reach = int(np.abs(network().layers[0].weights[1].astype(int)).sum()) * 255
    replace(model, "dense0.bias", np.array([0, (1 << 24) - reach, 0, 0], np.int32))


def bias_of_minus_2_31(model: ModelProto) -> None:
    replace(model, "dense0.bias", np.array([0, -(1 << 31), 0, 0], np.int32))


BROKEN: dict[str, list[Change]] = {
    "size": [too_large, bloated, bloated_tensor, many_nodes],
    "parse": [
        not_protobuf,
        truncated,
        lambda model: b"",
        lambda model: b"\x3a\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",
    ],
    "domain": [other_opset_domain, other_node_domain],
    "opset": [old_opset, future_opset, two_opsets, no_opset],
    "function": [local_function],
    "subgraph": [control_flow],
    "plain": [training_info, sparse_weights],
    "external-data": [external_location, external_beside_raw],
    "names": [name_twice, output_twice],
    "input": [two_inputs, float_input, input_of_rank_three, lying_row_length],
    "output": [two_outputs, output_inside, float_output, lying_output_length, logits_read],
    "operator": [relu, weights_without_dequantise],
    "chain": [
        dead_node,
        dead_weights,
        read_twice,
        cycle,
        cycle_beyond_the_input,
        shared_weights,
        activations_second,
        missing_bias,
    ],
    "attribute": [
        gemm_alpha,
        gemm_alpha_nan,
        cast_to_float,
        unknown_attribute,
        text_attribute,
        attribute_reference,
        attribute_twice,
    ],
    "constant": [computed_weights],
    "tensor": [short_data, huge_shape, empty_weights, unsigned_weights],
    "shape": [layers_that_do_not_fit, bias_of_another_length, scales_along_inputs, scales_of_another_length],
    "activation": [activation_scale, activation_scale_nan, activation_zero_point],
    "zero-point": [weight_zero_point, bias_zero_point],
    "power-of-two": [
        arbitrary_scale,
        scale_of_two,
        vanishing_scale,
        scale_zero,
        scale_negative,
        scale_infinite,
        bias_with_other_scales,
    ],
    "logits": [scaled_logits],
    "weight-range": [heavy_weight, weight_of_minus_128],
    "sum-bound": [bias_at_the_bound, bias_of_minus_2_31],
}


def give(model: ModelProto, name: str, attribute: str, value: object) -> None:
    """Set a node's attribute."""
    attributes = node(model, name).attribute
    kept = [each for each in attributes if each.name != attribute]
    del attributes[:]
    attributes.extend([*kept, helper.make_attribute(attribute, value)])


def giving(name: str, attribute: str, value: object) -> Change:
    return lambda model: give(model, name, attribute, value)


def holding(name: str, values: object, kind: type) -> Change:
    return lambda model: replace(model, name, np.array(values, kind))


def reading(name: str, place: int, value: str) -> Change:
    def change(model: ModelProto) -> None:
        node(model, name).input[place] = value

    return change


def average_over_three(model: ModelProto) -> None:
    give(model, "averagepool4.means", "kernel_shape", [3, 1])


def dead_table(model: ModelProto) -> None:
    model.graph.node.insert(1, helper.make_node("Cast", ["rows"], ["dead places"], to=TensorProto.INT32))
    model.graph.node.insert(2, helper.make_node("Gather", ["table5.entries", "dead places"], ["dead"]))


def unsorted(model: ModelProto) -> None:
    nodes = [NodeProto.FromString(item.SerializeToString()) for item in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend(reversed(nodes))


def cycle_of_two(model: ModelProto) -> None:
    node(model, "maxpool3.bytes").input[0] = "transpose8.bytes"


def logits_pooled(model: ModelProto) -> None:
    model.graph.node.append(helper.make_node("MaxPool", ["logits"], ["more"], kernel_shape=[1]))


def weights_read_over_and_over(model: ModelProto) -> None:
    """One stored matrix of 1 MiB as the weights of a hundred layers: a small file that would fill the memory."""
    large = constant_network([1024, 1024, 1024])
    model.CopyFrom(to_onnx(large))
    block = [item for item in model.graph.node if item.name.startswith("dense0")]
    last = [item for item in model.graph.node if item.name.startswith("dense1")]
    copies = []
    value = "rows"
    for index in range(100):
        for item in block:
            copy = NodeProto.FromString(item.SerializeToString())
            copy.name = f"{copy.name}.{index}"
            for place, name in enumerate(copy.input):
                if name in {other.output[0] for other in block}:
                    copy.input[place] = f"{name}.{index}"
            if copy.input[0] == "rows":
                copy.input[0] = value
            copy.output[0] = f"{copy.output[0]}.{index}"
            copies.append(copy)
        value = copies[-1].output[0]
    last[0].input[0] = value
    del model.graph.node[: len(block)]
    kept = [NodeProto.FromString(item.SerializeToString()) for item in model.graph.node]
    del model.graph.node[:]
    model.graph.node.extend([*copies, *kept])


BROKEN_GRAPHS: list[tuple[str, Change]] = [
    ("subgraph", giving("transpose8.bytes", "then", helper.make_graph([], "g", [], []))),
    ("chain", dead_table),
    ("chain", unsorted),
    ("chain", cycle_of_two),
    ("chain", reading("concat6.bytes", 1, "nowhere")),
    ("chain", reading("concat6.bytes", 1, "averagepool4.means")),
    ("chain", reading("add2.products1", 0, "add2.real_weights1")),
    ("chain", reading("conv1.sums", 0, "conv1.real_weights")),
    ("output", logits_pooled),
    ("attribute", giving("conv1.sums", "auto_pad", "SAME_UPPER")),
    ("attribute", giving("conv1.sums", "dilations", [2, 2])),
    ("attribute", giving("conv1.sums", "group", [2])),
    ("attribute", giving("conv1.sums", "pads", 1)),
    ("attribute", giving("maxpool3.bytes", "ceil_mode", 1)),
    ("attribute", giving("maxpool3.bytes", "storage_order", 1)),
    ("attribute", giving("maxpool3.bytes", "auto_pad", "VALID")),
    ("attribute", giving("maxpool3.bytes", "dilations", [2, 2])),
    ("attribute", giving("averagepool4.means", "count_include_pad", 0)),
    ("attribute", giving("averagepool4.means", "ceil_mode", 1)),
    ("attribute", giving("averagepool4.activations", "to", TensorProto.DOUBLE)),
    ("attribute", giving("table5.places", "to", TensorProto.INT64)),
    ("attribute", giving("table5.bytes", "axis", 1)),
    ("attribute", giving("add2.activations1", "to", TensorProto.DOUBLE)),
    ("attribute", giving("concat6.bytes", "axis", 2)),
    ("attribute", giving("pad7.bytes", "mode", "reflect")),
    ("attribute", holding("pad7.pads", [1, 0, 1, 0, 0, 0, 0, 1], np.int64)),
    ("attribute", holding("reshape9.shape", [-1, 36], np.int64)),
    ("attribute", holding("reshape9.shape", [0, -1], np.int64)),
    ("attribute", holding("reshape9.shape", [0], np.int64)),
    ("attribute", giving("reshape9.bytes", "allowzero", 1)),
    ("attribute", giving("transpose8.bytes", "perm", [1, 0, 2, 3])),
    ("window", giving("conv1.sums", "strides", [0, 1])),
    ("window", giving("conv1.sums", "strides", [1])),
    ("window", giving("conv1.sums", "pads", [3, 3, 3, 3])),
    ("window", giving("conv1.sums", "pads", [-1, -1, 3, 3])),
    ("window", giving("maxpool3.bytes", "pads", [2, 0, 0, 0])),
    ("window", giving("maxpool3.bytes", "kernel_shape", [1 << 62, 1, 1])),
    ("window", average_over_three),
    ("window", holding("pad7.pads", [0, 0, -1, 0, 0, 0, 0, 0], np.int64)),
    ("shape", giving("conv1.sums", "group", 1)),
    ("shape", giving("conv1.sums", "group", 0)),
    ("shape", giving("conv1.sums", "group", -2)),
    ("shape", giving("conv1.sums", "kernel_shape", [2, 2])),
    ("shape", giving("maxpool3.bytes", "kernel_shape", [5, 5])),
    ("shape", holding("table5.entries", range(255), np.uint8)),
    ("tensor", holding("table5.entries", range(256), np.int64)),
    ("shape", holding("add2.weights1", [[[1, 1]], [[1, 1]]], np.int8)),
    ("shape", holding("add2.weights1", [1, 1, 1], np.int8)),
    ("shape", holding("reshape9.shape", [0, 35], np.int64)),
    ("shape", holding("reshape9.shape", [0, *[1] * 20], np.int64)),
    ("shape", holding("reshape0.shape", [0, 1 << 40, 1 << 40], np.int64)),
    ("shape", giving("transpose8.bytes", "perm", [0, 1, 1, 2])),
    ("shape", reading("add2.activations0", 0, "rows")),
    ("size", holding("pad7.pads", [0, 0, 1 << 40, 0, 0, 0, 0, 0], np.int64)),
    ("size", weights_read_over_and_over),
    ("activation", holding("one", 2, np.float32)),
    ("power-of-two", holding("add2.scales", [0.3, 0.5], np.float32)),
    ("weight-range", holding("add2.weights0", [[[64]], [[1]]], np.int8)),
    ("sum-bound", holding("add2.bias", [[[1 << 24]], [[0]]], np.int32)),
    ("constant", reading("table5.bytes", 0, "rows")),
    ("constant", reading("reshape9.bytes", 1, "rows")),
]


@pytest.mark.parametrize(("rule", "change"), BROKEN_GRAPHS)
def test_a_graph_that_breaks_a_rule_is_refused_by_that_rule(rule: str, change: Change) -> None:
    model = to_onnx(graph())
    assert from_onnx(model.SerializeToString()).reads == graph().reads
    change(model)
    with pytest.raises(NotCanonical) as refused:
        from_onnx(model.SerializeToString())
    assert refused.value.rule == rule, str(refused.value)
    assert refused.value.node and refused.value.advice


def test_every_rule_has_a_file_that_breaks_it() -> None:
    assert set(BROKEN) | {rule for rule, _ in BROKEN_GRAPHS} == set(RULES)


@pytest.mark.parametrize(("rule", "change"), [(rule, change) for rule, changes in BROKEN.items() for change in changes])
def test_a_file_that_breaks_a_rule_is_refused_by_that_rule(rule: str, change: Change) -> None:
    model = to_onnx(network())
    changed = change(model)
    data = changed if isinstance(changed, bytes) else model.SerializeToString()
    with pytest.raises(NotCanonical) as refused:
        from_onnx(data)
    assert refused.value.rule == rule
    assert refused.value.node and refused.value.advice
    assert str(refused.value) == f"{refused.value.node}: {rule}: {refused.value.advice}"


def test_a_refusal_names_the_node() -> None:
    model = to_onnx(network())
    relu(model)
    with pytest.raises(NotCanonical, match=r"'relu' \(Relu\): operator: .* drop it"):
        from_onnx(model.SerializeToString())


def test_a_name_cannot_write_to_the_terminal() -> None:
    model = to_onnx(network())
    node(model, "dense0.sums").op_type = "\x1b[2JBad\n" + "x" * 10_000
    with pytest.raises(NotCanonical) as refused:
        from_onnx(model.SerializeToString())
    assert str(refused.value).isprintable() and len(str(refused.value)) < 400


def test_a_file_is_read_from_its_path_like_its_bytes(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(to_onnx(network()).SerializeToString())
    assert to_onnx(from_onnx(path)) == to_onnx(from_onnx(path.read_bytes())) == to_onnx(network())
    path.write_bytes(b"")
    with pytest.raises(NotCanonical, match="empty"):
        from_onnx(path)
    with pytest.raises(FileNotFoundError):
        from_onnx(tmp_path / "absent.onnx")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    with pytest.raises(NotCanonical, match="size"):
        from_onnx("/dev/zero")


def as_matmul(model: ModelProto) -> None:
    """The same network spelled MatMul + Add, weights transposed, names changed, one scale for all channels of the last."""
    nodes: list[NodeProto] = []
    for item in model.graph.node:
        if item.op_type != "Gemm":
            nodes.append(item)
            continue
        nodes.append(helper.make_node("MatMul", list(item.input[:2]), [item.output[0] + "!"]))
        nodes.append(helper.make_node("Add", [item.input[2], item.output[0] + "!"], list(item.output)))
    copies = [NodeProto.FromString(item.SerializeToString()) for item in nodes]
    del model.graph.node[:]
    model.graph.node.extend(copies)
    for index in (0, 1):
        weights = numpy_helper.to_array(tensor(model, f"dense{index}.weights"))
        replace(model, f"dense{index}.weights", np.ascontiguousarray(weights.T))
        node(model, f"dense{index}.real_weights").attribute[0].i = -1
    replace(model, "dense1.scales", np.array(1, np.float32))
    replace(model, "dense1.weight_zeros", np.array(0, np.int8))
    replace(model, "dense1.bias_zeros", np.array(0, np.int32))


def test_matmul_with_add_reads_as_the_same_network_and_runs_alike() -> None:
    model = to_onnx(network())
    as_matmul(model)
    onnx.checker.check_model(model)
    data = model.SerializeToString()
    assert to_onnx(from_onnx(data)) == to_onnx(network())
    rows = hazard_rows(network(), 500, np.random.default_rng(0))
    session = onnxruntime.InferenceSession(data, providers=["CPUExecutionProvider"])
    np.testing.assert_array_equal(session.run(None, {"rows": rows})[0], run(network(), rows))


def test_what_is_written_is_valid_onnx() -> None:
    for other in random_networks(seed=4, count=10):
        onnx.checker.check_model(to_onnx(other), full_check=True)


@pytest.mark.parametrize("made", [network, graph])
def test_no_mutation_of_a_file_escapes_the_reader(made: Callable[[], IntegerNetwork]) -> None:
    """Whatever bytes come in, either NotCanonical goes out or a network within every bound."""
    good = to_onnx(made()).SerializeToString()
    chance = random.Random(int(os.environ.get("QUORATE_TEST_SEED", "5")))
    accepted = refused = 0
    for _ in range(3000):
        data = bytearray(good)
        for _ in range(chance.randint(1, 4)):
            place = chance.randrange(len(data))
            kind = chance.randrange(3)
            if kind == 0:
                data[place] = chance.randrange(256)
            elif kind == 1:
                del data[place : place + chance.randint(1, 8)]
            else:
                data[place:place] = bytes(chance.randrange(256) for _ in range(chance.randint(1, 8)))
        try:
            found = from_onnx(bytes(data))
        except NotCanonical as error:
            assert error.rule in RULES
            refused += 1
        else:
            check_network(found)
            accepted += 1
    assert refused > 1000 and accepted > 10


def test_a_graph_without_nodes_is_refused() -> None:
    model = helper.make_model(GraphProto(), opset_imports=[helper.make_opsetid("", 17)])
    with pytest.raises(NotCanonical, match="size"):
        from_onnx(model.SerializeToString())


def test_the_deepest_file_that_is_written_is_read_back_and_a_deeper_one_is_not_written() -> None:
    deepest = constant_network([1] * (MAX_LAYERS + 1), weight=63, bias=3, shift=6)
    model = to_onnx(deepest)
    assert to_onnx(from_onnx(model.SerializeToString())) == model
    with pytest.raises(NotCanonical, match=f"{MAX_LAYERS + 1} layers: a file holds at most {MAX_LAYERS}"):
        to_onnx(constant_network([1] * (MAX_LAYERS + 2)))
