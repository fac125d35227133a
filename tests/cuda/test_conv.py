"""Convolutions on the GPU, in the emulator: all passes of every kind of arithmetic against float64."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pytest

pytest.importorskip("numba_cuda", reason="numba-cuda is not installed: pip install numbaconv[cuda]")

from reference.conv import conv as correlation  # noqa: E402
from reference.conv import conv_grads  # noqa: E402

from numbaconv.kernels.convolution import FORWARD, INPUT, WEIGHTS, Convolution  # noqa: E402
from numbaconv.kernels.cuda import conv, depthwise, emulator  # noqa: E402
from numbaconv.kernels.cuda.lowering import BATCH, FILTER, FILTER_TRANSPOSED, PLAIN, Program, buffer_for  # noqa: E402
from numbaconv.ops.geometry import output_size  # noqa: E402

#: What holds a number, and the largest error relative to the largest value.
KINDS = {
    "fp32": (np.float32, 1e-5),
    "tf32": (np.float32, 1e-3),
    "bf16": (np.uint16, 1e-2),
    "fp16": (np.float16, 1e-2),
}


class Layer(NamedTuple):
    x: tuple[int, ...]
    w: tuple[int, ...]
    stride: Any = 1
    padding: Any = 0
    dilation: Any = 1
    groups: int = 1


LAYERS = {
    "3x3": Layer((2, 32, 9, 8), (40, 32, 3, 3), padding=1),
    "1x1": Layer((3, 36, 7, 5), (24, 36, 1, 1)),
    "stride 2": Layer((2, 16, 11, 10), (24, 16, 3, 3), stride=2, padding=1),
    "1x1 stride 2": Layer((2, 24, 9, 8), (16, 24, 1, 1), stride=2),
    "first layer": Layer((2, 3, 13, 14), (8, 3, 5, 5), stride=2, padding=2),
    "many taps": Layer((2, 4, 16, 15), (8, 4, 7, 7), stride=2, padding=3),
    "one channel": Layer((3, 1, 12, 12), (6, 1, 5, 5)),
    "odd": Layer((2, 6, 8, 9), (10, 6, 2, 3), stride=(3, 2), padding=((1, 0), (2, 1)), dilation=(2, 1)),
    "dilated": Layer((1, 7, 12, 11), (9, 7, 3, 3), stride=2, padding=2, dilation=(3, 2)),
    "groups": Layer((2, 24, 8, 7), (12, 8, 3, 3), padding=1, groups=3),
    "odd groups": Layer((2, 10, 7, 8), (4, 5, 3, 2), stride=2, groups=2),
    "signal": Layer((3, 8, 21), (12, 8, 4), stride=2, padding=1),
    "volume": Layer((2, 4, 5, 6, 7), (6, 4, 3, 2, 3), stride=(2, 1, 2), padding=(1, 0, 1)),
}

DEPTHWISE = {
    "depthwise": Layer((2, 36, 9, 8), (36, 1, 3, 3), padding=1, groups=36),
    "depthwise stride 2": Layer((3, 6, 9, 10), (6, 1, 3, 5), stride=(2, 3), padding=((1, 0), (2, 1)), groups=6),
    "depthwise dilated signal": Layer((2, 5, 23), (5, 1, 4), dilation=2, groups=5),
}


def rounded(a: np.ndarray, kind: str) -> np.ndarray:
    """Numbers that memory of a kind can hold."""
    return emulator.widened(emulator.narrowed(a.astype(np.float32), np.dtype(KINDS[kind][0])))


def stored(a: np.ndarray, layout: str, dtype: Any) -> np.ndarray:
    """An array as it lies on the device."""
    if layout in (BATCH, FILTER):
        a = np.moveaxis(a, 1, -1)
    elif layout == FILTER_TRANSPOSED:
        a = np.moveaxis(np.moveaxis(a, 0, -1), 0, 0)
    return emulator.narrowed(np.ascontiguousarray(a, np.float32), np.dtype(dtype)).reshape(-1)


def logical(values: np.ndarray, shape: tuple[int, ...], layout: str) -> np.ndarray:
    values = emulator.widened(values)
    if layout == BATCH:
        return np.moveaxis(values.reshape(shape[0], *shape[2:], shape[1]), -1, 1)
    return values.reshape(shape)


def run(program: Program, arrays: dict[int, np.ndarray]) -> emulator.Report:
    """Run a program's launches in order; memory that no array is given for holds NaN."""
    total = emulator.Report()
    for step in program.steps:
        operands = []
        for b in (*step.inputs, *step.outputs):
            if b.values is not None:
                arrays[id(b)] = b.values
            elif id(b) not in arrays:
                arrays[id(b)] = np.full(b.elements * b.dtype.itemsize, 0xFF, np.uint8).view(b.dtype)
            operands.append(arrays[id(b)])
        block = step.kernel.block
        report = emulator.launch(
            step.kernel.function, step.grid, block.threads, block.shared, (*operands, *step.constants)
        )
        for name, waves in report.wavefronts.items():
            total.wavefronts[name] = total.wavefronts.get(name, 0) + waves
            total.phases[name] = total.phases.get(name, 0) + report.phases[name]
    return total


