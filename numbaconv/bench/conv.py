"""Convolutions: forward, input gradient and weight gradient of one layer at a time.

Ours is timed as it runs inside a network, where images already lie in the engine's batch layout: bringing data into
that layout and out of it does not count, packing the filter does, and so does summing partial weight gradients.  Every
block of the batch has its own memory, so that inputs are not read from caches that a network would have refilled.
PyTorch gets its inputs in the layout at hand, too, and records no gradients; the better one of its two layouts counts.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Graph, compile_graph, gradients
from numbaconv.kernels.lowering import BATCH

from . import exact
from .replay import Replay
from .report import Row, column
from .session import Session
from .shapes import ConvLayer, convolutions

FORWARD, INPUT, WEIGHT = "forward", "input gradient", "weight gradient"
DIRECTIONS = (FORWARD, INPUT, WEIGHT)

#: Images whose results are compared with float64; images do not depend on each other.
_COMPARED_IMAGES = 4


@dataclass(kw_only=True)
class ConvRow(Row):
    """One pass of one layer; rates count the operations of the definition, whatever algorithm ran.

    The bytes of ``flop_per_byte`` are those of images, filter and results, each once.
    """

    direction: str = column("pass", default="")
    ratio: float | None = column("ratio", ".2f")
    ours_gflops: float = column("ours GFLOP/s", ".1f", 0.0)
    torch_nchw_gflops: float | None = column("torch NCHW", ".1f")
    torch_channels_last_gflops: float | None = column("torch channels_last", ".1f")
    share_of_peak: float = column("of peak", ".0%", 0.0)
    error: float = column("error", ".1e", 0.0)
    ours_us: float = column("ours µs", ",.0f", 0.0)
    mflop: float = column("MFLOP", ",.1f", 0.0)
    flop_per_byte: float = column("FLOP/byte", ",.1f", 0.0)
    kernels: str = column(default="")
    batch: int = column(default=0)
    channels: int = column(default=0)
    size: int = column(default=0)
    filters: int = column(default=0)
    kernel: int = column(default=0)
    stride: int = column(default=1)
    padding: int = column(default=0)
    groups: int = column(default=1)


def measure(
    session: Session,
    networks: Sequence[str] = ("lenet5", "resnet20"),
    directions: Sequence[str] = DIRECTIONS,
    batch: int | None = None,
    layers: Sequence[ConvLayer] | None = None,
    device: str = "cpu",
    precisions: Sequence[str] = ("fp32",),
) -> Sequence[Row]:
    """A row for each pass of each layer; the first layer of a network has no input gradient.

    Args:
        session: rounds and other libraries.
        networks: names in ``shapes.CONVOLUTIONS``, or ``all``.
        directions: some of ``DIRECTIONS``.
        batch: images, instead of those in the tables.
        layers: these instead of the networks'.
        device: "cpu" or "cuda"; see ``gpu.py`` for how the latter is measured.
        precisions: of matrix products on a GPU.
    """
    for direction in directions:
        if direction not in DIRECTIONS:
            raise ValueError(f"bench conv: there is no pass {direction!r}, only {', '.join(DIRECTIONS)}")
    chosen = convolutions(tuple(networks), batch) if layers is None else list(layers)
    if device != "cpu":
        from .gpu import measure_convolutions

        return measure_convolutions(session, chosen, directions, precisions)
    work = [(layer, d) for layer in chosen for d in directions if not (layer.first and d == INPUT)]
    rows = session.each(work, lambda layer, direction: f"{layer.name}, {direction}", measure_pass)
    for row in rows:  # by now the peak is known best
        row.share_of_peak = row.ours_gflops * 1e9 / session.peak
    session.bandwidth  # noqa: B018  a fact beside the rows' FLOP/byte
    return rows


def measure_pass(session: Session, layer: ConvLayer, direction: str) -> ConvRow:
    """One row."""
    arrays = Arrays(layer)
    executable = compile_graph(one_pass(layer, direction, arrays))
    calls: dict[str, Callable[[], Any]] = {"ours": Replay(executable).only(inside_a_network)}
    if session.torch is not None:
        calls |= _torch_calls(session.torch, layer, direction, arrays)
    seconds = session.time_beside_peak(calls)
    rates = {name: layer.flops / s / 1e9 for name, s in seconds.items()}
    ours = seconds.pop("ours")
    return ConvRow(
        name=layer.name,
        direction=direction,
        ratio=min(seconds.values()) / ours if seconds else None,
        ours_gflops=rates["ours"],
        torch_nchw_gflops=rates.get("nchw"),
        torch_channels_last_gflops=rates.get("channels_last"),
        share_of_peak=layer.flops / ours / session.peak,
        error=pass_error(layer, direction, arrays, executable.run()[0]),
        ours_us=ours * 1e6,
        mflop=layer.flops / 1e6,
        flop_per_byte=layer.flops / layer.bytes,
        kernels="; ".join(step.kernel.label for step in executable.plan.steps if inside_a_network(step)),
        batch=layer.batch,
        channels=layer.channels,
        size=layer.size,
        filters=layer.filters,
        kernel=layer.kernel,
        stride=layer.stride,
        padding=layer.padding,
        groups=layer.groups,
    )


def inside_a_network(step: Any) -> bool:
    """Whether a step of a one-layer plan would be there in a network too: all but data entering and leaving."""
    crosses = step.label in ("reorder", "output")
    return not (crosses and any(buffer.layout == BATCH for buffer in (*step.inputs, *step.outputs)))


class Arrays:
    """Standard normal numbers, the filter scaled such that outputs are about as large as inputs."""

    def __init__(self, layer: ConvLayer, draw: Callable[[tuple[int, ...]], np.ndarray] | None = None) -> None:
        normal = draw or _normal(0)
        self.x = normal(layer.input_shape)
        self.w = normal(layer.weight_shape) / np.float32(math.sqrt(math.prod(layer.weight_shape[1:])))
        self.b = normal((layer.filters,)) if layer.bias else None
        self.g = normal(layer.output_shape)

    @classmethod
    def tiled(cls, layer: ConvLayer) -> Arrays:
        """The same few numbers again and again, where only time counts: drawing many takes seconds."""
        numbers = _normal(0)((1 << 16) + 1)
        return cls(layer, lambda shape: np.resize(numbers, shape))

    @classmethod
    def empty(cls, layer: ConvLayer) -> Arrays:
        """No numbers, where only shapes count: all elements are one."""
        return cls(layer, lambda shape: np.broadcast_to(np.float32(1), shape))


def _normal(seed: int) -> Callable[[Any], np.ndarray]:
    rng = np.random.default_rng(seed)
    return lambda shape: rng.standard_normal(shape, np.float32)


def one_pass(layer: ConvLayer, direction: str, arrays: Arrays) -> Graph:
    """A graph of one pass, with all its arrays bound."""
    graph = Graph()
    x, w = graph.leaf(arrays.x), graph.leaf(arrays.w)
    result = F.conv2d(x, w, arrays.b, layer.stride, layer.padding, 1, layer.groups)
    if direction != FORWARD:
        (result,) = gradients(result, [x if direction == INPUT else w], graph.leaf(arrays.g))
    graph.output(result)
    return graph


def pass_error(layer: ConvLayer, direction: str, arrays: Arrays, found: np.ndarray) -> float:
    """Largest difference to float64 over the largest value there."""
    few = slice(None if direction == WEIGHT else _COMPARED_IMAGES)
    return exact.relative_error(found[few], exact_pass(layer, direction, arrays, few))


def exact_pass(layer: ConvLayer, direction: str, arrays: Arrays, images: slice = slice(None)) -> np.ndarray:
    """The result of a pass in float64, of some images."""
    x, w, b, g = arrays.x, arrays.w, arrays.b, arrays.g
    geometry = (layer.stride, layer.padding, layer.groups)
    if direction == FORWARD:
        return exact.forward(x[images], w, b, *geometry)
    gradient = exact.input_gradient if direction == INPUT else exact.weight_gradient
    return gradient(g[images], x[images], w, *geometry)


def _torch_calls(torch: Any, layer: ConvLayer, direction: str, arrays: Arrays) -> dict[str, Callable[[], Any]]:
    """The pass in both of PyTorch's layouts."""
    formats = {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}
    return {name: _torch_call(torch, layer, direction, arrays, form) for name, form in formats.items()}


def _torch_call(torch: Any, layer: ConvLayer, direction: str, arrays: Arrays, form: Any) -> Callable[[], Any]:
    x, w, g = (torch.from_numpy(a).contiguous(memory_format=form) for a in (arrays.x, arrays.w, arrays.g))
    b = None if arrays.b is None else torch.from_numpy(arrays.b)
    stride, padding, dilation = [layer.stride] * 2, [layer.padding] * 2, [1, 1]

    def forward() -> Any:
        with torch.no_grad():
            return torch.nn.functional.conv2d(x, w, b, stride, padding, dilation, layer.groups)

    mask = [direction == INPUT, direction == WEIGHT, False]

    def backward() -> Any:
        with torch.no_grad():
            return torch.ops.aten.convolution_backward(
                g, x, w, None, stride, padding, dilation, False, [0, 0], layer.groups, mask
            )

    return forward if direction == FORWARD else backward
