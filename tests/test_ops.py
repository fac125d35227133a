"""The operator table against plain float64 loops, in both layouts; odd inputs; wrong calls and what they say."""

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import reference
from reference import assert_close, make_arguments, terms
from reference.conv import conv_grads, linear
from reference.loss import count_correct, cross_entropy
from reference.pool import max_pool, max_pool_grad
from reference.random import dropout, dropout_keeps, jitter_colors, take_images, take_labels
from reference.update import adam_update, average_update, loss_scale_update, sgd_update

import numbaconv.functional as F
from numbaconv.graph import Graph, Variable, compile_graph
from numbaconv.kernels.cpu.target import LANES
from numbaconv.ops import FUNCTIONS, OPERATORS

FLOATS = [np.float32, np.float64]
BATCHES = [1, 3, LANES, LANES + 1, 2 * LANES + 3]

CASES = [
    pytest.param(name, case, id=f"{name}-{i}") for name, row in FUNCTIONS.items() for i, case in enumerate(row.cases)
]
CONV_CASES = [p for p in CASES if p.values[0] in ("conv1d", "conv2d", "conv3d", "linear")]


def with_dtypes(cases: list, slow: Callable[[str, Any], bool]) -> list:
    """Cases in float32 and float64; what is ``slow`` (kernels that no other test needs) is run with -m slow."""
    return [
        pytest.param(*p.values, dtype, id=f"{p.id}-{dtype.__name__}", marks=[pytest.mark.slow] * slow(p.id, dtype))
        for p in cases
        for dtype in FLOATS
    ]


