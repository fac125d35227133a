"""Normalisation of rows that lie in NumPy's order: statistics in one pass, the result in another, from the cache.

Moments are taken of differences to the mean of the row's first vector, so that nothing cancels far from zero.
"""

import math

from numba import njit

from .lowering import PLAIN, ceil_div, lowering
from .native import Pointer, kernel
from .target import LANES
from .vector import first_lanes, load, load_first, reduce_add, splat, store, store_first, where


@njit(error_model="numpy")
def _moments(x, start, n):
    """Mean and variance of n numbers."""
    few = min(n, LANES)
    origin = reduce_add(load_first(x, start, few)) / few
    s, q, s2, q2 = splat(x, 0.0), splat(x, 0.0), splat(x, 0.0), splat(x, 0.0)
    whole = n // (2 * LANES) * (2 * LANES)
    for i in range(start, start + whole, 2 * LANES):
        d, e = load(x, i) - origin, load(x, i + LANES) - origin
        s, s2 = s + d, s2 + e
        q, q2 = q + d * d, q2 + e * e
    for i in range(whole, n, LANES):
        d = where(first_lanes(n - i), load_first(x, start + i, n - i) - origin, 0.0)
        s, q = s + d, q + d * d
    shift, squares = reduce_add(s + s2) / n, reduce_add(q + q2) / n
    return origin + shift, max(0.0, squares - shift * shift)


