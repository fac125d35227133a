"""Winograd's algorithm: its matrices in exact arithmetic, every plan against the definition, and the choice."""

from fractions import Fraction

import numpy as np
import pytest
from reference import assert_close
from reference.conv import conv, conv_grads

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.graph import runner as graph_runner
from numbaconv.kernels.cpu import runner as cpu_runner
from numbaconv.kernels.cpu import winograd
from numbaconv.kernels.cpu.cooktoom import transforms
from numbaconv.kernels.cpu.target import LANES
from numbaconv.kernels.cpu.winograd import Plan

PLANS = [Plan(m, batch) for m in winograd.SIZES for batch in (False, True)]


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@pytest.fixture
def planned(monkeypatch: pytest.MonkeyPatch, few_tiles: None):
    """A function that makes every convolution follow a plan."""

    def follow(plan: Plan | None) -> None:
        monkeypatch.setattr(winograd, "choose", lambda *args, **kwargs: plan)
        monkeypatch.setattr(graph_runner, "_plans", {})

    return follow


@pytest.mark.parametrize(("m", "r"), [(2, 3), (4, 3), (3, 2), (2, 2), (1, 3)])
def test_minimal_filtering_is_exact(m: int, r: int) -> None:
    outputs, inputs, filters = transforms(m, r)
    rng = np.random.default_rng(0)
    d = [Fraction(int(v)) for v in rng.integers(-99, 99, m + r - 1)]
    g = [Fraction(int(v)) for v in rng.integers(-99, 99, r)]

    def times(matrix, vector):
        return [sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix]

    products = [a * b for a, b in zip(times(filters, g), times(inputs, d), strict=True)]
    assert times(outputs, products) == [sum(d[i + k] * g[k] for k in range(r)) for i in range(m)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("plan", PLANS, ids=str)
@pytest.mark.parametrize(
    ("x", "w", "padding"),
    [
        ((LANES + 1, 5, 7, 9), (LANES, 5, 3, 3), ((1, 1), (1, 1))),
        ((2 * LANES, LANES, 4, 4), (2 * LANES, LANES, 3, 3), ((0, 0), (2, 1))),
        ((LANES, LANES + 2, 2, 5), (LANES, LANES + 2, 3, 3), ((2, 2), (0, 1))),
    ],
)
def test_every_plan_and_pass(planned, x, w, padding, plan: Plan, dtype: type) -> None:
    x, w, b = normal(*x, dtype=dtype), normal(*w, dtype=dtype), normal(w[0], dtype=dtype)
    planned(plan)
    tolerance = 1e-11 if dtype == np.float64 else 2e-5
    y = F.relu(F.conv2d(x, w, b, padding=padding))
    assert_close(y, np.maximum(conv(x, w, b, padding=padding), 0.0), tolerance=tolerance)
    if not plan.batch or x.shape[1] % LANES == 0:  # input gradients come in vectors of channels then
        y, pullback = nc.vjp(lambda x, w, b: F.conv2d(x, w, b, padding=padding), x, w, b)
        g = normal(*y.shape, dtype=dtype)
        for found, expected in zip(pullback(g), conv_grads(g, x, w, padding=padding), strict=True):
            assert_close(found, expected, tolerance=tolerance)


@pytest.mark.parametrize("plan", PLANS, ids=str)
def test_bits_do_not_depend_on_threads(planned, plan: Plan) -> None:
    if cpu_runner.max_threads() < 2:
        pytest.skip("one CPU")
    planned(plan)
    x, w = normal(3 * LANES, LANES, 9, 6), normal(LANES, LANES, 3, 3)
    found = []
    before = cpu_runner.get_threads()
    try:
        for threads in (1, 2):
            cpu_runner.set_threads(threads)
            y, pullback = nc.vjp(lambda x, w: F.conv2d(x, w, padding=1), x, w)
            found.append([y, *pullback(np.ones_like(y))])
    finally:
        cpu_runner.set_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def test_auto_keeps_the_error_bound() -> None:
    """Whatever "auto" takes, float32 stays within 1e-4 of float64, even with sums over 512 channels."""
    x, w = normal(LANES, 512, 4, 4), normal(512, 512, 3, 3)
    y, pullback = nc.vjp(lambda x, w: F.conv2d(x, w, padding=1), x, w)
    direct, pullback_direct = nc.vjp(
        lambda x, w: F.conv2d(x, w, padding=1, algo="direct"), x.astype(np.float64), w.astype(np.float64)
    )
    g = normal(*y.shape)
    assert_close(y, direct, tolerance=1e-4)
    for found, expected in zip(pullback(g), pullback_direct(g.astype(np.float64)), strict=True):
        assert_close(found, expected, tolerance=1e-4)


def labels_of(function, *arrays: np.ndarray) -> str:
    """The kernels of a function's plan."""
    from numbaconv.graph import Graph, compile_graph

    graph = Graph()
    graph.output(function(*(graph.leaf(a) for a in arrays)))
    return " ".join(step.kernel.label for step in compile_graph(graph).plan.steps)


def test_what_auto_takes() -> None:
    x, w = normal(2 * LANES, 64, 8, 8), normal(64, 64, 3, 3)
    assert "winograd" in labels_of(lambda x, w: F.conv2d(x, w, padding=1), x, w)
    assert "winograd" not in labels_of(lambda x, w: F.conv2d(x, w, padding=1, algo="direct"), x, w)
    assert "winograd" not in labels_of(lambda x, w: F.conv2d(x, w, stride=2), x, w)
    wide = [a.astype(np.float64) for a in (x, w)]
    assert "winograd" not in labels_of(F.conv2d, *wide)


def test_errors() -> None:
    x, w = normal(1, 2, 6, 6), normal(4, 2, 3, 3)
    names = "auto, direct, fft, im2col, winograd"
    with pytest.raises(ValueError, match=f"^conv2d: algo must be one of {names}, not 'fastest'$"):
        F.conv2d(x, w, algo="fastest")
    for arguments in ({"stride": 2}, {"dilation": 2}, {"groups": 2}):
        with pytest.raises(ValueError, match="^conv2d: algo 'winograd' needs 3x3 filters, stride 1"):
            F.conv2d(x, w[:, :1] if "groups" in arguments else w, algo="winograd", **arguments)
    with pytest.raises(ValueError, match="^conv1d: algo 'winograd' needs 3x3 filters"):
        F.conv1d(x[:, :, 0], w[:, :, 0], algo="winograd")


def test_layers_take_an_algorithm() -> None:
    x = normal(LANES, 16, 8, 8)
    layer = nc.nn.Conv2d(16, 16, 3, padding=1, bias=False, algo="direct", generator=0)
    exact = conv(x, layer.weight.data, padding=1)
    assert_close(layer(x), exact, tolerance=2e-6)
    layer.algo = "winograd"
    assert_close(layer(x), exact, tolerance=2e-5)
    assert "algo='winograd'" in repr(layer)
    layer.algo = "fast"
    with pytest.raises(ValueError, match="^conv2d: algo must be one of"):
        layer(x)
