"""Resampling along one dimension after the other, each output from the positions and weights of its definition."""

import math
from typing import Any

import numpy as np

from .common import Array, reference, wide


def _weights(mode: str, size: int, output: int, scale: float | None, align_corners: bool, antialias: bool) -> Array:
    """The matrix (output, size) that resamples a dimension."""
    matrix = np.zeros((output, size))
    for o in range(output):
        if mode == "area":
            start, stop = math.floor(o * size / output), math.ceil((o + 1) * size / output)
            matrix[o, start:stop] = 1.0 / (stop - start)
            continue
        step = 1.0 / scale if scale else size / output
        if mode in ("nearest", "nearest-exact"):
            step = np.float32(step)
            matrix[o, min(int(np.float32(o + 0.5 * (mode == "nearest-exact")) * step), size - 1)] = 1.0
            continue
        if size == output and (mode != "bicubic" or antialias):
            matrix[o, o] = 1.0
            continue
        if align_corners:
            step = (size - 1) / (output - 1) if output > 1 else 0.0
        if antialias:
            wide_step = max(step, 1.0)
            reach = (2.0 if mode == "bicubic" else 1.0) * wide_step
            centre = step * (o + 0.5)
            for i in range(max(int(centre - reach + 0.5), 0), min(int(centre + reach + 0.5), size)):
                t = abs((i - centre + 0.5) / wide_step)
                matrix[o, i] = _keys(t, -0.5) if mode == "bicubic" else max(0.0, 1.0 - t)
            matrix[o] /= matrix[o].sum()
            continue
        position = o * step if align_corners else (o + 0.5) * step - 0.5
        if mode == "bicubic":
            for i in range(math.floor(position) - 1, math.floor(position) + 3):
                matrix[o, min(max(i, 0), size - 1)] += _keys(abs(position - i), -0.75)
        else:
            position = max(position, 0.0)
            low = min(int(position), size - 1)
            part = position - low if low + 1 < size else 0.0
            matrix[o, low] += 1.0 - part
            if part:
                matrix[o, low + 1] += part
    return matrix


def _keys(t: float, a: float) -> float:
    """Cubic convolution (Keys 1981)."""
    if t <= 1:
        return (a + 2) * t**3 - (a + 3) * t**2 + 1
    return a * t**3 - 5 * a * t**2 + 8 * a * t - 4 * a if t < 2 else 0.0


def _matrices(x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias) -> list[Array]:
    spatial = np.shape(x)[2:]
    scales: Any = [None] * len(spatial)
    if size is None:
        given = [float(s) for s in np.broadcast_to(scale_factor, len(spatial))]
        size = [math.floor(n * s) for n, s in zip(spatial, given, strict=True)]
        scales = scales if recompute_scale_factor else given
    sizes = [int(s) for s in np.broadcast_to(size, len(spatial))]
    each = zip(spatial, sizes, scales, strict=True)
    return [_weights(mode, n, o, s, bool(align_corners), antialias) for n, o, s in each]


def _terms(arguments: dict[str, Any]) -> int:
    return 16 * int(np.prod(np.shape(arguments["x"])[2:]))  # positions are rounded, too


@reference("interpolate", terms=_terms)
def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False
) -> Array:
    y = wide(x)
    for d, m in enumerate(_matrices(x, size, scale_factor, mode, align_corners, recompute_scale_factor, antialias)):
        y = np.moveaxis(np.tensordot(m, y, axes=(1, d + 2)), 0, d + 2)
    return y
