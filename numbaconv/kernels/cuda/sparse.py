"""Sparse convolution: the matrix products of ``conv.py``, whose rows are gathered by a rulebook here."""

from dataclasses import dataclass, replace

from ..convolution import FORWARD, WEIGHTS, Convolution, Triple, three
from .compiler import INT64, Ints, Pointer, block, kernel
from .conv import add_parts_step, correlate_step, operand, weight_parts
from .intrinsics import block_x, read_if, thread, where, write_if
from .lowering import BATCH, PLAIN, ceil_div, lowering
from .reorder import permute_step, zero_step

THREADS = 256


@dataclass(frozen=True)
class Sparse(Convolution):
    """A pass over rows of features; tap t of row m reads row ``pairs[t][m]`` of x, none if there is no such one.

    Filters lie as [out][tap][in].
    """

    @property
    def filter_size(self) -> Triple:
        return 1, 1, self.pairs.shape[0]

    @property
    def sizes(self) -> tuple[Triple, Triple]:
        return (1, 1, 1), (1, 1, self.x.batch)


def _rows_step(c: Sparse) -> None:
    correlate_step(replace(c, x=operand(c.program, c.x), w=operand(c.program, c.w)))


@lowering("sparse_conv", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv(program, node, inputs, outputs):
    features, weight, gather, _, *bias = inputs
    added = bias[0] if bias else None
    _rows_step(Sparse(program, FORWARD, {}, features, weight, outputs[0], added, flops=node.flops, pairs=gather))


@lowering("sparse_conv_input_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv_input_grad(program, node, inputs, outputs):
    grad, weight, _, scatter = inputs
    taps, channels, results = scatter.shape[0], outputs[0].channels, grad.channels
    turned = program.whole(weight.dtype, weight.elements)
    permute_step(program, weight, turned, (channels, taps, results), (1, channels, taps * channels))
    _rows_step(Sparse(program, FORWARD, {}, grad, turned, outputs[0], flops=node.flops, pairs=scatter))


@lowering("sparse_conv_weight_grad", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sparse_conv_weight_grad(program, node, inputs, outputs):
    grad, features, gather, _ = inputs
    x, g = operand(program, features), operand(program, grad)
    partial, parts = weight_parts(Sparse(program, WEIGHTS, {}, x, outputs[0], g, flops=node.flops, pairs=gather))
    add_parts_step(program, partial, parts, outputs[0], gather.shape[0] * features.channels, 1)


@kernel
def sites_of_dense(T, back):
    """Features to or (``back``) from their places in an array in NHWC; a number of a site a thread.

    ``columns`` numbers are a site's image and place; leading dimensions may be missing.
    """

    @block(THREADS, 8)
    def loop(
        x: Pointer, indices: INT64, y: Pointer, size: int, channels: int, batch: int, sizes: Ints(3), columns: int
    ):
        at = block_x() * THREADS + thread()
        exists = at < size
        site, c = at // channels, at % channels
        pixel = read_if(exists, indices, site * columns)
        inside = exists & (pixel >= 0) & (pixel < batch)
        for d in range(3):
            column = d + columns - 3
            place = read_if(exists & (column > 0), indices, site * columns + where(column > 0, column, 0))
            inside = inside & (place >= 0) & (place < sizes[d])
            pixel = pixel * sizes[d] + place
        if back:
            write_if(exists, y, at, read_if(inside, x, pixel * channels + c))
        else:
            write_if(inside, y, pixel * channels + c, read_if(inside, x, at))

    return loop


def _sites(program, inputs, y, dense, back: bool) -> None:
    x, indices = inputs
    features = y if back else x
    constants = (features.elements, dense.channels, dense.batch, *three(dense.spatial, 1), indices.shape[1])
    made = sites_of_dense(y.dtype, back=back)
    program.launch(made, ceil_div(features.elements, THREADS), (x, indices), (y,), constants)


@lowering("sparse_to_dense", inputs=(PLAIN,), outputs=(BATCH,))
def lower_sparse_to_dense(program, node, inputs, outputs):
    zero_step(program, outputs[0])
    _sites(program, inputs, outputs[0], outputs[0], back=False)


@lowering("sparse_from_dense", inputs=(BATCH, PLAIN), outputs=(PLAIN,))
def lower_sparse_from_dense(program, node, inputs, outputs):
    _sites(program, inputs, outputs[0], inputs[0], back=True)
