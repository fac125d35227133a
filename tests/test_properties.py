"""Convolution and pooling for any geometry: against the definition, PyTorch where it is installed, and algebra."""

import math
from typing import Any, NamedTuple

import numpy as np
import pytest
import reference
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from reference import assert_close

import numbaconv as nc
import numbaconv.functional as F
from numbaconv.kernels.cpu.target import LANES

pytestmark = pytest.mark.usefixtures("few_tiles")

CONV = {1: F.conv1d, 2: F.conv2d, 3: F.conv3d}
MAX_POOL = {1: F.max_pool1d, 2: F.max_pool2d, 3: F.max_pool3d}
AVG_POOL = {1: F.avg_pool1d, 2: F.avg_pool2d, 3: F.avg_pool3d}
DIMENSIONS = [1, 2, 3]
#: Batches with channels in lanes, with images in lanes, and with idle lanes.
BATCHES = st.sampled_from([1, 2, LANES, LANES + 1])


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape)


class Geometry(NamedTuple):
    """A convolution's arrays and options."""

    x: np.ndarray
    weight: np.ndarray
    bias: np.ndarray | None
    options: dict[str, Any]

    def conv(self, x: Any, weight: Any, bias: Any = None) -> Any:
        return CONV[self.weight.ndim - 2](x, weight, bias, **self.options)

    def output_like(self, seed: int) -> np.ndarray:
        return normal(seed, *self.conv(self.x, self.weight).shape)


@st.composite
def geometries(draw: Any, dimensions: int) -> Geometry:
    """Strides, paddings, dilations, groups and odd sizes; every kernel fits into its padded input."""
    most = {1: 12, 2: 7, 3: 4}[dimensions]
    groups, depth, per_group = draw(st.sampled_from([1, 2])), draw(st.integers(1, 3)), draw(st.sampled_from([1, 2, 5]))
    kernel, stride, dilation, padding, size = [], [], [], [], []
    same = draw(st.integers(0, 5)) == 0
    for _ in range(dimensions):
        kernel.append(draw(st.integers(1, 3)))
        dilation.append(draw(st.integers(1, 3)))
        stride.append(1 if same else draw(st.integers(1, 3)))
        before, after = draw(st.integers(0, 3)), draw(st.integers(0, 3))
        padding.append((before, after))
        reach = dilation[-1] * (kernel[-1] - 1) + 1
        least = 1 if same else max(1, reach - before - after)
        size.append(draw(st.integers(least, max(least, most))))
    seed = draw(st.integers(0, 99))
    x = normal(seed, draw(BATCHES), groups * depth, *size)
    weight = normal(seed + 1, groups * per_group, depth, *kernel)
    bias = normal(seed + 2, len(weight)) if draw(st.booleans()) else None
    options = {
        "stride": tuple(stride),
        "padding": "same" if same else tuple(padding),
        "dilation": tuple(dilation),
        "groups": groups,
    }
    return Geometry(x, weight, bias, options)


# ------------------------------------------------------------------------------------------------ convolution


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_convolution_is_its_definition(dimensions: int) -> None:
    """Results and all three gradients."""

    @settings(max_examples={1: 40, 2: 60, 3: 25}[dimensions])
    @given(geometry=geometries(dimensions))
    def check(geometry: Geometry) -> None:
        x, weight, bias, options = geometry
        arrays = (x, weight) if bias is None else (x, weight, bias)
        y, pullback = nc.vjp(geometry.conv, *arrays)
        assert_close(y, reference.conv.conv(*arrays, **options))
        grad = normal(7, *y.shape)
        for found, expected in zip(pullback(grad), reference.conv.conv_grads(grad, x, weight, **options), strict=False):
            assert_close(found, expected)

    check()