def random(*shape: int, dtype: Any = np.float32, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


# ------------------------------------------------------------------------------------------------ the table


def test_every_public_function_has_a_reference() -> None:
    assert set(FUNCTIONS) == set(reference.REFERENCES)


def test_every_public_function_has_cases_or_a_test_of_its_own() -> None:
    tests = "".join(file.read_text() for file in Path(__file__).parent.glob("test_*.py"))
    assert all(row.cases or f"def test_{name}" in tests for name, row in FUNCTIONS.items())


def test_cases_name_arguments_of_their_functions() -> None:
    for row in FUNCTIONS.values():
        known = inspect.signature(row.function).parameters
        assert all({*case.shapes, *case.arguments} <= set(known) for case in (*row.cases, *row.sizes))


def test_functional_offers_the_table_and_nothing_else() -> None:
    assert set(F.__all__) == {*FUNCTIONS, "mul", "cat"}
    assert all(getattr(F, name) is row.function for name, row in FUNCTIONS.items())
    with pytest.raises(AttributeError, match="numbaconv.functional has no 'conv4d'"):
        _ = F.conv4d


def test_every_operator_and_function_says_what_it_does() -> None:
    assert all(row.function.__doc__ for row in FUNCTIONS.values())
    assert all(row.__doc__ for row in OPERATORS.values())


def as_tuple(results: Any) -> tuple:
    return results if isinstance(results, tuple) else (results,)


def check(name: str, arguments: dict[str, Any], dtype: Any) -> None:
    results = FUNCTIONS[name].function(**arguments)
    expected = reference.REFERENCES[name].function(**arguments)
    assert isinstance(results, tuple) == isinstance(expected, tuple)
    for found, wanted in zip(as_tuple(results), as_tuple(expected), strict=True):
        assert found.dtype == (dtype if wanted.dtype.kind == "f" else wanted.dtype)
        assert found.flags.c_contiguous and found.flags.writeable
        assert_close(found, wanted, terms(name, arguments))


def further_double(id: str, dtype: Any) -> bool:
    """Kernels in float64 of all but a function's first case; gradients are checked in float64 anyway."""
    return dtype == np.float64 and (not id.endswith("-0") or id.startswith(("conv", "linear")))


CASES_AS_PLANNED = with_dtypes(CASES, further_double)
CASES_AND_BATCHES = with_dtypes(CASES, lambda id, dtype: further_double(id, dtype) and not id.startswith("conv2d"))


@pytest.mark.parametrize("name, case, dtype", CASES_AS_PLANNED)
def test_case(name: str, case: Any, dtype: Any) -> None:
    """Every case of the table, with the register tiles that the planner picks for it."""
    check(name, make_arguments(name, case, dtype), dtype)


@pytest.mark.parametrize("name, case, dtype", CASES_AND_BATCHES)
def test_case_with_other_batches(name: str, case: Any, dtype: Any, few_tiles: None) -> None:
    """Images in lanes and channels in lanes, whole vectors of images and ragged ones."""
    for batch in BATCHES:
        arguments = make_arguments(name, case, dtype, batch)
        if arguments is not None:
            check(name, arguments, dtype)


@pytest.mark.parametrize("name, case", CASES)
def test_traced_shapes_are_those_of_the_results(name: str, case: Any) -> None:
    arguments = make_arguments(name, case, np.float32)
    graph = Graph()
    traced = {k: graph.input(v.shape, v.dtype) if isinstance(v, np.ndarray) else v for k, v in arguments.items()}
    results = FUNCTIONS[name].function(**traced)
    expected = reference.REFERENCES[name].function(**arguments)
    for found, wanted in zip(as_tuple(results), as_tuple(expected), strict=True):
        assert (found.shape, found.dtype) == (wanted.shape, np.float32 if wanted.dtype.kind == "f" else wanted.dtype)


# ------------------------------------------------------------------------------------------------ gradient kernels

def conv_gradients(name: str, arguments: dict[str, Any]) -> tuple[list, list]:
    """Gradients of a convolution or fully connected layer from the engine and from the definition."""
    import numbaconv as nc

    names = [key for key in ("x", "weight", "bias") if key in arguments]
    options = {key: value for key, value in arguments.items() if key not in names}
    function = FUNCTIONS[name].function
    y, pullback = nc.vjp(lambda *a: function(*a, **options), *(arguments[key] for key in names))
    grad = random(*y.shape, dtype=y.dtype, seed=1)
    found = pullback(grad)
    expected = conv_grads(grad, arguments["x"], arguments["weight"], **options)
    return list(found), list(expected)[: len(names)]


def check_gradients(name: str, arguments: dict[str, Any]) -> None:
    x, weight = arguments["x"].shape, arguments["weight"].shape
    found, expected = conv_gradients(name, arguments)
    pixels = int(np.prod(x)) // x[1]
    counts = (weight[0] * int(np.prod(weight[2:])), pixels, pixels)
    for gradient, wanted, count in zip(found, expected, counts, strict=False):
        assert gradient.dtype == arguments["x"].dtype
        assert_close(gradient, wanted, count)


FEW_IN_SINGLE = ("conv2d-1", "conv2d-2", "linear-0")
GRADIENT_CASES = [
    p
    for p in with_dtypes(CONV_CASES, lambda id, dtype: False)
    if p.id.endswith("float64") or p.id.startswith(FEW_IN_SINGLE)  # ``test_gradients`` has all in float32
]


@pytest.mark.parametrize("name, case, dtype", GRADIENT_CASES)
def test_gradients_with_other_batches(name: str, case: Any, dtype: Any, few_tiles: None) -> None:
    """Input, weight and bias gradients of every convolution and fully connected case, in both layouts."""
    for batch in BATCHES:
        check_gradients(name, make_arguments(name, case, dtype, batch))


@pytest.mark.slow
@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("name, case", CONV_CASES)
def test_gradients(name: str, case: Any, dtype: Any) -> None:
    """The same with the register tiles that the planner picks."""
    check_gradients(name, make_arguments(name, case, dtype))


@pytest.mark.parametrize("batch", [LANES, LANES + 1, 17 * LANES + 3])
def test_gradients_of_many_channels(batch: int, few_tiles: None) -> None:
    """Channels that fill two vectors or more, whole and cut."""
    for channels in (2 * LANES, 2 * LANES - 1, 3 * LANES):
        x, weight = random(batch, channels, 4, 3), random(3, channels, 3, 2, seed=1)
        check_gradients("conv2d", {"x": x, "weight": weight, "padding": 1, "stride": (1, 2)})


@pytest.mark.parametrize("dtype", FLOATS)
def test_more_blocks_than_groups_are_summed(dtype: Any, few_tiles: None) -> None:
    """Weight and bias gradients of a batch whose blocks share partial sums."""
    arguments = {
        "x": random(17 * LANES + 3, 2, 4, 3, dtype=dtype),
        "weight": random(3, 2, 2, 2, dtype=dtype, seed=2),
        "bias": random(3, dtype=dtype, seed=3),
    }
    check_gradients("conv2d", arguments)
    flat = {"x": random(17 * LANES + 3, 5, dtype=dtype), "weight": random(3, 5, dtype=dtype, seed=2)}
    check_gradients("linear", flat)


POOL_CASES = [pytest.param(*p.values, id=p.id) for p in CASES if p.values[0].startswith("max_pool")]


@pytest.mark.parametrize("name, case", POOL_CASES)
def test_max_pool_gradient_with_many_equal_numbers(name: str, case: Any) -> None:
    """Of equal numbers the first takes the gradient, also where windows overlap."""
    import numbaconv as nc

    for batch in (3, LANES + 1):
        arguments = make_arguments(name, case, np.float64, batch)
        x = np.round(arguments.pop("x"))
        y, pullback = nc.vjp(lambda x: as_tuple(FUNCTIONS[name].function(x, **arguments))[0], x)  # noqa: B023
        grad = random(*y.shape, dtype=np.float64)
        assert_close(pullback(grad)[0], max_pool_grad(grad, x, **arguments))


# ---------------------------------------------------------------------------------------------- functions without cases


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch", BATCHES)
def test_count_correct(batch: int, dtype: Any) -> None:
    x = np.round(2 * random(batch, 5, dtype=dtype))  # with equal scores, of which the first counts
    target = np.random.default_rng(1).integers(0, 5, batch)
    found = F.count_correct(x, target)
    assert found.dtype == dtype and found.shape == ()
    assert found == count_correct(x, target)


KEY = np.array([7, 3], np.int64)
COLOURS = ("brightness", "contrast", "saturation")


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("batch", BATCHES)
def test_dropout(batch: int, dtype: Any) -> None:
    x = random(batch, 3, 5, 4, dtype=dtype)
    for p in (0.25, 0.5, 1.0):
        assert_close(F.dropout(x, p, key=KEY), dropout(x, p, key=KEY))
    assert F.dropout(x, 0.0) is x and F.dropout(x, 0.9, training=False) is x


def test_dropout_mask_is_the_same_in_every_layout(few_tiles: None) -> None:
    """Behind a convolution images or channels lie in lanes; the mask is that of the plain array."""
    x, weight = np.abs(random(2 * LANES + 3, 2, 5, 4)), np.ones((3, 2, 1, 1), np.float32)
    for batch in BATCHES:
        graph = Graph()
        t = graph.input((batch, *x.shape[1:]))
        graph.set_random_key(graph.leaf(KEY))
        graph.output(F.dropout(F.conv2d(t, weight), 0.5))
        (found,) = compile_graph(graph).run([x[:batch]])
        keeps = dropout_keeps(KEY, found.size, 0.5, salt=1).reshape(found.shape)
        np.testing.assert_array_equal(found != 0.0, keeps)


def test_dropout_keeps_the_share_it_should_and_the_mean() -> None:
    x = np.ones(200_000, np.float32)
    for p in (0.1, 0.5, 0.8):
        y = F.dropout(x, p, key=KEY)
        assert abs((y == 0.0).mean() - p) < 4 * np.sqrt(p * (1 - p) / x.size)
        assert np.isclose(y.max(), 1 / (1 - p))
    half = F.dropout(x, 0.5, key=KEY) != 0.0
    lags = [np.mean(half[:-lag] ^ half[lag:]) for lag in (1, 2, 3, 64)]
    assert np.allclose(lags, 0.5, atol=0.01)  # neighbours know nothing of each other


def test_dropout_draws_another_mask_for_another_key_step_and_node() -> None:
    x = np.ones(1000, np.float32)
    masks = [F.dropout(x, 0.5, key=np.array(key)) for key in ([7, 3], [7, 4], [8, 3])]
    graph = Graph()
    t = graph.input(x.shape)
    graph.set_random_key(graph.leaf(KEY))
    graph.output(F.dropout(t), F.dropout(t))
    masks += compile_graph(graph).run([x])
    for i, a in enumerate(masks):
        for b in masks[:i]:
            assert 400 < np.sum(a != b) < 600


def test_dropout_gradient_uses_the_same_mask() -> None:
    import numbaconv as nc

    x = random(LANES + 1, 3, 4, 4)
    y, pullback = nc.vjp(lambda x: F.dropout(x, 0.3, key=KEY), x)
    (gradient,) = pullback(np.ones_like(y))
    np.testing.assert_array_equal(gradient != 0.0, y != 0.0)
    assert_close(gradient[gradient != 0.0], np.full(np.sum(gradient != 0.0), 1 / 0.7))


def test_dropout_without_a_key_follows_the_global_seed() -> None:
    import numbaconv as nc

    x = np.ones(100, np.float32)
    nc.manual_seed(5)
    first, second = F.dropout(x), F.dropout(x)
    nc.manual_seed(5)
    np.testing.assert_array_equal(F.dropout(x), first)
    assert np.any(first != second)


@pytest.mark.parametrize("count", [1, 3, LANES, 2 * LANES + 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.float32, np.float64])
def test_take_images(dtype: Any, count: int) -> None:
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (9, 3, 5, 4)).astype(dtype)
    indices = rng.integers(0, 9, count)
    for pad in (0, 2):
        found = F.take_images(images, indices, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), pad)
        assert found.dtype == (np.float32 if dtype == np.uint8 else dtype)
        expected = take_images(images, indices, (0.1, 0.2, 0.3), (0.5, 0.6, 0.7), pad)
        assert_close(found, expected, tolerance=5e-7 if dtype == np.uint8 else 0.0)
    one = F.take_images(images, indices, 0.5, 0.25)
    assert_close(one, take_images(images, indices, (0.5,) * 3, (0.25,) * 3), tolerance=5e-7)


