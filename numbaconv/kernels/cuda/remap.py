"""Pixels put elsewhere: padding, cropping and turning, in any layout; an element a thread.

A gradient is the sum of the pixels that were read from each place: a resampling with weights of 1.
"""

import numpy as np

from ..cpu.remap import geometry, layout
from ..cpu.resample import transposed
from .compiler import INT32, Ints, Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, where, write_if
from .lowering import BATCH, ceil_div, lowering, shared_layout
from .resample import constants_of, place_of, resample, tables_of

THREADS = 256


@kernel
def remap(T):
    """y[n, d, h, w, c] = x[n, maps of d, h and w, c], or ``value`` where a map says -1; maps lie behind each other."""

    @block(THREADS, 8)
    def loop(
        x: Pointer, maps: INT32, y: Pointer, size: int, line: int, outputs: Ints(3), inputs: Ints(3), value: float
    ):
        at = block_x() * THREADS + thread()
        inside = at < size
        n, d, h, w, c = place_of(at, line, outputs)
        d, h = read_if(inside, maps, d), read_if(inside, maps, outputs[0] + h)
        w = read_if(inside, maps, outputs[0] + outputs[1] + w)
        found = inside & (d >= 0) & (h >= 0) & (w >= 0)
        pixel = ((n * inputs[0] + d) * inputs[1] + h) * inputs[2] + w
        write_if(inside, y, at, where(found, read_if(found, x, pixel * line + c), value))

    return loop


@lowering("remap", inputs=layout, outputs=layout)
def lower_remap(program, node, inputs, outputs):
    (x,), (y,) = inputs, outputs
    maps, sizes, x_sizes, line = geometry(node, x, y, shared_layout(x, y) == BATCH)
    table = program.constant(np.concatenate(maps).astype(np.int32))
    constants = (y.elements, line, *sizes, *x_sizes, float(node.attrs["value"]))
    program.launch(remap(y.dtype), ceil_div(y.elements, THREADS), (x, table), (y,), constants)


@lowering("remap_grad", inputs=layout, outputs=layout)
def lower_remap_grad(program, node, inputs, outputs):
    (g,), (x,) = inputs, outputs
    maps, sizes, x_sizes, line = geometry(node, x, g, shared_layout(g, x) == BATCH)
    sources = [[[(i, 1.0)] if i >= 0 else [] for i in places] for places in maps]
    readers = [transposed(matrix, size) for matrix, size in zip(sources, x_sizes, strict=True)]
    constants = constants_of(x, line, readers, sizes)
    operands = (g, *tables_of(program, readers))
    program.launch(resample(x.dtype), ceil_div(x.elements, THREADS), operands, (x,), constants, node.flops)
