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
def cross_entropy(x: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0) -> Array:
    """- sum over classes of t log softmax(x), with t = (1 - e) one-hot + e / classes."""
    logs = log_softmax(x, 1)
    classes = logs.shape[1]
    losses = np.empty(np.shape(target))
    for place in np.ndindex(losses.shape):
        n, *rest = place
        row = logs[(n, slice(None), *rest)]
        wanted = np.full(classes, label_smoothing / classes)
        wanted[target[place]] += 1.0 - label_smoothing
        losses[place] = -(wanted * row).sum()
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


@reference("count_correct", orders=0)
def count_correct(x: Any, target: Any) -> Array:
    return np.sum(np.argmax(wide(x), axis=1) == target)


@reference("softmin", terms=along_dim, orders=1)
def softmin(x: Any, dim: int) -> Array:
    return softmax(-wide(x), dim)
