"""FFT convolution: its transforms against NumPy's, every pass against the definition, and the choice."""

import math

import numpy as np
import pytest
from numba import njit
from reference import assert_close
from reference.conv import conv, conv_grads

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.graph import Graph, compile_graph
from numbaconv.graph import runner as graph_runner
from numbaconv.kernels.cpu import fft, fourier, native
from numbaconv.kernels.cpu import runner as cpu_runner
from numbaconv.kernels.cpu.native import INT64, Pointer, kernel
from numbaconv.kernels.cpu.target import LANES


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


@kernel
def there_and_back(T):
    """The transform y of x, and the inverse transform z of y."""
    transform, inverse = njit(fourier.transform.py_func), njit(fourier.inverse.py_func)

    def loop(
        begin, end, x: Pointer, y: Pointer, z: Pointer, work: Pointer, size: int, plan: INT64, w: Pointer
    ):  # fmt: skip
        transform(x, 2 * LANES, LANES, y, 2 * LANES, LANES, work, size, plan, w)
        inverse(y, 2 * LANES, LANES, z, 2 * LANES, LANES, work, size, plan, w)

    return loop


@pytest.mark.parametrize("dtype", [np.float64])
def test_transforms_are_numpys(dtype: type) -> None:
    address = there_and_back(dtype).address()
    for size in fourier.SIZES:
        x = normal(size, 2, LANES, dtype=dtype)
        y, z, work = np.zeros_like(x), np.zeros_like(x), np.zeros((2 * size, 2, LANES), dtype)
        plan, w = fourier.radices(size), fourier.roots(size, np.dtype(dtype))
        native.call(address, [a.ctypes.data for a in (x, y, z, work)] + [size, plan.ctypes.data, w.ctypes.data], 0, 1)
        exact = np.fft.fft(x[:, 0] + 1j * x[:, 1], axis=0)
        assert_close(y[:, 0], exact.real, tolerance=1e-14)
        assert_close(y[:, 1], exact.imag, tolerance=1e-14)
        assert_close(z, size * x, tolerance=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("x", "w", "padding"),
    [
        ((LANES + 1, 3, 9, 10), (5, 3, 5, 4), ((2, 2), (2, 2))),
        ((3, LANES + 2, 12, 9), (LANES + 3, LANES + 2, 5, 5), ((1, 2), (0, 3))),
        ((LANES, LANES + 2, 6, 17), (2, LANES + 2, 1, 7), ((0, 0), (8, 0))),
        ((2, 2, 20), (3, 2, 7), ((3, 3),)),
    ],
)
def test_every_pass(few_tiles, x, w, padding, dtype: type) -> None:
    x, w, b = normal(*x, dtype=dtype), normal(*w, dtype=dtype), normal(w[0], dtype=dtype)
    function = F.conv1d if x.ndim == 3 else F.conv2d
    tolerance = 1e-12 if dtype == np.float64 else 2e-6
    y, pullback = nc.vjp(lambda x, w, b: function(x, w, b, padding=padding, algo="fft"), x, w, b)
    assert_close(y, conv(x, w, b, padding=padding), tolerance=tolerance)
    g = normal(*y.shape, dtype=dtype)
    for found, expected in zip(pullback(g), conv_grads(g, x, w, padding=padding), strict=True):
        assert_close(found, expected, tolerance=tolerance)


@pytest.mark.parametrize("batch", [2, LANES])
def test_every_size_of_tiles(few_tiles, monkeypatch: pytest.MonkeyPatch, batch: int) -> None:
    """Tiles in rows and columns, whole and cut, down to one pixel each."""
    x, w, b = normal(batch, 2, 11, 14), normal(3, 2, 4, 5), normal(3)
    expected = np.maximum(conv(x, w, b, padding=3), 0.0)
    sizes = set()

    def follow(size: tuple[int, int]):
        def plan_for(c):
            sizes.add(size)
            return fft.Plan.of(size, c.filter_size[1:], c.sizes[0][1:])

        return plan_for

    for size in ((4, 6), (6, 8), (8, 6), (12, 16), (16, 12), (18, 24), (24, 18)):
        monkeypatch.setattr(fft, "plan_for", follow(size))
        monkeypatch.setattr(graph_runner, "_plans", {})
        found = nc.compile(lambda x, w, b: F.relu(F.conv2d(x, w, b, padding=3, algo="fft")))(x, w, b)
        assert_close(found, expected, tolerance=2e-6)
        gradient = nc.vjp(lambda w: F.conv2d(x, w, padding=3, algo="fft"), w)[1](expected.astype(np.float32))[0]
        assert_close(gradient, conv_grads(expected, x, w, padding=3)[1], tolerance=2e-6)
    assert len(sizes) == 7


