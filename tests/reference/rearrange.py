"""Dimensions in another order."""

from typing import Any

import numpy as np

from .common import Array, reference, wide


@reference("permute")
def permute(x: Any, dims: Any) -> Array:
    return np.transpose(wide(x), dims)


@reference("transpose")
def transpose(x: Any, dim0: int, dim1: int) -> Array:
    return np.swapaxes(wide(x), dim0, dim1)


@reference("squeeze")
def squeeze(x: Any, dim: Any = None) -> Array:
    x = wide(x)
    named = range(x.ndim) if dim is None else np.atleast_1d(dim)
    return np.squeeze(x, tuple(int(d) for d in named if x.shape[d] == 1))


@reference("unsqueeze")
def unsqueeze(x: Any, dim: int) -> Array:
    return np.expand_dims(wide(x), dim)


@reference("pixel_shuffle")
def pixel_shuffle(x: Any, upscale_factor: int) -> Array:
    x, r = wide(x), upscale_factor
    *leading, channels, height, width = x.shape
    y = np.empty((*leading, channels // r**2, height * r, width * r))
    for i in range(r):
        for j in range(r):
            y[..., i::r, j::r] = x[..., i * r + j :: r * r, :, :]
    return y


@reference("pixel_unshuffle")
def pixel_unshuffle(x: Any, downscale_factor: int) -> Array:
    x, r = wide(x), downscale_factor
    *leading, channels, height, width = x.shape
    y = np.empty((*leading, channels * r**2, height // r, width // r))
    for i in range(r):
        for j in range(r):
            y[..., i * r + j :: r * r, :, :] = x[..., i::r, j::r]
    return y


@reference("channel_shuffle")
def channel_shuffle(x: Any, groups: int) -> Array:
    x = wide(x)
    per_group = x.shape[1] // groups
    return x[:, [i * per_group + j for j in range(per_group) for i in range(groups)]]
