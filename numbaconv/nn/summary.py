"""What a network consists of, layer by layer, read off its traced graph; nothing is computed."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from numbaconv.graph import Graph, Node, Tensor, Variable

from .module import Module


@dataclass(frozen=True)
class LayerSummary:
    """One layer.

    Attributes:
        name: dotted name of the module, empty for an operator called by ``forward`` of a larger one.
        kind: class of the module, or name of the operator.
        output_shape: of one image, with a batch of 1 in front.
        parameters: number of parameters, shared ones counted where they come first.
        multiply_adds: for one image; of convolutions and matrix products, the bias not counted.
        receptive_field: input pixels that one output pixel depends on, for each spatial dimension, clipped to the
            input; where the layer's output has no pixels, the whole input.
        output_bytes: size of the output for one image.
    """

    name: str
    kind: str
    output_shape: tuple[int, ...]
    parameters: int
    multiply_adds: int
    receptive_field: tuple[int, ...]
    output_bytes: int


@dataclass(frozen=True)
class ModelSummary:
    """All layers of a network in the order they run in, and what they come to.

    Attributes:
        input_shape: with a batch of 1 in front.
        layers: the layers.
        parameter_bytes: size of all parameters.
    """

    input_shape: tuple[int, ...]
    layers: tuple[LayerSummary, ...]
    parameter_bytes: int

    @property
    def parameters(self) -> int:
        """Number of parameters."""
        return sum(layer.parameters for layer in self.layers)

    @property
    def multiply_adds(self) -> int:
        """Multiply-adds for one image."""
        return sum(layer.multiply_adds for layer in self.layers)

    @property
    def output_bytes(self) -> int:
        """Size of all layers' outputs for one image: what a training step keeps at most for its backward half."""
        return sum(layer.output_bytes for layer in self.layers)


