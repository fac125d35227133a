"""Anti-aliased downsampling: weighted sums of pixels, forward and backward."""

from ...ops.blur_pool import blurred
from .lowering import BATCH, lowering
from .resample import resample_step


@lowering("blur_pool", "blur_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_blur_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    backward = node.op.name == "blur_pool_grad"
    sizes = zip((y if backward else x).spatial, node.attrs["stride"], strict=True)
    matrices = [blurred(size, node.attrs["taps"], stride) for size, stride in sizes]
    resample_step(program, x, y, matrices, backward)
