"""Normalisation straight from its definition."""

from typing import Any

import numpy as np

from .common import Array, all_terms, reference, wide


def per_channel(arguments: dict[str, Any]) -> int:
    """Numbers in a channel."""
    return int(np.prod(np.shape(arguments["x"]))) // np.shape(arguments["x"])[1]


@reference("batch_norm", terms=per_channel)
def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    x = wide(x)
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    mean, var = (x.mean(axes), x.var(axes)) if training else (wide(running_mean), wide(running_var))
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    y = y if weight is None else y * wide(weight).reshape(shape)
    return y if bias is None else y + wide(bias).reshape(shape)


def normalised(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(((x - mean) ** 2).mean(axis=axes, keepdims=True) + eps)


def affine(y: Array, weight: Any, bias: Any, shape: tuple[int, ...]) -> Array:
    y = y if weight is None else y * wide(weight).reshape(shape)
    return y if bias is None else y + wide(bias).reshape(shape)


@reference("layer_norm", terms=all_terms, orders=1)
def layer_norm(x: Any, normalized_shape: Any, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    x, count = wide(x), np.size(normalized_shape)
    y = normalised(x, tuple(range(x.ndim - count, x.ndim)), eps)
    return affine(y, weight, bias, x.shape[x.ndim - count :])


@reference("group_norm", terms=all_terms, orders=1)
def group_norm(x: Any, num_groups: int, weight: Any = None, bias: Any = None, eps: float = 1e-5) -> Array:
    x = wide(x)
    groups = np.split(x, num_groups, axis=1)
    y = np.concatenate([normalised(group, tuple(range(1, x.ndim)), eps) for group in groups], axis=1)
    return affine(y, weight, bias, (-1, *[1] * (x.ndim - 2)))


@reference("instance_norm", terms=all_terms, orders=1)
def instance_norm(
    x: Any, running_mean: Any = None, running_var: Any = None, weight: Any = None, bias: Any = None,
    use_input_stats: bool = True, momentum: float = 0.1, eps: float = 1e-5,
) -> Array:  # fmt: skip
    x = wide(x)
    shape = (-1, *[1] * (x.ndim - 2))
    if use_input_stats:
        y = normalised(x, tuple(range(2, x.ndim)), eps)
    else:
        y = (x - wide(running_mean).reshape(shape)) / np.sqrt(wide(running_var).reshape(shape) + eps)
    return affine(y, weight, bias, shape)


@reference("local_response_norm", terms=lambda arguments: arguments["size"], orders=1)
def local_response_norm(x: Any, size: int, alpha: float = 1e-4, beta: float = 0.75, k: float = 1.0) -> Array:
    x = wide(x)
    y = np.empty_like(x)
    for c in range(x.shape[1]):
        around = x[:, max(0, c - size // 2) : c + (size - 1) // 2 + 1]
        y[:, c] = x[:, c] / (k + alpha * (around**2).sum(axis=1) / size) ** beta
    return y
