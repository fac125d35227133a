"""Maxout: the largest of a few channels that follow each other, in either layout; a result a thread."""

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, where, write_if
from .lowering import BATCH, SAME, ceil_div, lowering, shared_layout
from .warp import largest

THREADS = 256


@kernel
def maxout(T, gradient):
    """Of (units, pieces, n): the largest of the pieces, or with ``gradient`` g at the first largest one."""

    @block(THREADS, 4)
    def loop(x: Pointer, g: Pointer, y: Pointer, size: int, pieces: int, n: int):
        at = block_x() * THREADS + thread()
        inside = at < size
        unit = at // n
        start = unit * pieces * n + (at - unit * n)
        top = read_if(inside, x, start)
        for before in range(pieces - 1):
            top = largest(read_if(inside, x, start + n * (before + 1)), top)
        if gradient:
            grad = read_if(inside, g, at)
            for k in range(pieces):
                v = read_if(inside, x, start + n * k)
                found = (v == top) | ((v != v) & (top != top))
                write_if(inside, y, start + n * k, where(found, grad, 0.0))
                grad = where(found, 0.0, grad)
        else:
            write_if(inside, y, at, top)

    return loop


@lowering("maxout", "maxout_grad", inputs=(SAME,), outputs=(SAME,))
def lower_maxout(program, node, inputs, outputs):
    x, y, gradient = inputs[-1], outputs[0], node.op.name == "maxout_grad"
    small = inputs[0] if gradient else y  # with one number for several of x
    n = 1 if shared_layout(x, inputs[0], y) == BATCH else small.pixels
    made, constants = maxout(y.dtype, gradient=gradient), (small.elements, node.attrs["pieces"], max(n, 1))
    program.launch(made, ceil_div(small.elements, THREADS), (x, inputs[0]), outputs, constants, node.flops)
