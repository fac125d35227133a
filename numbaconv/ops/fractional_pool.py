"""Fractional max pooling (Graham, arXiv 1412.6071): windows apart by one of two neighbouring whole numbers each."""

import numpy as np

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    image_sizes,
    integers,
    is_traced,
    operator,
    public,
    random_key,
    shape_of,
)
from .draw import share
from .plane import plane_add, wide_indices
from .pool import VOLUMES, sizes_of
from .window import as_batch, without_batch


class FractionalStarts(Operator):
    """Where windows begin: for every plane and dimension as many places as windows, and the end of the last.

    Of samples (N, C, dimensions) in [0, 1), or of a random key: one number a plane and dimension, or, if ``shuffled``,
    a random order of the distances.
    """

    def shape(self, source: Spec, *, planes, size, output_size, kernel, shuffled, salt, dtype) -> Spec:
        return Spec((*planes, sum(n + 1 for n in output_size)), np.dtype(np.int64))


class FractionalMaxPool(Operator):
    """The largest number of each window, and int32 where it stands in its plane.

    Windows have the size ``kernel``, or without one end where the next begin.
    """

    def shape(self, x: Spec, starts: Spec, *, size, kernel) -> tuple[Spec, ...]:
        shape = (*x.shape[:2], *size)
        return Spec(shape, x.dtype), Spec(shape, np.dtype(np.int32))

    def gradient(self, grads, outputs, x, starts, **attrs):
        return plane_add(grads[0], outputs[1], size=x.shape[2:]), None


fractional_starts, fractional_max_pool = operator(FractionalStarts), operator(FractionalMaxPool)


def _size(function: str, pixels, kernel, output_size, output_ratio) -> tuple[int, ...]:
    """The number of windows along each dimension."""
    dimensions = len(pixels)
    if output_size is None:
        if output_ratio is None:
            raise ValueError(f"{function}: output_size or output_ratio is needed")
        ratios = output_ratio if isinstance(output_ratio, (tuple, list)) else (output_ratio,) * dimensions
        if len(ratios) != dimensions or not all(isinstance(r, float) and 0.0 < r < 1.0 for r in ratios):
            wanted = f"a number or {dimensions} numbers between 0 and 1"
            raise ValueError(f"{function}: output_ratio must be {wanted}, not {output_ratio!r}")
        output_size = [int(n * r) for n, r in zip(pixels, ratios, strict=True)]
    size = integers(function, "output_size", output_size, dimensions, 1)
    for n, m, k in zip(pixels, size, kernel or (1,) * dimensions, strict=True):
        if m + k - 1 > n:
            raise ValueError(f"{function}: {m} windows of size {k} do not fit into {n} pixels")
    return size


def _fractional(
    function: str, dimensions: int, x, kernel_size, output_size, output_ratio, return_indices, samples,
    shuffled, disjoint, key,
):  # fmt: skip
    x, single = as_batch(function, dimensions, x)
    planes, pixels = shape_of(x)[:2], shape_of(x)[2:]
    kernel = None if disjoint else integers(function, "kernel_size", kernel_size, dimensions, 1)
    size = _size(function, pixels, kernel, output_size, output_ratio)
    source, salt = as_input(samples), 0
    if source is None:
        source, salt = random_key(function, key, x.graph if is_traced(x) else None)
    elif shuffled or key is not None:
        raise ValueError(f"{function}: _random_samples are the places of a pseudo-random sequence, without a key")
    else:
        check_floats(function, x=x, _random_samples=source)
        if shape_of(source) != (*planes, dimensions):
            wanted, found = (*planes, dimensions), shape_of(source)
            raise ValueError(f"{function}: _random_samples must have shape {wanted}, their shape is {found}")
    starts = apply(fractional_starts, (source,), {
        "planes": planes, "size": pixels, "output_size": size, "kernel": kernel, "shuffled": bool(shuffled),
        "salt": salt, "dtype": np.dtype(x.dtype),
    })  # fmt: skip
    y, indices = apply(fractional_max_pool, (x, starts), {"size": size, "kernel": kernel})
    y = without_batch(y, single)
    return (y, without_batch(apply(wide_indices, (indices,), {}), single)) if return_indices else y


