"""Float ONNX graphs node for node as PyTorch, tf2onnx and others export them, with random weights."""

from __future__ import annotations

from typing import Any

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper


class Graph:
    """A graph under construction: each call of `node` appends one and gives its output's name."""

    def __init__(self, shape: tuple[int, ...], seed: int = 0) -> None:
        self.shape = shape
        self.rng = np.random.default_rng(seed)
        self.nodes: list[Any] = []
        self.constants: list[TensorProto] = []

    def constant(self, values: Any, kind: Any = np.float32) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.asarray(values, kind), name))
        return name

    def node(self, operator: str, *inputs: str, name: str = "", **attributes: Any) -> str:
        output = f"v{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, inputs, [output], name or f"/{operator}_{len(self.nodes)}", **attributes)
        )
        return output

    def conv(
        self, value: str, inputs: int, outputs: int, side: int | tuple[int, ...] = 3, groups: int = 1, **attributes: Any
    ) -> str:
        kernel = (side, side) if isinstance(side, int) else side
        fan = inputs // groups * int(np.prod(kernel))
        weights = self.constant(self.rng.normal(0, (2 / fan) ** 0.5, (outputs, inputs // groups, *kernel)))
        bias = self.constant(self.rng.normal(0, 0.1, outputs))
        return self.node("Conv", value, weights, bias, kernel_shape=kernel, group=groups, **attributes)

    def norm(self, value: str, channels: int) -> str:
        parts = [self.rng.uniform(0.5, 1.5, channels), self.rng.normal(0, 0.3, channels)]
        parts += [self.rng.normal(0, 0.3, channels), self.rng.uniform(0.5, 1.5, channels)]
        return self.node("BatchNormalization", value, *map(self.constant, parts), epsilon=1e-5, momentum=0.9)

    def gemm(self, value: str, inputs: int, outputs: int) -> str:
        weights = self.constant(self.rng.normal(0, (1 / inputs) ** 0.5, (outputs, inputs)))
        return self.node("Gemm", value, weights, self.constant(self.rng.normal(0, 0.1, outputs)), transB=1)

    def model(self, *outputs: str, opset: int = 17) -> bytes:
        declared = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
        rows = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", *self.shape])
        graph = helper.make_graph(self.nodes, "main_graph", [rows], declared, self.constants)
        made: ModelProto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)
        return bytes(made.SerializeToString())


def normalised(graph: Graph) -> str:
    """The input as PyTorch models often take it: bytes to 0…1, then each channel less its mean over its deviation."""
    channels = graph.shape[0]
    means, spreads = np.linspace(0.4, 0.5, channels), np.linspace(0.2, 0.3, channels)
    shares = graph.node("Div", "x", graph.constant(255.0))
    centred = graph.node("Sub", shares, graph.constant(means.reshape(1, -1, 1, 1)))
    return graph.node("Div", centred, graph.constant(spreads.reshape(1, -1, 1, 1)))


def pytorch_cnn() -> bytes:
    """nn.Sequential(Conv, BatchNorm, ReLU, MaxPool, Conv, BatchNorm, ReLU, AdaptiveAvgPool, Flatten, Linear)."""
    graph = Graph((3, 12, 12))
    value = graph.norm(graph.conv(normalised(graph), 3, 8, pads=[1, 1, 1, 1]), 8)
    value = graph.node("MaxPool", graph.node("Relu", value), kernel_shape=[2, 2], strides=[2, 2], ceil_mode=0)
    value = graph.node("Relu", graph.norm(graph.conv(value, 8, 12, pads=[1, 1, 1, 1], strides=[1, 1]), 12))
    value = graph.node("Flatten", graph.node("GlobalAveragePool", value), axis=1)
    return graph.model(graph.gemm(value, 12, 5))


def pytorch_resnet() -> bytes:
    """Two residual blocks, the second with a projection; flattened by x.view(x.size(0), -1) as older exporters write it."""
    graph = Graph((3, 8, 8), seed=1)
    value = graph.node("Relu", graph.norm(graph.conv(normalised(graph), 3, 8, pads=[1] * 4), 8))
    for inputs, outputs, stride in ((8, 8, 1), (8, 16, 2)):
        inner = graph.norm(graph.conv(value, inputs, outputs, pads=[1] * 4, strides=[stride] * 2), outputs)
        inner = graph.norm(graph.conv(graph.node("Relu", inner), outputs, outputs, pads=[1] * 4), outputs)
        if stride > 1:
            value = graph.norm(graph.conv(value, inputs, outputs, 1, strides=[stride] * 2), outputs)
        value = graph.node("Relu", graph.node("Add", inner, value))
    value = graph.node("ReduceMean", value, axes=[2, 3], keepdims=1)
    size = graph.node("Gather", graph.node("Shape", value), graph.constant(0, np.int64), axis=0)
    size = graph.node("Unsqueeze", size, graph.constant([0], np.int64))
    shape = graph.node("Concat", size, graph.constant([-1], np.int64), axis=0)
    return graph.model(graph.gemm(graph.node("Reshape", value, shape), 16, 4))


def pytorch_mobile() -> bytes:
    """Depthwise separable convolutions with ReLU6, HardSwish and SiLU, an explicit Pad, a classifier ending in Softmax."""
    graph = Graph((3, 10, 10), seed=2)
    value = graph.conv(normalised(graph), 3, 8, strides=[2, 2], pads=[1] * 4)
    value = graph.node("Clip", graph.norm(value, 8), graph.constant(0.0), graph.constant(6.0))
    value = graph.node("Pad", value, graph.constant([0, 0, 0, 0, 0, 0, 1, 1], np.int64), graph.constant(0.0))
    value = graph.node("HardSwish", graph.norm(graph.conv(value, 8, 8, groups=8), 8))
    value = graph.norm(graph.conv(value, 8, 16, 1), 16)
    value = graph.node("Mul", value, graph.node("Sigmoid", value))
    value = graph.node("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
    value = graph.node("Reshape", value, graph.constant([0, -1], np.int64))
    return graph.model(graph.node("Softmax", graph.gemm(value, 64, 6), axis=1))


def pytorch_gelu_mlp() -> bytes:
    """Linear, GELU as five nodes, LayerScale, residual, Linear on flattened 6×6 images."""
    graph = Graph((1, 6, 6), seed=3)
    value = graph.gemm(graph.node("Flatten", graph.node("Div", "x", graph.constant(255.0))), 36, 24)
    inner = graph.node("Add", graph.node("Erf", graph.node("Div", value, graph.constant(2**0.5))), graph.constant(1.0))
    value = graph.node("Mul", graph.node("Mul", value, inner), graph.constant(0.5))
    scaled = graph.node("Mul", graph.gemm(value, 24, 24), graph.constant(np.linspace(0.5, 1.5, 24)))
    value = graph.node("Add", value, scaled)
    return graph.model(graph.gemm(value, 24, 3))


def pytorch_time_series() -> bytes:
    """A temporal convolution: dilated Conv1d branches joined by Concat, MaxPool1d, a mean over time."""
    graph = Graph((4, 20), seed=4)
    value = graph.node("Mul", "x", graph.constant(1 / 128))
    branches = []
    for dilation in (1, 2, 4):
        branch = graph.conv(value, 4, 5, (3,), dilations=[dilation], pads=[dilation] * 2)
        branches.append(graph.node("Relu", branch))
    value = graph.node("MaxPool", graph.node("Concat", *branches, axis=1), kernel_shape=[3], strides=[2], pads=[1, 1])
    value = graph.node("ReduceMean", graph.node("Tanh", graph.conv(value, 15, 8, (3,))), axes=[2], keepdims=0)
    return graph.model(graph.gemm(value, 8, 3))


def keras_cnn() -> bytes:
    """tf2onnx of a Sequential: channels last, SAME padding, LeakyReLU, a Dropout left in, Reshape, MatMul and Add, Softmax."""
    graph = Graph((12, 12, 3), seed=5)
    value = graph.node("Mul", graph.node("Transpose", "x", perm=[0, 3, 1, 2]), graph.constant(1 / 255))
    value = graph.node("LeakyRelu", graph.conv(value, 3, 8, auto_pad="SAME_UPPER", strides=[2, 2]), alpha=0.2)
    value = graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], auto_pad="SAME_UPPER")
    value = graph.node("Elu", graph.conv(value, 8, 6, 2, auto_pad="VALID"), alpha=1.0)
    value = graph.node("Transpose", graph.node("Identity", value), perm=[0, 2, 3, 1])
    value = graph.node("Reshape", value, graph.constant([-1, 24], np.int64))
    weights = graph.constant(graph.rng.normal(0, 0.2, (24, 4)))
    value = graph.node(
        "Add", graph.node("MatMul", graph.node("Dropout", value), weights), graph.constant(graph.rng.normal(0, 0.1, 4))
    )
    return graph.model(graph.node("Softmax", value, axis=-1))


def pre_activation_cnn() -> bytes:
    """BatchNorm and ReLU before the convolutions, a stem that is not rectified, all ending in a global pool without Linear."""
    graph = Graph((2, 8, 8), seed=6)
    value = graph.conv(graph.node("Mul", "x", graph.constant(1 / 128)), 2, 6, pads=[1] * 4)
    for _ in range(2):
        inner = graph.conv(graph.node("Relu", graph.norm(value, 6)), 6, 6, pads=[1] * 4)
        value = graph.node("Add", value, inner)
    value = graph.conv(graph.node("AveragePool", value, kernel_shape=[3, 3], strides=[2, 2]), 6, 5, 1)
    return graph.model(graph.node("Flatten", graph.node("GlobalAveragePool", value)))


def padded_pools() -> bytes:
    """Pools that overlap, run over the end and count their pads; a subtraction of two branches; Squeeze."""
    graph = Graph((2, 9, 9), seed=7)
    value = graph.node("Relu", graph.conv(graph.node("Mul", "x", graph.constant(1 / 128)), 2, 6))
    one = graph.node("MaxPool", value, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    other = graph.node(
        "AveragePool", value, kernel_shape=[3, 3], strides=[2, 2], pads=[0, 0, 1, 1], count_include_pad=1
    )
    other = graph.node("MaxPool", other, kernel_shape=[1, 1], strides=[1, 1])
    value = graph.node("Softplus", graph.node("Sub", one, graph.conv(other, 6, 6, 2, pads=[0, 0, 1, 1])))
    value = graph.node("Squeeze", graph.node("GlobalMaxPool", value), graph.constant([2, 3], np.int64))
    return graph.model(graph.gemm(value, 6, 3))


EXPORTS = {
    each.__name__: each
    for each in (
        pytorch_cnn,
        pytorch_resnet,
        pytorch_mobile,
        pytorch_gelu_mlp,
        pytorch_time_series,
        keras_cnn,
        pre_activation_cnn,
        padded_pools,
    )
}
