"""Reads an ONNX file that may be hostile: bounded before it is parsed, and plain (one graph, no functions, no links).

A protocol buffer of a few megabytes can ask a parser for gigabytes (millions of two-byte empty messages). So the wire
format is walked first and everything that is not tensor data must fit a small budget.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnx
from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
from numpy.typing import NDArray

from models.form import RefusedModel

__all__ = [
    "CANONICAL",
    "EXPORTED",
    "MAX_FILE_BYTES",
    "MAX_NODES",
    "MAX_STRUCTURE_BYTES",
    "Attribute",
    "Tensor",
    "label",
    "parse",
    "read_attributes",
    "read_scalar",
    "read_tensor",
]

MAX_FILE_BYTES = 64 << 20
MAX_STRUCTURE_BYTES = 1 << 20  # all but the tensors' data
MAX_NODES = 1024
MAX_ELEMENTS = 32 << 20  # of one tensor
_NESTED = {"model": {7: "graph"}, "graph": {5: "tensor"}, "tensor": {}}  # field numbers of onnx.proto
_TENSOR_DATA = {4, 5, 9}  # float_data, int32_data, raw_data

STANDARD_DOMAINS = ("", "ai.onnx")

Tensor = NDArray[Any]
Attribute: TypeAlias = float | str | tuple[int, ...]


@dataclass(frozen=True)
class Dialect:
    """The operator sets that a file may use. names_once: whether the standard one is named exactly once."""

    domains: tuple[str, ...]
    opsets: range
    names_once: bool


CANONICAL = Dialect(STANDARD_DOMAINS, range(13, 26), names_once=True)
"""Per-channel QuantizeLinear exists since 13; the operators of the canonical form mean the same in all of these."""

EXPORTED = Dialect((*STANDARD_DOMAINS, "ai.onnx.ml"), range(9, 26), names_once=False)
"""What exporters write: scikit-learn's uses another domain besides. Attributes that older sets have are read, or refused."""


def parse(source: bytes | str | Path, refuse: type[RefusedModel], dialect: Dialect = CANONICAL) -> onnx.ModelProto:
    """The model in a file or its bytes, known to hold one plain graph of the dialect's operators.

    Raises `refuse` naming the rule broken; OSError where a path cannot be read.
    """
    data = source if isinstance(source, bytes) else _read(Path(source))
    if not data:
        raise refuse("file", "parse", "it is empty: export the model again")
    if len(data) > MAX_FILE_BYTES:
        raise refuse("file", "size", f"more than {MAX_FILE_BYTES} bytes: use a smaller model")
    try:
        within = _structure_left(data, 0, len(data), "model", MAX_STRUCTURE_BYTES) >= 0
    except (ValueError, IndexError) as error:
        raise refuse("file", "parse", f"not an ONNX file ({error}): export the model again") from error
    if not within:
        advice = f"more than {MAX_STRUCTURE_BYTES} bytes besides tensor data: store tensors as raw_data, drop metadata"
        raise refuse("file", "size", advice)
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise refuse("file", "parse", "not an ONNX file: export the model again") from error
    _check_plain(model, refuse, dialect)
    return model


def label(node: onnx.NodeProto, index: int) -> str:
    """How errors call a node: its name, place and operator, printable and short whatever the file says."""
    return f"node {index} {_printable(node.name)!r} ({_printable(node.op_type)})"


def read_tensor(tensor: onnx.TensorProto, where: str, refuse: type[RefusedModel]) -> Tensor:
    """The values of a tensor stored in the file itself, in its stated type and shape."""
    if tensor.data_location == onnx.TensorProto.EXTERNAL or tensor.external_data:
        raise refuse(where, "external-data", "tensors must be stored in the file itself: save without external data")
    shape = tuple(tensor.dims)
    if any(size < 1 for size in shape) or len(shape) > 8 or math.prod(shape) > MAX_ELEMENTS:
        raise refuse(where, "tensor", f"shape {shape[:8]} is empty or holds more than {MAX_ELEMENTS} elements")
    try:
        array: Tensor = onnx.numpy_helper.to_array(tensor)
    except (ValueError, TypeError, KeyError, NotImplementedError) as error:
        raise refuse(where, "tensor", f"its data does not fit its type and shape {shape}: export again") from error
    if array.shape != shape:
        raise refuse(where, "tensor", f"its data does not fit its shape {shape}: export the model again")
    return array


