"""Power-average pooling: roots of sums of powers over windows; an output a thread."""

from ..cpu.pool import Windows, raised_to, root_of
from .compiler import INT32, Ints, Pointer, block, kernel
from .elementwise import translated
from .intrinsics import block_x, f32, read_if, thread, where, write_if
from .lowering import BATCH, lowering
from .resample import THREADS, walk_of, walk_step


@kernel
def lp_pool(T, exponent):
    """(sum of weights times x to the power ``exponent``) to the power 1 / ``exponent``."""
    raised, root = translated(raised_to(exponent)), translated(root_of(exponent))

    def add_power(total, x, counts, index, pixel, weight):
        return total + where(counts, raised(read_if(counts, x, index)), 0.0) * weight

    sum_of = walk_of(add_power, read_if)

    @block(THREADS, 4)
    def loop(
        x: Pointer, starts: INT32, positions: INT32, weights: Pointer, y: Pointer,
        size: int, line: int, outputs: Ints(3), inputs: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        total = sum_of(f32(0.0), x, at, size, line, (starts, positions, weights), (outputs, inputs, most))
        write_if(at < size, y, at, root(total))

    return loop


@lowering("lp_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_lp_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    made = lp_pool(y.dtype, exponent=float(node.attrs["exponent"]))
    walk_step(program, made, inputs, outputs, windows.matrices(windows.sum_scales()), (), node.flops)
