"""Gated linear units: pairs of runs of numbers, in either layout; a result a thread."""

import math

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, write_if
from .lowering import BATCH, PLAIN, SAME, ceil_div, lowering, shared_layout
from .math import sigmoid

THREADS = 256


@kernel
def glu(T, gradient):
    """Of (units, 2, n): the first half times the sigmoid of the second, or with ``gradient`` its gradient times g."""

    @block(THREADS, 4)
    def loop(x: Pointer, g: Pointer, y: Pointer, size: int, n: int):
        at = block_x() * THREADS + thread()
        inside = at < size
        start = at // n * n + at
        a, s = read_if(inside, x, start), sigmoid(read_if(inside, x, start + n))
        if gradient:
            grad = read_if(inside, g, at) * s
            write_if(inside, y, start, grad)
            write_if(inside, y, start + n, grad * a * (1.0 - s))
        else:
            write_if(inside, y, at, a * s)

    return loop


def _layouts(node):
    """Channels of an image may stay where they are; halves along any other axis lie in NumPy's order."""
    return (SAME,) if node.attrs["axis"] == 1 else (PLAIN,)


@lowering("glu", "glu_grad", inputs=_layouts, outputs=_layouts)
def lower_glu(program, node, inputs, outputs):
    x, y, gradient = inputs[-1], outputs[0], node.op.name == "glu_grad"
    small = inputs[0] if gradient else y  # of half the size
    in_nhwc = shared_layout(x, inputs[0], y) == BATCH
    n = small.channels if in_nhwc else math.prod(small.shape[node.attrs["axis"] :])
    made, constants = glu(y.dtype, gradient=gradient), (small.elements, max(n, 1))
    program.launch(made, ceil_div(small.elements, THREADS), (x, inputs[0]), outputs, constants, node.flops)
