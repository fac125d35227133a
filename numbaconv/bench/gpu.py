"""A day with a GPU: is it right, and how fast is it?  One command, less than ten minutes, everything in one file:

    numbaconv bench gpu --against torch --json gpu.json

First every pass of a few layers of all kinds against float64 at every precision: an error beyond the bound ends the
measurement.  Then convolutions; operators that memory decides, whose yardstick is a copy measured in the same run; and
whole networks.

The device's own events time what it does; the median of the rounds counts, and ours and PyTorch's take turns.  A
convolution is timed as it runs inside a network: images lie in the engine's layout and precision already, packing the
filter counts.  Copies of a pass with memory of their own take turns, so that together they touch more than the
second-level cache holds.  PyTorch gets channels_last and, for bf16 and fp16, numbers of 2 bytes.
"""

from __future__ import annotations

import functools
import statistics
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

import numbaconv as nc
import numbaconv.functional as F
from numbaconv import models
from numbaconv.graph import Graph
from numbaconv.graph.device import DeviceExecutable, DevicePlan
from numbaconv.kernels.device import PRECISIONS, check_precision, driver_for, to_device

from .conv import DIRECTIONS, FORWARD, INPUT, WEIGHT, Arrays, inside_a_network, one_pass, pass_error
from .infer import torch_call
from .report import Row, column
from .session import Session
from .shapes import ConvLayer, convolutions
from .train import build_step, random_batch, torch_step

TRAINING, INFERENCE = "training step", "inference"

#: Largest errors, relative to the largest result.
BOUNDS = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2, "fp16": 1e-2}

#: What copies of a pass touch together, in bytes: twice the second-level cache of an H100.
TOUCHED = 100 << 20

#: A round lasts at least so long, in seconds.
ROUND_SECONDS = 2e-3

#: Images of the layers that are compared with float64, which the CPU calculates.
COMPARED_IMAGES = 2

#: Layers that are compared: of whole tiles and not, first layers, strided, grouped and depthwise ones.
COMPARED = (
    ConvLayer("3x3", COMPARED_IMAGES, 64, 28, 128, 3, padding=1),
    ConvLayer("3x3 /2", COMPARED_IMAGES, 96, 27, 160, 3, stride=2, padding=1),
    ConvLayer("1x1", COMPARED_IMAGES, 256, 14, 136, 1),
    ConvLayer("1x1 /2", COMPARED_IMAGES, 64, 15, 64, 1, stride=2),
    ConvLayer("stem 7x7 /2", COMPARED_IMAGES, 3, 63, 64, 7, stride=2, padding=3),
    ConvLayer("one channel", COMPARED_IMAGES, 1, 28, 6, 5, bias=True),
    ConvLayer("odd", COMPARED_IMAGES, 30, 17, 34, 3, padding=1, bias=True),
    ConvLayer("grouped", COMPARED_IMAGES, 64, 14, 96, 3, padding=1, groups=4),
    ConvLayer("depthwise", COMPARED_IMAGES, 72, 19, 72, 3, stride=2, padding=1, groups=72),
)


@dataclass(kw_only=True)
class GpuRow(Row):
    """One pass of a convolution, or one operator; rates count the operations of the definition."""

    direction: str = column("pass and precision", default="")
    ratio: float | None = column("ratio", ".2f")
    ours_us: float | None = column("ours µs", ",.1f")
    wgmma_us: float | None = column("wgmma µs", ",.1f")
    torch_us: float | None = column("torch µs", ",.1f")
    tflops: float | None = column("TFLOP/s", ",.1f")
    gbytes: float | None = column("GB/s", ",.0f")
    of_copy: float | None = column("of copy", ".0%")
    error: float | None = column("error", ".1e")
    kernels: str = column(default="")


