"""Numbers moved between dimensions, in NumPy's order: one kernel for every permutation, an element a thread."""

from ..rearrange import permutation, reordered
from .compiler import Ints, Pointer, block, kernel
from .intrinsics import block_x, read_if, thread, write_if
from .lowering import PLAIN, ceil_div, lowering

THREADS = 256


@kernel
def move(T, rank):
    """y from what lies ``strides`` apart in x; sizes and strides of ``rank`` dimensions, the last one first."""

    @block(THREADS, 4)
    def loop(x: Pointer, y: Pointer, n: int, sizes: Ints(rank), strides: Ints(rank)):
        at = block_x() * THREADS + thread()
        rest, place = at, at * 0
        for d in range(rank):
            quotient = rest // sizes[d]
            place = place + (rest - quotient * sizes[d]) * strides[d]
            rest = quotient
        write_if(at < n, y, at, read_if(at < n, x, place))

    return loop


def _move(program, x, y, sizes, strides) -> None:
    made = move(y.dtype, rank=len(sizes))
    program.launch(made, ceil_div(y.elements, THREADS), (x,), (y,), (y.elements, *sizes[::-1], *strides[::-1]))


@lowering("permute", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_permute(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    _move(program, x, y, *permutation(node.attrs["dims"], x.shape))


@lowering("pixel_shuffle", "pixel_unshuffle", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_pixel_shuffle(program, node, inputs, outputs):
    """Letters: images n, channels c, rows h and columns w, rows i and columns j of a square."""
    r, shuffle = node.attrs["factor"], node.op.name == "pixel_shuffle"
    few, many = (outputs[0], inputs[0]) if shuffle else (inputs[0], outputs[0])  # channels
    h, w = many.spatial
    sizes = {"n": few.batch, "c": few.channels, "h": h, "w": w, "i": r, "j": r}
    source, target = ("ncijhw", "nchiwj") if shuffle else ("nchiwj", "ncijhw")
    _move(program, inputs[0], outputs[0], *reordered(sizes, source, target))


@lowering("channel_shuffle", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_channel_shuffle(program, node, inputs, outputs):
    x, groups = inputs[0], node.attrs["groups"]
    sizes = {"b": x.batch, "g": groups, "c": x.channels // groups, "r": x.pixels}
    _move(program, x, outputs[0], *reordered(sizes, "bgcr", "bcgr"))
