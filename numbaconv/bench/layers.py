"""Layers other than convolutions: forward, and backward to all their arrays.

Timed as convolutions are (see ``conv``), but PyTorch's backward pass runs through autograd, which costs it a few
microseconds; there is no other door to it that is the same for all functions.  Where the planner has made one step of a
function and its gradient, our backward pass counts both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Executable, Graph, compile_graph, gradients

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
    layers: Sequence[Layer] | None = None,
) -> Sequence[Row]:
    """A row for each pass of each layer; errors are against PyTorch in float64.

    Args:
        session: rounds and other libraries.
        networks: names in ``shapes.LAYERS``, or ``all``.
        directions: some of ``DIRECTIONS``.
        batch: images, instead of those in the tables.
        layers: these instead of the networks'.
    """
    for direction in directions:
        if direction not in DIRECTIONS:
            raise ValueError(f"bench layers: there is no pass {direction!r}, only {', '.join(DIRECTIONS)}")
    chosen = other_layers(tuple(networks), batch) if layers is None else list(layers)
    work = [(layer, direction) for layer in chosen for direction in directions]
    return session.each(work, lambda layer, direction: f"{layer.name}, {direction}", measure_pass)


def measure_pass(session: Session, layer: Layer, direction: str) -> LayerRow:
    """One row."""
    backward = direction == "backward"
    rng = np.random.default_rng(0)
    arrays = {name: rng.standard_normal(shape, np.float32) for name, shape in layer.shapes.items()}
    executable, labels, moved = _compile(layer, backward, arrays)
    calls: dict[str, Callable[[], Any]] = {
        "ours": Replay(executable).only(lambda step: inside_a_network(step) and labels & set(step.label.split()))
    }
    error = None
    if session.torch is not None:
        calls |= _torch_calls(session.torch, layer, backward, arrays)
        error = _error(session.torch, layer, backward, arrays, executable.run())
    seconds = session.time(calls)
    ours = seconds.pop("ours")
    return LayerRow(
        name=layer.name,
        direction=direction,
        ratio=min(seconds.values()) / ours if seconds else None,
        ours_us=ours * 1e6,
        torch_nchw_us=seconds["nchw"] * 1e6 if seconds else None,
        torch_channels_last_us=seconds["channels_last"] * 1e6 if "channels_last" in seconds else None,
        gb_per_s=moved / ours / 1e9,
        error=error,
        function=layer.function,
        shape=layer.shapes["x"],
    )


def _compile(layer: Layer, backward: bool, arrays: dict[str, np.ndarray]) -> tuple[Executable, set[str], float]:
    """The plan, the labels of the steps that belong to the pass, and the bytes it must read and write."""
    graph = Graph()
    leaves = [graph.leaf(array) for array in arrays.values()]
    results = [getattr(F, layer.function)(*leaves, **layer.arguments)]
    moved = sum(array.nbytes for array in arrays.values()) + 4.0 * results[0].size
    begin = 0
    if backward:
        begin = len(graph.nodes)
        results = gradients(results[0], leaves, graph.leaf(_output_gradient(results[0].shape)))
        moved += sum(array.nbytes for array in arrays.values())
    labels = {"reorder", *(node.op.name for node in graph.nodes[begin:])}
    graph.output(*results)
    return compile_graph(graph), labels, moved


def _output_gradient(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).standard_normal(shape, np.float32)


def _torch_calls(
    torch: Any, layer: Layer, backward: bool, arrays: dict[str, np.ndarray]
) -> dict[str, Callable[[], Any]]:
    """The pass in each of PyTorch's layouts that there is for such a shape."""
    formats = {"nchw": torch.contiguous_format}
    if len(layer.shapes["x"]) == 4:
        formats["channels_last"] = torch.channels_last
    return {name: _torch_call(torch, layer, backward, arrays, form) for name, form in formats.items()}


def _torch_call(
    torch: Any, layer: Layer, backward: bool, arrays: dict[str, np.ndarray], form: Any, dtype: Any = None
) -> Callable[[], Any]:
    function = getattr(torch.nn.functional, layer.function, None) or getattr(torch, layer.function)

    def laid_out(array: np.ndarray) -> Any:
        tensor = torch.from_numpy(array).to(dtype)
        return tensor.contiguous(memory_format=form) if tensor.ndim == 4 else tensor

    inputs = [laid_out(array) for array in arrays.values()]

    def forward() -> Any:
        with torch.no_grad():
            return [function(*inputs, **layer.arguments)]

    if not backward:
        return forward
    for tensor in inputs:
        tensor.requires_grad_()
    result = function(*inputs, **layer.arguments)
    grad = laid_out(_output_gradient(tuple(result.shape)))
    return lambda: torch.autograd.grad(result, inputs, grad, retain_graph=True)


def _error(
    torch: Any, layer: Layer, backward: bool, arrays: dict[str, np.ndarray], found: Sequence[np.ndarray]
) -> float:
    exact = _torch_call(torch, layer, backward, arrays, torch.contiguous_format, torch.float64)()
    return max(relative_error(ours, theirs.numpy()) for ours, theirs in zip(found, exact, strict=True))