@settings(max_examples=20)
@given(geometry=geometries(2), depth=st.sampled_from([2 * LANES - 1, 2 * LANES]), outputs=st.sampled_from([1, LANES]))
def test_convolution_of_many_channels_is_its_definition(geometry: Geometry, depth: int, outputs: int) -> None:
    """Channels that fill several vectors are summed in other ways."""
    x, weight, _, options = geometry
    options = {**options, "groups": 1}
    x, weight = normal(1, len(x), depth, *x.shape[2:]), normal(2, outputs, depth, *weight.shape[2:])
    y, pullback = nc.vjp(lambda x, w: F.conv2d(x, w, **options), x, weight)
    assert_close(y, reference.conv.conv(x, weight, **options))
    grad = normal(7, *y.shape)
    for found, expected in zip(pullback(grad), reference.conv.conv_grads(grad, x, weight, **options), strict=False):
        assert_close(found, expected)


@pytest.mark.parametrize("dimensions", [1, 2])
def test_convolution_in_single_precision(dimensions: int) -> None:
    @settings(max_examples=25)
    @given(geometry=geometries(dimensions))
    def check(geometry: Geometry) -> None:
        x, weight = (a.astype(np.float32) for a in geometry[:2])
        count = math.prod(weight.shape[1:])
        assert_close(geometry.conv(x, weight), reference.conv.conv(x, weight, **geometry.options), count)

    check()


@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel lengths")
@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_convolution_is_pytorchs(dimensions: int) -> None:
    torch = pytest.importorskip("torch")
    functions = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}

    @settings(max_examples=25)
    @given(geometry=geometries(dimensions))
    def check(geometry: Geometry) -> None:
        x, weight, bias, options = geometry
        if options["padding"] != "same":
            options = {**options, "padding": tuple(before for before, _ in options["padding"])}
            reach = [d * (k - 1) for d, k in zip(options["dilation"], weight.shape[2:], strict=True)]
            assume(all(n + 2 * p > r for n, p, r in zip(x.shape[2:], options["padding"], reach, strict=True)))
        tensors = [None if a is None else torch.tensor(a, requires_grad=True) for a in (x, weight, bias)]
        expected = functions[dimensions](*tensors, **options)
        arrays = [a for a in (x, weight, bias) if a is not None]
        y, pullback = nc.vjp(lambda *a: CONV[dimensions](*a, **options), *arrays)
        assert_close(y, expected.detach().numpy())
        grad = normal(7, *y.shape)
        expected.backward(torch.tensor(grad))
        for found, t in zip(pullback(grad), (t for t in tensors if t is not None), strict=True):
            assert_close(found, t.grad.numpy())

    check()


@settings(max_examples=30)
@given(geometry=geometries(2), a=st.floats(-3, 3), b=st.floats(-3, 3))
def test_convolution_is_linear_in_input_and_in_weight(geometry: Geometry, a: float, b: float) -> None:
    x, weight = geometry[:2]
    other_x, other_weight = normal(8, *x.shape), normal(9, *weight.shape)
    y = geometry.conv(x, weight)
    both = a * y + b * geometry.conv(other_x, weight)
    assert_close(geometry.conv(a * x + b * other_x, weight), both, tolerance=1e-11)
    both = a * y + b * geometry.conv(x, other_weight)
    assert_close(geometry.conv(x, a * weight + b * other_weight), both, tolerance=1e-11)


@settings(max_examples=30)
@given(geometry=geometries(2))
def test_gradients_are_adjoint(geometry: Geometry) -> None:
    """<conv(x, w), g> = <x, input gradient of g> = <w, weight gradient of g>, for any x, w and g."""
    x, weight = geometry[:2]
    y, pullback = nc.vjp(geometry.conv, x, weight)
    grad = geometry.output_like(5)
    by_x, by_weight = pullback(grad)
    expected = np.vdot(y, grad)
    scale = 1e-12 * (1.0 + np.linalg.norm(y) * np.linalg.norm(grad))
    assert abs(np.vdot(x, by_x) - expected) <= scale
    assert abs(np.vdot(weight, by_weight) - expected) <= scale