@kernel
def row_norm(T, wide):
    """A unit is a row; without ``wide`` there is a weight for every number, and one group."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, weight: Pointer, bias: Pointer,
        y: Pointer, means: Pointer, variances: Pointer, groups: int, parts: int, inner: int, eps: float,
    ):  # fmt: skip
        n = parts * inner
        for row in range(begin, end):
            mean, variance = _moments(x, row * n, n)
            means[row], variances[row] = mean, variance
            inverse = 1.0 / math.sqrt(variance + eps)
            w = row % groups * parts
            if wide:
                for k in range(parts):
                    start = row * n + k * inner
                    scale = inverse * weight[w + k]
                    slope, offset = splat(x, scale), splat(x, bias[w + k])
                    for i in range(0, inner // LANES * LANES, LANES):
                        store(y, start + i, (load(x, start + i) - mean) * slope + offset)
                    i, left = inner // LANES * LANES, inner % LANES
                    if left:
                        v = (load_first(x, start + i, left) - mean) * slope + offset
                        store_first(y, start + i, v, left)
            else:
                for k in range(0, n, LANES):
                    left = n - k
                    v = (load_first(x, row * n + k, left) - mean) * inverse
                    v = v * load_first(weight, w + k, left) + load_first(bias, w + k, left)
                    store_first(y, row * n + k, v, left)

    return loop


@kernel
def row_norm_grad(T, wide):
    """Gradient of x, and with ``wide`` the sums of g and of g * normalised x for every weight; a unit is a row."""

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, means: Pointer, variances: Pointer,
        weight: Pointer, y: Pointer, sums: Pointer, products: Pointer, groups: int, parts: int, inner: int, eps: float,
    ):  # fmt: skip
        n = parts * inner
        for row in range(begin, end):
            mean = means[row]
            inverse = 1.0 / math.sqrt(variances[row] + eps)
            w = row % groups * parts
            total, product = 0.0, 0.0  # of g * weight, and of that times the normalised x
            if wide:
                for k in range(parts):
                    start = row * n + k * inner
                    s, p = splat(x, 0.0), splat(x, 0.0)
                    for i in range(0, inner // LANES * LANES, LANES):
                        v = load(g, start + i)
                        s, p = s + v, p + v * (load(x, start + i) - mean)
                    i, left = inner // LANES * LANES, inner % LANES
                    if left:
                        v = load_first(g, start + i, left)
                        s, p = s + v, p + v * (load_first(x, start + i, left) - mean)
                    sums[row * parts + k] = reduce_add(s)
                    products[row * parts + k] = reduce_add(p) * inverse
                    total += sums[row * parts + k] * weight[w + k]
                    product += products[row * parts + k] * weight[w + k]
                by_mean = splat(x, -inverse * total / n)
                by_x = splat(x, -inverse * inverse * product / n)
                for k in range(parts):
                    start = row * n + k * inner
                    slope = splat(x, inverse * weight[w + k])
                    for i in range(0, inner // LANES * LANES, LANES):
                        v = load(g, start + i) * slope + ((load(x, start + i) - mean) * by_x + by_mean)
                        store(y, start + i, v)
                    i, left = inner // LANES * LANES, inner % LANES
                    if left:
                        d = load_first(x, start + i, left) - mean
                        store_first(y, start + i, load_first(g, start + i, left) * slope + (d * by_x + by_mean), left)
            else:
                s, p = splat(x, 0.0), splat(x, 0.0)
                for k in range(0, n, LANES):
                    left = n - k
                    v = load_first(g, row * n + k, left) * load_first(weight, w + k, left)
                    s, p = s + v, p + v * (load_first(x, row * n + k, left) - mean)
                by_mean = splat(x, -inverse * reduce_add(s) / n)
                by_x = splat(x, -inverse * inverse * inverse * reduce_add(p) / n)
                for k in range(0, n, LANES):
                    left = n - k
                    v = load_first(g, row * n + k, left) * load_first(weight, w + k, left) * inverse
                    d = load_first(x, row * n + k, left) - mean
                    store_first(y, row * n + k, v + (d * by_x + by_mean), left)

    return loop


@kernel
def column_sums(T):
    """Sums over rows of g and of g * normalised x; a unit is ``COLUMNS`` columns."""

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, means: Pointer, variances: Pointer,
        sums: Pointer, products: Pointer, rows: int, columns: int, eps: float,
    ):  # fmt: skip
        for unit in range(begin, end):
            low, high = unit * COLUMNS, min(columns, (unit + 1) * COLUMNS)
            for c in range(low, high, LANES):
                store_first(sums, c, splat(g, 0.0), high - c)
                store_first(products, c, splat(g, 0.0), high - c)
            for row in range(rows):
                mean, inverse = means[row], 1.0 / math.sqrt(variances[row] + eps)
                for c in range(low, high, LANES):
                    left = high - c
                    v = load_first(g, row * columns + c, left)
                    d = (load_first(x, row * columns + c, left) - mean) * inverse
                    store_first(sums, c, load_first(sums, c, left) + v, left)
                    store_first(products, c, load_first(products, c, left) + v * d, left)

    return loop


@kernel
def add_rows(T):
    """Sums over rows of two matrices; a unit is ``COLUMNS`` columns."""

    def loop(
        begin, end, block: int, first: int, a: Pointer, b: Pointer, sum_a: Pointer, sum_b: Pointer,
        rows: int, columns: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            high = min(columns, (unit + 1) * COLUMNS)
            for c in range(unit * COLUMNS, high, LANES):
                s, t = splat(a, 0.0), splat(b, 0.0)
                for row in range(rows):
                    s = s + load_first(a, row * columns + c, high - c)
                    t = t + load_first(b, row * columns + c, high - c)
                store_first(sum_a, c, s, high - c)
                store_first(sum_b, c, t, high - c)

    return loop


COLUMNS = 32 * LANES


def _sizes(node, x) -> tuple[int, int, int]:
    """Groups, parts, and numbers that share a weight."""
    attrs = node.attrs
    return attrs["groups"], attrs["parts"], x.elements // (attrs["rows"] * attrs["parts"])


def _is_wide(groups: int, parts: int, inner: int) -> bool:
    return groups > 1 or inner > 1


@lowering("row_norm", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm(program, node, inputs, outputs):
    x = inputs[0]
    sizes = _sizes(node, x)
    loop = row_norm(x.dtype, wide=_is_wide(*sizes))
    program.step(loop, inputs, outputs, (*sizes, node.attrs["eps"]), node.attrs["rows"], flops=node.flops)


@lowering("row_norm_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm_grad(program, node, inputs, outputs):
    g, x, means, variances, weight = inputs
    by_x, by_weight, by_bias = outputs
    rows, eps = node.attrs["rows"], node.attrs["eps"]
    groups, parts, inner = _sizes(node, x)
    wide = _is_wide(groups, parts, inner)
    partial = [program.whole(x.dtype, rows * parts if wide else 1) for _ in range(2)]
    constants = (groups, parts, inner, eps)
    program.step(row_norm_grad(x.dtype, wide=wide), inputs, (by_x, *partial), constants, rows, flops=node.flops)
    columns = groups * parts
    units = ceil_div(columns, COLUMNS)
    if wide:
        program.step(add_rows(x.dtype), partial, (by_bias, by_weight), (rows // groups, columns), units)
    else:
        program.step(column_sums(x.dtype), (g, x, means, variances), (by_bias, by_weight), (rows, columns, eps), units)
