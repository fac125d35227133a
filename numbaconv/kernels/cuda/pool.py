"""Pooling in one to three dimensions over NHWC values, an output a thread.

Where windows lie is a table (``Windows`` of the CPU's pooling), so sliding and adaptive windows have the same kernels.
Gradients gather: each pixel adds up what the windows around it give, in a fixed order.
"""

import math

from ..cpu.pool import Windows
from .compiler import INT32, Ints, Pointer, block, kernel
from .intrinsics import block_x, f32, i32, read_if, thread, where, write_if
from .lowering import BATCH, lowering
from .resample import THREADS, one, resample_step, walk_of, walk_step

LOWEST = -math.inf


def _take_larger(state, x, counts, index, pixel, weight):
    top, place = state
    v = read_if(counts, x, index)
    better = counts & ((place < 0) | (v > top) | ((v != v) & (top == top)))
    return where(better, v, top), where(better, pixel, place)


@kernel
def max_pool(T, with_indices):
    """The largest number of every window and, if asked for, where in the plane it stands: the first of equals."""
    largest_of = walk_of(_take_larger, one)

    @block(THREADS, 4)
    def values(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        tables, nothing = (starts, positions, weights), (f32(LOWEST), i32(-1))
        top, _ = largest_of(nothing, x, at, size, line, tables, (outputs, inputs, most))
        write_if(at < size, y, at, top)

    @block(THREADS, 4)
    def values_and_indices(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer, indices: INT32,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        tables, nothing = (starts, positions, weights), (f32(LOWEST), i32(-1))
        top, place = largest_of(nothing, x, at, size, line, tables, (outputs, inputs, most))
        write_if(at < size, y, at, top)
        write_if(at < size, indices, at, place)

    return values_and_indices if with_indices else values


@lowering("max_pool_alone", "max_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    matrices = Windows(node.attrs, x.spatial, y.spatial).matrices()
    walk_step(program, max_pool(y.dtype, with_indices=len(outputs) > 1), (x,), outputs, matrices, (), node.flops)


def _add_if_taken(total, operands, counts, index, pixel, weight):
    g, indices, own = operands
    taken = counts & (read_if(counts, indices, index) == own)
    return total + read_if(taken, g, index)


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
        own = at // line % (outputs[0] * outputs[1] * outputs[2])
        tables = starts, positions, weights
        total = sum_of(f32(0.0), (g, indices, own), at, size, line, tables, (outputs, inputs, most))
        write_if(at < size, y, at, total)

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
