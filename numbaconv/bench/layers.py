"""Layers other than convolutions: forward, and backward to all their arrays.

Timed as convolutions are (see ``conv``), but PyTorch's backward pass runs through autograd, which costs it a few
microseconds; there is no other door to it that is the same for all functions.  A gradient that it hands out as a view
(of the output's gradient: those of ``concat`` and ``sum``) is copied, as autograd does to keep it: ours are arrays.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Executable, Graph, Tensor, compile_graph, gradients
from numbaconv.graph.autodiff import flatten_tree, residuals_of
from numbaconv.graph.fuse import split

from .conv import inside_a_network
from .exact import relative_error
from .replay import Replay
from .report import Row, column
from .session import Session
from .shapes import Layer, other_layers

DIRECTIONS = ("forward", "backward")


@dataclass(kw_only=True)
class LayerRow(Row):
    """One pass of one layer; bytes are those of the arrays that the pass reads and writes."""

    direction: str = column("pass", default="")
    ratio: float | None = column("ratio", ".2f")
    ours_us: float = column("ours µs", ",.1f", 0.0)
    torch_nchw_us: float | None = column("torch NCHW µs", ",.1f")
    torch_channels_last_us: float | None = column("channels_last µs", ",.1f")
    gb_per_s: float = column("ours GB/s", ".1f", 0.0)
    error: float | None = column("error", ".1e")
    function: str = column(default="")
    shape: tuple[int, ...] = column(default=())


def measure(
    session: Session,
    networks: Sequence[str] = ("lenet5", "vgg16"),
    directions: Sequence[str] = DIRECTIONS,
    batch: int | None = None,
    functions: Sequence[str] = (),
    layers: Sequence[Layer] | None = None,
) -> Sequence[Row]:
    """A row for each pass of each layer; errors are against PyTorch in float64.

    Args:
        session: rounds and other libraries.
        networks: names in ``shapes.LAYERS``, or ``all``; ``operators`` for every function at its own sizes.
        directions: some of ``DIRECTIONS``.
        batch: images, instead of those in the tables.
        functions: these functions at their own sizes, too.
        layers: these instead of the networks'.
    """
    for direction in directions:
        if direction not in DIRECTIONS:
            raise ValueError(f"bench layers: there is no pass {direction!r}, only {', '.join(DIRECTIONS)}")
    chosen = other_layers(tuple(networks), tuple(functions), batch) if layers is None else list(layers)
    work = [
        (layer, direction)
        for layer in chosen
        for direction in directions
        if direction == "forward" or _differentiable(layer)
    ]
    return session.each(work, lambda layer, direction: f"{layer.name}, {direction}", measure_pass)


def measure_pass(session: Session, layer: Layer, direction: str) -> LayerRow:
    """One row."""
    backward = direction == "backward"
    arrays = layer.case.arrays(np.random.default_rng(0), np.float32)
    executable, labels, moved = _compile(layer, backward, arrays)
    calls: dict[str, Callable[[], Any]] = {
        "ours": Replay(executable).only(lambda step: inside_a_network(step) and labels & set(step.label.split()))
    }
    error = None
    theirs = None if session.torch is None else _torch_function(session.torch, layer.function)
    if theirs is not None:
        calls |= _torch_calls(session.torch, theirs, layer, backward, arrays)
        if not _is_random(layer):
            exact = _torch_call(session.torch, theirs, layer, backward, arrays, session.torch.float64)()
            error = max(relative_error(a, b.numpy()) for a, b in zip(executable.run(), exact, strict=True))
    seconds = session.time(calls)
    ours = seconds.pop("ours")
    return LayerRow(
        name=layer.name,
        direction=direction,
        ratio=min(seconds.values()) / ours if seconds else None,
        ours_us=ours * 1e6,
        torch_nchw_us=seconds["nchw"] * 1e6 if "nchw" in seconds else None,
        torch_channels_last_us=seconds["channels_last"] * 1e6 if "channels_last" in seconds else None,
        gb_per_s=moved / ours / 1e9,
        error=error,
        function=layer.function,
        shape=layer.case.first_shape,
    )


def _is_random(layer: Layer) -> bool:
    """Whether results are drawn, so that there is no error to speak of."""
    return "key" in inspect.signature(getattr(F, layer.function)).parameters


def _called(function: Callable, layer: Layer, arguments: dict[str, Any]) -> Any:
    """Our function or PyTorch's of the layer's arguments, which stand in the same order: arrays go by position."""
    named = {**arguments, **layer.case.arguments}
    parameters = inspect.signature(getattr(F, layer.function)).parameters
    count = 1 + max(i for i, name in enumerate(parameters) if name in arguments)
    positional = list(parameters)[:count]
    values = [named.pop(name, parameters[name].default) for name in positional]
    return function(*values, **named)


def _results(layer: Layer, arguments: dict[str, Any]) -> list[Any]:
    """The results of the layer's function that have gradients, all of them if none has."""
    results = _called(getattr(F, layer.function), layer, arguments)
    results = list(results) if isinstance(results, tuple) else [results]
    return [y for y in results if y.dtype.kind == "f"] or results


