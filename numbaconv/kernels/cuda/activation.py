"""Softmax and its kin along an axis; the elementwise activations are those of ``kernels/cpu``."""

import math

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .math import exp, log
from .warp import WARP, largest, largest_of_warp, sum_of_warp

THREADS = 256
ROWS = THREADS // WARP  # of a block: a warp takes a row
LOWEST = -math.inf


@kernel
def along_axis(T, function):
    """Softmax and its kin over the middle dimension of (outer, n, inner); ``rows`` is outer times inner."""
    sign = -1.0 if function.startswith("softmin") else 1.0
    softmax, softmax_grad = function in ("softmax", "softmin"), function in ("softmax_grad", "softmin_grad")
    log_softmax, log_softmax_grad = function == "log_softmax", function == "log_softmax_grad"
    forward = softmax or log_softmax

    @block(THREADS, 4)
    def loop(x: Pointer, other: Pointer, y: Pointer, rows: int, n: int, inner: int):
        row, lane = block_x() * ROWS + thread() // WARP, thread() % WARP
        outer = row // inner
        first = outer * n * inner + (row - outer * inner)
        top = f32(0.0)
        if forward:
            top = f32(LOWEST)
            for step in range((n + (WARP - 1)) // WARP):
                c = step * WARP + lane
                inside = (row < rows) & (c < n)
                top = largest(where(inside, sign * read_if(inside, x, first + c * inner), LOWEST), top)
            top = largest_of_warp(top)
        total = f32(0.0)
        for step in range((n + (WARP - 1)) // WARP):
            c = step * WARP + lane
            inside = (row < rows) & (c < n)
            v = read_if(inside, x, first + c * inner)
            if forward:
                v = exp(sign * v - top)
            elif softmax_grad:
                v = v * read_if(inside, other, first + c * inner)
            total = total + where(inside, v, 0.0)
        total = sum_of_warp(total)
        for step in range((n + (WARP - 1)) // WARP):
            c = step * WARP + lane
            inside = (row < rows) & (c < n)
            v = read_if(inside, x, first + c * inner)
            if softmax:
                v = exp(sign * v - top) / total
            elif log_softmax:
                v = v - (top + log(total))
            elif softmax_grad:
                v = sign * read_if(inside, other, first + c * inner) * (v - total)
            elif log_softmax_grad:
                v = v - exp(read_if(inside, other, first + c * inner)) * total
            else:
                v = total
            write_if(inside, y, first + c * inner, v)

    return loop


def _along_batch_or_plain(node):
    """Channels lie innermost in NHWC; along any other axis the value stays in NumPy's order."""
    return (BATCH if node.attrs["axis"] == 1 and len(node.inputs[0].shape) > 1 else PLAIN,)


@lowering(
    "softmax", "softmin", "softmin_grad", "log_softmax", "softmax_grad", "log_softmax_grad", "axis_sum",
    inputs=_along_batch_or_plain, outputs=_along_batch_or_plain,
)  # fmt: skip
def lower_along_axis(program, node, inputs, outputs):
    y = outputs[0]
    axis, shape = node.attrs["axis"], y.shape
    n, inner = (y.channels, 1) if y.layout == BATCH else (shape[axis], math.prod(shape[axis + 1 :]))
    rows = y.elements // max(n, 1)
    made = along_axis(y.dtype, function=node.op.name)
    program.launch(made, ceil_div(rows, ROWS), (inputs[0], inputs[-1]), (y,), (rows, n, inner))
