"""Images and volumes of another size: weighted sums over tables of taps; the gradient reads them transposed."""

from ...ops.resize import taps
from .lowering import BATCH, lowering
from .resample import resample_step


@lowering("resample", "resample_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_resample(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs, backward = node.attrs, node.op.name == "resample_grad"
    small, large = (y, x) if backward else (x, y)  # the function's input and its result
    sizes = zip(small.spatial, large.spatial, attrs["scales"], strict=True)
    tables = [taps(attrs["mode"], *size, attrs["align_corners"], attrs["antialias"]) for size in sizes]
    resample_step(program, x, y, tables, backward)