def summarise(model: Module, shape: Sequence[int], dtype: Any = np.float32) -> ModelSummary:
    """Trace a network for one image and describe its layers.

    Args:
        model: the network.
        shape: of one image, ``(C, H, W)``.
        dtype: of the image.

    Raises:
        ValueError: if the network cannot take such an image.
    """
    graph = Graph()
    image = graph.input((1, *shape), dtype)
    with recorded_calls(model, graph) as calls:
        model(image)
    fields = _ReceptiveFields(image)
    counted: set[int] = set()
    layers = []
    for name, kind, nodes, output in _in_order(calls, graph.nodes):
        for node in nodes:
            fields.pass_through(node)
        variables = [v for node in nodes for v in _parameters(node) if id(v) not in counted]
        counted.update(map(id, variables))
        layers.append(
            LayerSummary(
                name=name,
                kind=kind,
                output_shape=output.shape,
                parameters=sum(variable.data.size for variable in variables),
                multiply_adds=sum(int(node.flops) // 2 for node in nodes if _has_weights(node)),
                receptive_field=fields.of(output),
                output_bytes=output.size * output.dtype.itemsize,
            )
        )
    return ModelSummary(image.shape, tuple(layers), sum(parameter.data.nbytes for parameter in model.parameters()))


# ---------------------------------------------------------------------------------------------- which node is whose


@dataclass(frozen=True)
class Call:
    """One call of a module without children: the nodes it appended, and what it returned."""

    name: str
    kind: str
    first: int
    last: int
    output: Tensor


@contextmanager
def recorded_calls(model: Module, graph: Graph) -> Iterator[list[Call]]:
    """Note which nodes each module without children appends while a network is traced."""
    calls: list[Call] = []

    def recorded(name: str, module: Module) -> Callable[..., Any]:
        def forward(*args: Any) -> Any:
            first = len(graph.nodes)
            result = type(module).forward(module, *args)
            calls.append(Call(name, type(module).__name__, first, len(graph.nodes), result))
            return result

        return forward

    leaves = [(name, module) for name, module in model.named_modules() if not any(True for _ in module.children())]
    for name, module in leaves:
        # Past __setattr__: plans traced before stay good, for this is taken back at once.
        module.__dict__["forward"] = recorded(name, module)
    try:
        yield calls
    finally:
        for _, module in leaves:
            del module.__dict__["forward"]


def _in_order(
    calls: Sequence[Call], nodes: Sequence[Node]
) -> Iterator[tuple[str, str, Sequence[Node], Tensor]]:
    """Yield name, kind, nodes and output of every call, and of every node between calls."""
    position = 0
    for call in calls:
        for node in nodes[position : call.first]:
            yield "", node.op.name, [node], node.outputs[0]
        if call.first < call.last:
            yield call.name, call.kind, nodes[call.first : call.last], call.output
        position = call.last
    for node in nodes[position:]:
        yield "", node.op.name, [node], node.outputs[0]


def _parameters(node: Node) -> list[Variable]:
    sources = (_source(tensor) for tensor in node.inputs)
    return [source for source in sources if isinstance(source, Variable) and source.trainable]


def _has_weights(node: Node) -> bool:
    """Tell whether a node multiplies by a matrix of weights, rather than scales or shifts by a row."""
    return any(variable.data.ndim > 1 for variable in _parameters(node))


def _source(tensor: Tensor) -> Any:
    """Return what a leaf is bound to, ``None`` for an input and for what a node computes."""
    graph = tensor.graph
    return next((s for leaf, s in zip(graph.leaves, graph.sources, strict=True) if leaf is tensor), None)


# ---------------------------------------------------------------------------------------------- receptive fields


#: For each spatial dimension a field's size and how far it moves from pixel to pixel: less than one behind a
#: transposed convolution.
_Fields = tuple[tuple[Fraction, Fraction], ...]

#: Operators that put the windows of convolutions into their results.
_TRANSPOSED = ("conv_input_grad", "fold")


class _ReceptiveFields:
    """Sizes and steps of receptive fields, tensor by tensor.

    Source: Araujo, Norris, Sim, Computing Receptive Fields of Convolutional Neural Networks, Distill 2019, equation 2.
    """

    def __init__(self, image: Tensor) -> None:
        self._whole = image.shape[2:]
        self._fields: dict[int, _Fields] = {id(image): ((Fraction(1), Fraction(1)),) * len(self._whole)}

    def of(self, tensor: Tensor) -> tuple[int, ...]:
        """Return the receptive field of a tensor, clipped to the input."""
        fields = self._fields.get(id(tensor), ())
        if len(fields) != len(self._whole):
            return self._whole
        return tuple(min(math.ceil(size), whole) for (size, _), whole in zip(fields, self._whole, strict=True))

    def pass_through(self, node: Node) -> None:
        """Note the fields of a node's outputs."""
        known = [self._fields[id(tensor)] for tensor in node.inputs if id(tensor) in self._fields]
        widest = max(known, default=(), key=lambda fields: math.prod(size for size, _ in fields))
        for output in node.outputs:
            if output.ndim - 2 == len(widest) == len(self._whole):
                self._fields[id(output)] = _widened(node, widest)


def _widened(node: Node, fields: _Fields) -> _Fields:
    """Return fields seen through the windows of a node; unchanged if it has none."""
    if "stride" not in node.attrs:
        return fields
    kernel = node.attrs.get("kernel") or node.inputs[1].shape[2:]
    dilation = node.attrs.get("dilation") or (1,) * len(fields)
    windows = zip(fields, kernel, dilation, node.attrs["stride"], strict=True)
    if node.op.name in _TRANSPOSED:  # so many pixels put their windows where one result is, at the most
        return tuple((size + (k - 1) * d // stride * jump, jump / stride) for (size, jump), k, d, stride in windows)
    return tuple((size + (k - 1) * d * jump, jump * stride) for (size, jump), k, d, stride in windows)
