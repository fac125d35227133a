"""Pooling in one to three dimensions over NHWC values, an output a thread.

Where windows lie is a table (``Windows`` of the CPU's pooling), so sliding and adaptive windows have the same kernels.
Gradients gather: each pixel adds up what the windows around it give, in a fixed order.
"""

import math

from ..cpu.geometry import three
from ..cpu.pool import Windows
from .compiler import INT32, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, ceil_div, lowering
from .resample import entries_of, most_of, place_of, resample_step, tables_of

THREADS = 256
LOWEST = -math.inf


@kernel
def max_pool(T, with_indices):
    """The largest number of every window and, if asked for, where in the plane it stands: the first of equals."""

    @block(THREADS, 4)
    def values(
        x: Pointer, starts: INT32, positions: INT32, y: Pointer,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        top, _ = largest(
            x, starts, positions, at, size, line, out_d, out_h, out_w, in_d, in_h, in_w, most_d, most_h, most_w
        )
        write_if(at < size, y, at, top)

    @block(THREADS, 4)
    def values_and_indices(
        x: Pointer, starts: INT32, positions: INT32, y: Pointer, indices: INT32,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        top, place = largest(
            x, starts, positions, at, size, line, out_d, out_h, out_w, in_d, in_h, in_w, most_d, most_h, most_w
        )
        write_if(at < size, y, at, top)
        write_if(at < size, indices, at, place)

    return values_and_indices if with_indices else values


def largest(x, starts, positions, at, size, line, out_d, out_h, out_w, in_d, in_h, in_w, most_d, most_h, most_w):
    """The largest number of window ``at`` and its place."""
    inside = at < size
    n, od, oh, ow, c = place_of(at, line, out_d, out_h, out_w)
    d, d_end = entries_of(inside, starts, od)
    h_begin, h_end = entries_of(inside, starts, out_d + oh)
    w_begin, w_end = entries_of(inside, starts, out_d + out_h + ow)
    top, place = f32(LOWEST), i32(-1)
    for _ in range(most_d):
        in_plane = inside & (d < d_end)
        plane = read_if(in_plane, positions, d)
        h = h_begin
        for _ in range(most_h):
            in_row = in_plane & (h < h_end)
            row = plane * in_h + read_if(in_row, positions, h)
            w = w_begin
            for _ in range(most_w):
                counts = in_row & (w < w_end)
                pixel = row * in_w + read_if(counts, positions, w)
                v = read_if(counts, x, (n * (in_d * in_h * in_w) + pixel) * line + c)
                better = counts & ((place < 0) | (v > top) | ((v != v) & (top == top)))
                top, place = where(better, v, top), where(better, pixel, place)
                w = w + 1
            h = h + 1
        d = d + 1
    return top, place


def _lower_max_pool(program, node, x, outputs) -> None:
    y = outputs[0]
    matrices = Windows(node.attrs, x.spatial, y.spatial).matrices()
    constants = (y.elements, y.channels, *map(len, matrices), *three(x.spatial, 1), *most_of(matrices))
    starts, positions, _ = tables_of(program, matrices)
    made = max_pool(y.dtype, with_indices=len(outputs) > 1)
    program.launch(made, ceil_div(y.elements, THREADS), (x, starts, positions), outputs, constants, node.flops)


@lowering("max_pool_alone", "max_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool(program, node, inputs, outputs):
    _lower_max_pool(program, node, inputs[0], outputs)


@kernel
def max_pool_grad(T):
    """What each pixel gets of the windows that took it; positions are those of windows, outputs are pixels."""

    @block(THREADS, 4)
    def loop(
        g: Pointer, indices: INT32, starts: INT32, positions: INT32, y: Pointer,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        inside = at < size
        n, od, oh, ow, c = place_of(at, line, out_d, out_h, out_w)
        own = (od * out_h + oh) * out_w + ow
        d, d_end = entries_of(inside, starts, od)
        h_begin, h_end = entries_of(inside, starts, out_d + oh)
        w_begin, w_end = entries_of(inside, starts, out_d + out_h + ow)
        total = f32(0.0)
        for _ in range(most_d):
            in_plane = inside & (d < d_end)
            plane = n * in_d + read_if(in_plane, positions, d)
            h = h_begin
            for _ in range(most_h):
                in_row = in_plane & (h < h_end)
                row = plane * in_h + read_if(in_row, positions, h)
                w = w_begin
                for _ in range(most_w):
                    counts = in_row & (w < w_end)
                    window = (row * in_w + read_if(counts, positions, w)) * line + c
                    taken = counts & (read_if(counts, indices, window) == own)
                    total = total + read_if(taken, g, window)
                    w = w + 1
                h = h + 1
            d = d + 1
        write_if(inside, y, at, total)

    return loop


@lowering("max_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool_grad(program, node, inputs, outputs):
    g, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, y.spatial, g.spatial).transposed()
    constants = (y.elements, y.channels, *map(len, matrices), *three(g.spatial, 1), *most_of(matrices))
    starts, positions, _ = tables_of(program, matrices)
    operands = (*inputs, starts, positions)
    program.launch(max_pool_grad(y.dtype), ceil_div(y.elements, THREADS), operands, outputs, constants, node.flops)


@lowering("avg_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_avg_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    resample_step(program, x, y, windows.matrices(windows.scales(node.attrs)))


@lowering("avg_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_avg_pool_grad(program, node, inputs, outputs):
    g, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, y.spatial, g.spatial)
    resample_step(program, g, y, windows.transposed(windows.scales(node.attrs)))
