"""Images and volumes of another size: weighted sums over tables of taps; the gradient reads them transposed."""

from ...ops.resize import taps
from .lowering import BATCH, lowering
from .resample import resample_step, transposed


@lowering("resample", "resample_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_resample(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    attrs, backward = node.attrs, node.op.name == "resample_grad"
    small, large = (y, x) if backward else (x, y)  # the function's input and its result
    tables = [[[(0, 1.0)]]] * (3 - len(x.spatial))
    for size, output, scale in zip(small.spatial, large.spatial, attrs["scales"], strict=True):
        table = taps(attrs["mode"], size, output, scale, attrs["align_corners"], attrs["antialias"])
        tables.append(transposed(table, size) if backward else table)
    resample_step(program, x, y, tables)
