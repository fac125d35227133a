"""Images and volumes of another size: weighted sums over tables of taps; the gradient reads them transposed."""

from ...ops.resize import taps
from .lowering import BATCH, lowering
from .resample import Matrix, resample_step


def matrices_of(node, x, y) -> list[Matrix]:
    """The weighted sums of a resize, a matrix a spatial dimension, from its input to its result."""
    attrs = node.attrs
    small, large = (y, x) if node.op.name == "resample_grad" else (x, y)  # the function's input and its result
    sizes = zip(small.spatial, large.spatial, attrs["scales"], strict=True)
    return [taps(attrs["mode"], *size, attrs["align_corners"], attrs["antialias"]) for size in sizes]


@lowering("resample", "resample_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_resample(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    resample_step(program, x, y, matrices_of(node, x, y), backward=node.op.name == "resample_grad")
