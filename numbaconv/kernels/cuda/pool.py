"""Pooling in one to three dimensions over NHWC values, an output a thread.

Where windows lie is a table (``Windows`` of the CPU's pooling), so sliding and adaptive windows have the same kernels.
Gradients gather: each pixel adds up what the windows around it give, in a fixed order.
"""

import math

from ..cpu.pool import Windows
from .compiler import INT32, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, ceil_div, lowering
from .resample import constants_of, one, place_of, resample_step, tables_of, walk_of

THREADS = 256
LOWEST = -math.inf


def _take_larger(state, operands, counts, pixel, weight):
    top, place = state
    x, line, c, first = operands
    v = read_if(counts, x, pixel * line + c)
    better = counts & ((place < 0) | (v > top) | ((v != v) & (top == top)))
    return where(better, v, top), where(better, pixel - first, place)


@kernel
def max_pool(T, with_indices):
    """The largest number of every window and, if asked for, where in the plane it stands: the first of equals."""
    largest_of = walk_of(_take_larger, one)

    def largest(x, starts, positions, at, inside, line, out, inputs, most):
        n, od, oh, ow, c = place_of(at, line, out[0], out[1], out[2])
        first = n * (inputs[0] * inputs[1] * inputs[2])
        return largest_of(
            (f32(LOWEST), i32(-1)), (x, line, c, first), inside, (n, od, oh, ow), (starts, positions, positions),
            out, inputs, most,
        )  # fmt: skip

    @block(THREADS, 4)
    def values(
        x: Pointer, starts: INT32, positions: INT32, y: Pointer,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        out, inputs, most = (out_d, out_h, out_w), (in_d, in_h, in_w), (most_d, most_h, most_w)
        top, _ = largest(x, starts, positions, at, at < size, line, out, inputs, most)
        write_if(at < size, y, at, top)

    @block(THREADS, 4)
    def values_and_indices(
        x: Pointer, starts: INT32, positions: INT32, y: Pointer, indices: INT32,
        size: int, line: int, out_d: int, out_h: int, out_w: int, in_d: int, in_h: int, in_w: int,
        most_d: int, most_h: int, most_w: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        out, inputs, most = (out_d, out_h, out_w), (in_d, in_h, in_w), (most_d, most_h, most_w)
        top, place = largest(x, starts, positions, at, at < size, line, out, inputs, most)
        write_if(at < size, y, at, top)
        write_if(at < size, indices, at, place)

    return values_and_indices if with_indices else values


@lowering("max_pool_alone", "max_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, x.spatial, y.spatial).matrices()
    starts, positions, _ = tables_of(program, matrices)
    made, grid = max_pool(y.dtype, with_indices=len(outputs) > 1), ceil_div(y.elements, THREADS)
    program.launch(made, grid, (x, starts, positions), outputs, constants_of(x, y, matrices), node.flops)


def _add_if_taken(total, operands, counts, pixel, weight):
    g, indices, own, line, c = operands
    window = pixel * line + c
    taken = counts & (read_if(counts, indices, window) == own)
    return total + read_if(taken, g, window)


@kernel
def max_pool_grad(T):
    """What each pixel gets of the windows that took it; positions are those of windows, outputs are pixels."""
    sum_of = walk_of(_add_if_taken, one)

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
        total = sum_of(
            f32(0.0), (g, indices, own, line, c), inside, (n, od, oh, ow), (starts, positions, positions),
            (out_d, out_h), (in_d, in_h, in_w), (most_d, most_h, most_w),
        )  # fmt: skip
        write_if(inside, y, at, total)

    return loop


@lowering("max_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool_grad(program, node, inputs, outputs):
    g, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, y.spatial, g.spatial).transposed()
    starts, positions, _ = tables_of(program, matrices)
    made, grid = max_pool_grad(y.dtype), ceil_div(y.elements, THREADS)
    program.launch(made, grid, (*inputs, starts, positions), outputs, constants_of(g, y, matrices), node.flops)


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