def _differentiable(layer: Layer) -> bool:
    """Whether there is a backward pass, and something to do in it (a sum hands its gradient on as it is)."""
    graph = Graph()
    arrays, rebuild = flatten_tree(layer.case.arrays(np.random.default_rng(0), np.float32))
    leaves = [graph.input(array.shape, array.dtype) for array in arrays]
    result = _results(layer, rebuild(leaves))[0]
    floats = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    if result.dtype.kind != "f" or not floats:
        return False
    before = len(graph.nodes)
    try:
        gradients(result, floats, graph.input(result.shape, result.dtype))
    except ValueError:  # no gradient
        return False
    return len(graph.nodes) > before


def _compile(layer: Layer, backward: bool, arguments: dict[str, Any]) -> tuple[Executable, set[str], float]:
    """The plan, the labels of the steps that belong to the pass, and the bytes it must read and write."""
    graph = Graph()
    arrays, rebuild = flatten_tree(arguments)
    leaves = [graph.leaf(array) for array in arrays]
    results = _results(layer, rebuild(leaves))
    if backward:
        graph = _backward(graph, results[0], [leaf for leaf in leaves if leaf.dtype.kind == "f"])
    else:
        graph.output(*results)
    labels = {"reorder", *(node.op.name for node in split(graph.live_nodes()))}
    moved = sum(float(t.size * t.dtype.itemsize) for t in (*graph.leaves, *graph.outputs))
    return compile_graph(graph), labels, moved


def _backward(graph: Graph, result: Tensor, wanted: Sequence[Tensor]) -> Graph:
    """The pass back from ``result`` alone, as ``vjp`` runs it: what the forward pass leaves behind is given."""
    forward = {id(node) for node in graph.nodes}
    grads = gradients(result, wanted, graph.leaf(_output_gradient(result.shape)))
    residuals = residuals_of(graph, forward, grads)
    values = compile_graph(graph.slice([], residuals)).run() if residuals else []
    part = graph.slice(residuals, grads)
    part.sources[: len(values)] = values
    return part


def _output_gradient(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def _torch_function(torch: Any, name: str) -> Callable | None:
    """PyTorch's function of the name, if it has one."""
    return getattr(torch.nn.functional, name, None) or getattr(torch, name, None)


def _torch_calls(
    torch: Any, function: Callable, layer: Layer, backward: bool, arrays: dict[str, Any]
) -> dict[str, Callable[[], Any]]:
    """The pass in each of PyTorch's layouts that there is for such a shape."""
    formats = {"nchw": torch.contiguous_format}
    if len(layer.case.first_shape) == 4:
        formats["channels_last"] = torch.channels_last
    calls = {}
    for name, form in formats.items():
        call = _torch_call(torch, function, layer, backward, arrays, torch.float32, form)
        try:
            call()
        except RuntimeError:  # some functions do not take every layout
            continue
        calls[name] = call
    return calls


def _torch_call(
    torch: Any,
    function: Callable,
    layer: Layer,
    backward: bool,
    arrays: dict[str, Any],
    dtype: Any,
    form: Any = None,
) -> Callable[[], Any]:
    def laid_out(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array)
        tensor = tensor.to(dtype) if tensor.is_floating_point() else tensor
        return tensor.contiguous(memory_format=form) if form is not None and tensor.ndim == 4 else tensor

    def first_floats(results: Any) -> list[Any]:
        results = list(results) if isinstance(results, tuple) else [results]
        return [y for y in results if y.is_floating_point()] or results

    leaves, rebuild = flatten_tree(arrays)
    inputs = [laid_out(array) for array in leaves]

    def call() -> list[Any]:
        return first_floats(_called(function, layer, rebuild(inputs)))

    def forward() -> Any:
        with torch.no_grad():
            return call()

    if not backward:
        return forward
    floats = [tensor.requires_grad_() for tensor in inputs if tensor.is_floating_point()]
    result = call()[0]
    grad = laid_out(_output_gradient(tuple(result.shape)))

    dense = torch.contiguous_format if form is None else form

    def pull() -> list[Any]:
        grads = torch.autograd.grad(result, floats, grad, retain_graph=True)
        return [g if g.is_contiguous() or g.is_contiguous(memory_format=dense) else g.contiguous() for g in grads]

    return pull