def measure(
    session: Session,
    networks: Sequence[str] = ("resnet50",),
    directions: Sequence[str] = DIRECTIONS,
    batch: int | None = 64,
    precisions: Sequence[str] = ("fp32", "tf32", "bf16"),
    layers: Sequence[ConvLayer] | None = None,
    compared: Sequence[ConvLayer] = COMPARED,
    elements: int = 1 << 26,
    trained: Sequence[tuple[str, int]] = (("lenet5", 256), ("resnet20", 512)),
    inferred: Sequence[tuple[str, int]] = (("resnet18", 1),),
) -> Sequence[Row]:
    """Rows of comparisons with float64, then of convolutions, operators that memory decides, and whole networks.

    Args:
        session: rounds and other libraries.
        networks, directions, batch, layers: as of ``conv.measure``.
        precisions: of matrix products, see ``numbaconv.compile``.
        compared: the layers that are compared with float64.
        elements: of the values of operators that memory decides.
        trained, inferred: networks and batch sizes.

    Raises:
        DeviceError: if there is no GPU that can be used; says what mends it.
        ValueError: for an unknown network, pass or precision.
        ArithmeticError: if a result differs from float64 by more than its precision allows.
    """
    driver = driver_for("cuda")
    for precision in precisions:
        check_precision("cuda", precision)
    session.device = driver.name
    right = [(layer, d, p) for p in PRECISIONS for layer in compared for d in DIRECTIONS]
    rows: list[Row] = session.each(right, _name, compare)
    chosen = convolutions(tuple(networks), batch) if layers is None else list(layers)
    rows += session.each(passes(chosen, directions, precisions), _name, measure_pass)
    rows += bandwidth_rows(session, elements)
    wholes = [(TRAINING, *which, p) for which in trained for p in precisions]
    wholes += [(INFERENCE, *which, p) for which in inferred for p in precisions]
    return rows + session.each(wholes, lambda *what: ", ".join(map(str, what)), measure_network)


def measure_convolutions(
    session: Session, layers: Sequence[ConvLayer], directions: Sequence[str], precisions: Sequence[str]
) -> list[GpuRow]:
    """The rows of ``bench conv --device cuda``."""
    session.device = driver_for("cuda").name
    return session.each(passes(layers, directions, precisions), _name, measure_pass)


def passes(layers: Sequence[ConvLayer], directions: Sequence[str], precisions: Sequence[str]) -> list[tuple]:
    """What is to be measured; the first layer of a network has no input gradient."""
    every = [(layer, d, p) for p in precisions for layer in layers for d in directions]
    return [(layer, d, p) for layer, d, p in every if not (layer.first and d == INPUT)]


def _name(layer: ConvLayer, direction: str, precision: str) -> str:
    return f"{layer.name}, {direction}, {precision}"


# ------------------------------------------------------------------------------------------------ right?


def compare(session: Session, layer: ConvLayer, direction: str, precision: str) -> GpuRow:
    """A row with the error against float64; raises ArithmeticError if it is too large."""
    arrays = Arrays(layer)
    candidates = [False, True] if has_warpgroups(direction, precision) else [False]
    runs = [_executable(layer, direction, arrays, precision, wgmma) for wgmma in candidates]
    error = max(pass_error(layer, direction, arrays, run.run()[0].to_host()) for run in runs)
    if not error <= BOUNDS[precision]:  # NaN, too
        raise ArithmeticError(
            f"{_name(layer, direction, precision)}: the error against float64 is {error:.1e}, "
            f"more than {BOUNDS[precision]:.0e}"
        )
    return GpuRow(name=f"right: {layer.name}", direction=f"{direction}, {precision}", error=error)


def _executable(
    layer: ConvLayer, direction: str, arrays: Arrays, precision: str, wgmma: bool = False
) -> DeviceExecutable:
    graph = one_pass(layer, direction, arrays)
    return DeviceExecutable(DevicePlan(graph, driver_for("cuda"), precision=precision, wgmma=wgmma), graph)


def has_warpgroups(direction: str, precision: str) -> bool:
    """Whether there is a second candidate for a pass: warpgroups' matrix instructions, on Hopper alone."""
    architecture = getattr(driver_for("cuda"), "architecture", "")
    return architecture == "sm_90" and precision != "fp32" and direction in (FORWARD, INPUT)


# ------------------------------------------------------------------------------------------------ fast?


