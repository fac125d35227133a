"""Normalisation of rows that lie in NumPy's order: statistics in one pass, the result in another, from the cache.

Moments are taken of differences to the mean of the row's first vector, so that nothing cancels far from zero.
"""

import math

from .compiler import inline
from .lowering import PLAIN, ceil_div, lowering
from .native import Pointer, kernel
from .target import LANES
from .vector import first_lanes, load, load_first, reduce_add, splat, store, store_first, where


@inline
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


@inline
def _line(x, start, n, mean, slope, offset, y):
    """y = (x - mean) * slope + offset for n numbers."""
    whole = n // LANES * LANES
    for i in range(start, start + whole, LANES):
        store(y, i, (load(x, i) - mean) * slope + offset)
    if whole < n:
        i, left = start + whole, n - whole
        store_first(y, i, (load_first(x, i, left) - mean) * slope + offset, left)


@inline
def _sums(g, x, start, n, mean):
    """The sums of g and of g (x - mean) over n numbers."""
    s, p = splat(x, 0.0), splat(x, 0.0)
    whole = n // LANES * LANES
    for i in range(start, start + whole, LANES):
        v = load(g, i)
        s, p = s + v, p + v * (load(x, i) - mean)
    if whole < n:
        v = load_first(g, start + whole, n - whole)
        s, p = s + v, p + v * (load_first(x, start + whole, n - whole) - mean)
    return reduce_add(s), reduce_add(p)


@inline
def _line_grad(g, x, start, n, mean, slope, by_x, by_mean, y):
    """y = g * slope + (x - mean) * by_x + by_mean for n numbers."""
    whole = n // LANES * LANES
    for i in range(start, start + whole, LANES):
        store(y, i, load(g, i) * slope + ((load(x, i) - mean) * by_x + by_mean))
    if whole < n:
        i, left = start + whole, n - whole
        v = (load_first(x, i, left) - mean) * by_x + by_mean
        store_first(y, i, load_first(g, i, left) * slope + v, left)


@kernel
def group_norm(T):
    """Every weight is for ``inner`` numbers; a unit is a row."""

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
            for k in range(parts):
                slope, offset = splat(x, inverse * weight[w + k]), splat(x, bias[w + k])
                _line(x, row * n + k * inner, inner, mean, slope, offset, y)

    return loop


@kernel
def group_norm_grad(T):
    """Gradient of x, and the sums of g and of g * normalised x for every weight; a unit is a row."""

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
            for k in range(parts):
                s, p = _sums(g, x, row * n + k * inner, inner, mean)
                sums[row * parts + k], products[row * parts + k] = s, p * inverse
                total += s * weight[w + k]
                product += p * inverse * weight[w + k]
            by_mean = splat(x, -inverse * total / n)
            by_x = splat(x, -inverse * inverse * product / n)
            for k in range(parts):
                slope = splat(x, inverse * weight[w + k])
                _line_grad(g, x, row * n + k * inner, inner, mean, slope, by_x, by_mean, y)

    return loop


