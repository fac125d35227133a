"""Images and volumes of another size: weighted sums over tables of taps; the gradient reads them transposed."""

from ..cpu.resize import matrices_of
from .lowering import BATCH, lowering
from .resample import resample_step


@lowering("resample", "resample_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_resample(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    resample_step(program, x, y, matrices_of(node, x, y), backward=node.op.name == "resample_grad")