@settings(max_examples=25)
@given(geometry=geometries(2), rows=st.integers(0, 4), columns=st.integers(0, 4))
def test_convolution_moves_with_its_input(geometry: Geometry, rows: int, columns: int) -> None:
    """What stands ``rows`` strides lower in the input stands ``rows`` lower in the output."""
    x, weight, _, options = geometry
    options = {**options, "padding": 0}
    stride = options["stride"]
    reach = [d * (k - 1) for d, k in zip(options["dilation"], weight.shape[2:], strict=True)]
    near = [(r, r) for r in reach]  # a border as wide as the kernel reaches
    far = [(r + n * s, r) for r, n, s in zip(reach, (rows, columns), stride, strict=True)]
    y = F.conv2d(reference.conv.zero_padded(x, tuple(near)), weight, **options)
    moved = F.conv2d(reference.conv.zero_padded(x, tuple(far)), weight, **options)
    assert_close(moved[:, :, rows:, columns:], y)
    assert not moved[:, :, :rows].any() and not moved[:, :, :, :columns].any()


@settings(max_examples=20)
@given(geometry=geometries(2))
def test_groups_are_convolutions_of_their_own(geometry: Geometry) -> None:
    x, weight, _, options = geometry
    groups = options["groups"]
    alone = {**options, "groups": 1}
    parts = zip(np.split(x, groups, 1), np.split(weight, groups), strict=True)
    assert_close(geometry.conv(x, weight), np.concatenate([F.conv2d(a, w, **alone) for a, w in parts], 1))


@settings(max_examples=20)
@given(geometry=geometries(2))
def test_images_do_not_know_of_each_other(geometry: Geometry) -> None:
    """Each image alone, with channels in lanes, gives what it gives in a batch."""
    batch = geometry.conv(geometry.x, geometry.weight, geometry.bias)
    for image, y in zip(geometry.x[-3:], batch[-3:], strict=True):
        assert_close(geometry.conv(image, geometry.weight, geometry.bias), y)


def test_fully_connected_is_a_convolution_of_the_whole_image() -> None:
    for batch in (2, LANES + 1):
        x, weight, bias = normal(0, batch, 3, 4, 5), normal(1, 6, 3, 4, 5), normal(2, 6)
        found = F.linear(F.flatten(x, 1), weight.reshape(6, -1), bias)
        assert_close(F.conv2d(x, weight, bias)[:, :, 0, 0], found)


# ------------------------------------------------------------------------------------------------ pooling

#: Windows whose kernels other tests compile as well.
WINDOWS = {1: [(3,)], 2: [(3, 3), (2, 3)], 3: [(2, 2, 2)]}


class Pooling(NamedTuple):
    """An input with many equal numbers, a window, and the options of max pooling."""

    x: np.ndarray
    kernel: tuple[int, ...]
    options: dict[str, Any]


