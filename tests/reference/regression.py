"""Losses of numbers and probabilities, and elementary functions, from their definitions."""

from typing import Any

import numpy as np

from .common import Array, all_terms, reference, wide

reference("abs")(lambda x: np.abs(wide(x)))
reference("neg")(lambda x: -wide(x))
reference("square")(lambda x: wide(x) ** 2)
reference("sqrt")(lambda x: np.sqrt(wide(x)))
reference("pow")(lambda x, exponent: wide(x) ** exponent)
reference("maximum")(lambda x, y: np.maximum(wide(x), wide(y)))
reference("minimum")(lambda x, y: np.minimum(wide(x), wide(y)))
reference("l1_penalty", terms=all_terms, orders=1)(lambda x: np.abs(wide(x)).sum())
reference("l2_penalty", terms=all_terms, orders=1)(lambda x: (wide(x) ** 2).sum() / 2.0)


def reduced(losses: Array, reduction: str) -> Array:
    if reduction == "batchmean":
        return np.asarray(losses.sum() / len(losses))
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


@reference("mse_loss", terms=all_terms, orders=1)
def mse_loss(x: Any, target: Any, reduction: str = "mean") -> Array:
    return reduced((wide(x) - wide(target)) ** 2, reduction)


@reference("l1_loss", terms=all_terms, orders=1)
def l1_loss(x: Any, target: Any, reduction: str = "mean") -> Array:
    return reduced(np.abs(wide(x) - wide(target)), reduction)


@reference("huber_loss", terms=all_terms, orders=1)
def huber_loss(x: Any, target: Any, reduction: str = "mean", delta: float = 1.0) -> Array:
    d = np.abs(wide(x) - wide(target))
    return reduced(np.where(d <= delta, d**2 / 2, delta * (d - delta / 2)), reduction)


@reference("smooth_l1_loss", terms=all_terms, orders=1)
def smooth_l1_loss(x: Any, target: Any, reduction: str = "mean", beta: float = 1.0) -> Array:
    d = np.abs(wide(x) - wide(target))
    return reduced(np.where(d < beta, d**2 / (2 * beta or 1), d - beta / 2), reduction)


@reference("binary_cross_entropy", terms=all_terms, orders=1)
def binary_cross_entropy(x: Any, target: Any, weight: Any = None, reduction: str = "mean") -> Array:
    x, target = wide(x), wide(target)
    with np.errstate(divide="ignore"):
        losses = -target * np.maximum(np.log(x), -100) - (1 - target) * np.maximum(np.log1p(-x), -100)
    return reduced(losses if weight is None else losses * wide(weight), reduction)


@reference("binary_cross_entropy_with_logits", terms=all_terms, orders=1)
def with_logits(x: Any, target: Any, weight: Any = None, reduction: str = "mean", pos_weight: Any = 1.0) -> Array:
    x, target = wide(x), wide(target)
    losses = wide(pos_weight) * target * np.logaddexp(0.0, -x) + (1 - target) * np.logaddexp(0.0, x)
    return reduced(losses if weight is None else losses * wide(weight), reduction)


@reference("kl_div", terms=all_terms, orders=1)
def kl_div(x: Any, target: Any, reduction: str = "mean", log_target: bool = False) -> Array:
    x, target = wide(x), wide(target)
    if log_target:
        return reduced(np.exp(target) * (target - x), reduction)
    return reduced(np.where(target == 0, 0.0, target * (np.log(np.where(target == 0, 1.0, target)) - x)), reduction)