def test_transposed_convolution(few_tiles) -> None:
    x, w, b = normal(LANES, 3, 6, 7), normal(3, 4, 5, 5), normal(4)
    exact = F.conv_transpose2d(*(a.astype(np.float64) for a in (x, w, b)), padding=1, algo="direct")
    assert_close(F.conv_transpose2d(x, w, b, padding=1, algo="fft"), exact, tolerance=2e-6)


def test_error_bound_of_many_channels(few_tiles) -> None:
    x, w = normal(LANES, 256, 6, 6), normal(128, 256, 5, 5)
    y, pullback = nc.vjp(lambda x, w: F.conv2d(x, w, padding=2, algo="fft"), x, w)
    wide = [a.astype(np.float64) for a in (x, w)]
    exact, pullback_exact = nc.vjp(lambda x, w: F.conv2d(x, w, padding=2, algo="direct"), *wide)
    g = normal(*y.shape)
    assert_close(y, exact, tolerance=5e-6)
    for found, expected in zip(pullback(g), pullback_exact(g.astype(np.float64)), strict=True):
        assert_close(found, expected, tolerance=5e-6)


def test_bits_do_not_depend_on_threads(few_tiles) -> None:
    if cpu_runner.max_threads() < 2:
        pytest.skip("one CPU")
    x, w = normal(3 * LANES, 5, 12, 11), normal(6, 5, 7, 5)
    found = []
    before = cpu_runner.get_threads()
    try:
        for threads in (1, 2):
            cpu_runner.set_threads(threads)
            y, pullback = nc.vjp(lambda x, w: F.conv2d(x, w, padding=2, algo="fft"), x, w)
            found.append([y, *pullback(np.ones_like(y))])
    finally:
        cpu_runner.set_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)


def planned(function, *shapes: tuple[int, ...], dtype: type = np.float32) -> bool:
    """Whether a function's plan has transforms; nothing is run."""
    graph = Graph()
    graph.output(function(*(graph.input(shape, dtype) for shape in shapes)))
    return any("spectra" in step.kernel.label for step in compile_graph(graph).plan.steps)


def test_what_auto_takes() -> None:
    def convolve(taps: int, channels: int, dtype: type = np.float32, **options) -> bool:
        shapes = ((2 * LANES, channels, 32, 32), (channels, channels, taps, taps))
        return planned(lambda x, w: F.conv2d(x, w, padding=taps // 2, **options), *shapes, dtype=dtype)

    assert convolve(11, 32) and convolve(31, 16)
    assert not convolve(11, 32, algo="direct") and not convolve(11, 32, stride=2)
    assert not convolve(3, 32) and not convolve(5, 2)
    assert not convolve(11, 32, np.float64)
    assert convolve(3, 4, np.float64, algo="fft")


def test_counts_of_cycles_leave_out_taps_that_fall_outside() -> None:
    class Pass:  # what ``direct_cycles`` looks at
        sizes, filter_size, before, transposed = ((1, 4, 5), (1, 4, 5)), (1, 3, 5), (0, 1, 2), False
        x = y = type("Value", (), {"channels": 1, "blocks": 1, "lanes": LANES})

    ones = F.conv2d(np.ones((1, 1, 4, 5), np.float64), np.ones((1, 1, 3, 5), np.float64), padding=(1, 2))
    assert math.isclose(fft.direct_cycles(Pass), ones.sum() / 1.7)  # type: ignore[arg-type]


def test_errors() -> None:
    x, w = normal(1, 2, 9, 9), normal(2, 2, 5, 5)
    for options in ({"stride": 2}, {"dilation": 2}, {"groups": 2}):
        with pytest.raises(ValueError, match="^conv2d: algo 'fft' needs filters of one or two dimensions, wider than"):
            F.conv2d(x, w[:, :1] if "groups" in options else w, algo="fft", **options)
    with pytest.raises(ValueError, match="^conv3d: algo 'fft' needs"):
        F.conv3d(x[:, :, None], w[:, :, None], algo="fft")
