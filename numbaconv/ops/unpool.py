"""Unpooling: the numbers of pooled windows back at the places they came from (Zeiler & Fergus, arXiv 1311.2901)."""

import math

import numpy as np

from .core import Case, apply, as_input, check_floats, check_indices, dtype_of, integers, is_traced, public, shape_of
from .draw import distinct
from .plane import plane_put
from .window import with_batch, without_batch


def _output_size(function: str, pooled, kernel, stride, padding, output_size) -> tuple[int, ...]:
    """The size before pooling: the least that gives ``pooled``, or ``output_size`` if it could be."""
    least = tuple((n - 1) * s + k - 2 * p for n, k, s, p in zip(pooled, kernel, stride, padding, strict=True))
    if output_size is None:
        size = least
    else:
        given = tuple(output_size) if isinstance(output_size, (tuple, list)) else (output_size,)
        size = integers(function, "output_size", given[-len(pooled) :] if len(given) > len(pooled) else given,
                        len(pooled), 0)  # fmt: skip
        for n, m, s in zip(size, least, stride, strict=True):
            if not m - s < n < m + s:
                raise ValueError(f"{function}: output_size {size} must lie within one stride of {least}")
    if min(size) < 1:
        raise ValueError(f"{function}: nothing is left of an output of size {size}")
    return size


def _unpool(function: str, dimensions: int, x, indices, kernel_size, stride, padding, output_size):
    x, indices = as_input(x), as_input(indices)
    check_floats(function, x=x)
    if dtype_of(indices) != np.int64:
        raise TypeError(f"{function}: indices must be int64, not {dtype_of(indices)}")
    if shape_of(indices) != shape_of(x):
        raise ValueError(f"{function}: indices must have shape {shape_of(x)}, their shape is {shape_of(indices)}")
    x, single = with_batch(function, dimensions, x, "x")
    indices, _ = with_batch(function, dimensions, indices, "indices")
    kernel = integers(function, "kernel_size", kernel_size, dimensions, 1)
    stride = kernel if stride is None else integers(function, "stride", stride, dimensions, 1)
    padding = integers(function, "padding", padding, dimensions, 0)
    size = _output_size(function, shape_of(x)[2:], kernel, stride, padding, output_size)
    if not is_traced(indices):
        check_indices(function, np.asarray(indices), math.prod(size))
    return without_batch(apply(plane_put, (x, indices), {"size": size}), single)


def _sizes(*shapes: tuple[int, ...]) -> list[Case]:
    """Cases whose windows of two pixels a side were pooled."""
    return [
        Case({"x": s, "indices": s}, {"kernel_size": 2}, {"indices": distinct(2 ** len(s[2:]) * math.prod(s[2:]))})
        for s in shapes
    ]


_BATCHED = ("x", "indices")


@public(
    Case({"x": (2, 3, 4), "indices": (2, 3, 4)}, {"kernel_size": 2, "output_size": (9,)}, {"indices": distinct(9)},
         _BATCHED),
    sizes=_sizes((64, 32, 512), (16, 64, 1568)),
)  # fmt: skip
def max_unpool1d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """y[n, c, indices[n, c, i]] = x[n, c, i], zero elsewhere.

    Signals x and indices (N, C, L) or (C, L) -> (N, C, L') or (C, L'); arguments as for ``max_unpool2d``.

    Source: PyTorch; Zeiler & Fergus, arXiv 1311.2901.
    """
    return _unpool("max_unpool1d", 1, x, indices, kernel_size, stride, padding, output_size)


@public(
    Case({"x": (17, 3, 2, 3), "indices": (17, 3, 2, 3)}, {"kernel_size": 2}, {"indices": distinct(24)}, _BATCHED),
    Case({"x": (2, 5, 3, 2), "indices": (2, 5, 3, 2)}, {"kernel_size": 3, "stride": 2, "padding": 1},
         {"indices": distinct(15)}, _BATCHED),
    sizes=_sizes((64, 32, 16, 16), (16, 64, 28, 28)),
)  # fmt: skip
def max_unpool2d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """y[n, c] holds x[n, c, i, j] at the pixel indices[n, c, i, j], counted row by row, and zeros elsewhere.

    Images x and int64 indices (N, C, H, W) or (C, H, W), as ``max_pool2d`` with ``return_indices`` gives them, ->
    images of ``output_size``, by default the least that pools to (H, W): (H - 1) stride + kernel_size - 2 padding
    pixels, and less than a stride more or less.  Of several numbers for a pixel the last counts.  ValueError for
    indices outside.

    Source: PyTorch; Zeiler & Fergus, arXiv 1311.2901.
    """
    return _unpool("max_unpool2d", 2, x, indices, kernel_size, stride, padding, output_size)


@public(
    Case({"x": (3, 2, 2, 1, 2), "indices": (3, 2, 2, 1, 2)}, {"kernel_size": 2}, {"indices": distinct(32)}, _BATCHED),
    sizes=_sizes((64, 8, 8, 8, 8), (16, 16, 14, 14, 7)),
)
def max_unpool3d(x, indices, kernel_size, stride=None, padding=0, output_size=None):
    """y[n, c] holds x[n, c, i, j, k] at the pixel indices[n, c, i, j, k] and zeros elsewhere.

    Volumes x and indices (N, C, D, H, W) or (C, D, H, W); arguments as for ``max_unpool2d``.

    Source: PyTorch; Zeiler & Fergus, arXiv 1311.2901.
    """
    return _unpool("max_unpool3d", 3, x, indices, kernel_size, stride, padding, output_size)
