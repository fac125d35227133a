"""A convolution written out as a matrix."""

import itertools
import math
from typing import Any

import numpy as np

from .conv import padding_pairs
from .core import as_input, check_floats, integers, public, shape_of
from .geometry import output_size


@public()
def toeplitz(weight, input_shape, stride=1, padding=0, dilation=1, groups=1, sparse=None) -> Any:
    """The doubly blocked Toeplitz matrix of a convolution: ``matrix @ x.ravel() == conv(x, weight).ravel()``.

    weight (K, C / groups, *kernel) with one to three spatial dimensions, an array; ``input_shape`` (C, *spatial) of one
    item x; other arguments as for ``conv2d``.  The matrix has a row for each number of the result (K, *positions) and a
    column for each of x, both in NumPy's order; its transpose is the input gradient.  A stride of one and one channel
    give blocks that are constant along their diagonals, in an order that is so again.

    Returns:
        A ``scipy.sparse`` CSR array where SciPy is installed, else a NumPy array; ``sparse`` insists on one of them.
        Of the weight's dtype.

    Raises:
        ValueError: for shapes that do not fit, as ``conv2d``.
        ImportError: if ``sparse`` is true and SciPy is not installed.

    Source: Goodfellow et al., Deep Learning, section 9.1.
    """
    weight = np.asarray(as_input(weight))
    check_floats("toeplitz", weight=weight)
    dimensions = weight.ndim - 2
    if dimensions not in (1, 2, 3):
        raise ValueError(f"toeplitz: weight must have 3 to 5 dimensions, its shape is {shape_of(weight)}")
    channels, *size = integers("toeplitz", "input_shape", input_shape, dimensions + 1, 1)
    stride = integers("toeplitz", "stride", stride, dimensions, 1)
    dilation = integers("toeplitz", "dilation", dilation, dimensions, 1)
    (groups,) = integers("toeplitz", "groups", groups, 1, 1)
    kernel = weight.shape[2:]
    pairs = padding_pairs("toeplitz", padding, kernel, dilation, stride)
    outputs, depth = weight.shape[:2]
    if channels != depth * groups:
        raise ValueError(f"toeplitz: weight expects {depth * groups} input channels, input_shape has {channels}")
    if outputs % groups:
        raise ValueError(f"toeplitz: {outputs} output channels cannot be divided into {groups} groups")
    counts = [output_size(*d) for d in zip(size, kernel, stride, pairs, dilation, strict=True)]
    if min(counts) < 1:
        raise ValueError(f"toeplitz: a kernel of size {kernel} does not fit into {tuple(size)} with padding {pairs}")
    pixels, places = np.arange(math.prod(size)).reshape(size), np.arange(math.prod(counts)).reshape(counts)
    rows, columns, values = [], [], []
    for tap in itertools.product(*map(range, kernel)):
        # the positions at which this tap falls on a pixel, in each dimension, and on which
        met = []
        for t, n, o, s, (p, _), d in zip(tap, size, counts, stride, pairs, dilation, strict=True):
            i = np.arange(o) * s + t * d - p
            there = (i >= 0) & (i < n)
            met.append((np.flatnonzero(there), i[there]))
        place, pixel = (a[np.ix_(*(m[k] for m in met))].ravel() for k, a in enumerate((places, pixels)))
        for k, c in itertools.product(range(outputs), range(depth)):
            channel = k // (outputs // groups) * depth + c
            rows.append(k * places.size + place)
            columns.append(channel * pixels.size + pixel)
            values.append(np.full(len(place), weight.item(k, c, *tap), weight.dtype))
    shape = outputs * places.size, channels * pixels.size
    return _matrix(np.concatenate(values), np.concatenate(rows), np.concatenate(columns), shape, sparse)


def _matrix(values: np.ndarray, rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], sparse: bool | None):
    if sparse or sparse is None:
        try:
            from scipy.sparse import csr_array

            return csr_array((values, (rows, columns)), shape=shape)
        except ImportError:
            if sparse:
                raise ImportError("toeplitz: a sparse matrix needs SciPy (pip install scipy)") from None
    matrix = np.zeros(shape, values.dtype)
    matrix[rows, columns] = values
    return matrix
