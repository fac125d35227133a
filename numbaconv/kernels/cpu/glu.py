"""Gated linear units, on pairs of runs of numbers: of channels' vectors, or of NumPy's order."""

import math

from .compiler import inline
from .lowering import BATCH, PLAIN, images_or_plain, lowering
from .math import sigmoid
from .native import Pointer, kernel
from .target import LANES
from .vector import load_first, store_first


@kernel
def glu(T, gradient):
    """Of (units, 2, n): the first half times the sigmoid of the second, or with ``gradient`` its gradient times g."""

    @inline
    def gated(x, g, y, unit, i, n, left):
        """One vector, of which ``left`` numbers count."""
        start = 2 * unit * n + i
        a, s = load_first(x, start, left), sigmoid(load_first(x, start + n, left))
        if gradient:
            grad = load_first(g, unit * n + i, left) * s
            store_first(y, start, grad, left)
            store_first(y, start + n, grad * a * (1.0 - s), left)
        else:
            store_first(y, unit * n + i, a * s, left)

    def loop(begin, end, block: int, first: int, x: Pointer, g: Pointer, y: Pointer, n: int):
        whole = n // LANES * LANES
        for unit in range(begin, end):
            for i in range(0, whole, LANES):
                gated(x, g, y, unit, i, n, LANES)
            if whole < n:
                gated(x, g, y, unit, whole, n, n - whole)

    return loop


def _layouts(node):
    return images_or_plain(node) if node.attrs["axis"] == 1 else (PLAIN,)


@lowering("glu", "glu_grad", inputs=_layouts, outputs=_layouts)
def lower_glu(program, node, inputs, outputs):
    x, y, axis, gradient = inputs[-1], outputs[0], node.attrs["axis"], node.op.name == "glu_grad"
    small = inputs[0] if gradient else y  # of half the size
    if x.layout == BATCH:
        units, n = x.pixels, small.channels * x.lanes
    else:
        units, n = math.prod(small.shape[:axis]), math.prod(small.shape[axis:])
    program.step(glu(y.dtype, gradient=gradient), (x, inputs[0]), outputs, (n,), units)
