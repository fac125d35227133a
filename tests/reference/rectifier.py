"""Activations of straight pieces, case by case."""

from typing import Any

import numpy as np

from .common import Array, reference, wide
from .random import random_word

reference("relu6")(lambda x: np.clip(wide(x), 0.0, 6.0))
reference("leaky_relu")(lambda x, negative_slope=0.01: np.where(wide(x) > 0, wide(x), negative_slope * wide(x)))
reference("hardtanh")(lambda x, min_val=-1.0, max_val=1.0: np.clip(wide(x), min_val, max_val))
reference("clamp")(lambda x, min=None, max=None: np.clip(wide(x), min, max))
reference("hardsigmoid", orders=1)(lambda x: np.clip(wide(x) + 3.0, 0.0, 6.0) / 6.0)
reference("hardshrink")(lambda x, lambd=0.5: np.where(np.abs(wide(x)) <= lambd, 0.0, wide(x)))
reference("softshrink", orders=1)(lambda x, lambd=0.5: wide(x) - np.clip(wide(x), -lambd, lambd))
reference("threshold")(lambda x, threshold, value: np.where(wide(x) <= threshold, value, wide(x)))


@reference("hardswish")
def hardswish(x: Any) -> Array:
    x = wide(x)
    with np.errstate(invalid="ignore"):
        return np.where(x <= -3.0, 0.0, np.where(x >= 3.0, x, x * (x + 3.0) / 6.0))


def uniform(key: Any, count: int, low: float, high: float, salt: int = 0) -> Array:
    """24 bits of the counter for each of ``count`` elements, in C order."""
    return low + (high - low) * np.array([random_word(key, i, salt) >> 8 for i in range(count)]) / 2.0**24


@reference("prelu")
def prelu(x: Any, weight: Any) -> Array:
    x, weight = wide(x), wide(weight)
    if weight.size > 1:
        weight = weight.reshape(-1, *[1] * (x.ndim - 2))
    return np.where(x > 0, x, weight * x)


@reference("rrelu", orders=1)
def rrelu(x: Any, lower: float = 1 / 8, upper: float = 1 / 3, training: bool = False, *, key: Any = None) -> Array:
    x = wide(x)
    slopes = uniform(key, x.size, lower, upper).reshape(x.shape) if training else (lower + upper) / 2.0
    return np.where(x > 0, x, slopes * x)
