"""Softmax and losses straight from their definitions."""

from typing import Any

import numpy as np

from .common import Array, all_terms, reference, wide


def along_dim(arguments: dict[str, Any]) -> int:
    return np.shape(arguments["x"])[arguments["dim"]]


@reference("softmax", terms=along_dim)
def softmax(x: Any, dim: int) -> Array:
    e = np.exp(wide(x) - wide(x).max(axis=dim, keepdims=True))
    return e / e.sum(axis=dim, keepdims=True)


@reference("log_softmax", terms=along_dim)
def log_softmax(x: Any, dim: int) -> Array:
    shifted = wide(x) - wide(x).max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


@reference("cross_entropy", terms=all_terms)
def cross_entropy(
    x: Any, target: Any, weight: Any = None, ignore_index: int | None = -100, reduction: str = "mean",
    label_smoothing: float = 0.0,
) -> Array:  # fmt: skip
    """- sum over classes of w t log softmax(x), with t = (1 - e) one-hot (or probabilities) + e / classes."""
    logs = log_softmax(x, 1)
    classes = logs.shape[1]
    weights = np.ones(classes) if weight is None else wide(weight)
    soft = np.ndim(target) == logs.ndim
    losses, shares = np.zeros((len(logs), *logs.shape[2:])), np.ones((len(logs), *logs.shape[2:]))
    for place in np.ndindex(losses.shape):
        n, *rest = place
        row = (n, slice(None), *rest)
        if soft:
            wanted = wide(target)[row]
        elif target[place] == ignore_index:
            shares[place] = 0.0
            continue
        else:
            wanted = np.eye(classes)[target[place]]
            shares[place] = weights[target[place]]
        wanted = (1.0 - label_smoothing) * wanted + label_smoothing / classes
        losses[place] = -(weights * wanted * logs[row]).sum()
    if reduction == "mean":
        return np.asarray(losses.sum() / shares.sum())
    return np.asarray(losses.sum()) if reduction == "sum" else losses


@reference("nll_loss", terms=all_terms)
def nll_loss(
    x: Any, target: Any, weight: Any = None, ignore_index: int | None = -100, reduction: str = "mean"
) -> Array:
    """- w x at the class of every sample."""
    x = wide(x)
    weights = np.ones(x.shape[1]) if weight is None else wide(weight)
    losses, shares = np.zeros(np.shape(target)), np.zeros(np.shape(target))
    for place in np.ndindex(losses.shape):
        n, *rest = place
        if target[place] != ignore_index:
            shares[place] = weights[target[place]]
            losses[place] = -shares[place] * x[(n, target[place], *rest)]
    if reduction == "mean":
        return np.asarray(losses.sum() / shares.sum())
    return np.asarray(losses.sum()) if reduction == "sum" else losses


@reference("count_correct", orders=0)
def count_correct(x: Any, target: Any) -> Array:
    return np.sum(np.argmax(wide(x), axis=1) == target)


@reference("softmin", terms=along_dim, orders=1)
def softmin(x: Any, dim: int) -> Array:
    return softmax(-wide(x), dim)
