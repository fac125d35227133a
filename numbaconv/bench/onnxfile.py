"""A traced network as an ONNX document, so that onnxruntime can run it: just enough of the format for measuring.

ONNX files are protocol buffers: fields of (number, wire type, value), where messages and texts are written as their
length and their bytes.  Field numbers are those of onnx.proto3 (https://github.com/onnx/onnx/blob/main/onnx/onnx.proto3).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numbaconv.graph import Graph, Node, Tensor, Variable
from numbaconv.graph.fuse import without_unread
from numbaconv.graph.geometry import is_flatten, is_global, rounds_up, slides

_IR_VERSION, _OPSET = 8, 17
_DATA_TYPES = {np.dtype(np.float32): 1, np.dtype(np.int64): 7, np.dtype(np.float64): 11}


def to_onnx(graph: Graph) -> bytes:
    """The document of a graph, with its arrays; inputs are named ``input0`` ..., outputs ``output0`` ...

    Raises:
        ValueError: if the graph holds an operator that has no translation here.
    """
    names: dict[int, str] = {}
    inputs: list[bytes] = []
    arrays: list[bytes] = []
    nodes: list[bytes] = []
    for position, (leaf, source) in enumerate(zip(graph.leaves, graph.sources, strict=True)):
        if source is None:
            names[id(leaf)] = f"input{len(inputs)}"
            inputs.append(_value_info(names[id(leaf)], leaf))
        else:
            names[id(leaf)] = f"array{position}"
            arrays.append(_tensor(names[id(leaf)], source.data if isinstance(source, Variable) else source))
    for position, node in enumerate(without_unread(graph.live_nodes(), set(map(id, graph.outputs)))):
        translate = _TRANSLATIONS.get(node.op.name)
        if translate is None or len(node.outputs) != 1:
            raise ValueError(f"there is no translation of {node.op.name} to ONNX")
        kind, attributes, constants, order = translate(node)
        sources = [names[id(t)] for t in node.inputs]
        if order:
            sources = [sources[i] for i in order]
        for array in constants:
            sources.append(f"constant{position}")
            arrays.append(_tensor(sources[-1], array))
        names[id(node.outputs[0])] = f"value{position}"
        nodes.append(_node(kind, sources, f"value{position}", attributes))
    outputs = []
    for position, tensor in enumerate(graph.outputs):
        nodes.append(_node("Identity", [names[id(tensor)]], f"output{position}", {}))
        outputs.append(_value_info(f"output{position}", tensor))
    body = _message((1, nodes), (2, "numbaconv"), (5, arrays), (11, inputs), (12, outputs))
    return _message((1, _IR_VERSION), (2, "numbaconv"), (7, body), (8, _message((2, _OPSET))))


# ------------------------------------------------------------------------------------------------ operators

class Translation(NamedTuple):
    """An ONNX operator: its name, its attributes, constants behind its inputs, and their order if it is another one."""

    kind: str
    attributes: dict[str, Any] = {}
    constants: Sequence[np.ndarray] = ()
    order: Sequence[int] = ()


def _pads(pairs: Iterable[tuple[int, int]]) -> list[int]:
    pairs = list(pairs)
    return [before for before, _ in pairs] + [after for _, after in pairs]


def _conv(node: Node) -> Translation:
    attrs = node.attrs
    return Translation("Conv", {
        "kernel_shape": list(node.inputs[1].shape[2:]),
        "strides": list(attrs["stride"]),
        "dilations": list(attrs["dilation"]),
        "group": attrs["groups"],
        "pads": _pads(attrs["padding"]),
    })  # fmt: skip


def _linear(node: Node) -> Translation:
    return Translation("Gemm", {"transB": 1})


def _normalize(node: Node) -> Translation:
    """As a node of its own, as exported networks may have it: onnxruntime merges it with the convolution before."""
    x, mean, var, weight, bias = range(5)
    return Translation("BatchNormalization", {"epsilon": node.attrs["eps"]}, order=(x, weight, bias, mean, var))


def _pool(node: Node) -> dict[str, Any]:
    """The attributes that both kinds of pooling have."""
    attrs = node.attrs
    if not slides(node):
        raise ValueError("ONNX has no adaptive pooling but over all pixels")
    return {
        "kernel_shape": list(attrs["kernel"]),
        "strides": list(attrs["stride"]),
        "pads": _pads((p, p) for p in attrs["padding"]),
        "ceil_mode": int(rounds_up(node)),
    }


def _max_pool(node: Node) -> Translation:
    return Translation("MaxPool", {**_pool(node), "dilations": list(node.attrs["dilation"])})


def _avg_pool(node: Node) -> Translation:
    if node.attrs["divisor"]:
        raise ValueError("ONNX has no average pooling with a divisor of one's own")
    if is_global(node):
        return Translation("GlobalAveragePool")
    return Translation("AveragePool", {**_pool(node), "count_include_pad": int(node.attrs["count_include_pad"])})


def _reshape(node: Node) -> Translation:
    if is_flatten(node):
        return Translation("Flatten", {"axis": 1})
    return Translation("Reshape", constants=[np.array(node.attrs["shape"], np.int64)])


def _along_axis(kind: str) -> Callable[[Node], Translation]:
    return lambda node: Translation(kind, {"axis": node.attrs["axis"]})


def _plain(kind: str) -> Callable[[Node], Translation]:
    return lambda node: Translation(kind)


_TRANSLATIONS: dict[str, Callable[[Node], Translation]] = {
    "add": _plain("Add"),
    "avg_pool": _avg_pool,
    "conv": _conv,
    "linear": _linear,
    "log_softmax": _along_axis("LogSoftmax"),
    "max_pool_alone": _max_pool,
    "multiply": _plain("Mul"),
    "normalize": _normalize,
    "relu": _plain("Relu"),
    "reshape": _reshape,
    "sigmoid": _plain("Sigmoid"),
    "softmax": _along_axis("Softmax"),
    "tanh": _plain("Tanh"),
}

# ------------------------------------------------------------------------------------------------ messages


def _node(kind: str, inputs: list[str], output: str, attributes: dict[str, Any]) -> bytes:
    written = [_attribute(name, value) for name, value in attributes.items()]
    return _message((1, inputs), (2, output), (4, kind), (5, written))


def _attribute(name: str, value: float | int | list[int]) -> bytes:
    if isinstance(value, float):
        return _message((1, name), (2, value), (20, 1))
    if isinstance(value, list):
        return _message((1, name), (8, value), (20, 7))  # a list of integers
    return _message((1, name), (3, value), (20, 2))  # an integer


def _tensor(name: str, array: np.ndarray) -> bytes:
    data = np.ascontiguousarray(array)
    data = data.astype(data.dtype.newbyteorder("<"), copy=False)
    return _message((1, list(array.shape)), (2, _DATA_TYPES[array.dtype]), (8, name), (9, data.tobytes()))


def _value_info(name: str, tensor: Tensor) -> bytes:
    shape = _message((1, [_message((1, size)) for size in tensor.shape]))
    return _message((1, name), (2, _message((1, _message((1, _DATA_TYPES[tensor.dtype]), (2, shape))))))


def _message(*fields: tuple[int, Any]) -> bytes:
    """Fields in order; a list is a field that repeats."""
    return b"".join(
        _field(number, value)
        for number, values in fields
        for value in (values if isinstance(values, list) else [values])
    )


def _field(number: int, value: float | int | str | bytes) -> bytes:
    if isinstance(value, float):
        return _varint(number << 3 | 5) + struct.pack("<f", value)
    if isinstance(value, int):
        return _varint(number << 3) + _varint(value)
    data = value.encode() if isinstance(value, str) else value
    return _varint(number << 3 | 2) + _varint(len(data)) + data


def _varint(value: int) -> bytes:
    """Seven bits a byte, the lowest first; negative numbers as 64 bits."""
    value &= 2**64 - 1
    written = bytearray()
    while value > 127:
        written.append(value & 127 | 128)
        value >>= 7
    return bytes([*written, value])
