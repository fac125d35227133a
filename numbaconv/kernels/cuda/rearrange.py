"""Numbers moved between dimensions, in NumPy's order: one kernel for every permutation, an element a thread."""

from ..rearrange import permutation, reordered
from .compiler import Pointer, block, kernel
from .elementwise import written_out
from .intrinsics import block_x, read_if, thread, write_if
from .lowering import PLAIN, ceil_div, lowering

THREADS = 256


@kernel
def move(T, rank):
    """y, whose ``rank`` dimensions have sizes n0, n1 ..., from what lies s0, s1 ... apart in x."""
    sizes, strides = [f"n{d}" for d in range(rank)], [f"s{d}" for d in range(rank)]
    lines = [f"i = block_x() * {THREADS} + thread()", "rest, place = i, i * 0"]
    for size, stride in zip(reversed(sizes), reversed(strides), strict=True):
        lines += [f"quotient = rest // {size}", f"place = place + (rest - quotient * {size}) * {stride}"]
        lines.append("rest = quotient")
    lines.append("write_if(i < n, y, i, read_if(i < n, x, place))")
    names = {"block_x": block_x, "read_if": read_if, "thread": thread, "write_if": write_if}
    parameters = {"x": Pointer, "y": Pointer, **dict.fromkeys(["n", *sizes, *strides], int)}
    return block(THREADS, 4)(written_out(parameters, lines, names))


def _move(program, x, y, sizes, strides) -> None:
    made = move(y.dtype, rank=len(sizes))
    program.launch(made, ceil_div(y.elements, THREADS), (x,), (y,), (y.elements, *sizes, *strides))


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
