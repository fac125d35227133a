"""1 x 1 convolutions with images in lanes: every way of cutting, turning and packing against the definition."""

import numpy as np
import pytest
from reference import assert_close
from reference.conv import conv, conv_grads

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.kernels.cpu import pointwise
from numbaconv.kernels.cpu import runner as cpu_runner
from numbaconv.kernels.cpu.target import LANES

#: Shape of x, output channels, stride: padded and whole vectors of channels, of which either operand has fewer; one
#: dimension to three; pixels that fill no tile; rows that end before the stride does.
CASES = [
    ((LANES + 1, LANES + 5, 5, 3), 7, 1),
    ((LANES, 3 * LANES, 7, 7), 2 * LANES, 1),
    ((2 * LANES, LANES, 4, 5), 3 * LANES, 1),
    ((LANES, 2 * LANES, 8, 9), LANES + 3, (2, 3)),
    ((LANES + 3, 2 * LANES - 1, 13), 3, 2),
    ((LANES, 2 * LANES, 3, 4, 5), 5, (2, 1, 3)),
]


def normal(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


def convolve(dimensions: int, stride):
    function = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}[dimensions]
    return lambda x, w, b: function(x, w, b, stride=stride)


@pytest.fixture
def small_pieces(monkeypatch: pytest.MonkeyPatch, few_tiles: None) -> None:
    """Packed filters, many parts and sections, and few pixels turned at once, whatever the size."""
    monkeypatch.setattr(pointwise, "PACKED_ELEMENTS", 1)
    monkeypatch.setattr(pointwise, "LEAST_SECTION", 4)
    monkeypatch.setattr(pointwise, "TURNED_BYTES", 3 * LANES * 2 * LANES * 4)


def check(shape, outputs: int, stride, dtype: type) -> None:
    x, b = normal(*shape, dtype=dtype), normal(outputs, dtype=dtype)
    w = normal(outputs, shape[1], *[1] * (len(shape) - 2), dtype=dtype)
    function = convolve(len(shape) - 2, stride)
    y, pullback = nc.vjp(function, x, w, b)
    assert_close(y, conv(x, w, b, stride=stride), count=shape[1])
    assert_close(F.relu(function(x, w, b)), np.maximum(conv(x, w, b, stride=stride), 0.0), count=shape[1])
    g = normal(*y.shape, dtype=dtype)
    for found, expected in zip(pullback(g), conv_grads(g, x, w, stride=stride), strict=True):
        assert_close(found, expected, count=max(outputs, g.size // outputs))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "outputs", "stride"), CASES, ids=str)
def test_every_pass(few_tiles, shape, outputs, stride, dtype: type) -> None:
    check(shape, outputs, stride, dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(("shape", "outputs", "stride"), CASES, ids=str)
def test_every_pass_in_small_pieces(small_pieces, shape, outputs, stride, dtype: type) -> None:
    check(shape, outputs, stride, dtype)


def test_bits_do_not_depend_on_threads(small_pieces) -> None:
    if cpu_runner.max_threads() < 2:
        pytest.skip("one CPU")
    x, w = normal(2 * LANES, 3 * LANES, 7, 5), normal(2 * LANES, 3 * LANES, 1, 1)
    found = []
    before = cpu_runner.get_threads()
    try:
        for threads in (1, 2):
            cpu_runner.set_threads(threads)
            y, pullback = nc.vjp(F.conv2d, x, w)
            found.append([y, *pullback(normal(*y.shape))])
    finally:
        cpu_runner.set_threads(before)
    for one, two in zip(*found, strict=True):
        np.testing.assert_array_equal(one, two)
