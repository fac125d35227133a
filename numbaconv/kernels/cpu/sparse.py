"""Sparse convolution: rows gathered by the rulebook, multiplied by the register tile, added where they belong.

Results are dealt out in runs of ``SITES`` rows.  Through each tap a run's rows that meet one are collected, their
partners' features gathered side by side, multiplied with the tap's part of the filter, and the products added: taps one
after another, so that sums do not depend on threads.
"""

import numpy as np

from .compiler import inline
from .filter import pack_step
from .geometry import three
from .lowering import PLAIN, ceil_div, lowering
from .native import INT64, Ints, Pointer, kernel
from .panel import choose_tile, make_outer, make_panel
from .runs import add_run, copy_run, fill_run
from .shape import zero_step
from .target import LANES
from .vector import at, load_first, splat, store_first

INT32 = Pointer("int32")

#: Rows of a run: their features, products and results lie in a second-level cache.
SITES = 256

#: Output channels that one unit of the weight gradient sums at most, and at least.
MOST_OUTPUTS, LEAST_OUTPUTS = 32, 8


@inline
def _collect(table, start, count, rows, partners):
    """The rows start + i of a tap that have a partner, of which there are ``rows``: how many, and (i, partner) each."""
    found = 0
    for i in range(count):
        partner = table[start + i]
        if 0 <= partner < rows:
            partners[2 * found], partners[2 * found + 1] = i, partner
            found += 1
    return found


@kernel
def sparse_rows(T, bias, rows, vectors, tail):
    """y[m] = sum over taps of x[table[tap, m]] w[tap] (+ b); a unit is a run of ``SITES`` rows."""
    panel = make_panel(False, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int, x: Pointer, table: INT32, w: Pointer, b: Pointer,
        y: Pointer, gathered: Pointer, products: Pointer, partners: INT64,
        sites: int, x_rows: int, channels: int, outputs: int, taps: int,
    ):  # fmt: skip
        line = (outputs + LANES - 1) // LANES * LANES
        counts, x_strides, w_strides = (1, 1, 1, channels), (0, 0, 0, 1), (0, 0, 0, LANES)
        middle = taps // 2
        for unit in range(begin, end):
            start = unit * SITES
            count = min(SITES, sites - start)
            to = at(y, start * outputs)
            # of a submanifold convolution the middle tap reads the rows themselves: nothing to gather or to add
            own = True
            for i in range(count):
                own = own and table[middle * sites + start + i] == start + i
            own = own and start + count <= x_rows
            if own:
                panel(at(x, start * channels), at(w, middle * line * channels), to, count, counts, x_strides,
                      w_strides, channels, outputs, channels * LANES, outputs)  # fmt: skip
            for i in range(count):
                for c in range(0, outputs, LANES):
                    o, left = i * outputs + c, outputs - c
                    v = load_first(to, o, left) if own else splat(x, 0.0)
                    if bias:
                        v = v + load_first(b, c, left)
                    if bias or not own:
                        store_first(to, o, v, left)
            for t in range(taps):
                if own and t == middle:
                    continue
                found = _collect(table, t * sites + start, count, x_rows, partners)
                for i in range(found):
                    copy_run(at(x, partners[2 * i + 1] * channels), at(gathered, i * channels), channels)
                panel(gathered, at(w, t * line * channels), products, found, counts, x_strides, w_strides,
                      channels, line, channels * LANES, line)  # fmt: skip
                for i in range(found):
                    add_run(at(products, i * line), at(to, partners[2 * i] * outputs), outputs)

    return loop


@kernel
def sparse_weights(T, rows, vectors, row_tail, vector_tail):
    """w[k, tap, c] = sum over pairs of g[m, k] x[n, c]; a unit is a tap and ``part`` output channels."""
    outer = make_outer(rows, vectors, row_tail, vector_tail)

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, table: INT32,
        w: Pointer, sums: Pointer, of_g: Pointer, of_x: Pointer, partners: INT64,
        sites: int, x_rows: int, channels: int, outputs: int, taps: int, part: int,
    ):  # fmt: skip
        line = (channels + LANES - 1) // LANES * LANES
        for unit in range(begin, end):
            t, k = unit % taps, unit // taps * part
            count = min(part, outputs - k)
            fill_run(sums, 0.0, count * line)
            for start in range(0, sites, SITES):
                found = _collect(table, t * sites + start, min(SITES, sites - start), x_rows, partners)
                for i in range(found):
                    copy_run(at(g, (start + partners[2 * i]) * outputs + k), at(of_g, i * part), count)
                    copy_run(at(x, partners[2 * i + 1] * channels), at(of_x, i * channels), channels)
                outer(of_g, of_x, sums, count, line // LANES, (1, 1, 1, found), (0, 0, 0, part), (0, 0, 0, channels),
                      1, line, 1)  # fmt: skip
            for i in range(count):
                copy_run(at(sums, i * line), at(w, ((k + i) * taps + t) * channels), channels)

    return loop


