"""Maxout, on lines of a few numbers whose maxima are taken: images in lanes, or pixels in NumPy's order."""

from .lowering import BATCH, images_or_plain, lowering
from .native import Pointer, kernel
from .target import LANES
from .vector import load_first, store_first, where


@kernel
def maxout(T, gradient):
    """Of (units, pieces, n): the largest of the pieces, or with ``gradient`` g at the first largest one."""

    def loop(begin, end, block: int, first: int, x: Pointer, g: Pointer, y: Pointer, pieces: int, n: int):
        for unit in range(begin, end):
            for i in range(0, n, LANES):
                left = n - i
                start = unit * pieces * n + i
                top = load_first(x, start, left)
                for k in range(1, pieces):
                    v = load_first(x, start + k * n, left)
                    top = where(v > top, v, where(v != v, v, top))
                if gradient:
                    grad = load_first(g, unit * n + i, left)
                    for k in range(pieces):
                        v = load_first(x, start + k * n, left)
                        found = (v == top) | ((v != v) & (top != top))
                        store_first(y, start + k * n, where(found, grad, 0.0), left)
                        grad = where(found, 0.0, grad)
                else:
                    store_first(y, unit * n + i, top, left)

    return loop


@lowering("maxout", "maxout_grad", inputs=images_or_plain, outputs=images_or_plain)
def lower_maxout(program, node, inputs, outputs):
    x, y, gradient = inputs[-1], outputs[0], node.op.name == "maxout_grad"
    small = inputs[0] if gradient else y  # with one number for several of x
    if x.layout == BATCH:
        units, n = x.pixels * small.channels, x.lanes
    else:
        units, n = x.batch * small.channels, x.pixels
    program.step(maxout(y.dtype, gradient=gradient), (x, inputs[0]), outputs, (node.attrs["pieces"], n), units)