class Turns:
    """Functions that launch work on the device, each with how many passes it makes; they are timed in turn."""

    def __init__(self, timed: Callable[[Callable[[], Any]], float], rounds: int) -> None:
        self._timed, self._rounds = timed, rounds

    def seconds(self, calls: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
        """Seconds of a pass: the median of the rounds."""
        repeats = {name: self._repeats(call) for name, (call, _) in calls.items()}
        found: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(self._rounds):
            for name, (call, count) in calls.items():
                found[name].append(self._timed(_repeated(call, repeats[name])) / (repeats[name] * count))
        return {name: statistics.median(seconds) for name, seconds in found.items()}

    def _repeats(self, call: Callable[[], Any]) -> int:
        """How often a call is made in a round; it has run before, twice: the second time it is recorded."""
        call()
        call()
        return max(1, round(ROUND_SECONDS / max(self._timed(call), 1e-7)))


def _repeated(call: Callable[[], Any], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


@functools.lru_cache(maxsize=1)
def arrays_of(layer: ConvLayer) -> Arrays:
    """The numbers of a layer, drawn once for all its passes: they are hundreds of megabytes."""
    return Arrays(layer)


def copies_for(size: int) -> int:
    """How many copies of a pass over ``size`` bytes take turns."""
    return max(1, -(-TOUCHED // max(size, 1)))


def measure_pass(session: Session, layer: ConvLayer, direction: str, precision: str) -> GpuRow:
    """One row."""
    driver = driver_for("cuda")
    arrays, copies = arrays_of(layer), copies_for(layer.bytes)
    calls: dict[str, tuple[Callable[[], Any], int]] = {}
    kernels, held = {}, []
    for name, wgmma in (("ours", False), ("wgmma", True)):
        if wgmma and not has_warpgroups(direction, precision):
            continue
        runs = [_executable(layer, direction, arrays, precision, wgmma) for _ in range(copies)]
        held += runs  # their memory
        for run in runs:
            run.run()
        launches = [launch for run in runs for launch in run.launches(inside_a_network)]
        calls[name] = driver.record(launches), copies
        kernels[name] = "; ".join(launch.kernel.label for launch in launches[: len(launches) // copies])
    if session.torch is not None:
        calls["torch"] = _torch_pass(session.torch, layer, direction, arrays, precision, copies), copies
    seconds = Turns(driver.timed, session.rounds).seconds(calls)
    return GpuRow(
        name=layer.name,
        direction=f"{direction}, {precision}",
        ratio=seconds["torch"] / seconds["ours"] if "torch" in seconds else None,
        ours_us=seconds["ours"] * 1e6,
        wgmma_us=seconds["wgmma"] * 1e6 if "wgmma" in seconds else None,
        torch_us=seconds["torch"] * 1e6 if "torch" in seconds else None,
        tflops=layer.flops / seconds["ours"] / 1e12,
        gbytes=layer.bytes / seconds["ours"] / 1e9,
        kernels=kernels["ours"],
    )


def _torch_pass(
    torch: Any, layer: ConvLayer, direction: str, arrays: Arrays, precision: str, copies: int
) -> Callable[[], None]:
    """The same pass of so many copies, by cuDNN's fastest algorithm."""
    torch.backends.cudnn.benchmark = True
    dtype = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(precision, torch.float32)

    def on_device(array: np.ndarray) -> Any:
        there = torch.from_numpy(array).cuda().to(dtype)
        return there.contiguous(memory_format=torch.channels_last) if array.ndim == 4 else there

    given = (arrays.x, arrays.w, arrays.b, arrays.g)
    sets = [[None if a is None else on_device(a) for a in given] for _ in range(copies)]
    stride, padding, dilation = [layer.stride] * 2, [layer.padding] * 2, [1, 1]
    mask = [direction == INPUT, direction == WEIGHT, False]

    def run() -> None:
        torch.backends.cudnn.allow_tf32 = precision == "tf32"
        with torch.no_grad():
            for x, w, b, g in sets:
                if direction == FORWARD:
                    torch.nn.functional.conv2d(x, w, b, stride, padding, dilation, layer.groups)
                else:
                    torch.ops.aten.convolution_backward(
                        g, x, w, None, stride, padding, dilation, False, [0, 0], layer.groups, mask
                    )

    return run


# ------------------------------------------------------------------------------------------------ decided by memory


def bandwidth_rows(session: Session, elements: int) -> Iterator[GpuRow]:
    """A copy, and operators that read and write as little as their definition allows."""
    driver, turns = driver_for("cuda"), Turns(driver_for("cuda").timed, session.rounds)
    channels, size = 64, 8
    shape = (max(1, elements // (channels * size * size)), channels, size, size)
    x = np.resize(np.random.default_rng(0).standard_normal(1 << 16, np.float32), shape)
    source, target = driver.allocate(x.nbytes), driver.allocate(x.nbytes)
    driver.upload(source, x)
    copied = turns.seconds({"copy": (lambda: driver.copy(target, source, x.nbytes), 1)})["copy"]
    driver.free(source)
    driver.free(target)
    rate = 2 * x.nbytes / copied
    yield GpuRow(name="copy", ours_us=copied * 1e6, gbytes=rate / 1e9, of_copy=1.0)
    numbers = np.ones(channels, np.float32)
    operators: dict[str, tuple[Callable[[Any], Any], float]] = {
        "relu": (F.relu, 2.0),
        "add, relu": (lambda t: F.relu(t + F.tanh(t)), 2.0),
        "batch_norm": (lambda t: F.batch_norm(t, None, None, numbers, numbers, training=True), 3.0),
        "max_pool2d": (lambda t: F.max_pool2d(t, 2), 1.25),
        "avg_pool2d": (lambda t: F.avg_pool2d(t, 2), 1.25),
    }
    for name, (function, values) in operators.items():
        graph = Graph()
        graph.output(function(graph.leaf(x)))
        run = DeviceExecutable(DevicePlan(graph, driver), graph)
        run.run()
        launches = run.launches(inside_a_network)
        seconds = turns.seconds({"ours": (driver.record(launches), 1)})["ours"]
        found = values * x.nbytes / seconds
        kernels = "; ".join(launch.kernel.label for launch in launches)
        yield GpuRow(name=name, ours_us=seconds * 1e6, gbytes=found / 1e9, of_copy=found / rate, kernels=kernels)


# ------------------------------------------------------------------------------------------------ whole networks


def measure_network(session: Session, work: str, network: str, batch: int, precision: str) -> GpuRow:
    """A row of training steps or of inference; data are on the device, and nothing waits for a result.

    PyTorch is eager, in channels_last, with float32 everywhere: in tf32 for all our precisions but fp32.
    """
    driver = driver_for("cuda")
    images, labels = random_batch(network, batch)
    there = to_device(images)
    if work == TRAINING:
        indices, labels_there = np.arange(batch), to_device(labels)
        model, step = build_step(network, images, labels, "cuda", precision)
        calls: dict[str, tuple[Callable[[], Any], int]] = {"ours": (lambda: step(there, labels_there, indices), 1)}
        make: Callable[..., Callable[[], Any]] = functools.partial(torch_step, labels=labels)
    else:
        model = models.build(network).eval()
        compiled = nc.compile(model, freeze=True, device="cuda", precision=precision)
        calls = {"ours": (lambda: compiled(there), 1)}
        make = torch_call
    if session.torch is not None:
        torch = session.torch
        for part in (torch.backends.cudnn, torch.backends.cuda.matmul):
            part.allow_tf32 = precision != "fp32"
        form = torch.channels_last
        calls["torch"] = make(torch=torch, model=model, images=images, form=form, device="cuda"), 1
    seconds = Turns(driver.timed, session.rounds).seconds(calls)
    return GpuRow(
        name=f"{network}, batch {batch}",
        direction=f"{work}, {precision}",
        ratio=seconds["torch"] / seconds["ours"] if "torch" in seconds else None,
        ours_us=seconds["ours"] * 1e6,
        torch_us=seconds["torch"] * 1e6 if "torch" in seconds else None,
    )