def attributes(layer: Layer) -> dict[str, Any]:
    n = len(layer.x) - 2

    def each(v: Any) -> tuple:
        return tuple(v) if isinstance(v, tuple) else (v,) * n

    pairs = tuple(p if isinstance(p, tuple) else (p, p) for p in each(layer.padding))
    return {"stride": each(layer.stride), "padding": pairs, "dilation": each(layer.dilation), "groups": layer.groups}


def output_shape(layer: Layer) -> tuple[int, ...]:
    a = attributes(layer)
    sizes = zip(layer.x[2:], layer.w[2:], a["stride"], a["padding"], a["dilation"], strict=True)
    return (layer.x[0], layer.w[0], *(output_size(*s) for s in sizes))


def run_pass(
    layer: Layer, direction: str, kind: str, activation: str | None = None, bias: bool = False, candidate: str = "mma",
    addend: bool = False,
):  # fmt: skip
    """The result of a pass, that of the reference, and the emulator's report."""
    rng = np.random.default_rng(0)
    dtype = np.dtype(KINDS[kind][0])
    attrs = attributes(layer)
    shapes = {"x": layer.x, "w": layer.w, "y": output_shape(layer)}
    a = {name: rounded(rng.standard_normal(shape), kind) for name, shape in shapes.items()}
    b = rng.standard_normal(shapes["y" if direction == FORWARD else "x"][1]).astype(np.float32)
    geometry = {name: attrs[name] for name in ("stride", "padding", "dilation", "groups")}
    if direction == FORWARD:
        expected = correlation(a["x"], a["w"], b if bias else None, **geometry)
    else:
        by_x, by_w, _ = conv_grads(a["y"], a["x"], a["w"], **geometry)
        expected = by_w if direction == WEIGHTS else by_x
        if bias:
            expected = expected + b.reshape(-1, *[1] * (len(layer.x) - 2))
    added = rounded(rng.standard_normal(expected.shape), kind)
    if addend:
        expected = expected + added
    if activation == "relu":
        expected = np.maximum(expected, 0)

    program = Program(precision=kind, candidate=candidate)
    transposed = direction == INPUT or layer in DEPTHWISE.values()
    layouts = {"x": BATCH, "w": FILTER_TRANSPOSED if transposed else FILTER, "y": BATCH}
    result = {FORWARD: "y", INPUT: "x", WEIGHTS: "w"}[direction]
    if result == "w":
        layouts["w"] = PLAIN
    dtypes = dict.fromkeys(shapes, dtype) | ({"w": np.dtype(np.float32)} if result == "w" else {})
    buffers = {name: buffer_for(shapes[name], dtypes[name], layouts[name]) for name in shapes}
    arrays = {id(buffers[n]): stored(a[n], layouts[n], dtypes[n]) for n in shapes if n != result}
    bias_buffer = buffer_for(b.shape, b.dtype, PLAIN)
    arrays[id(bias_buffer)] = b
    # of an input gradient, x is the output's gradient
    x, y = (buffers["y"], buffers["x"]) if direction == INPUT else (buffers["x"], buffers["y"])
    given = Convolution(
        program, direction, {**attrs, "activation": activation}, x, buffers["w"], y, bias_buffer if bias else None
    )
    if direction == WEIGHTS:
        conv.weight_step(given)
    elif depthwise.serves(given):
        depthwise.depthwise_step(given)
    else:
        further = buffer_for(expected.shape, dtype, BATCH)
        arrays[id(further)] = stored(added, BATCH, dtype)
        conv.correlate_step(replace(given, addend=further if addend else None))
    report = run(program, arrays)
    found = logical(arrays[id(buffers[result])], shapes[result], layouts[result])
    return found, expected, report


def relative_error(found: np.ndarray, expected: np.ndarray) -> float:
    assert np.isfinite(found).all()
    return float(np.abs(found - expected).max() / np.abs(expected).max())


@pytest.mark.parametrize("direction", [FORWARD, INPUT, WEIGHTS])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("layer", LAYERS.values(), ids=LAYERS)
def test_pass(layer, kind, direction):
    found, expected, _ = run_pass(layer, direction, kind)
    assert relative_error(found, expected) <= KINDS[kind][1]