@st.composite
def poolings(draw: Any, dimensions: int, dilated: bool) -> Pooling:
    kernel = draw(st.sampled_from(WINDOWS[dimensions]))
    stride = None if draw(st.booleans()) else tuple(draw(st.integers(1, 4)) for _ in kernel)
    padding = tuple(draw(st.integers(0, k // 2)) for k in kernel)
    dilation = tuple(draw(st.integers(1, 3 if dilated else 1)) for _ in kernel)
    size = []
    for k, p, d in zip(kernel, padding, dilation, strict=True):
        least = max(1, d * (k - 1) + 1 - 2 * p)
        size.append(draw(st.integers(least, least + {1: 12, 2: 6, 3: 3}[dimensions])))
    x = normal(draw(st.integers(0, 99)), draw(BATCHES), draw(st.integers(1, 3)), *size)
    options = {"stride": stride, "padding": padding, "ceil_mode": draw(st.booleans())}
    return Pooling(np.round(x), kernel, {**options, "dilation": dilation} if dilated else options)


def check_pooling(dimensions: int, pooling: Pooling, pool: Any, expected: Any, expected_grad: Any) -> None:
    x, kernel, options = pooling
    y, pullback = nc.vjp(lambda x: pool(x, kernel, **options), x)
    assert_close(y, expected(x, kernel, **options))
    grad = normal(7, *y.shape)
    assert_close(pullback(grad)[0], expected_grad(grad, x, kernel, **options))


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_max_pooling_is_its_definition(dimensions: int) -> None:
    @settings(max_examples=40)
    @given(pooling=poolings(dimensions, dilated=True))
    def check(pooling: Pooling) -> None:
        check_pooling(dimensions, pooling, MAX_POOL[dimensions], reference.pool.max_pool, reference.pool.max_pool_grad)

    check()


def avg_pool_grad(grad: np.ndarray, x: np.ndarray, kernel: Any, **options: Any) -> np.ndarray:
    """The transpose of the mean: it is linear, so it is found from unit inputs."""
    result = np.empty_like(x)
    for place in np.ndindex(x.shape[2:]):
        unit = np.zeros((1, 1, *x.shape[2:]))
        unit[(0, 0, *place)] = 1.0
        share = reference.pool.avg_pool(unit, kernel, **options)
        result[(slice(None), slice(None), *place)] = (grad * share).reshape(*x.shape[:2], -1).sum(axis=2)
    return result


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_average_pooling_is_its_definition(dimensions: int) -> None:
    divisors = st.just({}) if dimensions == 1 else st.sampled_from([{}, {"divisor_override": 5}])

    @settings(max_examples=30)
    @given(pooling=poolings(dimensions, dilated=False), include=st.booleans(), divisor=divisors)
    def check(pooling: Pooling, include: bool, divisor: dict) -> None:
        options = {**pooling.options, "count_include_pad": include, **divisor}
        pooling = pooling._replace(options=options)
        check_pooling(dimensions, pooling, AVG_POOL[dimensions], reference.pool.avg_pool, avg_pool_grad)

    check()


@pytest.mark.parametrize("dimensions", DIMENSIONS)
def test_pooling_is_pytorchs(dimensions: int) -> None:
    torch = pytest.importorskip("torch")
    functions = torch.nn.functional
    largest = {1: functions.max_pool1d, 2: functions.max_pool2d, 3: functions.max_pool3d}[dimensions]
    average = {1: functions.avg_pool1d, 2: functions.avg_pool2d, 3: functions.avg_pool3d}[dimensions]

    def compare(pooling: Pooling, ours: Any, theirs: Any, **more: Any) -> None:
        x, kernel, options = pooling
        options = {**options, **more}
        y, pullback = nc.vjp(lambda x: ours(x, kernel, **options), x)
        assume(np.isfinite(y).all())  # PyTorch gives the gradient of windows without any input to places beside them
        t = torch.tensor(x, requires_grad=True)
        expected = theirs(t, kernel, **options)
        assert_close(y, expected.detach().numpy())
        grad = normal(7, *y.shape)
        expected.backward(torch.tensor(grad))
        assert_close(pullback(grad)[0], t.grad.numpy())

    @settings(max_examples=25)
    @given(pooling=poolings(dimensions, dilated=True))
    def check_largest(pooling: Pooling) -> None:
        compare(pooling, MAX_POOL[dimensions], largest)

    @settings(max_examples=25)
    @given(pooling=poolings(dimensions, dilated=False), include=st.booleans())
    def check_average(pooling: Pooling, include: bool) -> None:
        fits = all(n >= k for n, k in zip(pooling.x.shape[2:], pooling.kernel, strict=True))
        assume(dimensions < 3 or fits)  # PyTorch wants a kernel that fits without padding in three dimensions only
        compare(pooling, AVG_POOL[dimensions], average, count_include_pad=include)

    check_largest()
    check_average()


@settings(max_examples=25)
@given(pooling=poolings(2, dilated=True))
def test_max_pooling_lies_between_and_commutes_with_growing_functions(pooling: Pooling) -> None:
    x, kernel, options = pooling
    y = F.max_pool2d(x, kernel, **options)
    assert y.max() <= x.max()
    finite = y[np.isfinite(y)]
    assert np.isin(finite, x).all()  # every result is one of the inputs
    inside = np.isfinite(y)
    np.testing.assert_array_equal(F.max_pool2d(2.0 * x + 1.0, kernel, **options)[inside], 2.0 * finite + 1.0)


@settings(max_examples=25)
@given(pooling=poolings(2, dilated=False))
def test_average_pooling_of_a_constant_is_the_constant(pooling: Pooling) -> None:
    x, kernel, options = pooling
    y = F.avg_pool2d(np.full_like(x, 3.5), kernel, **options, count_include_pad=False)
    assert_close(y, np.full_like(y, 3.5))


# ----------------------------------------------------------------------------------------------- activations and losses

SCORES = st.builds(normal, st.integers(0, 99), BATCHES, st.integers(1, 2 * LANES + 1))


@settings(max_examples=25)
@given(x=SCORES, shift=st.floats(-50, 50))
def test_softmax_is_a_distribution_that_shifts_do_not_change(x: np.ndarray, shift: float) -> None:
    p = F.softmax(x, 1)
    assert (p >= 0).all()
    assert_close(p.sum(axis=1), np.ones(len(x)))
    assert_close(F.softmax(x + shift, 1), p, tolerance=1e-11)
    assert_close(F.exp(F.log_softmax(x, 1)), p)
    assert_close(F.softmax(np.ascontiguousarray(x.T), 0), p.T)


@settings(max_examples=25)
@given(x=SCORES, smoothing=st.sampled_from([0.0, 0.1, 1.0]))
def test_cross_entropy_picks_from_log_softmax(x: np.ndarray, smoothing: float) -> None:
    target = np.arange(len(x)) % x.shape[1]
    logs = F.log_softmax(x, 1)
    picked = (1 - smoothing) * logs[np.arange(len(x)), target] + smoothing * logs.mean(axis=1)
    assert_close(F.cross_entropy(x, target, reduction="none", label_smoothing=smoothing), -picked)
    assert_close(F.cross_entropy(x, target, label_smoothing=smoothing), -picked.mean())


@settings(max_examples=25)
@given(x=SCORES)
def test_activations_have_their_symmetries(x: np.ndarray) -> None:
    np.testing.assert_array_equal(F.tanh(-x), -F.tanh(x))
    np.testing.assert_array_equal(F.subtract(F.relu(x), F.relu(-x)), x)
    assert_close(F.sigmoid(x) + F.sigmoid(-x), np.ones_like(x))
    assert_close(F.log(F.exp(x)), x)


@settings(max_examples=25)
@given(shape=st.lists(st.integers(1, 6), min_size=1, max_size=4), data=st.data())
def test_reshape_and_flatten_keep_numpys_order(shape: list[int], data: Any) -> None:
    x = normal(0, *shape)
    new = data.draw(st.permutations(shape))
    np.testing.assert_array_equal(F.reshape(x, new), x.reshape(new))
    start = data.draw(st.integers(0, len(shape) - 1))
    end = data.draw(st.integers(start, len(shape) - 1))
    np.testing.assert_array_equal(F.flatten(x, start, end), reference.shape.flatten(x, start, end))


@pytest.mark.parametrize("count", [1, 8191, 8192, 8193, 100_000])
def test_sums_of_many_numbers(count: int) -> None:
    """Sums over any number of partial sums; they are exact where every partial result is."""
    whole = np.arange(count) % 7
    for dtype in (np.float32, np.float64):
        assert F.sum(whole.astype(dtype)) == whole.sum()
    x = normal(0, count).astype(np.float32)
    assert abs(float(F.sum(x)) - math.fsum(x)) <= 1e-6 * np.abs(x).sum()
    assert F.mean(x) == pytest.approx(x.mean(dtype=np.float64), abs=1e-6)
