"""Anti-aliased downsampling: weighted sums of pixels, forward and backward."""

from ...ops.blur_pool import blurred
from .lowering import BATCH, lowering
from .resample import Matrix, resample_step


def matrices_of(node, x, y) -> list[Matrix]:
    """The weighted sums of the function, a matrix a spatial dimension, from its input to its result."""
    small = y if node.op.name == "blur_pool_grad" else x
    sizes = zip(small.spatial, node.attrs["stride"], strict=True)
    return [blurred(size, node.attrs["taps"], stride) for size, stride in sizes]


@lowering("blur_pool", "blur_pool_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_blur_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    resample_step(program, x, y, matrices_of(node, x, y), backward=node.op.name == "blur_pool_grad")
