"""Pools beside PyTorch's in random cases; equal numbers, NaN, empty batches and other edges; wrong calls."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer import assert_agrees, torch_function
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.kernels.cpu import pool
from numbaconv.kernels.cpu.target import LANES

BATCHES = (None, 1, 3, LANES + 1)


@pytest.fixture(autouse=True)
def no_window_written_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """One kernel for windows of all sizes: random cases would compile one for each."""
    monkeypatch.setattr(pool, "MOST_TAPS", 0)


def random(*shape: int, seed: int = 0, dtype: Any = np.float32) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def agrees(name: str, arguments: dict[str, Any], **other: Any) -> None:
    """As ``assert_agrees``, for PyTorch calls its first argument otherwise."""
    theirs = torch_function(name)
    assert_agrees(name, arguments, lambda x, **named: theirs(x, **{**named, **other}))


@st.composite
def arrays(draw: st.DrawFn, dimensions: int, least: int = 1) -> np.ndarray:
    """Few different numbers, so that many are equal."""
    batch = draw(st.sampled_from(BATCHES))
    pixels = draw(st.lists(st.integers(least, 9 - 2 * dimensions + 4), min_size=dimensions, max_size=dimensions))
    shape = (*(() if batch is None else (batch,)), draw(st.sampled_from((1, 3))), *pixels)
    x = random(*shape, seed=draw(st.integers(0, 99)))
    return np.round(x) if draw(st.booleans()) else x


@st.composite
def windows(draw: st.DrawFn, dimensions: int, dilated: bool, padded: bool = True) -> dict[str, Any]:
    x = draw(arrays(dimensions))
    options: dict[str, Any] = {"x": x, "ceil_mode": draw(st.booleans())}
    sizes, paddings, dilations = [], [], []
    for n in x.shape[-dimensions:]:
        kernel = draw(st.integers(1, min(4, n + 2)))
        padding = draw(st.integers(max(0, -(-(kernel - n) // 2)), kernel // 2)) if padded else 0
        if kernel > n + 2 * padding:
            kernel = n
        most = (n + 2 * padding - 1) // (kernel - 1) if kernel > 1 else 3
        sizes.append(kernel)
        paddings.append(min(padding, kernel // 2))
        dilations.append(draw(st.integers(1, max(1, min(most, 3)))) if dilated and 2 * padding < kernel else 1)
    options["kernel_size"] = tuple(sizes) if dimensions > 1 else sizes[0]
    if padded:
        options["padding"] = tuple(paddings) if dimensions > 1 else paddings[0]
    if dilated:
        options["dilation"] = tuple(dilations) if dimensions > 1 else dilations[0]
    if draw(st.booleans()):
        strides = draw(st.lists(st.integers(1, 5), min_size=dimensions, max_size=dimensions))
        options["stride"] = tuple(strides) if dimensions > 1 else strides[0]
    return options


def possible(name: str, options: dict[str, Any]) -> bool:
    """Whether PyTorch takes the call; if not, neither do we, but for kernels that are larger than a volume."""
    torch = pytest.importorskip("torch")
    named = {k: v for k, v in options.items() if k != "x"}
    try:
        torch_function(name)(torch.tensor(options["x"]), **named)
    except (RuntimeError, ValueError):
        sizes = zip(options["x"].shape[::-1], np.ravel(options["kernel_size"])[::-1], strict=False)
        if name.endswith("3d") and any(n < k for n, k in sizes):
            return False
        with pytest.raises(ValueError, match=f"^{name}: "):
            getattr(F, name)(**options)
        return False
    return True


DIMENSIONS = pytest.mark.parametrize("dimensions", [1, 2, 3])


@DIMENSIONS
def test_max_pooling_with_indices_is_pytorchs(dimensions: int) -> None:
    @settings(max_examples=50)
    @given(windows(dimensions, dilated=True))
    def check(options: dict[str, Any]) -> None:
        if possible(f"max_pool{dimensions}d", options):
            agrees(f"max_pool{dimensions}d", {**options, "return_indices": True})

    check()


@DIMENSIONS
def test_average_pooling_is_pytorchs(dimensions: int) -> None:
    @settings(max_examples=30)
    @given(windows(dimensions, dilated=False), st.booleans())
    def check(options: dict[str, Any], count_include_pad: bool) -> None:
        options["count_include_pad"] = count_include_pad
        if possible(f"avg_pool{dimensions}d", options):
            agrees(f"avg_pool{dimensions}d", options)

    check()


@DIMENSIONS
def test_adaptive_pooling_is_pytorchs(dimensions: int) -> None:
    sizes = st.lists(st.one_of(st.none(), st.integers(1, 7)), min_size=dimensions, max_size=dimensions)

    @settings(max_examples=40)
    @given(arrays(dimensions), sizes, st.booleans())
    def check(x: np.ndarray, size: list, one: bool) -> None:
        output_size = (size[0] or 1) if one or dimensions == 1 else tuple(size)
        agrees(f"adaptive_avg_pool{dimensions}d", {"x": x, "output_size": output_size})
        agrees(f"adaptive_max_pool{dimensions}d", {"x": x, "output_size": output_size, "return_indices": True})

    check()


@DIMENSIONS
def test_unpooling_is_pytorchs(dimensions: int) -> None:
    @settings(max_examples=30)
    @given(arrays(dimensions, least=3), st.integers(2, 3), st.booleans())
    def check(x: np.ndarray, kernel: int, sized: bool) -> None:
        y, indices = getattr(F, f"max_pool{dimensions}d")(x, kernel, return_indices=True)
        size = x.shape[-dimensions:] if sized else None
        if size is None and any(n % kernel for n in x.shape[-dimensions:]):
            size = x.shape[-dimensions:]  # places of a pool that left pixels out lie outside of the least size
        options = {"x": y, "indices": indices, "kernel_size": kernel, "output_size": size}
        theirs = torch_function(f"max_unpool{dimensions}d")
        assert_agrees(f"max_unpool{dimensions}d", options, lambda x, indices, **named: theirs(x, indices, **named))

    check()


@DIMENSIONS
def test_power_average_pooling_is_pytorchs(dimensions: int) -> None:
    @settings(max_examples=30)
    @given(windows(dimensions, dilated=False, padded=False), st.sampled_from((2, 2.5, 3.0, float("inf"))))
    def check(options: dict[str, Any], p: float) -> None:
        options["x"] = np.abs(options["x"]) + np.float32(0.25)  # roots of sums near zero have no bounded error
        options["norm_type"] = p
        if possible(f"lp_pool{dimensions}d", options):
            agrees(f"lp_pool{dimensions}d", options)

    check()


@pytest.mark.parametrize("dimensions", [2, 3])
def test_fractional_pooling_is_pytorchs(dimensions: int) -> None:
    @settings(max_examples=40)
    @given(arrays(dimensions, least=4), st.data())
    def check(x: np.ndarray, data: st.DataObject) -> None:
        kernel = data.draw(st.integers(1, 3))
        # PyTorch wants room for one more pixel in volumes
        size = tuple(data.draw(st.integers(1, n - kernel + 3 - dimensions)) for n in x.shape[-dimensions:])
        planes = x.shape[:-dimensions] if x.ndim == dimensions + 2 else (1, *x.shape[:1])
        samples = np.random.default_rng(0).random((*planes, dimensions), np.float32)
        options = {
            "x": x, "kernel_size": kernel, "output_size": size, "return_indices": True, "_random_samples": samples,
        }  # fmt: skip
        theirs = torch_function(f"fractional_max_pool{dimensions}d")

        def call(x: Any, _random_samples: Any, **named: Any) -> Any:
            return theirs(x, _random_samples=_random_samples.detach(), **named)

        assert_agrees(f"fractional_max_pool{dimensions}d", options, call)

    check()


# ------------------------------------------------------------------------------------------------ edges


@pytest.mark.parametrize("batch", [2, LANES + 1])
def test_indices_of_equal_numbers_nan_and_infinity(batch: int) -> None:
    x = np.zeros((batch, 1, 2, 4), np.float32)
    x[:, 0, 1, 1] = np.nan
    x[:, 0, :, 2:] = -np.inf
    y, indices = F.max_pool2d(x, 2, return_indices=True)
    np.testing.assert_array_equal(y, np.broadcast_to(np.array([[np.nan, -np.inf]], np.float32), y.shape))
    np.testing.assert_array_equal(indices, np.broadcast_to([[5, 2]], indices.shape))
    gradient = nc.vjp(lambda x: F.max_pool2d(x, 2), x)[1](np.ones_like(y))[0]
    assert gradient[0, 0].ravel().tolist() == [0, 0, 1, 0, 0, 1, 0, 0]
    zeros = np.zeros((batch, 3, 4, 4), np.float32)
    np.testing.assert_array_equal(F.max_pool2d(zeros, 3, 1, 1, return_indices=True)[1][0, 0, 1:, 1:],
                                  [[0, 1, 2], [4, 5, 6], [8, 9, 10]])  # fmt: skip


def test_one_pixel_huge_strides_and_kernels_larger_than_the_input() -> None:
    x = random(3, 2, 1, 1)
    for call in (F.max_pool2d, F.avg_pool2d):
        np.testing.assert_array_equal(call(x, 1, 1000), x)
    np.testing.assert_array_equal(F.max_pool2d(x, 3, 2, 1), x)
    np.testing.assert_array_equal(F.avg_pool2d(x, 3, 2, 1, count_include_pad=False), x)
    np.testing.assert_array_equal(F.adaptive_avg_pool2d(x, 3), np.broadcast_to(x, (3, 2, 3, 3)))
    assert_close(F.blur_pool2d(x), x)
    assert_close(F.lp_pool2d(x, 2, 1), np.abs(x))


@pytest.mark.parametrize("call", [
    lambda x: F.max_pool2d(x, 2, return_indices=True), lambda x: F.adaptive_avg_pool2d(x, 3),
    lambda x: F.adaptive_max_pool2d(x, 3), lambda x: F.lp_pool2d(x, 2, 2), lambda x: F.stochastic_pool2d(x, 2),
    lambda x: F.stochastic_pool2d(x, 2, training=False), lambda x: F.fractional_max_pool2d(x, 2, 3), F.blur_pool2d,
    lambda x: F.mixed_pool2d(x, 0.5, 2), F.spatial_pyramid_pool,
])  # fmt: skip
def test_empty_batches_give_empty_results(call: Callable) -> None:
    results = call(random(0, 3, 8, 8))
    assert all(y.shape[0] == 0 for y in (results if isinstance(results, tuple) else (results,)))


def test_a_learned_power_is_the_fixed_one_of_positive_numbers() -> None:
    x = np.abs(random(LANES + 1, 3, 6, 7)) + 0.5
    for p in (1.5, 2.0, 3.0):
        powers = np.full(3, p, np.float32)
        assert_close(F.lp_pool2d(x, powers, 3, 2), F.lp_pool2d(x, p, 3, 2), tolerance=5e-6)


def test_power_average_pooling_of_nothing_has_no_gradient() -> None:
    x = np.zeros((2, 3, 4, 4), np.float32)
    for p in (2, 3.5, np.full(3, 2.0, np.float32)):
        y, pullback = nc.vjp(lambda x, p=p: F.lp_pool2d(x, p, 2), x)
        assert not y.any() and not pullback(np.ones_like(y))[0].any()


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_stochastic_pooling_of_what_has_no_chance(batch: int) -> None:
    x = -np.abs(random(batch, 2, 4, 4))
    x[:, :, 2:, 2:] = 0.0
    x[:, :, 3, 3] = 7.0
    for training in (True, False):
        y, pullback = nc.vjp(lambda x, t=training: F.stochastic_pool2d(x, 2, training=t), x)
        assert set(np.unique(y[:, :, 1, 1])) == {7.0} and np.count_nonzero(y) == 2 * batch
        gradient = pullback(np.ones_like(y))[0]
        assert not np.count_nonzero(np.delete(gradient.reshape(batch, 2, 16), [10, 11, 14, 15], axis=2))
        assert (gradient[:, :, 3, 3] == 1.0).all()


def test_stochastic_pooling_draws_by_size() -> None:
    x = np.broadcast_to(np.array([1.0, 2.0, 0.0, 5.0], np.float32), (100, 100, 4))
    y = F.stochastic_pool1d(x, 4, key=np.array([1, 2]))
    for value, chance in ((1.0, 1 / 8), (2.0, 2 / 8), (0.0, 0.0), (5.0, 5 / 8)):
        assert abs((y == value).mean() - chance) <= 4 * np.sqrt(chance * (1 - chance) / y.size)
    assert_close(F.stochastic_pool1d(x, 4, training=False), np.full((100, 100, 1), 30 / 8, np.float32))


def test_fractional_sequences_are_what_the_paper_says() -> None:
    """Steps of alpha between 1 and 2 are 1 or 2; disjoint windows cover everything, so sums of maxima are known."""
    x = np.arange(25, dtype=np.float32)[None, None, None] + np.zeros((8, 4, 25, 1), np.float32)
    for shuffled in (False, True):
        y = F.fractional_max_pool2d(x, None, (25, 18), disjoint=True, shuffled=shuffled, key=np.array([3, 4]))
        ends = y[:, :, 0]
        steps = np.diff(ends, axis=-1)
        assert set(np.unique(steps)) == {1.0, 2.0} and (ends[..., -1] == 24.0).all()
        assert len({tuple(row) for row in steps.reshape(-1, 17)}) > 8  # planes have sequences of their own
    by_one_key = [F.fractional_max_pool2d(x, 2, 12, key=np.array([3, 4])) for _ in range(2)]
    np.testing.assert_array_equal(*by_one_key)


def test_mixtures_at_their_ends() -> None:
    x = random(LANES + 1, 3, 6, 6)
    assert_close(F.mixed_pool2d(x, 1.0, 2), F.max_pool2d(x, 2))
    assert_close(F.mixed_pool2d(x, 0.0, 2), F.avg_pool2d(x, 2))
    half = F.mixed_pool2d(x, 0.5, 2)
    assert_close(F.gated_pool2d(x, np.zeros((2, 2), np.float32), 2), half)
    leaves, gates = np.full((2, 2, 2), 0.25, np.float32), random(1, 2, 2)
    assert_close(F.tree_pool2d(x, leaves, gates, 2), F.avg_pool2d(x, 2))


# ------------------------------------------------------------------------------------------------ wrong calls

X = random(2, 3, 8, 8)
WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "output sizes": (
        lambda: F.adaptive_avg_pool2d(X, (1, 2, 3)), ValueError,
        r"^adaptive_avg_pool2d: output_size must be an integer or 2 integers, not \(1, 2, 3\)$",
    ),
    "fractional size": (
        lambda: F.adaptive_max_pool2d(X, 1.5), TypeError, "^adaptive_max_pool2d: output_size must be an integer or 2"
    ),
    "no pixels": (lambda: F.adaptive_avg_pool2d(X[:, :, :0], 1), ValueError, "^adaptive_avg_pool2d: x has no pixels"),
    "signals": (lambda: F.adaptive_avg_pool1d(X, 1), ValueError, "^adaptive_avg_pool1d: x must have 3 dimensions"),
    "indices dtype": (
        lambda: F.max_unpool2d(X, X, 2), TypeError, "^max_unpool2d: indices must be int64, not float32$"
    ),
    "indices shape": (
        lambda: F.max_unpool2d(X, np.zeros((2, 3, 4, 4), np.int64), 2), ValueError,
        r"^max_unpool2d: indices must have shape \(2, 3, 8, 8\), their shape is",
    ),
    "index outside": (
        lambda: F.max_unpool2d(X, np.full(X.shape, 256), 2), ValueError,
        "^max_unpool2d: index 256 is not one of 0 to 255$",
    ),
    "unpooled size": (
        lambda: F.max_unpool2d(X, np.zeros(X.shape, np.int64), 2, output_size=(16, 18)), ValueError,
        r"^max_unpool2d: output_size \(16, 18\) must lie within one stride of \(16, 16\)$",
    ),
    "power 0": (lambda: F.lp_pool2d(X, 0, 2), ValueError, "^lp_pool2d: norm_type must be an array or a number other"),
    "powers": (
        lambda: F.lp_pool2d(X, np.ones(2, np.float32), 2), ValueError,
        r"^lp_pool2d: norm_type must be one number or have shape \(3,\), its shape is \(2,\)$",
    ),
    "no size": (
        lambda: F.fractional_max_pool2d(X, 2), ValueError,
        "^fractional_max_pool2d: output_size or output_ratio is needed$",
    ),
    "ratio": (
        lambda: F.fractional_max_pool2d(X, 2, output_ratio=1.5), ValueError,
        "^fractional_max_pool2d: output_ratio must be a number or 2 numbers between 0 and 1, not 1.5$",
    ),
    "too many windows": (
        lambda: F.fractional_max_pool2d(X, 2, 8), ValueError,
        "^fractional_max_pool2d: 8 windows of size 2 do not fit into 8 pixels$",
    ),
    "samples": (
        lambda: F.fractional_max_pool2d(X, 2, 4, _random_samples=X), ValueError,
        r"^fractional_max_pool2d: _random_samples must have shape \(2, 3, 2\), their shape is",
    ),
    "samples and a key": (
        lambda: F.fractional_max_pool2d(X, 2, 4, _random_samples=X, shuffled=True), ValueError,
        "^fractional_max_pool2d: _random_samples are the places of a pseudo-random sequence, without a key$",
    ),
    "stochastic key": (
        lambda: F.stochastic_pool2d(X, 2, key=np.ones(2)), TypeError, "^stochastic_pool2d: key must be an int64 array"
    ),
    "mix": (
        lambda: F.mixed_pool2d(X, np.ones(2, np.float32), 2), ValueError, "^mixed_pool2d: mix must be one number or"
    ),
    "gate": (
        lambda: F.gated_pool2d(X, np.ones((3, 3), np.float32), 2), ValueError,
        "^gated_pool2d: weight .* must have shape",
    ),
    "leaves": (
        lambda: F.tree_pool2d(X, np.ones((3, 2, 2), np.float32), np.ones((2, 2, 2), np.float32), 2), ValueError,
        "^tree_pool2d: leaves must be a power of two of filters, at least two, not 3$",
    ),
    "levels": (lambda: F.spatial_pyramid_pool(X, 3), ValueError, "^spatial_pyramid_pool: levels must be a list"),
    "mode": (lambda: F.spatial_pyramid_pool(X, mode="sum"), ValueError, '^spatial_pyramid_pool: mode must be "max" or'),
    "taps": (lambda: F.blur_pool2d(X, 0), ValueError, "^blur_pool2d: kernel_size must be at least 1, not 0$"),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_wrong_calls_are_refused_in_the_callers_terms(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()
