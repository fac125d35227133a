"""Pooling in one to three dimensions over NHWC values, an output a thread.

Where windows lie is a table (``Windows`` of the CPU's pooling), so sliding and adaptive windows have the same kernels.
Gradients gather: each pixel adds up what the windows around it give, in a fixed order.
"""

import math

from ..cpu.pool import Windows
from .compiler import INT32, Ints, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, lowering
from .resample import THREADS, one, place_of, resample_step, walk_of, walk_step

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

    def largest(x, tables, at, inside, line, outputs, inputs, most):
        n, d, h, w, c = place_of(at, line, outputs)
        first = n * (inputs[0] * inputs[1] * inputs[2])
        nothing, operands = (f32(LOWEST), i32(-1)), (x, line, c, first)
        return largest_of(nothing, operands, inside, (n, d, h, w), tables, outputs, inputs, most)

    @block(THREADS, 4)
    def values(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        top, _ = largest(x, (starts, positions, weights), at, at < size, line, outputs, inputs, most)
        write_if(at < size, y, at, top)

    @block(THREADS, 4)
    def values_and_indices(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer, indices: INT32,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        top, place = largest(x, (starts, positions, weights), at, at < size, line, outputs, inputs, most)
        write_if(at < size, y, at, top)
        write_if(at < size, indices, at, place)

    return values_and_indices if with_indices else values


@lowering("max_pool_alone", "max_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, x.spatial, y.spatial).matrices()
    walk_step(program, max_pool(y.dtype, with_indices=len(outputs) > 1), (x,), outputs, matrices, (), node.flops)


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
        g: Pointer, indices: INT32, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        inside = at < size
        n, d, h, w, c = place_of(at, line, outputs)
        own = (d * outputs[1] + h) * outputs[2] + w
        tables = starts, positions, weights
        total = sum_of(f32(0.0), (g, indices, own, line, c), inside, (n, d, h, w), tables, outputs, inputs, most)
        write_if(inside, y, at, total)

    return loop


@lowering("max_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool_grad(program, node, inputs, outputs):
    g, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, y.spatial, g.spatial).transposed()
    walk_step(program, max_pool_grad(y.dtype), inputs, outputs, matrices, (), node.flops)


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