@pytest.mark.parametrize("count", [3, LANES + 1])
def test_take_images_shifted_and_mirrored(count: int) -> None:
    images = np.random.default_rng(0).integers(0, 256, (9, 2, 6, 5)).astype(np.uint8)
    indices = np.arange(count) % 9
    still = (0, 0, False)
    for pad, shift, flip, cutout, view in (
        (0, 2, False, 0, still), (1, 0, True, 0, still), (2, 1, True, 3, still), (0, 9, True, 20, still),
        (0, 0, False, 2, still), (0, 0, False, 0, (0, 0, True)), (1, 0, False, 0, (1, -2, False)),
        (2, 1, True, 4, (-1, 1, True)), (0, 0, False, 0, (9, 0, False)),
    ):  # fmt: skip
        options = {
            "mean": (0.1, 0.2), "std": (0.5, 0.6), "pad": pad, "shift": shift, "flip": flip, "cutout": cutout,
            "view": view, "key": KEY,
        }  # fmt: skip
        expected = take_images(images, indices, **options)
        assert_close(F.take_images(images, indices, **options), expected, tolerance=5e-7)
    other = F.take_images(images, indices, shift=2, flip=True, key=KEY + 1)
    assert np.any(other != F.take_images(images, indices, shift=2, flip=True, key=KEY))