@kernel
def sites_of_dense(T, back):
    """Features to or (``back``) from their places in a dense array; a unit is a site."""

    def loop(
        begin, end, block: int, first: int, features: Pointer, indices: INT64, y: Pointer,
        batch: int, channels: int, sizes: Ints(3), columns: int,
    ):  # fmt: skip
        for site in range(begin, end):
            n, pixel, inside = indices[site * columns], 0, True
            inside = 0 <= n < batch
            for d in range(3):
                at_d = d + columns - 3  # leading dimensions may be missing
                place = indices[site * columns + at_d] if at_d > 0 else 0
                inside = inside and 0 <= place < sizes[d]
                pixel = pixel * sizes[d] + place
            pixels = sizes[0] * sizes[1] * sizes[2]
            for c in range(channels):
                i, o = site * channels + c, (n * channels + c) * pixels + pixel
                if back:
                    y[i] = features[o] if inside else 0.0
                elif inside:
                    y[o] = features[i]

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def _rows(program, x, table, weight, bias, y, strides, flops) -> None:
    """Append the steps of a sum over ``table``; ``strides`` of the weight's (results, summed channels, taps)."""
    channels, outputs, taps = x.shape[1], y.shape[1], table.shape[0]
    vectors_of = ceil_div(outputs, LANES)
    line = vectors_of * LANES
    packed = program.whole(x.dtype, taps * line * channels)
    pack_step(program, weight, packed, (outputs, channels, taps), strides, (channels * LANES, line * channels))
    rows, vectors = choose_tile(x.dtype.itemsize, SITES, [(vectors_of, 1)], channels, cut_rows=False, overlap=True)
    kernel_ = sparse_rows(x.dtype, bias=bias is not None, rows=rows, vectors=vectors, tail=vectors_of % vectors)
    program.step(
        kernel_, (x, table, packed, bias or packed),
        (y, program.per_thread(x.dtype, SITES * channels), program.per_thread(x.dtype, SITES * line),
         program.per_thread(np.dtype(np.int64), 2 * SITES)),
        (y.shape[0], x.shape[0], channels, outputs, taps), ceil_div(y.shape[0], SITES), flops=flops,
    )  # fmt: skip


@lowering("sparse_conv", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv(program, node, inputs, outputs):
    features, weight, gather, _, *bias = inputs
    taps, channels = gather.shape[0], features.shape[1]
    strides = (taps * channels, 1, channels)
    _rows(program, features, gather, weight, bias[0] if bias else None, outputs[0], strides, node.flops)


@lowering("sparse_conv_input_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv_input_grad(program, node, inputs, outputs):
    grad, weight, _, scatter = inputs
    taps, channels = scatter.shape[0], outputs[0].shape[1]
    _rows(program, grad, scatter, weight, None, outputs[0], (1, taps * channels, channels), node.flops)


@lowering("sparse_conv_weight_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv_weight_grad(program, node, inputs, outputs):
    grad, features, gather, _ = inputs
    channels, results, taps = features.shape[1], grad.shape[1], gather.shape[0]
    line = ceil_div(channels, LANES) * LANES
    part = min(max(ceil_div(results, 4), LEAST_OUTPUTS), MOST_OUTPUTS)
    rows, vectors = choose_tile(grad.dtype.itemsize, min(part, results), [(line // LANES, 1)], SITES, cut_rows=True)
    part = ceil_div(part, rows) * rows
    kernel_ = sparse_weights(
        grad.dtype, rows=rows, vectors=vectors, row_tail=results % rows, vector_tail=line // LANES % vectors
    )
    program.step(
        kernel_, (grad, features, gather),
        (outputs[0], program.per_thread(grad.dtype, part * line), program.per_thread(grad.dtype, SITES * part),
         program.per_thread(grad.dtype, SITES * line), program.per_thread(np.dtype(np.int64), 2 * SITES)),
        (gather.shape[1], features.shape[0], channels, results, taps, part), taps * ceil_div(results, part),
        flops=node.flops,
    )  # fmt: skip


@lowering("sparse_to_dense", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_to_dense(program, node, inputs, outputs):
    y = outputs[0]
    zero_step(program, y)
    _sites(program, inputs, y, y, back=False)


@lowering("sparse_from_dense", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_from_dense(program, node, inputs, outputs):
    _sites(program, inputs, outputs[0], inputs[0], back=True)


def _sites(program, inputs, y, dense, back: bool) -> None:
    x, indices = inputs
    constants = (dense.batch, dense.channels, *three(dense.spatial, 1), indices.shape[1])
    program.step(sites_of_dense(y.dtype, back=back), (x, indices), (y,), constants, indices.shape[0])