@pytest.mark.parametrize("direction", [FORWARD, INPUT, WEIGHTS])
@pytest.mark.parametrize("layer", DEPTHWISE.values(), ids=DEPTHWISE)
def test_depthwise(layer, direction):
    found, expected, _ = run_pass(layer, direction, "fp32")
    assert relative_error(found, expected) <= KINDS["fp32"][1]
    if direction != WEIGHTS:
        found, expected, _ = run_pass(layer, direction, "fp32", "relu", bias=True)
        assert relative_error(found, expected) <= KINDS["fp32"][1]


@pytest.mark.parametrize("direction", [FORWARD, INPUT])
@pytest.mark.parametrize("kind", KINDS)
def test_epilogue(kind, direction):
    found, expected, _ = run_pass(LAYERS["stride 2"], direction, kind, "relu", bias=True, addend=True)
    assert relative_error(found, expected) <= KINDS[kind][1]


def test_epilogue_behind_boxes():
    found, expected, _ = run_pass(LAYERS["stride 2"], FORWARD, "bf16", "relu", bias=True, candidate="tma", addend=True)
    assert relative_error(found, expected) <= KINDS["bf16"][1]


@pytest.mark.parametrize("direction", [FORWARD, INPUT, WEIGHTS])
@pytest.mark.parametrize("kind", KINDS)
def test_no_bank_conflicts(kind, direction):
    """Channels in whole chunks, as in all layers of a network but the first."""
    layer = Layer((4, 64, 8, 8), (64, 64, 3, 3), padding=1)
    _, _, report = run_pass(layer, direction, kind)
    assert report.phases and report.wavefronts == report.phases


@pytest.mark.parametrize("direction", [FORWARD, INPUT])
@pytest.mark.parametrize("kind", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("name", ["3x3", "stride 2", "first layer"])
def test_warpgroups(name, kind, direction):
    found, expected, _ = run_pass(LAYERS[name], direction, kind, candidate="wgmma")
    assert relative_error(found, expected) <= KINDS[kind][1]


#: Geometries that the hardware's copies serve, beside those of LAYERS.
BOXED = {
    "3x3": LAYERS["3x3"],
    "1x1": Layer((3, 40, 7, 5), (24, 40, 1, 1)),
    "stride 2": LAYERS["stride 2"],
    "many channels": Layer((1, 136, 6, 5), (72, 136, 3, 2), padding=((0, 1), (2, 0))),
    "dilated": Layer((3, 16, 12, 11), (24, 16, 3, 3), padding=2, dilation=(3, 2)),
    "signal": Layer((3, 8, 21), (16, 8, 4), padding=1),
}


@pytest.mark.parametrize("direction", [FORWARD, INPUT])
@pytest.mark.parametrize("kind", ["tf32", "bf16", "fp16"])
@pytest.mark.parametrize("name", BOXED)
def test_copies_of_boxes(name, kind, direction):
    found, expected, report = run_pass(BOXED[name], direction, kind, candidate="tma")
    assert relative_error(found, expected) <= KINDS[kind][1]
    # input gradients of strides have phases, which other copies gather
    assert ("copy_async" in report.phases) == (direction == INPUT and name == "stride 2")


@pytest.mark.parametrize("name", ["odd", "groups", "volume", "first layer"])
def test_what_boxes_do_not_serve_other_copies_gather(name):
    found, expected, report = run_pass(LAYERS[name], FORWARD, "bf16", candidate="tma")
    assert relative_error(found, expected) <= KINDS["bf16"][1]
    assert "copy_async" in report.phases or name == "first layer"  # 2 bytes at a time


@pytest.mark.parametrize("divisor", [1, 2, 3, 7, 10, 56, 112, 641, 65537, (1 << 31) - 1])
def test_division_by_multiplication(divisor):
    shift, factor = conv.divide(divisor)
    numbers = np.array([0, 1, divisor - 1, divisor, divisor + 1, 12345, (1 << 30) + 7, (1 << 31) - 1])
    found = [((2 * int(n) * (factor % (1 << 32))) >> 32) >> shift for n in numbers]
    assert found == [n // divisor for n in numbers]


def test_copies_are_as_wide_as_all_rows_allow():
    assert [conv.copy_width(4, c) for c in (3, 6, 8, 64)] == [1, 2, 4, 4]
    assert [conv.copy_width(2, c) for c in (3, 6, 12, 64)] == [1, 2, 4, 8]
    assert conv.store_width(6) == 1 and conv.store_width(8, 12) == 4
    assert math.prod(Layer((1,), (2, 3)).w) == 6
