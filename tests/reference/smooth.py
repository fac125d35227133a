"""Smooth activations from their definitions, in forms that neither overflow nor cancel."""

import math
from typing import Any

import numpy as np

from .activation import logistic
from .common import Array, reference, wide

reference("logsigmoid", orders=1)(lambda x: -np.logaddexp(0.0, -wide(x)))
reference("tanhshrink", orders=1)(lambda x: wide(x) - np.tanh(wide(x)))


@reference("elu", orders=1)
def elu(x: Any, alpha: float = 1.0, scale: float = 1.0, rate: float = 1.0) -> Array:
    x = wide(x)
    with np.errstate(over="ignore", invalid="ignore"):
        return scale * np.where(x > 0, x, alpha * np.expm1(rate * x))


reference("selu", orders=1)(lambda x: elu(x, 1.6732632423543772848170429916717, 1.0507009873554804934193349852946))
reference("celu", orders=1)(lambda x, alpha=1.0: elu(x, alpha, 1.0, 1.0 / alpha))


@reference("gelu", orders=1)
def gelu(x: Any, approximate: str = "none") -> Array:
    x = wide(x)
    if approximate == "tanh":
        share = logistic(2.0 * math.sqrt(2.0 / math.pi) * (x + 0.044715 * x**3))  # (1 + tanh z) / 2 = logistic(2 z)
    else:
        share = np.array([0.5 * math.erfc(-v / math.sqrt(2.0)) for v in x.ravel()]).reshape(x.shape)
    return times(x, share)


@reference("silu", orders=1)
def silu(x: Any) -> Array:
    return times(wide(x), logistic(wide(x)))


@reference("mish", orders=1)
def mish(x: Any) -> Array:
    return times(wide(x), np.tanh(np.logaddexp(0.0, wide(x))))


def times(x: Array, share: Array) -> Array:
    """x * share, with the limit 0 at -infinity."""
    return np.where(x == -np.inf, 0.0, np.where(x == -np.inf, 0.0, x) * share)


@reference("softplus", orders=1)
def softplus(x: Any, beta: float = 1.0, threshold: float = 20.0) -> Array:
    x = wide(x)
    return np.where(beta * x > threshold, x, np.logaddexp(0.0, beta * x) / beta)


@reference("softsign", orders=1)
def softsign(x: Any) -> Array:
    x = wide(x)
    with np.errstate(invalid="ignore"):
        return np.where(np.isinf(x), np.sign(x), x / (1.0 + np.abs(x)))


@reference("maxout", orders=1)
def maxout(x: Any, pieces: int) -> Array:
    x = wide(x)
    return x.reshape(len(x), -1, pieces, *x.shape[2:]).max(axis=2)