_KEY = np.array([7, 3], np.int64)
_SAMPLES = {"_random_samples": share}
_BATCHED = ("x", "_random_samples")


@public(
    Case({"x": (3, 2, 9, 8), "_random_samples": (3, 2, 2)}, {"kernel_size": 2, "output_size": (5, 4)}, _SAMPLES,
         _BATCHED),
    Case({"x": (17, 2, 7, 8), "_random_samples": (17, 2, 2)},
         {"kernel_size": (2, 3), "output_ratio": 0.6, "return_indices": True}, _SAMPLES, _BATCHED),
    Case({"x": (3, 2, 9, 8)}, {"kernel_size": 3, "output_size": 4, "shuffled": True, "key": _KEY}),
    Case({"x": (3, 2, 9, 8)}, {"kernel_size": None, "output_size": (6, 5), "disjoint": True, "key": _KEY}),
    Case({"x": (3, 2, 9, 8)},
         {"kernel_size": None, "output_size": (6, 5), "shuffled": True, "disjoint": True, "key": _KEY}),
    sizes=image_sizes(kernel_size=2, output_ratio=(0.7, 0.7)),
)  # fmt: skip
def fractional_max_pool2d(
    x, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None,
    *, shuffled=False, disjoint=False, key=None,
):  # fmt: skip
    """y[n, c, i, j] = max of the window of x[n, c] that begins at (a_i, b_j), a and b increasing by turns.

    Images x (N, C, H, W) or (C, H, W) -> (N, C, H', W') or (C, H', W') with (H', W') = ``output_size``, or
    ``output_ratio`` (between 0 and 1) times (H, W).  Every plane has sequences of its own: pseudo-random ones,
    a_i = floor(alpha (i + u)) - floor(alpha u), with u from ``_random_samples`` (N, C, 2), for W and then H, in [0, 1),
    or, if ``shuffled``, the same distances in a random order.  Windows overlap and have the size ``kernel_size``; if
    ``disjoint`` they end where the next begin, and ``kernel_size`` is not used.  Without samples ``key``, an int64
    array [seed, step], decides (default: numbaconv's global seed, a new step each call).  With ``return_indices`` also
    int64 positions in the plane, row by row.  ValueError for sizes that do not fit.

    Source: PyTorch; Graham, arXiv 1412.6071, section 2 (shuffled: random, disjoint and overlapping).
    """
    return _fractional(
        "fractional_max_pool2d", 2, x, kernel_size, output_size, output_ratio, return_indices, _random_samples,
        shuffled, disjoint, key,
    )  # fmt: skip


@public(
    Case({"x": (3, 2, 5, 6, 5), "_random_samples": (3, 2, 3)},
         {"kernel_size": 2, "output_size": (3, 4, 2), "return_indices": True}, _SAMPLES, _BATCHED),
    sizes=sizes_of(VOLUMES, kernel_size=2, output_ratio=(0.7, 0.7, 0.7)),
)  # fmt: skip
def fractional_max_pool3d(
    x, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None,
    *, shuffled=False, disjoint=False, key=None,
):  # fmt: skip
    """y[n, c, i, j, k] = max of the window of x[n, c] that begins at (a_i, b_j, c_k), each increasing by turns.

    Volumes x (N, C, D, H, W) or (C, D, H, W) -> (N, C, D', H', W') or (C, D', H', W'); ``_random_samples`` (N, C, 3)
    are for D, H and W.  Arguments as for ``fractional_max_pool2d``.

    Source: PyTorch; Graham, arXiv 1412.6071, section 2.
    """
    return _fractional(
        "fractional_max_pool3d", 3, x, kernel_size, output_size, output_ratio, return_indices, _random_samples,
        shuffled, disjoint, key,
    )  # fmt: skip
