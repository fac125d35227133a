"""Sampling straight from its definition: every place on its own, every tap padded on its own."""

import itertools
from typing import Any

import numpy as np

from .common import Array, reference, wide
from .resize import _keys


def _inside(v: float, size: int, padding_mode: str, align_corners: bool) -> float:
    """A place in pixels as the padding has it."""
    if padding_mode == "reflection":
        low, high = (0.0, size - 1.0) if align_corners else (-0.5, size - 0.5)
        while high > low and not low <= v <= high:
            v = 2 * low - v if v < low else 2 * high - v
        v = v if high > low else 0.0
    return v if padding_mode == "zeros" else min(max(v, 0.0), size - 1.0)


def _axis(u: float, size: int, mode: str, padding_mode: str, align_corners: bool) -> list[tuple[int, float]]:
    """What a coordinate from -1 to 1 reads along a dimension: (place, weight)."""
    v = (u + 1) / 2 * (size - 1) if align_corners else ((u + 1) * size - 1) / 2
    if mode == "bicubic":
        taps = [(np.floor(v) + i, _keys(abs(v - np.floor(v) - i), -0.75)) for i in range(-1, 3)]
        pairs = [(int(round(_inside(p, size, padding_mode, align_corners))), w) for p, w in taps]
    else:
        v = _inside(v, size, padding_mode, align_corners)
        low = int(np.floor(v))
        pairs = [(int(np.round(v)), 1.0)] if mode == "nearest" else [(low, 1 - (v - low)), (low + 1, v - low)]
    return [(p, w) for p, w in pairs if 0 <= p < size]


@reference("grid_sample", terms=lambda arguments: 64, orders=1)
def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None) -> Array:
    x, grid = wide(x), wide(grid)
    y = np.zeros((*x.shape[:2], *grid.shape[1:-1]))
    for n, *place in np.ndindex(*grid.shape[:-1]):
        axes = zip(grid[(n, *place)][::-1], x.shape[2:], strict=True)  # the last coordinate is the first dimension's
        for taps in itertools.product(*(_axis(u, s, mode, padding_mode, bool(align_corners)) for u, s in axes)):
            weight = np.prod([w for _, w in taps])
            y[(n, slice(None), *place)] += weight * x[(n, slice(None), *(p for p, _ in taps))]
    return y


@reference("affine_grid", terms=lambda arguments: 4)
def affine_grid(theta: Any, size: Any, align_corners: Any = None) -> Array:
    theta = wide(theta)
    grid = np.zeros((size[0], *size[2:], len(size) - 2))
    for n, *place in np.ndindex(*grid.shape[:-1]):
        u = [
            (2 * i / max(s - 1, 1) - 1 if s > 1 else 0.0) if align_corners else (2 * i + 1) / s - 1
            for i, s in zip(place, size[2:], strict=True)
        ]
        grid[(n, *place)] = theta[n] @ np.array([*u[::-1], 1.0])
    return grid
