"""Sparse convolution: only active sites are stored, as rows of features, and only they are visited.

A *rulebook* says which site meets which tap of the filter (Graham et al., arXiv 1711.10275, section 3):
``gather[t, m]`` is the input row that output row m reads through tap t, ``scatter[t, n]`` the output row that input row
n goes to, -1 where there is none.  They are the same pairs; both are kept, so that every pass reads what it needs and
writes each row once.  With them sparse convolution is

    y[m, k] = b[k] + sum over taps t with gather[t, m] >= 0, and c, of  x[gather[t, m], c] w[k, t, c]

and its input gradient the same sum over ``scatter``.  ``numbaconv.sparse`` makes rulebooks from coordinates.
"""

import math

import numpy as np

from .conv import channel_sum
from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    checked,
    dtype_of,
    integers,
    operator,
    public,
    shape_of,
)
from .draw import Draw


class SparseConv(Operator):
    """Convolution of features (N, C) with weight (K, *kernel, C) by a rulebook, plus bias (K,): (M, K)."""

    def shape(self, features: Spec, weight: Spec, gather: Spec, scatter: Spec, *bias: Spec) -> Spec:
        return Spec((gather.shape[1], weight.shape[0]), features.dtype)

    def gradient(self, grads, outputs, features, weight, gather, scatter, *bias):
        return (
            sparse_conv_input_grad(grads[0], weight, gather, scatter),
            sparse_conv_weight_grad(grads[0], features, gather, scatter, kernel=weight.shape[1:-1]),
            None,
            None,
            *(channel_sum(grads[0]) for _ in bias),
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * inputs[0].shape[1]  # of one tap: how many there are is in the rulebook


class SparseConvInputGrad(Operator):
    """Gradient of a sparse convolution with respect to its features."""

    def shape(self, grad: Spec, weight: Spec, gather: Spec, scatter: Spec) -> Spec:
        return Spec((scatter.shape[1], weight.shape[-1]), grad.dtype)

    def gradient(self, grads, outputs, grad, weight, gather, scatter):
        return (
            sparse_conv_row(grads[0], weight, gather, scatter),
            sparse_conv_weight_grad(grad, grads[0], gather, scatter, kernel=weight.shape[1:-1]),
            None,
            None,
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * inputs[0].shape[1]


class SparseConvWeightGrad(Operator):
    """Gradient of a sparse convolution with respect to its weight."""

    def shape(self, grad: Spec, features: Spec, gather: Spec, scatter: Spec, *, kernel) -> Spec:
        return Spec((grad.shape[1], *kernel, features.shape[1]), grad.dtype)

    def gradient(self, grads, outputs, grad, features, gather, scatter, *, kernel):
        return (
            sparse_conv_row(features, grads[0], gather, scatter),
            sparse_conv_input_grad(grad, grads[0], gather, scatter),
            None,
            None,
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size * inputs[1].shape[1]


class SparseToDense(Operator):
    """The features (N, C) at their places (N, 1 + D) in an array (batch, C, *spatial_shape) of zeros."""

    def shape(self, features: Spec, indices: Spec, *, spatial_shape, batch_size) -> Spec:
        return Spec((batch_size, features.shape[1], *spatial_shape), features.dtype)

    def gradient(self, grads, outputs, features, indices, **attrs):
        return sparse_from_dense_row(grads[0], indices), None

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class SparseFromDense(Operator):
    """What stands at the places (N, 1 + D) of x (batch, C, *spatial): (N, C)."""

    def shape(self, x: Spec, indices: Spec) -> Spec:
        return Spec((indices.shape[0], x.shape[1]), x.dtype)

    def gradient(self, grads, outputs, x, indices):
        return sparse_to_dense_row(grads[0], indices, spatial_shape=x.shape[2:], batch_size=x.shape[0]), None

    def flops(self, inputs, outputs, **attrs):
        return 0.0


sparse_conv_row, sparse_conv_input_grad = operator(SparseConv), operator(SparseConvInputGrad)
sparse_conv_weight_grad = operator(SparseConvWeightGrad)
sparse_to_dense_row, sparse_from_dense_row = operator(SparseToDense), operator(SparseFromDense)


# ------------------------------------------------------------------------------------------------ example cases


def _rules(taps: int, outputs: int, inputs: int) -> list[np.ndarray]:
    """Some rulebook: through every tap about half of the rows meet one of the others."""
    rng = np.random.default_rng(0)
    gather, scatter = np.full((taps, outputs), -1, np.int32), np.full((taps, inputs), -1, np.int32)
    for t in range(taps):
        count = min(outputs, inputs) // 2
        m, n = rng.permutation(outputs)[:count], rng.permutation(inputs)[:count]
        gather[t, m], scatter[t, n] = n, m
    return [gather, scatter]


def _conv_case(sites: int, out_sites: int, channels: int, filters: int, kernel: tuple[int, ...], bias: bool) -> Case:
    taps = math.prod(kernel)
    shapes: dict = {
        "features": (sites, channels), "weight": (filters, *kernel, channels),
        "rules": [(taps, out_sites), (taps, sites)],
    }  # fmt: skip
    rules = _rules(taps, out_sites, sites)
    shapes |= {"bias": (filters,)} if bias else {}
    return Case(shapes, draw={"rules": [_always(table) for table in rules]}, batched=())


def _always(table: np.ndarray) -> Draw:
    return lambda rng, shape, dtype: table.copy()


def _places(rng, shape, dtype):
    """Different places in 3 images of 5 x 4 (x 2) pixels."""
    size = (3, 5, 4, 2)[: shape[1]]
    flat = np.random.default_rng(1).permutation(math.prod(size))[: shape[0]]
    return np.stack(np.unravel_index(flat, size), axis=1).astype(np.int64)


# ------------------------------------------------------------------------------------------------ public functions


@public(
    _conv_case(9, 7, 3, 5, (3, 3), True),
    _conv_case(150, 300, 17, 18, (2, 1, 2), False),
)
def sparse_conv(features, weight, rules, bias=None):
    """Sparse convolution in two or three dimensions: features (N, C), weight (K, *kernel, C), bias (K,) -> (M, K).

    ``rules`` is a ``sparse.Rulebook``, or its two arrays [gather, scatter] of int32, (taps, M) and (taps, N): the input
    row that each output row reads through each tap, and the output row that each input row goes to, -1 for none.  Rows
    that do not exist are taken for none.  The cost grows with the pairs, not with the grid.

    Raises ValueError for shapes that do not fit.  Source: Graham et al., arXiv 1711.10275; weights as in spconv 2.
    """
    features, weight, bias = as_input(features), as_input(weight), as_input(bias)
    check_floats("sparse_conv", features=features, weight=weight, **({} if bias is None else {"bias": bias}))
    tables = (rules.gather, rules.scatter) if hasattr(rules, "gather") else rules
    if not isinstance(tables, (tuple, list)) or len(tables) != 2:
        raise TypeError("sparse_conv: rules must be a Rulebook or the pair of its arrays (gather, scatter)")
    gather, scatter = map(as_input, tables)
    x_shape, w_shape = shape_of(features), shape_of(weight)
    if len(x_shape) != 2:
        raise ValueError(f"sparse_conv: features must have shape (sites, channels), their shape is {x_shape}")
    if len(w_shape) < 3 or min(w_shape) < 1:
        raise ValueError(f"sparse_conv: weight must have shape (filters, *kernel, channels), its shape is {w_shape}")
    if w_shape[-1] != x_shape[1]:
        raise ValueError(f"sparse_conv: weight expects {w_shape[-1]} channels, features have {x_shape[1]}")
    if bias is not None and shape_of(bias) != w_shape[:1]:
        raise ValueError(f"sparse_conv: bias must have shape {w_shape[:1]}, its shape is {shape_of(bias)}")
    taps = math.prod(w_shape[1:-1])
    for name, table in (("gather", gather), ("scatter", scatter)):
        if dtype_of(table) != np.int32:
            raise TypeError(f"sparse_conv: {name} must be int32, not {dtype_of(table)}")
        if len(shape_of(table)) != 2 or shape_of(table)[0] != taps:
            raise ValueError(f"sparse_conv: {name} must have a row for each of {taps} taps, not {shape_of(table)}")
    if shape_of(scatter)[1] != x_shape[0]:
        raise ValueError(f"sparse_conv: the rulebook is for {shape_of(scatter)[1]} sites, features have {x_shape[0]}")
    operands = (features, weight, gather, scatter) if bias is None else (features, weight, gather, scatter, bias)
    return apply(sparse_conv_row, operands, {})


def _check_indices(function: str, indices, dimensions: int | None = None):
    indices = as_input(indices)
    if dtype_of(indices) == np.int32 and isinstance(indices, np.ndarray):
        indices = indices.astype(np.int64)
    shape = shape_of(indices)
    if dtype_of(indices) != np.int64:
        raise TypeError(f"{function}: indices must be int64, not {dtype_of(indices)}")
    if len(shape) != 2 or shape[1] < 2 or (dimensions is not None and shape[1] != dimensions + 1):
        raise ValueError(f"{function}: indices must have shape (sites, 1 + dimensions), their shape is {shape}")
    return indices


@public(
    Case({"features": (9, 3), "indices": (9, 3)}, {"spatial_shape": (5, 4), "batch_size": 3},
         draw={"indices": _places}, batched=()),
    Case({"features": (40, 18), "indices": (40, 4)}, {"spatial_shape": (5, 4, 2), "batch_size": 3},
         draw={"indices": _places}, batched=()),
)  # fmt: skip
def sparse_to_dense(features, indices, spatial_shape, batch_size):
    """Features (N, C) at their places in zeros: indices (N, 1 + D), batch first -> (batch_size, C, *spatial_shape).

    Sites outside are left out; of sites with the same place one is written.  Raises ValueError for shapes that do not
    fit.  Source: spconv, SparseConvTensor.dense.
    """
    features = as_input(features)
    check_floats("sparse_to_dense", features=features)
    spatial = integers("sparse_to_dense", "spatial_shape", spatial_shape, len(tuple(spatial_shape)), 1)
    (batch_size,) = integers("sparse_to_dense", "batch_size", batch_size, 1, 0)
    indices = _check_indices("sparse_to_dense", indices, len(spatial))
    if len(shape_of(features)) != 2 or shape_of(features)[0] != shape_of(indices)[0]:
        wanted = shape_of(indices)[0]
        raise ValueError(f"sparse_to_dense: features must have {wanted} rows, their shape is {shape_of(features)}")
    return apply(sparse_to_dense_row, (features, indices), {"spatial_shape": spatial, "batch_size": batch_size})


@public(
    Case({"x": (3, 2, 5, 4), "indices": (9, 3)}, draw={"indices": _places}, batched=()),
    Case({"x": (3, 18, 5, 4, 2), "indices": (40, 4)}, draw={"indices": _places}, batched=()),
)
def sparse_from_dense(x, indices):
    """What stands at the places ``indices`` (N, 1 + D), batch first, of x (batch, C, *spatial): (N, C).

    Places outside give zeros.  Raises ValueError for shapes that do not fit.  Source: spconv.
    """
    x = checked("sparse_from_dense", x)
    if len(shape_of(x)) < 3:
        raise ValueError(f"sparse_from_dense: x must have shape (batch, C, *spatial), its shape is {shape_of(x)}")
    indices = _check_indices("sparse_from_dense", indices, len(shape_of(x)) - 2)
    return apply(sparse_from_dense_row, (x, indices), {})