@kernel
def layer_norm(T):
    """Every number has a weight of its own; a unit is a row."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, weight: Pointer, bias: Pointer,
        y: Pointer, means: Pointer, variances: Pointer, n: int, eps: float,
    ):  # fmt: skip
        whole = n // LANES * LANES
        for row in range(begin, end):
            start = row * n
            mean, variance = _moments(x, start, n)
            means[row], variances[row] = mean, variance
            inverse = splat(x, 1.0 / math.sqrt(variance + eps))
            for k in range(0, whole, LANES):
                store(y, start + k, (load(x, start + k) - mean) * inverse * load(weight, k) + load(bias, k))
            if whole < n:
                left = n - whole
                v = (load_first(x, start + whole, left) - mean) * inverse
                v = v * load_first(weight, whole, left) + load_first(bias, whole, left)
                store_first(y, start + whole, v, left)

    return loop


@kernel
def layer_norm_grad(T):
    """Gradient of x; a unit is a row."""

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, means: Pointer, variances: Pointer,
        weight: Pointer, y: Pointer, n: int, eps: float,
    ):  # fmt: skip
        whole, left = n // LANES * LANES, n % LANES
        for row in range(begin, end):
            start, mean = row * n, means[row]
            inverse = 1.0 / math.sqrt(variances[row] + eps)
            s, p = splat(x, 0.0), splat(x, 0.0)
            for k in range(0, whole, LANES):
                v = load(g, start + k) * load(weight, k)
                s, p = s + v, p + v * (load(x, start + k) - mean)
            if left:
                v = load_first(g, start + whole, left) * load_first(weight, whole, left)
                s, p = s + v, p + v * (load_first(x, start + whole, left) - mean)
            slope = splat(x, inverse)
            by_mean = splat(x, -inverse * reduce_add(s) / n)
            by_x = splat(x, -inverse * inverse * inverse * reduce_add(p) / n)
            for k in range(0, whole, LANES):
                d = (load(x, start + k) - mean) * by_x + by_mean
                store(y, start + k, load(g, start + k) * load(weight, k) * slope + d)
            if left:
                d = (load_first(x, start + whole, left) - mean) * by_x + by_mean
                v = load_first(g, start + whole, left) * load_first(weight, whole, left) * slope + d
                store_first(y, start + whole, v, left)

    return loop


@kernel
def column_sums(T):
    """Sums of g and of g * normalised x over the rows of a section; a unit is ``COLUMNS`` columns of one section."""

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, means: Pointer, variances: Pointer,
        sums: Pointer, products: Pointer, rows: int, columns: int, sections: int, chunks: int, eps: float,
    ):  # fmt: skip
        for unit in range(begin, end):
            section = unit // chunks
            low = unit % chunks * COLUMNS
            high = min(columns, low + COLUMNS)
            whole = low + (high - low) // LANES * LANES
            to = section * columns
            for c in range(low, high):
                sums[to + c], products[to + c] = 0.0, 0.0
            for row in range(section * rows // sections, (section + 1) * rows // sections):
                mean, at_row = means[row], row * columns
                inverse = splat(g, 1.0 / math.sqrt(variances[row] + eps))
                for c in range(low, whole, LANES):
                    v = load(g, at_row + c)
                    store(sums, to + c, load(sums, to + c) + v)
                    d = (load(x, at_row + c) - mean) * inverse
                    store(products, to + c, load(products, to + c) + v * d)
                if whole < high:
                    left = high - whole
                    v = load_first(g, at_row + whole, left)
                    store_first(sums, to + whole, load_first(sums, to + whole, left) + v, left)
                    d = (load_first(x, at_row + whole, left) - mean) * inverse
                    store_first(products, to + whole, load_first(products, to + whole, left) + v * d, left)

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
#: Rows are summed in so many sections where there are few columns; a fixed number, whatever the number of threads.
SECTIONS = 16


def _groups(node, x) -> tuple[int, int, int]:
    """Groups, parts, and numbers that share a weight."""
    attrs = node.attrs
    return attrs["groups"], attrs["parts"], x.elements // max(1, attrs["rows"] * attrs["parts"])


def _is_layer(groups: int, parts: int, inner: int) -> bool:
    """Whether there is one group with a weight for every number."""
    return groups == 1 and inner == 1


@lowering("row_norm", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm(program, node, inputs, outputs):
    x = inputs[0]
    sizes, rows, eps = _groups(node, x), node.attrs["rows"], node.attrs["eps"]
    if _is_layer(*sizes):
        program.step(layer_norm(x.dtype), inputs, outputs, (sizes[1], eps), rows, flops=node.flops)
    else:
        program.step(group_norm(x.dtype), inputs, outputs, (*sizes, eps), rows, flops=node.flops)


@lowering("row_norm_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_row_norm_grad(program, node, inputs, outputs):
    g, x, means, variances, weight = inputs
    by_x, by_weight, by_bias = outputs
    sizes, rows, eps = _groups(node, x), node.attrs["rows"], node.attrs["eps"]
    columns = sizes[0] * sizes[1]
    chunks = ceil_div(columns, COLUMNS)
    if not _is_layer(*sizes):
        partial = [program.whole(x.dtype, rows * sizes[1]) for _ in range(2)]
        program.step(group_norm_grad(x.dtype), inputs, (by_x, *partial), (*sizes, eps), rows, flops=node.flops)
        program.step(add_rows(x.dtype), partial, (by_bias, by_weight), (rows // sizes[0], columns), chunks)
        return
    program.step(layer_norm_grad(x.dtype), inputs, (by_x,), (columns, eps), rows, flops=node.flops)
    sections = min(rows, SECTIONS) if chunks < SECTIONS else 1
    sums = [by_bias, by_weight]
    if sections > 1:
        sums = [program.whole(x.dtype, sections * columns) for _ in range(2)]
    constants = (rows, columns, sections, chunks, eps)
    program.step(column_sums(x.dtype), (g, x, means, variances), sums, constants, sections * chunks)
    if sections > 1:
        program.step(add_rows(x.dtype), sums, (by_bias, by_weight), (sections, columns), chunks)
