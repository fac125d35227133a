"""Anti-aliased downsampling: weighted sums of pixels, forward and backward."""

from ...ops.blur_pool import blurred
from .lowering import BATCH, lowering
from .resample import resample_step, transposed


@lowering("blur_pool", "blur_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_blur_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    backward = node.op.name == "blur_pool_grad"
    image = y if backward else x
    matrices = [[[(0, 1.0)]]] * (3 - len(x.spatial))
    for size, stride in zip(image.spatial, node.attrs["stride"], strict=True):
        matrix = blurred(size, node.attrs["taps"], stride)
        matrices.append(transposed(matrix, size) if backward else matrix)
    resample_step(program, x, y, matrices)