@pytest.mark.parametrize("count", [3, LANES + 1])
def test_jitter_colors(count: int) -> None:
    x = random(count, 3, 5, 4)
    for amounts in ({"brightness": 0.3}, {"contrast": 0.5}, {"saturation": 0.8}, dict.fromkeys(COLOURS, 0.4)):
        assert_close(F.jitter_colors(x, **amounts, key=KEY), jitter_colors(x, **amounts, key=KEY), tolerance=1e-6)
    np.testing.assert_allclose(F.jitter_colors(x, key=KEY), x, rtol=1e-6, atol=1e-6)
    for name in COLOURS:
        with pytest.raises(ValueError, match=f"jitter_colors: {name} must be 0 or more"):
            F.jitter_colors(x, **{name: -0.1})
    with pytest.raises(ValueError, match="x must have shape"):
        F.jitter_colors(x[0])


@pytest.mark.parametrize("count", [3, LANES + 1])
def test_indices_and_classes_of_a_trace_never_reach_outside(count: int) -> None:
    """They are known only when a plan runs: wrong indices take the nearest item, wrong classes are never right."""
    import numbaconv as nc

    images, labels = np.arange(4, dtype=np.float32).reshape(4, 1, 1, 1), np.arange(4)
    take = nc.compile(lambda images, labels, i: (F.take_images(images, i), F.take_labels(labels, i)))
    for wrong, nearest in ((4, 3), (-1, 0), (10**15, 3), (-(10**15), 0)):
        found = take(images, labels, np.full(count, wrong))
        assert all((np.ravel(a) == nearest).all() for a in found)
    score = nc.compile(lambda x, t: (F.cross_entropy(x, t, reduction="none"), F.count_correct(x, t)))
    for wrong in (3, -1, 10**15):
        losses, correct = score(random(count, 3), np.full(count, wrong))
        assert np.isfinite(losses).all() and correct == 0.0


def test_take_labels() -> None:
    labels, indices = np.arange(10, 20), np.array([3, 3, 0, 9])
    np.testing.assert_array_equal(F.take_labels(labels, indices), take_labels(labels, indices))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(1,), (3, 5), (2, 3, 3, 7)])
def test_sgd_update(shape: tuple[int, ...], dtype: Any) -> None:
    arrays = [random(*shape, dtype=dtype, seed=i) for i in range(3)]
    before = [a.copy() for a in arrays]
    for hyper in ([0.1, 0.0, 0.0, 0.0], [0.1, 0.9, 0.1, 0.01]):
        for nesterov in (False, True):
            found = F.sgd_update(*arrays, np.array(hyper), nesterov=nesterov)
            for a, b in zip(found, sgd_update(*arrays, hyper, nesterov), strict=True):
                assert a.dtype == dtype
                assert_close(a, b)
    assert all(np.array_equal(a, b) for a, b in zip(arrays, before, strict=True))  # eagerly nothing is overwritten


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("decoupled", [False, True])
def test_adam_update(decoupled: bool, dtype: Any) -> None:
    arrays = [random(2, 3, 7, dtype=dtype, seed=i) for i in range(4)]
    arrays[3] **= 2
    for step in (1, 1000):
        hyper = [0.01, 0.9, 0.999, 1e-8, 0.1, step]
        found = F.adam_update(*arrays, np.array(hyper), decoupled=decoupled)
        for a, b in zip(found, adam_update(*arrays, hyper, decoupled), strict=True):
            assert a.dtype == dtype
            assert_close(a, b)


@pytest.mark.parametrize("factor", [0.25, 0.0])
def test_updates_by_a_factor_of_the_gradient(factor: float) -> None:
    arrays = [random(3, 7, seed=i) for i in range(4)]
    arrays[3] **= 2
    if factor == 0:
        arrays[1][1, 2:4] = np.inf, np.nan
    sgd, adam, given = [0.1, 0.9, 0.1, 0.01], [0.01, 0.9, 0.999, 1e-8, 0.1, 3], np.float32(factor)
    found = F.sgd_update(*arrays[:3], np.array(sgd), factor=given)
    found += F.adam_update(*arrays, np.array(adam), factor=given)
    wanted = sgd_update(*arrays[:3], sgd, factor=factor) + adam_update(*arrays, adam, factor=factor)
    for a, b in zip(found, wanted, strict=True):
        assert_close(a, b)


@pytest.mark.parametrize("state", [(1024.0, 5.0), (1024.0, 6.0), (2.0**24, 6.0), (2.0**-24, 0.0)])
@pytest.mark.parametrize("norm", [0.0, 3e38, np.inf, np.nan])
def test_loss_scale_update(state: tuple[float, float], norm: float) -> None:
    found = F.loss_scale_update(*(np.float32(v) for v in (*state, norm)), interval=7)
    assert [float(v) for v in found] == list(loss_scale_update(*state, norm, interval=7))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("shape", [(), (2, 3, 7), (40,)])
def test_average_update(shape: tuple[int, ...], dtype: Any) -> None:
    average, value = (random(*shape, dtype=dtype, seed=i) for i in range(2))
    before = average.copy()
    for share in (0.0, 0.1, 1.0):
        found = F.average_update(average, value, np.array([share]))
        assert found.dtype == dtype
        assert_close(found, average_update(average, value, [share]))
    assert np.array_equal(average, before)  # eagerly nothing is overwritten


