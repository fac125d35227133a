"""Local response normalisation: lanes hold images, or the pixels of one channel in NumPy's order."""

from .compiler import inline
from .lowering import BATCH, images_or_plain, lowering
from .math import exp, log
from .native import Pointer, kernel
from .target import LANES
from .vector import load, load_first, splat, store, store_first


@inline
def _squares(x, at, left, c, before, behind, channels, stride):
    """The sum of squares of the channels around c."""
    total = splat(x, 0.0)
    for j in range(max(0, c - before), min(channels, c + behind + 1)):
        v = load_first(x, at + j * stride, left)
        total = total + v * v
    return total


@kernel
def local_response_norm(T):
    """A unit is a pixel of a block, or an image."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        channels: int, stride: int, before: int, behind: int, share: float, beta: float, k: float,
    ):  # fmt: skip
        for unit in range(begin, end):
            for i in range(0, stride, LANES):
                at, left = unit * channels * stride + i, stride - i
                for c in range(channels):
                    total = _squares(x, at, left, c, before, behind, channels, stride)
                    v = load_first(x, at + c * stride, left)
                    store_first(y, at + c * stride, v * exp(-beta * log(total * share + k)), left)

    return loop


@kernel
def local_response_norm_grad(T):
    """With d = k + share * sum of squares: g d^-beta - 2 beta share x * sum of g x d^(-beta - 1) over channels around.

    ``room`` holds the numbers of that sum, a vector a channel.  A unit is a pixel of a block, or an image.
    """

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, room: Pointer, y: Pointer,
        channels: int, stride: int, before: int, behind: int, share: float, beta: float, k: float,
    ):  # fmt: skip
        for unit in range(begin, end):
            for i in range(0, stride, LANES):
                at, left = unit * channels * stride + i, stride - i
                for c in range(channels):
                    d = _squares(x, at, left, c, before, behind, channels, stride) * share + k
                    power = load_first(g, at + c * stride, left) * exp(-beta * log(d))
                    store_first(y, at + c * stride, power, left)
                    store(room, c * LANES, power * load_first(x, at + c * stride, left) / d)
                for c in range(channels):
                    # channel j has c around it where c has it on the other side
                    total = splat(x, 0.0)
                    for j in range(max(0, c - behind), min(channels, c + before + 1)):
                        total = total + load(room, j * LANES)
                    v = load_first(x, at + c * stride, left) * (-2.0 * beta * share) * total
                    store_first(y, at + c * stride, load_first(y, at + c * stride, left) + v, left)

    return loop


def _sizes(node, x) -> tuple[tuple, int]:
    """The kernels' constants, and units."""
    attrs = node.attrs
    size = attrs["size"]
    units, stride = (x.pixels, x.lanes) if x.layout == BATCH else (x.batch, x.pixels)
    behind = (size - 1) // 2
    return (x.channels, stride, size // 2, behind, attrs["alpha"] / size, attrs["beta"], attrs["k"]), units


@lowering("local_response_norm", inputs=images_or_plain, outputs=images_or_plain)
def lower_local_response_norm(program, node, inputs, outputs):
    constants, units = _sizes(node, inputs[0])
    program.step(local_response_norm(inputs[0].dtype), inputs, outputs, constants, units, flops=node.flops)


@lowering("local_response_norm_grad", inputs=images_or_plain, outputs=images_or_plain)
def lower_local_response_norm_grad(program, node, inputs, outputs):
    x = inputs[0]
    constants, units = _sizes(node, x)
    room = program.per_thread(x.dtype, x.channels * LANES)
    loop = local_response_norm_grad(x.dtype)
    program.step(loop, inputs, (room, *outputs), constants, units, flops=node.flops)