def read_attributes(
    node: onnx.NodeProto, where: str, allowed: Mapping[str, Attribute], refuse: type[RefusedModel]
) -> dict[str, Any]:
    """A node's attributes over the defaults `allowed`; another name, or a kind that the default is not of, is refused."""
    values: dict[str, Any] = dict(allowed)
    seen: set[str] = set()
    for attribute in node.attribute:
        if attribute.type in (onnx.AttributeProto.GRAPH, onnx.AttributeProto.GRAPHS):
            raise refuse(where, "subgraph", "control flow is not accepted: export a plain feed-forward graph")
        name = _printable(attribute.name)
        if attribute.name not in allowed or attribute.ref_attr_name or name in seen:
            raise refuse(where, "attribute", f"attribute {name!r} is not accepted here, or stands twice: remove it")
        seen.add(name)
        default = allowed[name]
        if isinstance(default, str) and attribute.type == onnx.AttributeProto.STRING:
            values[name] = _printable(attribute.s)
        elif isinstance(default, tuple) and attribute.type == onnx.AttributeProto.INTS:
            values[name] = tuple(attribute.ints)
        elif isinstance(default, int | float) and attribute.type == onnx.AttributeProto.INT:
            values[name] = attribute.i
        elif isinstance(default, int | float) and attribute.type == onnx.AttributeProto.FLOAT:
            values[name] = attribute.f
        else:
            kind = "text" if isinstance(default, str) else "a list of whole numbers"
            kind = "a number" if isinstance(default, int | float) else kind
            raise refuse(where, "attribute", f"attribute {name!r} must be {kind}")
    return values


def _read(path: Path) -> bytes:
    with path.open("rb") as file:  # a pipe or device has no size to ask for, so the read itself is bounded
        return file.read(MAX_FILE_BYTES + 1)


def _structure_left(data: bytes, start: int, end: int, kind: str, budget: int) -> int:
    """The budget left after the message data[start:end], tensor data not counted; stops early once it is negative."""
    for number, wire, begin, value, stop in _fields(data, start, end):
        if wire == 2 and number in _NESTED[kind]:
            budget = _structure_left(data, value, stop, _NESTED[kind][number], budget - (value - begin))
        elif wire == 2 and kind == "tensor" and number in _TENSOR_DATA:
            budget -= value - begin
        else:
            budget -= stop - begin
        if budget < 0:
            break
    return budget


def _fields(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int, int, int]]:
    """(field number, wire type, where the field begins, where its value begins, where it ends) of each field."""
    at = start
    while at < end:
        begin = at
        tag, at = _varint(data, at)
        wire = tag & 7
        value = at
        if wire == 0:
            _, at = _varint(data, at)
        elif wire == 2:
            length, value = _varint(data, at)
            at = value + length
        elif wire in (1, 5):
            at += 8 if wire == 1 else 4
        else:
            raise ValueError("unknown wire type")
        if at > end:
            raise ValueError("a field runs past its message")
        yield tag >> 3, wire, begin, value, at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte = data[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
    raise ValueError("a number is too long")


def _check_plain(model: onnx.ModelProto, refuse: type[RefusedModel], dialect: Dialect) -> None:
    graph = model.graph
    for opset in model.opset_import:
        if opset.domain not in dialect.domains:
            advice = f"operator set {_printable(opset.domain)!r} is not accepted: use standard ONNX operators only"
            raise refuse("file", "domain", advice)
        if opset.domain in STANDARD_DOMAINS and opset.version not in dialect.opsets:
            known = f"{dialect.opsets.start}…{dialect.opsets.stop - 1}"
            advice = f"opset {opset.version} is not in {known}: convert with onnx.version_converter"
            raise refuse("file", "opset", advice)
    versions = [opset.version for opset in model.opset_import if opset.domain in STANDARD_DOMAINS]
    if len(set(versions)) != 1 or (dialect.names_once and len(versions) != 1):
        raise refuse("file", "opset", "exactly one operator set must be named")
    if model.functions:
        raise refuse("file", "function", "local functions are not accepted: inline them")
    if model.training_info or graph.sparse_initializer:
        raise refuse("file", "plain", "training information and sparse tensors are not accepted: export for inference")
    if not 0 < len(graph.node) <= MAX_NODES:
        raise refuse("graph", "size", f"{len(graph.node)} nodes, 1 to {MAX_NODES} are accepted")
    for index, node in enumerate(graph.node):
        if node.domain not in dialect.domains:
            advice = f"domain {_printable(node.domain)!r} is not accepted: use standard ONNX operators only"
            raise refuse(label(node, index), "domain", advice)
    names = [value.name for value in graph.input] + [tensor.name for tensor in graph.initializer]
    names += [name for node in graph.node for name in node.output]
    twice = len(names) - len(set(names))
    if twice or "" in names:
        raise refuse("graph", "names", "every input, initializer and node output needs a name of its own")


def _printable(text: str | bytes) -> str:
    if isinstance(text, bytes):  # what protobuf gives for a name that is not UTF-8
        text = text[:60].decode("utf-8", "replace")
    return "".join(character if character.isprintable() else "?" for character in text[:60])


def read_scalar(array: Tensor) -> np.generic | None:
    """The value of a tensor of one element, whatever its shape; None for any other."""
    return array.reshape(-1)[0] if array.size == 1 else None