# ------------------------------------------------------------------------------------------------ special values


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_nan_and_infinity_pass_as_in_numpy(batch: int) -> None:
    x = random(batch, 4, 3, 3)
    x.flat[::7], x.flat[1::7], x.flat[2::7] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for name in ("relu", "tanh", "sigmoid", "exp", "log"):
            expected = reference.REFERENCES[name].function(x)
            np.testing.assert_allclose(FUNCTIONS[name].function(x), expected, rtol=1e-6, err_msg=name)
        for found, expected in ((F.add(x, x), x + x), (F.multiply(x, x), x * x), (F.divide(x, x), x / x)):
            np.testing.assert_array_equal(found, expected)
    for kernel, pad in ((3, 1), (2, 0)):
        found = F.max_pool2d(x, kernel, padding=pad)
        np.testing.assert_array_equal(found, max_pool(x, kernel, padding=pad).astype(np.float32))


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_nan_in_one_image_stays_in_it(batch: int, few_tiles: None) -> None:
    x = random(batch, 3, 8, 8)
    x[1] = np.nan
    others = [i for i in range(batch) if i != 1]
    y = F.avg_pool2d(F.conv2d(x, random(5, 3, 3, 3), random(5), padding=1), 2)
    assert np.isnan(y[1]).all() and np.isfinite(y[others]).all()
    for function in (F.softmax, F.log_softmax):
        z = function(x[:, :, 0, 0], 1)
        assert np.isnan(z[1]).all() and np.isfinite(z[others]).all()


@pytest.mark.parametrize("batch", [3, LANES + 1])
@pytest.mark.parametrize("dtype", FLOATS)
def test_softmax_and_cross_entropy_do_not_overflow(batch: int, dtype: Any) -> None:
    x = 1e4 * random(batch, 5, dtype=dtype)
    target = np.zeros(batch, np.int64)
    for function in (F.softmax, F.log_softmax):
        assert_close(function(x, 1), reference.REFERENCES[function.__name__].function(x, 1))
    assert_close(F.cross_entropy(x, target, reduction="none"), cross_entropy(x, target, reduction="none"))
    x[:, 1:] = -np.inf  # a class that cannot be
    assert_close(F.softmax(x, 1), np.eye(5)[[0] * batch])


@pytest.mark.parametrize("batch", [2, LANES + 1])
@pytest.mark.parametrize("label_smoothing", [0.0, 0.2, 1.0])
def test_cross_entropy_of_pixels(batch: int, label_smoothing: float) -> None:
    """Scores (N, classes, H, W) with a class for every pixel, in both layouts, each reduction."""
    rng = np.random.default_rng(0)
    for shape in ((batch, 4, 3, 5), (batch, 4, 6), (batch, 21, 2, 2)):
        x, target = rng.standard_normal(shape), rng.integers(0, shape[1], (batch, *shape[2:]))
        for reduction in ("none", "sum", "mean"):
            found = F.cross_entropy(x, target, reduction=reduction, label_smoothing=label_smoothing)
            assert_close(found, cross_entropy(x, target, reduction=reduction, label_smoothing=label_smoothing))


def test_divide_by_and_into_numbers() -> None:
    x = np.array([1.0, -2.0, 0.0], np.float32)
    np.testing.assert_array_equal(F.divide(x, 4), x / 4)
    with np.errstate(divide="ignore"):
        np.testing.assert_array_equal(F.divide(3.0, x), np.float32(3.0) / x)
    np.testing.assert_array_equal(F.subtract(1, x), 1 - x)
    np.testing.assert_array_equal(F.add(x, 2), F.add(2, x))
    np.testing.assert_array_equal(F.multiply(x, np.float32(2)), F.multiply(np.float32(2), x))
    graph = Graph()
    t = graph.input(x.shape)
    graph.output(1.0 / t, 2 - t, t * 2 + 1, -t / 2)
    with np.errstate(divide="ignore"):
        expected = [1 / x, 2 - x, x * 2 + 1, -x / 2]
    for found, wanted in zip(compile_graph(graph).run([x]), expected, strict=True):
        np.testing.assert_array_equal(found, wanted.astype(np.float32))


# ------------------------------------------------------------------------------------------------ forms of inputs


def strided(x: np.ndarray) -> list[np.ndarray]:
    """The same numbers in other orders of memory."""
    everywhere = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    everywhere[..., ::2] = x
    return [
        np.asfortranarray(x),
        np.ascontiguousarray(x[..., ::-1])[..., ::-1],
        np.ascontiguousarray(x[::-1])[::-1],
        everywhere[..., ::2],
        np.ascontiguousarray(np.moveaxis(x, 1, -1)).transpose(0, -1, *range(1, x.ndim - 1)),  # channels last
        np.frombuffer(b"!" + x.tobytes(), np.uint8)[1:].view(x.dtype).reshape(x.shape),  # unaligned, read-only
    ]


