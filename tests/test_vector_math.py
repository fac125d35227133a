"""Errors of the vectors' elementary functions in units of the last place, and what they do at the ends of the range."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba import njit

from numbaconv.kernels.cpu import math as vector_math
from numbaconv.kernels.cpu.native import Pointer, call, kernel
from numbaconv.kernels.cpu.target import LANES, has_fma
from numbaconv.kernels.cpu.vector import load_first, store_first

#: Bounds that the module promises, in units of the last place; without fused multiply-adds they are one larger.
BOUNDS = {
    "exp": 1.0, "expm1": 3.0, "log": 1.0, "log1p": 2.0, "normal_cdf_and_density": 5.0, "tanh": 5.0, "sigmoid": 3.0,
}  # fmt: skip
FLOATS = [np.float32, np.float64]
INF, NAN = np.inf, np.nan


@kernel
def apply(T, function):
    """y = function(x), a vector a unit."""
    f = getattr(vector_math, function)
    if function == "normal_cdf_and_density":
        both = f
        f = njit(lambda x: both(x)[0])

    def loop(begin, end, x: Pointer, y: Pointer, n: int):
        for unit in range(begin, end):
            i = unit * LANES
            store_first(y, i, f(load_first(x, i, n - i)), n - i)

    return loop


def evaluate(function: str, x: np.ndarray) -> np.ndarray:
    x, y = np.ascontiguousarray(x), np.empty_like(x)
    words = (x.ctypes.data, y.ctypes.data, x.size)
    call(apply(x.dtype, function=function).address(), words, 0, -(-x.size // LANES))
    return y


def exact(function: str, x: np.ndarray) -> np.ndarray:
    """The function in a wider type."""
    with np.errstate(all="ignore"):
        x = x.astype(np.float64 if x.dtype == np.float32 else np.longdouble)
        if function == "sigmoid":
            e = np.exp(-np.abs(x))
            return np.where(x < 0, e, 1) / (1 + e)
        if function.startswith("normal_cdf"):
            return exact_normal_cdf(x)
        return getattr(np, function)(x)


def exact_normal_cdf(x: np.ndarray) -> np.ndarray:
    """By continued fractions (Abramowitz & Stegun 26.2.14) beyond 2.5, else by the series of 26.2.10."""
    a = np.minimum(np.abs(x), 40)
    density = np.exp(-a * a / 2) / np.sqrt(2 * np.arccos(x.dtype.type(-1)))
    fraction = a + 0
    for k in range(200, 0, -1):
        fraction = a + k / fraction
    power, series = a + 0, a + 0
    for k in range(1, 80):
        power = power * -a * a / (2 * k)
        series = series + power / (2 * k + 1)
    middle = x.dtype.type(0.5) - series / np.sqrt(2 * np.arccos(x.dtype.type(-1)))
    tail = np.where(a < 2.5, middle, density / fraction)
    return np.where(x > 0, 1 - tail, np.where(np.isnan(x), x, tail))


def every_kind_of_number(dtype: Any) -> np.ndarray:
    """Bit patterns from the whole range: normal, denormal, infinite and not a number, of both signs."""
    if dtype == np.float32:
        return np.arange(0, 2**32, 2111, np.uint64).astype(np.uint32).view(np.float32)
    return np.random.default_rng(0).integers(0, 2**64, 500_000, np.uint64).view(np.float64)


def dense(function: str, dtype: Any) -> np.ndarray:
    """Many numbers where the function changes, and every number around points where its form changes."""
    rng = np.random.default_rng(1)
    limit = 105.0 if dtype == np.float32 else 750.0
    top = 88.0 if dtype == np.float32 else 709.0
    if function == "log":
        x = [np.exp(rng.uniform(-limit, 0.8 * limit, 300_000)), rng.uniform(0.0, 4.0, 300_000)]
        points = [1.0, np.sqrt(0.5), np.sqrt(2.0), 0.5, 2.0, np.finfo(dtype).tiny, np.e]
    elif function == "log1p":
        x = [rng.uniform(0.0, 1.0, 300_000), np.exp(rng.uniform(-limit, 0.0, 300_000))]
        points = [0.5, 1e-3, 1e-8]
    else:
        low, high = (-limit, top if function == "expm1" else limit)
        x = [rng.uniform(low, high, 300_000), rng.uniform(-1.0, 1.0, 300_000), rng.standard_normal(100_000) * 1e-4]
        x.append(np.linspace(-20.0, 20.0, 100_001))
        points = [k * np.log(2) / 2 for k in range(-7, 8)] + [8.5, -8.5, 9.1, 20.0, 40.0, -40.0, top - 1, 1 - limit]
    found = [np.asarray(a, dtype) for a in x]
    near = np.arange(-200, 201)
    for point in points:
        center = np.asarray(point, dtype)
        found.append(center + near.astype(dtype) * np.spacing(center))
    return np.concatenate(found)


def errors(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    """Distances in units of the last place of the exact results; 0 where both are the same infinity or NaN."""
    dtype = found.dtype
    with np.errstate(all="ignore"):
        rounded = expected.astype(dtype)
        unit = np.spacing(np.minimum(np.abs(rounded), np.finfo(dtype).max)).astype(expected.dtype)
        distance = np.abs(found.astype(expected.dtype) - expected) / np.abs(unit)
    same = (found == rounded) & ~np.isfinite(rounded) | (np.isnan(found) & np.isnan(rounded))
    return np.where(same, 0.0, np.where(np.isnan(distance), INF, distance).astype(np.float64))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", BOUNDS)
def test_error_stays_within_the_bound(function: str, dtype: Any) -> None:
    x = np.concatenate([every_kind_of_number(dtype), dense(function, dtype)])
    if function == "expm1":  # promised up to here only
        x = x[~(x > (88 if dtype == np.float32 else 709))]
    if function == "log1p":
        x = x[(x >= 0) & (x <= 1)]
    found = evaluate(function, x)
    error = errors(found, exact(function, x))
    bound = BOUNDS[function] + (0.0 if has_fma() else 1.0)
    if dtype == np.float64 and np.finfo(np.longdouble).nmant == 52:
        bound += 1.0  # what is called exact here is not
    worst = int(np.argmax(error))
    assert error[worst] <= bound, f"{error[worst]} at {x[worst]!r}: {found[worst]!r}"


def test_quick_normal_distribution() -> None:
    """In float32, where no relative accuracy is needed far from zero."""
    x = np.concatenate([every_kind_of_number(np.float32), dense("normal_cdf", np.float32)])
    found, expected = evaluate("normal_cdf", x), exact("normal_cdf", x)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(x))
    error = np.abs(found - expected)
    assert np.nanmax(error) <= 1.5e-7
    near = x > -5.5
    assert np.max(error[near] / expected[near]) <= 5e-6
    assert (found[x < -14] < 1e-44).all()


def test_bounds_are_those_of_the_documentation() -> None:
    words = " ".join(vector_math.__doc__.split())
    assert all(f"{name} {bound:.0f}" in words for name, bound in BOUNDS.items())


SPECIAL: dict[str, list[tuple[float, float]]] = {
    "exp": [(0.0, 1.0), (-0.0, 1.0), (INF, INF), (-INF, 0.0), (NAN, NAN), (1000.0, INF), (-1000.0, 0.0)],
    "expm1": [(0.0, 0.0), (-INF, -1.0), (-1000.0, -1.0), (NAN, NAN)],
    "log": [(1.0, 0.0), (0.0, -INF), (-0.0, -INF), (INF, INF), (-INF, NAN), (-1.0, NAN), (NAN, NAN), (-1e-40, NAN)],
    "log1p": [(0.0, 0.0), (-0.0, -0.0), (1e-40, 1e-40), (NAN, NAN)],
    "normal_cdf_and_density": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (1e30, 1.0), (-1e30, 0.0)],
    "tanh": [(0.0, 0.0), (-0.0, -0.0), (INF, 1.0), (-INF, -1.0), (NAN, NAN), (1e-40, 1e-40), (1000.0, 1.0)],
    "sigmoid": [(0.0, 0.5), (-0.0, 0.5), (INF, 1.0), (-INF, 0.0), (NAN, NAN), (1000.0, 1.0), (-1000.0, 0.0)],
}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", SPECIAL)
def test_special_values(function: str, dtype: Any) -> None:
    x, expected = (np.array(column, dtype) for column in zip(*SPECIAL[function], strict=True))
    found = evaluate(function, x)
    np.testing.assert_array_equal(found, expected)
    if function == "tanh":
        np.testing.assert_array_equal(np.signbit(found[:2]), [False, True])


@pytest.mark.parametrize("dtype", FLOATS)
def test_limits_of_the_range(dtype: Any) -> None:
    """The last finite and the first infinite exp, the smallest denormals, and no results outside their bounds."""
    most, least = np.log(np.finfo(dtype).max), np.log(np.longdouble(np.finfo(dtype).smallest_subnormal))
    edge = np.array([most * (1 - 1e-6), most * (1 + 1e-6), float(least) + 0.01, float(least) - 1.0], dtype)
    found = evaluate("exp", edge)
    assert np.isfinite(found[0]) and found[1] == INF and found[2] > 0.0 and found[3] == 0.0
    x = dense("tanh", dtype)
    assert np.abs(evaluate("tanh", x)).max() <= 1.0
    s = evaluate("sigmoid", x)
    assert s.min() >= 0.0 and s.max() <= 1.0


@pytest.mark.parametrize("dtype", FLOATS)
def test_tanh_is_odd(dtype: Any) -> None:
    x = dense("tanh", dtype)
    np.testing.assert_array_equal(evaluate("tanh", -x), -evaluate("tanh", x))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("function", BOUNDS)
def test_results_do_not_depend_on_the_lane(function: str, dtype: Any) -> None:
    """The same number gives the same bits in every lane, whatever stands in the others."""
    x = dense(function, dtype)[: 64 * LANES].copy()
    x[::7] = NAN
    expected = evaluate(function, x)
    for shift in (1, 3):
        np.testing.assert_array_equal(evaluate(function, np.roll(x, shift)), np.roll(expected, shift))


def test_functions_are_for_kernels_only() -> None:
    functions: list[Callable] = [getattr(vector_math, name) for name in BOUNDS]
    for function in functions:
        with pytest.raises(NotImplementedError, match="inside kernels"):
            function(1.0)
