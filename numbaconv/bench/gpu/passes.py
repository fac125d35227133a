"""Convolutions: each pass against float64, and how fast it is beside cuDNN's.

A convolution is timed as it runs inside a network: images lie in the engine's layout and precision already, packing the
filter counts.  Copies of a pass with memory of their own take turns, so that together they touch more than the
second-level cache holds.  PyTorch gets channels_last and, for bf16 and fp16, numbers of 2 bytes.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbaconv.graph.device import DeviceExecutable, DevicePlan
from numbaconv.kernels.device import driver_for, to_device

from .. import conv
from ..conv import DIRECTIONS, FORWARD, INPUT, WEIGHT, Arrays, inside_a_network, one_pass
from ..exact import relative_error
from ..session import Session
from ..shapes import ConvLayer
from . import turns
from .item import Item
from .row import BOUNDS, GpuRow

#: Candidates of a pass (``CANDIDATES`` of the backend, which is not imported where there is no CUDA).
MMA, TMA = "mma", "tma"
FURTHER = ("wgmma", TMA)

#: Where PyTorch computes.
TORCH_DEVICE = "cuda"


def right_items(layers: Sequence[ConvLayer], precisions: Sequence[str], candidate: str = MMA) -> list[Item]:
    """Every pass of some small layers against float64, by a candidate."""
    every = [(layer, d, p, candidate) for layer in layers for d in DIRECTIONS for p in precisions]
    return [_item("right: ", compare, *what) for what in every if has_candidate(*what[1:])]


def fast_items(
    layers: Sequence[ConvLayer], directions: Sequence[str], precisions: Sequence[str], candidate: str = MMA
) -> list[Item]:
    """Every pass by a candidate, the first beside PyTorch; the first layer of a network has no input gradient."""
    every = [(layer, d, p, candidate) for layer in layers for d in directions for p in precisions]
    chosen = [what for what in every if has_candidate(*what[1:])]
    return [_item("", measure_pass, *what) for what in chosen if not (what[0].first and what[1] == INPUT)]


def _item(prefix: str, measure: Callable, layer: ConvLayer, direction: str, precision: str, candidate: str) -> Item:
    def prepare(collector: Any) -> None:
        if is_offered(layer, direction, precision, candidate):
            executable(layer, direction, Arrays.empty(layer), precision, candidate)

    def rows(session: Session) -> list[GpuRow]:
        if not is_offered(layer, direction, precision, candidate):
            return []
        return [measure(session, layer, direction, precision, candidate)]

    return Item(f"{prefix}{layer.name}, {_what(direction, precision, candidate)}", prepare, rows)


def _what(direction: str, precision: str, candidate: str) -> str:
    return f"{direction}, {precision}{'' if candidate == MMA else f', {candidate}'}"


def has_candidate(direction: str, precision: str, candidate: str) -> bool:
    """Whether there may be such a candidate: warpgroups' instructions serve some passes."""
    return candidate == MMA or precision != "fp32" and direction in (FORWARD, INPUT)


def is_offered(layer: ConvLayer, direction: str, precision: str, candidate: str) -> bool:
    """Whether a candidate can calculate a pass on the GPU at hand; warpgroups are Hopper's."""
    if candidate == MMA:
        return True
    if getattr(driver_for("cuda"), "architecture", "") != "sm_90":
        return False
    if candidate != TMA:
        return True
    plan = executable(layer, direction, Arrays.empty(layer), precision, candidate).plan
    return any("correlate_boxes" in step.kernel.label for step in plan.steps)


def executable(layer: ConvLayer, direction: str, arrays: Any, precision: str, candidate: str) -> DeviceExecutable:
    """One pass, planned with memory of its own."""
    graph = one_pass(layer, direction, arrays)
    return DeviceExecutable(DevicePlan(graph, driver_for("cuda"), precision=precision, candidate=candidate), graph)


# ------------------------------------------------------------------------------------------------ right?


@functools.lru_cache(maxsize=1)
def _drawn(layer: ConvLayer) -> Arrays:
    return Arrays(layer)


@functools.lru_cache(maxsize=1)
def _exact(layer: ConvLayer, direction: str) -> np.ndarray:
    return conv.exact_pass(layer, direction, _drawn(layer))