@pytest.mark.parametrize("batch", [3, LANES + 1])
def test_any_strides_give_the_same_bits(batch: int, few_tiles: None) -> None:
    x, weight = random(batch, 3, 7, 9), random(5, 3, 3, 3)
    calls: list[Callable] = [
        lambda x: F.conv2d(x, weight, padding=1), lambda x: F.max_pool2d(x, 2), F.relu, F.sum, F.flatten,
        lambda x: F.softmax(x, 1), lambda x: F.add(x, x), lambda x: F.conv2d(np.abs(x), weight, stride=2),
    ]  # fmt: skip
    for call in calls:
        expected = call(x)
        for form in strided(x):
            np.testing.assert_array_equal(call(form), expected)
    for form in strided(weight):
        np.testing.assert_array_equal(F.conv2d(x, form), F.conv2d(x, weight))
    one = np.broadcast_to(x[:1], x.shape)  # stride 0
    np.testing.assert_array_equal(F.relu(one), F.relu(one.copy()))


def test_inputs_are_not_changed_and_results_are_fresh() -> None:
    x = random(LANES, 3, 6, 6)
    before = x.copy()
    for call in (F.relu, lambda x: F.reshape(x, x.shape[::-1]), lambda x: F.max_pool2d(x, 1), lambda x: F.add(x, 0.0)):
        y = call(x)
        again = call(x)
        y[...] = 0.0
        assert np.any(again != 0.0)
        np.testing.assert_array_equal(x, before)


def test_lists_numbers_and_variables_are_inputs(few_tiles: None) -> None:
    np.testing.assert_array_equal(F.relu([[1.0, -2.0]]), [[1.0, 0.0]])
    assert F.relu([1.0]).dtype == np.float64
    assert F.tanh(0.0) == 0.0 and F.tanh(np.float32(0.5)).shape == ()
    assert F.sum(np.float32(2.5)) == 2.5
    assert F.flatten(np.float32(2.5)).shape == (1,)
    assert F.cross_entropy([[0.0, 0.0]], [1]) == pytest.approx(np.log(2))
    weight = Variable(random(4, 5))
    np.testing.assert_array_equal(F.linear(random(2, 5), weight), F.linear(random(2, 5), weight.data))


def test_items_without_a_batch(few_tiles: None) -> None:
    for dimensions in (1, 2, 3):
        x = random(2, *(6,) * dimensions)
        weight = random(3, 2, *(3,) * dimensions)
        conv, *pools = (getattr(F, f"{name}{dimensions}d") for name in ("conv", "max_pool", "avg_pool"))
        np.testing.assert_array_equal(conv(x, weight), conv(x[None], weight)[0])
        for pool in pools:
            np.testing.assert_array_equal(pool(x, 2), pool(x[None], 2)[0])
    x, weight = random(2, 3, 5), random(4, 5)
    assert_close(F.linear(x, weight), linear(x, weight), 5)
    assert F.linear(x[0, 0], weight).shape == (4,)


def test_empty_batches_give_empty_results(few_tiles: None) -> None:
    x, weight, bias = random(0, 3, 8, 8), random(4, 3, 3, 3), random(4)
    assert F.conv2d(x, weight, bias).shape == (0, 4, 6, 6)
    assert F.linear(random(0, 5), random(3, 5)).shape == (0, 3)
    assert F.linear(random(2, 0, 5), random(3, 5)).shape == (2, 0, 3)
    assert F.max_pool2d(x, 2).shape == F.avg_pool2d(x, 2).shape == (0, 3, 4, 4)
    for function in (F.relu, F.tanh, F.sigmoid, F.exp, F.log, F.dropout):
        assert function(x).shape == x.shape
    assert F.softmax(random(0, 5), 1).shape == F.log_softmax(random(0, 5), 1).shape == (0, 5)
    assert F.flatten(x, 1).shape == (0, 192)
    assert F.add(x, x).shape == x.shape
    assert F.sum(x) == 0.0 and np.isnan(F.mean(x))
    labels = np.zeros(0, np.int64)
    assert F.cross_entropy(random(0, 5), labels, reduction="none").shape == (0,)
    assert F.cross_entropy(random(0, 5), labels, reduction="sum") == 0.0
    assert np.isnan(F.cross_entropy(random(0, 5), labels))
    assert F.count_correct(random(0, 5), labels) == 0.0
    assert F.take_images(np.zeros((2, 1, 4, 4), np.uint8), labels).shape == (0, 1, 4, 4)


def test_gradients_of_an_empty_batch_are_zero(few_tiles: None) -> None:
    import numbaconv as nc

    x, weight, bias = random(0, 3, 8, 8), random(4, 3, 3, 3), random(4)
    y, pullback = nc.vjp(F.conv2d, x, weight, bias)
    for gradient, like in zip(pullback(y), (x, weight, bias), strict=True):
        np.testing.assert_array_equal(gradient, np.zeros_like(like))
    y, pullback = nc.vjp(F.linear, random(0, 5), random(3, 5))
    np.testing.assert_array_equal(pullback(y)[1], np.zeros((3, 5)))


# ------------------------------------------------------------------------------------------------ wrong calls

X, W, B, L = random(2, 3, 8, 8), random(4, 3, 3, 3), random(4), random(2, 5)
BYTES = np.zeros((4, 1, 8, 8), np.uint8)
FIRST = np.array([0])

