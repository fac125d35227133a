"""Stochastic pooling: one number of each window, drawn by its size, or their mean; an output a thread.

What is drawn is a function of key, node and the output's position in NumPy's order, whatever the layout.
"""

from ..cpu.pool import Windows
from .compiler import INT32, INT64, Ints, Pointer, block, kernel
from .counter import share_at, stream_of
from .intrinsics import block_x, f32, i32, i64, maximum, read_if, read_wide, thread, where, write_if
from .lowering import BATCH, PLAIN, lowering
from .resample import THREADS, one, walk_of, walk_step


def _add_positive(total, x, counts, index, pixel, weight):
    return total + maximum(0.0, read_if(counts, x, index))


def _take_up_to(state, operands, counts, index, pixel, weight):
    """The last number above 0 before which no more than ``goal`` was passed."""
    passed, result, place = state
    x, goal = operands
    v = read_if(counts, x, index)
    hit = (v > 0.0) & (passed <= goal)
    return passed + maximum(0.0, v), where(hit, v, result), where(hit, pixel, place)


@kernel
def stochastic_pool(T):
    """Draw from every window."""
    sum_of, drawn_of = walk_of(_add_positive, one), walk_of(_take_up_to, one)

    @block(THREADS, 4)
    def loop(
        x: Pointer, key: INT64, starts: INT32, positions: INT32, weights: Pointer, y: Pointer, indices: INT32,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3), salt: int,
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        tables, sizes = (starts, positions, weights), (outputs, inputs, most)
        total = sum_of(f32(0.0), x, at, size, line, tables, sizes)
        pixels, c = outputs[0] * outputs[1] * outputs[2], at % line
        image, pixel = at // line // pixels, at // line % pixels
        stream = stream_of(read_wide(key, 0), read_wide(key, 1), i64(salt))
        goal = total * share_at(stream, i64((image * line + c) * pixels + pixel))
        nothing = f32(0.0), f32(0.0), i32(-1)
        _, result, place = drawn_of(nothing, (x, goal), at, size, line, tables, sizes)
        write_if(at < size, y, at, where(total == total, result, total))
        write_if(at < size, indices, at, place)

    return loop


def _add_square(state, x, counts, index, pixel, weight):
    total, squares = state
    v = maximum(0.0, read_if(counts, x, index))
    return total + v, squares + v * v


@kernel
def probability_pool(T):
    """Sum of squares by sum, of what is above 0, and one by the sum."""
    sums_of = walk_of(_add_square, one)

    @block(THREADS, 4)
    def loop(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer, inverse: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        tables, nothing = (starts, positions, weights), (f32(0.0), f32(0.0))
        total, squares = sums_of(nothing, x, at, size, line, tables, (outputs, inputs, most))
        write_if(at < size, y, at, where(total == 0.0, 0.0, squares / total))
        write_if(at < size, inverse, at, where(total == 0.0, 0.0, 1.0 / total))

    return loop


def _windows(node, x, y):
    return Windows(node.attrs, x.spatial, y.spatial).matrices()


@lowering("stochastic_pool", inputs=(BATCH, PLAIN), outputs=(BATCH,))
def lower_stochastic_pool(program, node, inputs, outputs):
    y, matrices = outputs[0], _windows(node, inputs[0], outputs[0])
    walk_step(program, stochastic_pool(y.dtype), inputs, outputs, matrices, (node.attrs["salt"],), node.flops)


@lowering("probability_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_probability_pool(program, node, inputs, outputs):
    y, matrices = outputs[0], _windows(node, inputs[0], outputs[0])
    walk_step(program, probability_pool(y.dtype), inputs, outputs, matrices, (), node.flops)
