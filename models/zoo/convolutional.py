"""A small convolutional network trained with NumPy alone: float64 and one seed, so that the same images give the same bytes.

Conv 3×3, ReLU, pool; Conv 3×3, ReLU; a residual Conv 3×3, ReLU, pool; a dense layer. Values are (n, height, width, channels)
while it trains, because one matrix product then does a convolution; the ONNX file has the channels first.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from threadpoolctl import threadpool_limits

Floats = NDArray[np.float64]

_SIDE = 3  # of every kernel
_BATCH = 32
_RATE, _MOMENTUM, _SQUARES = 0.003, 0.9, 0.999  # of Adam


@dataclass(frozen=True)
class Convolutional:
    """What is trained. side: of the square images of one channel; stride: of the first convolution.

    channels: of the first convolution and of the other two; decay: the penalty on weights.
    """

    side: int
    epochs: int
    stride: int = 1
    channels: tuple[int, int] = (8, 16)
    decay: float = 1e-4


def train_convolutional(
    kind: Convolutional, rows: NDArray[np.uint8], labels: NDArray[np.int64], classes: int, seed: int
) -> bytes:
    """A float ONNX model of images given as rows (n, side²) of floats 0…255, trained on their labels (n,).

    On one thread: products so small are slower on several.
    """
    rng = np.random.default_rng(seed)
    layers = _build(kind, classes, rng)
    images = rows.reshape(len(rows), kind.side, kind.side, 1) / 255
    optimiser = _Adam(layers, kind.decay)
    batches = kind.epochs * -(-len(rows) // _BATCH)
    with threadpool_limits(1):  # type: ignore[no-untyped-call]
        for done, chosen in enumerate(_batches(len(rows), kind.epochs, rng)):
            value = images[chosen]
            for layer in layers:
                value = layer.forward(value)
            gradient = _softmax(value)
            gradient[np.arange(len(chosen)), labels[chosen]] -= 1
            gradient /= len(chosen)
            for layer in reversed(layers):
                gradient = layer.backward(gradient)
            optimiser.step(_RATE * 0.5 * (1 + np.cos(np.pi * done / batches)))
    return _export(kind, layers)


def _batches(count: int, epochs: int, rng: np.random.Generator) -> Iterator[NDArray[np.int64]]:
    for _ in range(epochs):
        order = rng.permutation(count)
        yield from (order[start : start + _BATCH] for start in range(0, count, _BATCH))


def _softmax(logits: Floats) -> Floats:
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


class _Layer(Protocol):
    """A step of the network. backward: the gradient of what forward was last given, from that of what it gave."""

    weights: list[Floats]
    gradients: list[Floats]

    def forward(self, value: Floats) -> Floats: ...

    def backward(self, gradient: Floats) -> Floats: ...


class _Weightless:
    def __init__(self) -> None:
        self.weights: list[Floats] = []
        self.gradients: list[Floats] = []


class _Dense:
    """y = x·W + b on flattened values, channels first as the ONNX file has them."""

    def __init__(self, inputs: int, outputs: int, rng: np.random.Generator) -> None:
        self.weights = [rng.normal(0, (1 / inputs) ** 0.5, (inputs, outputs)), np.zeros(outputs)]
        self.gradients: list[Floats] = []

    def forward(self, value: Floats) -> Floats:
        self._shape = value.shape
        self._read = value.transpose(0, 3, 1, 2).reshape(len(value), -1)
        return np.asarray(self._read @ self.weights[0] + self.weights[1])

    def backward(self, gradient: Floats) -> Floats:
        self.gradients = [self._read.T @ gradient, gradient.sum(axis=0)]
        n, height, width, channels = self._shape
        return (gradient @ self.weights[0].T).reshape(n, channels, height, width).transpose(0, 2, 3, 1)


class _Conv:
    """A 3×3 correlation padded with one zero around. weights: (3 · 3 · inputs, outputs) and (outputs,)."""

    def __init__(self, inputs: int, outputs: int, stride: int, rng: np.random.Generator) -> None:
        fan = _SIDE * _SIDE * inputs
        self.weights = [rng.normal(0, (2 / fan) ** 0.5, (fan, outputs)), np.zeros(outputs)]
        self.gradients: list[Floats] = []
        self.stride = stride

    def forward(self, value: Floats) -> Floats:
        self._shape = value.shape
        padded = np.pad(value, ((0, 0), (1, 1), (1, 1), (0, 0)))
        windows = np.lib.stride_tricks.sliding_window_view(padded, (_SIDE, _SIDE), axis=(1, 2))
        windows = windows[:, :: self.stride, :: self.stride].transpose(0, 1, 2, 4, 5, 3)
        self._read = windows.reshape(-1, len(self.weights[0]))
        sums = self._read @ self.weights[0] + self.weights[1]
        return np.asarray(sums.reshape(*windows.shape[:3], -1))

    def backward(self, gradient: Floats) -> Floats:
        flat = gradient.reshape(-1, gradient.shape[3])
        self.gradients = [self._read.T @ flat, flat.sum(axis=0)]
        n, height, width, channels = self._shape
        seen = (flat @ self.weights[0].T).reshape(*gradient.shape[:3], _SIDE, _SIDE, channels)
        padded = np.zeros((n, height + 2, width + 2, channels))
        for y, x in np.ndindex(_SIDE, _SIDE):
            rows = slice(y, y + self.stride * gradient.shape[1], self.stride)
            columns = slice(x, x + self.stride * gradient.shape[2], self.stride)
            padded[:, rows, columns] += seen[:, :, :, y, x]
        return padded[:, 1:-1, 1:-1]


class _Relu(_Weightless):
    def forward(self, value: Floats) -> Floats:
        self._passed = value > 0
        return value * self._passed

    def backward(self, gradient: Floats) -> Floats:
        return gradient * self._passed


class _Pool(_Weightless):
    """The largest of each 2×2 window; an odd last row or column is left out."""

    def forward(self, value: Floats) -> Floats:
        self._shape = value.shape
        n, height, width, channels = value.shape
        cut = value[:, : height // 2 * 2, : width // 2 * 2].reshape(n, height // 2, 2, width // 2, 2, channels)
        windows = cut.transpose(0, 1, 3, 5, 2, 4).reshape(n, height // 2, width // 2, channels, 4)
        self._chosen = np.argmax(windows, axis=4)[..., None]
        return np.take_along_axis(windows, self._chosen, axis=4)[..., 0]

    def backward(self, gradient: Floats) -> Floats:
        windows = np.zeros((*gradient.shape, 4))
        np.put_along_axis(windows, self._chosen, gradient[..., None], axis=4)
        n, height, width, channels = gradient.shape
        spread = windows.reshape(n, height, width, channels, 2, 2).transpose(0, 1, 4, 2, 5, 3)
        given = np.zeros(self._shape)
        given[:, : height * 2, : width * 2] = spread.reshape(n, height * 2, width * 2, channels)
        return given


class _Residual:
    """y = x + conv(x)."""

    def __init__(self, conv: _Conv) -> None:
        self.conv = conv
        self.weights = conv.weights

        self.gradients: list[Floats] = []

    def forward(self, value: Floats) -> Floats:
        return value + self.conv.forward(value)

    def backward(self, gradient: Floats) -> Floats:
        given = gradient + self.conv.backward(gradient)
        self.gradients = self.conv.gradients
        return given


class _Adam:
    """Adam with the L2 penalty apart from its moments (AdamW; Loshchilov and Hutter, 2019)."""

    def __init__(self, layers: list[Any], decay: float) -> None:
        self._layers = layers
        self._decay = decay
        self._means = [[np.zeros_like(each) for each in layer.weights] for layer in layers]
        self._squares = [[np.zeros_like(each) for each in layer.weights] for layer in layers]
        self._steps = 0

    def step(self, rate: float) -> None:
        self._steps += 1
        for layer, means, squares in zip(self._layers, self._means, self._squares, strict=True):
            for weights, gradient, mean, square in zip(layer.weights, layer.gradients, means, squares, strict=True):
                mean += (1 - _MOMENTUM) * (gradient - mean)
                square += (1 - _SQUARES) * (gradient**2 - square)
                size = np.sqrt(square / (1 - _SQUARES**self._steps)) + 1e-8
                weights -= rate * (mean / (1 - _MOMENTUM**self._steps) / size + self._decay * weights)


def _build(kind: Convolutional, classes: int, rng: np.random.Generator) -> list[_Layer]:
    few, many = kind.channels
    side = -(-kind.side // kind.stride) // 2
    residual = _Residual(_Conv(many, many, 1, rng))
    first: list[_Layer] = [_Conv(1, few, kind.stride, rng), _Relu(), _Pool(), _Conv(few, many, 1, rng), _Relu()]
    return [*first, residual, _Relu(), _Pool(), _Dense((side // 2) ** 2 * many, classes, rng)]


def _export(kind: Convolutional, layers: list[Any]) -> bytes:
    """The trained layers as float ONNX, the division by 255 included. Node names say what they are."""
    nodes = [helper.make_node("Div", ["pixels", "white"], ["v0"], "shade")]
    constants = [numpy_helper.from_array(np.array(255, np.float32), "white")]

    def add(operator: str, read: list[str], **attributes: Any) -> str:
        nodes.append(helper.make_node(operator, read, [f"v{len(nodes)}"], f"{operator}{len(nodes)}", **attributes))
        return str(nodes[-1].output[0])

    def constant(values: Floats) -> str:
        constants.append(numpy_helper.from_array(np.ascontiguousarray(values, np.float32), f"w{len(constants)}"))
        return str(constants[-1].name)

    def convolve(conv: _Conv, read: str) -> str:
        kernel = conv.weights[0].reshape(_SIDE, _SIDE, -1, len(conv.weights[1])).transpose(3, 2, 0, 1)
        weights, bias = constant(kernel), constant(conv.weights[1])
        return add("Conv", [read, weights, bias], pads=[1] * 4, strides=[conv.stride] * 2, kernel_shape=[_SIDE] * 2)

    value = "v0"
    for layer in layers:
        match layer:
            case _Conv():
                value = convolve(layer, value)
            case _Residual():
                value = add("Add", [value, convolve(layer.conv, value)])
            case _Relu():
                value = add("Relu", [value])
            case _Pool():
                value = add("MaxPool", [value], kernel_shape=[2, 2], strides=[2, 2])
            case _Dense():
                flat = add("Flatten", [value])
                value = add("Gemm", [flat, constant(layer.weights[0].T), constant(layer.weights[1])], transB=1)
    pixels = helper.make_tensor_value_info("pixels", TensorProto.FLOAT, ["n", 1, kind.side, kind.side])
    logits = helper.make_tensor_value_info(value, TensorProto.FLOAT, ["n", len(layers[-1].weights[1])])
    graph = helper.make_graph(nodes, "float_model", [pixels], [logits], constants)
    return bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