WRONG: dict[str, tuple[Callable, type[Exception], str]] = {
    "channels": (lambda: F.conv2d(X[:, :1], W), ValueError, "^conv2d: weight expects 3 input channels, x has 1$"),
    "channels of groups": (
        lambda: F.conv2d(X, W[:, :2], groups=2), ValueError,
        r"^conv2d: weight expects 4 input channels \(2 groups of 2\), x has 3$",
    ),
    "groups": (
        lambda: F.conv2d(X, W[:, :1], groups=3), ValueError,
        "^conv2d: 4 output channels cannot be divided into 3 groups$",
    ),
    "no groups": (lambda: F.conv2d(X, W, groups=0), ValueError, "^conv2d: groups must be at least 1, not 0$"),
    "image for a signal": (lambda: F.conv1d(X, W), ValueError, "^conv1d: weight must have 3 dimensions, its shape is"),
    "x without channels": (
        lambda: F.conv2d(X[0, 0], W), ValueError,
        r"^conv2d: x must have 4 dimensions \(or 3 without a batch\), its shape is \(8, 8\)$",
    ),
    "bias": (lambda: F.conv2d(X, W, B[:3]), ValueError, r"^conv2d: bias must have shape \(4,\), its shape is \(3,\)$"),
    "mixed dtypes": (
        lambda: F.conv2d(X, W, B.astype(float)), TypeError, "^conv2d: x is float32 but bias is float64$"
    ),
    "integers": (lambda: F.relu(np.arange(3)), TypeError, "^relu: x must be float32 or float64, not int64$"),
    "half": (lambda: F.relu(X.astype(np.float16)), TypeError, "^relu: x must be float32 or float64, not float16$"),
    "text": (lambda: F.relu("abc"), TypeError, "^relu: x must be float32 or float64, not <U3$"),
    "big-endian": (lambda: F.relu(X.astype(">f4")), TypeError, "^relu: x must be float32 or float64, not >f4$"),
    "None": (lambda: F.conv2d(X, None), TypeError, "^conv2d: weight must be an array, not None$"),
    "None to add": (lambda: F.add(X, None), TypeError, "^add: y must be an array, not None$"),
    "stride 0": (lambda: F.conv2d(X, W, stride=0), ValueError, "^conv2d: stride must be at least 1, not 0$"),
    "fractional stride": (
        lambda: F.conv2d(X, W, stride=1.5), TypeError, "^conv2d: stride must be an integer or 2 integers, not 1.5$"
    ),
    "three strides": (
        lambda: F.conv2d(X, W, stride=(1, 2, 3)), ValueError,
        r"^conv2d: stride must be an integer or 2 integers, not \(1, 2, 3\)$",
    ),
    "padding word": (
        lambda: F.conv2d(X, W, padding="sme"), ValueError,
        "^conv2d: padding must be \"same\", \"valid\", \"full\" or integers, not 'sme'$",
    ),
    "same with stride": (
        lambda: F.conv2d(X, W, padding="same", stride=2), ValueError,
        r'^conv2d: padding "same" needs stride 1, not \(2, 2\)$',
    ),
    "negative padding": (
        lambda: F.conv2d(X, W, padding=-1), ValueError, "^conv2d: padding must be at least 0, not -1$"
    ),
    "one pair": (
        lambda: F.conv2d(X, W, padding=((1, 1),)), ValueError, r"^conv2d: padding needs 2 pairs, not \(\(1, 1\),\)$"
    ),
    "kernel larger than x": (
        lambda: F.conv2d(X, W, dilation=4), ValueError,
        r"^conv2d: a kernel of size 9 \(with dilation\) does not fit into 8 \(input 8 and padding\)$",
    ),
    "empty kernel": (
        lambda: F.conv2d(X, W[:, :, :0]), ValueError, r"^conv2d: weight has an empty dimension, its shape is"
    ),
    "unknown option": (lambda: F.conv2d(X, W, strides=2), TypeError, "unexpected keyword argument 'strides'"),
    "features": (
        lambda: F.linear(L, W[:, :, 0, 0]), ValueError,
        r"^linear: weight expects 3 input features, x has shape \(2, 5\)$",
    ),
    "flat weight": (
        lambda: F.linear(L, B), ValueError,
        r"^linear: weight must have shape \(out_features, in_features\), its shape is \(4,\)$",
    ),
    "large pool": (
        lambda: F.max_pool2d(X, 9), ValueError,
        r"^max_pool2d: a window of size 9 does not fit into 8 \(input 8 and padding\)$",
    ),
    "pool padding": (
        lambda: F.avg_pool2d(X, 2, padding=2), ValueError, "^avg_pool2d: padding 2 is more than half of kernel size 2$"
    ),
    "pool of None": (
        lambda: F.max_pool2d(X, None), TypeError,
        "^max_pool2d: kernel_size must be an integer or 2 integers, not None$",
    ),
    "divisor 0": (
        lambda: F.avg_pool2d(X, 2, divisor_override=0), ValueError,
        "^avg_pool2d: divisor_override must be an integer other than 0, not 0$",
    ),
    "dim": (lambda: F.softmax(L, 2), ValueError, "^softmax: dim 2 is out of range for an array of 2 dimensions$"),
    "no dim": (lambda: F.softmax(L), ValueError, "^softmax: dim, .*, is missing$"),
    "fractional dim": (lambda: F.log_softmax(L, 0.5), TypeError, "^log_softmax: dim must be an integer, not 0.5$"),
    "shapes to add": (
        lambda: F.add(X, B), ValueError,
        r"^add: shapes \(2, 3, 8, 8\) and \(4,\) differ \(only single numbers and one number a channel are",
    ),
    "reshape": (
        lambda: F.reshape(X, (5, -1)), ValueError,
        r"^reshape: an array of shape \(2, 3, 8, 8\) cannot take the shape \(5, -1\)$",
    ),
    "two unknowns": (
        lambda: F.reshape(X, (-1, -1)), ValueError, r"^reshape: .* cannot take the shape \(-1, -1\)$"
    ),
    "flatten": (lambda: F.flatten(X, 4), ValueError, "^flatten: start_dim 4 is out of range for an array of 4 dim"),
    "flatten backwards": (lambda: F.flatten(X, 2, 1), ValueError, "^flatten: start_dim must not come after end_dim$"),
    "class too large": (
        lambda: F.cross_entropy(L, [0, 5]), ValueError,
        "^cross_entropy: target 5 is not one of the 5 classes 0 to 4$",
    ),
    "class below 0": (lambda: F.cross_entropy(L, [-1, 0]), ValueError, "^cross_entropy: target -1 is not one of"),
    "targets": (
        lambda: F.cross_entropy(L, FIRST), ValueError,
        r"^cross_entropy: target must have shape \(2,\), its shape is \(1,\)$",
    ),
    "target dtype": (
        lambda: F.cross_entropy(L, L[:, 0]), TypeError,
        "^cross_entropy: target must hold class indices as int64, not float32$",
    ),
    "reduction": (
        lambda: F.cross_entropy(L, [0, 1], reduction="avg"), ValueError,
        "^cross_entropy: reduction must be \"mean\", \"sum\" or \"none\", not 'avg'$",
    ),
    "smoothing": (
        lambda: F.cross_entropy(L, [0, 1], label_smoothing=1.5), ValueError,
        "^cross_entropy: label_smoothing must lie between 0 and 1, not 1.5$",
    ),
    "probability": (lambda: F.dropout(X, 2), ValueError, "^dropout: p must lie between 0 and 1, not 2$"),
    "no probability": (lambda: F.dropout(X, "half"), TypeError, "^dropout: p must be a number, not 'half'$"),
    "dropout key": (
        lambda: F.dropout(X, key=np.array([1.0, 2.0])), TypeError,
        r"^dropout: key must be an int64 array \[seed, step\], not float64 of shape \(2,\)$",
    ),
    "images": (
        lambda: F.take_images(BYTES[0], FIRST), ValueError,
        r"^take_images: images must have shape \(N, C, H, W\), their shape is \(1, 8, 8\)$",
    ),
    "image index": (lambda: F.take_images(BYTES, [0, 4]), ValueError, "^take_images: index 4 is not one of 0 to 3$"),
    "no images": (lambda: F.take_images(BYTES[:0], FIRST), ValueError, "^take_images: there is nothing to take from$"),
    "label index": (
        lambda: F.take_labels(np.zeros(3, np.int64), [-1]), ValueError, "^take_labels: index -1 is not one of 0 to 2$"
    ),
    "std": (lambda: F.take_images(BYTES, FIRST, std=0.0), ValueError, "^take_images: std must be positive"),
    "two means": (
        lambda: F.take_images(BYTES, FIRST, mean=(0.1, 0.2)), ValueError,
        "^take_images: mean must be one number or 1, one a channel, not",
    ),
    "update shapes": (
        lambda: F.sgd_update(B, B[:3], B, np.zeros(4)), ValueError,
        r"^sgd_update: gradient has shape \(3,\), the parameter \(4,\)$",
    ),
    "factor": (
        lambda: F.sgd_update(B, B, B, np.zeros(4), factor=np.ones(2, np.float32)), ValueError,
        r"^sgd_update: factor must be a number of dtype float32, not \(2,\) of float32$",
    ),
    "loss scale": (
        lambda: F.loss_scale_update(B, np.float32(0), np.float32(0)), ValueError,
        r"^loss_scale_update: scale must be a number, its shape is \(4,\)$",
    ),
    "hyper": (
        lambda: F.adam_update(B, B, B, B, np.zeros(4)), ValueError,
        r"^adam_update: hyper must hold 6 numbers, its shape is \(4,\)$",
    ),
    "hyper dtype": (
        lambda: F.sgd_update(B, B, B, np.zeros(4, np.float32)), TypeError,
        "^sgd_update: hyper must be float64, not float32$",
    ),
}  # fmt: skip


@pytest.mark.parametrize("call, error, message", WRONG.values(), ids=WRONG)
def test_wrong_calls_are_refused_in_the_callers_terms(call: Callable, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        call()


def test_wrong_calls_are_refused_when_traced_too() -> None:
    graph = Graph()
    x = graph.input(X.shape)
    with pytest.raises(ValueError, match="^conv2d: weight expects 3 input channels, x has 8$"):
        F.conv2d(x.reshape(2, 8, 8, 3), W)
    with pytest.raises(TypeError, match="^add: x is float32 but y is float64$"):
        x + np.zeros(X.shape)
    with pytest.raises(ValueError, match="one trace was used in another"):
        F.add(x, Graph().input(X.shape))
    assert not [node for node in graph.nodes if node.op.name in ("conv", "add")]
