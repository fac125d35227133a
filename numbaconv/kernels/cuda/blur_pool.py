"""Anti-aliased downsampling: weighted sums of pixels, forward and backward."""

from ..cpu.blur_pool import matrices_of
from .lowering import BATCH, lowering
from .resample import resample_step


@lowering("blur_pool", "blur_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_blur_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    resample_step(program, x, y, matrices_of(node, x, y), backward=node.op.name == "blur_pool_grad")
