"""Power-average pooling: roots of sums of powers over windows; an output a thread."""

from ..cpu.pool import Windows, raised_to, root_of
from .compiler import kernel
from .elementwise import translated
from .intrinsics import read_if, where
from .lowering import BATCH, lowering
from .resample import summed, walk_step


@kernel
def lp_pool(T, exponent):
    """(sum of weights times x to the power ``exponent``) to the power 1 / ``exponent``."""
    raised, root = translated(raised_to(exponent)), translated(root_of(exponent))

    def add_power(total, x, counts, index, pixel, weight):
        return total + where(counts, raised(read_if(counts, x, index)), 0.0) * weight

    return summed(add_power, root)


@lowering("lp_pool", inputs=(BATCH,), outputs=(BATCH,))
def lower_lp_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    windows = Windows(node.attrs, x.spatial, y.spatial)
    made = lp_pool(y.dtype, exponent=float(node.attrs["exponent"]))
    walk_step(program, made, inputs, outputs, windows.matrices(windows.sum_scales()), (), node.flops)