def compare(session: Session, layer: ConvLayer, direction: str, precision: str, candidate: str) -> GpuRow:
    """The error against float64."""
    found = executable(layer, direction, _drawn(layer), precision, candidate).run()[0].to_host()
    return GpuRow(
        name=f"right: {layer.name}",
        direction=_what(direction, precision, candidate),
        error=relative_error(found, _exact(layer, direction)),
        bound=BOUNDS[precision],
    )


# ------------------------------------------------------------------------------------------------ fast?


class _Given:
    """The arrays of a layer, on the device once for all its passes: they are hundreds of megabytes."""

    def __init__(self, layer: ConvLayer) -> None:
        self.host = Arrays.tiled(layer)
        self.x, self.w, self.g = (to_device(a) for a in (self.host.x, self.host.w, self.host.g))
        self.b = None if self.host.b is None else to_device(self.host.b)


@functools.lru_cache(maxsize=1)
def _given(driver: Any, layer: ConvLayer) -> _Given:
    return _Given(layer)


def measure_pass(session: Session, layer: ConvLayer, direction: str, precision: str, candidate: str) -> GpuRow:
    """The time of ours beside PyTorch's; that of further candidates alone."""
    driver: Any = driver_for("cuda")
    arrays, copies = _given(driver, layer), turns.copies_for(layer.bytes)
    runs = [executable(layer, direction, arrays, precision, candidate) for _ in range(copies)]
    for run in runs:
        run.run()
    launches = [launch for run in runs for launch in run.launches(inside_a_network)]
    calls: dict[str, tuple[Callable[[], Any], int]] = {"ours": (driver.record(launches, in_order=True), copies)}
    if session.torch is not None and candidate == MMA:
        calls["torch"] = _torch_pass(session.torch, layer, direction, arrays.host, precision, copies), copies
    seconds = turns.Turns(driver.timed, session.rounds).seconds(calls)
    return GpuRow(
        name=layer.name,
        direction=_what(direction, precision, candidate),
        ratio=seconds["torch"] / seconds["ours"] if "torch" in seconds else None,
        ours_us=seconds["ours"] * 1e6,
        torch_us=seconds["torch"] * 1e6 if "torch" in seconds else None,
        tflops=layer.flops / seconds["ours"] / 1e12,
        gbytes=layer.bytes / seconds["ours"] / 1e9,
        kernels="; ".join(launch.kernel.label for launch in launches[: len(launches) // copies]),
    )


def torch_dtype(torch: Any, precision: str) -> Any:
    """What numbers PyTorch is given for a precision."""
    return {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)


def allow_tf32(torch: Any, precision: str) -> None:
    """Let PyTorch read float32 as tf32, or not."""
    for part in (torch.backends.cudnn, torch.backends.cuda.matmul):
        part.allow_tf32 = precision != "fp32"


def _torch_pass(
    torch: Any, layer: ConvLayer, direction: str, arrays: Arrays, precision: str, copies: int
) -> Callable[[], None]:
    """The same pass of so many copies, by cuDNN's fastest algorithm."""
    torch.backends.cudnn.benchmark = True
    allow_tf32(torch, precision)
    dtype = torch_dtype(torch, precision)

    def on_device(array: np.ndarray) -> Any:
        there = torch.from_numpy(array).to(TORCH_DEVICE).to(dtype)
        return there.contiguous(memory_format=torch.channels_last) if array.ndim == 4 else there

    needed = {FORWARD: (arrays.x, arrays.w, arrays.b, None)}.get(direction, (arrays.x, arrays.w, None, arrays.g))
    first = [None if a is None else on_device(a) for a in needed]
    sets = [first] + [[None if a is None else a.clone() for a in first] for _ in range(copies - 1)]
    stride, padding, dilation = [layer.stride] * 2, [layer.padding] * 2, [1, 1]
    mask = [direction == INPUT, direction == WEIGHT, False]

    def run() -> None:
        with torch.no_grad():
            for x, w, b, g in sets:
                if direction == FORWARD:
                    torch.nn.functional.conv2d(x, w, b, stride, padding, dilation, layer.groups)
                else:
                    torch.ops.aten.convolution_backward(
                        g, x, w, None, stride, padding, dilation, False, [0, 0], layer.groups, mask
                    )

    return run
