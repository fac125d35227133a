"""Pooling that learns, spatial pyramids and blurring, straight from their papers."""

from typing import Any

import numpy as np

from .activation import logistic
from .common import Array, each, reference, unbatched, wide
from .conv import conv
from .pool import adaptive_avg_pool, adaptive_max_pool, avg_pool, max_pool, plane, window


def of_channels(value: Any) -> Array:
    return wide(value).reshape(-1, 1, 1)


def mixed_pool(x, mix, kernel_size, stride=None, padding=0, ceil_mode=False):
    x, a = wide(x), of_channels(mix)
    mean = avg_pool(x, kernel_size, stride, padding, ceil_mode, count_include_pad=False)
    return a * max_pool(x, kernel_size, stride, padding, 1, ceil_mode) + (1.0 - a) * mean


def response(x: Array, weight: Array, stride: Any, padding: Any) -> Array:
    """Windows times a filter of all channels, or one for each."""
    channels = x.shape[1]
    weight = np.broadcast_to(wide(weight), (channels, *weight.shape[-2:]))[:, None]
    return conv(x, weight, None, weight.shape[2:] if stride is None else stride, padding, 1, channels)


def gated_pool(x, weight, kernel_size, stride=None, padding=0):
    x = wide(x)
    gate = logistic(response(x, weight, stride, padding))
    mean = avg_pool(x, kernel_size, stride, padding, count_include_pad=False)
    return gate * max_pool(x, kernel_size, stride, padding) + (1.0 - gate) * mean


def tree_pool(x, leaves, gates, kernel_size, stride=None, padding=0):
    x = wide(x)

    def value(node: int) -> Array:
        if node >= len(gates):
            return response(x, leaves[node - len(gates)], stride, padding)
        gate = logistic(response(x, gates[node], stride, padding))
        return gate * value(2 * node + 1) + (1.0 - gate) * value(2 * node + 2)

    return value(0)


def spatial_pyramid_pool(x, levels=(1, 2, 4), mode="max"):
    pool = adaptive_max_pool if mode == "max" else adaptive_avg_pool
    return np.concatenate([pool(x, level).reshape(len(x), -1) for level in levels], axis=1)


def blur_pool(x, kernel_size=4, stride=2):
    """Reflected, convolved with a binomial filter, every so many taken: a dimension after the other."""
    x = wide(x)
    weights = np.ones(1)
    for _ in range(kernel_size - 1):
        weights = np.convolve(weights, [0.5, 0.5])
    for axis, step in enumerate(each(stride, x.ndim - 2), 2):
        before = (kernel_size - 1) // 2
        pairs = [(0, 0)] * x.ndim
        pairs[axis] = (before, kernel_size - 1 - before)
        wider = np.moveaxis(np.pad(x, pairs, mode="reflect"), axis, -1)
        size = x.shape[axis]
        taken = [(wider[..., i : i + kernel_size] * weights).sum(-1) for i in range(0, size, step)]
        x = np.stack(taken, axis=axis)
    return x


reference("mixed_pool2d", terms=window)(unbatched(mixed_pool, 2))
reference("gated_pool2d", terms=window)(unbatched(gated_pool, 2))
reference("tree_pool2d", terms=window)(unbatched(tree_pool, 2))
reference("spatial_pyramid_pool", terms=plane)(unbatched(spatial_pyramid_pool, 2))
for dimensions in (1, 2, 3):
    reference(f"blur_pool{dimensions}d", terms=lambda arguments: 64)(unbatched(blur_pool, dimensions))
