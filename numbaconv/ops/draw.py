"""How the arrays of example cases are drawn: ``draw(rng, shape, dtype)``."""

import math
from collections.abc import Callable

import numpy as np

Draw = Callable[[np.random.Generator, tuple[int, ...], np.dtype], np.ndarray]


def normal(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """The standard normal distribution."""
    return rng.standard_normal(shape).astype(dtype)


def positive(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Above one half."""
    return (0.5 + np.abs(rng.standard_normal(shape))).astype(dtype)


def nonzero(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Of both signs, at least one half away from zero."""
    x = rng.standard_normal(shape)
    return np.copysign(0.5 + np.abs(x), x).astype(dtype)


def below(count: int) -> Draw:
    """Integers from 0 to ``count`` - 1: classes, indices."""
    return lambda rng, shape, dtype: rng.integers(0, count, shape)


def distinct(count: int) -> Draw:
    """Integers from 0 to ``count`` - 1, different ones in each plane (all but the first two dimensions)."""

    def draw(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
        planes = [rng.permutation(count)[: math.prod(shape[2:])] for _ in range(math.prod(shape[:2]))]
        return np.array(planes, np.int64).reshape(shape)

    return draw


def share(rng: np.random.Generator, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Uniformly from [0, 1)."""
    return np.minimum(rng.random(shape).astype(dtype), np.nextafter(dtype.type(1), dtype.type(0)))
