"""Numbers put to and taken from places of their planes.

Who scatters would need atomic additions, whose order differs from run to run.  So each thread has a range of a plane's
pixels of its own, looks at all places of the plane, and adds up what falls into its range, in order.
"""

from collections.abc import Sequence

from .compiler import INT32, INT64, Pointer, block, kernel
from .intrinsics import block_x, block_y, minimum, read_if, thread, write_if
from .lowering import BATCH, SAME, Buffer, ceil_div, lowering, shared_layout
from .reorder import convert_step

THREADS = 256

#: Threads that keep a device busy, and the most ranges that a plane is cut into: all of them read all places.
BUSY, MOST_RANGES = 1 << 18, 32


def plane_at(plane, line, pixels):
    """Where a plane's first pixel lies; the next ones are ``line`` apart (1 in NumPy's order, the channels in NHWC)."""
    image = plane // line
    return image * pixels * line + (plane - image * line)


def range_of(planes, line, run, pixels):
    """This thread's plane and whether there is one; where that begins, and the range [low, high) of its pixels."""
    plane, low = block_x() * THREADS + thread(), block_y() * run
    return plane, plane < planes, plane_at(plane, line, pixels), low, minimum(low + run, pixels)


def clear_range(exists, y, first, line, low, high, run):
    """Write zeros into a thread's range."""
    for before in range(run):
        write_if(exists & (low + before < high), y, first + (low + before) * line, 0.0)


def add_in_range(counts, y, first, line, low, high, pixel, v):
    """Add v at a pixel, if it is one of the thread's range."""
    own = counts & (pixel >= low) & (pixel < high)
    at = first + pixel * line
    write_if(own, y, at, read_if(own, y, at) + v)


def ranges_step(
    program, made, operands: Sequence[Buffer], y: Buffer, line: int, constants: Sequence[int], flops: float
) -> None:
    """Append the launch of a kernel whose threads take ranges of planes of y.

    It reads operands, y, the number of planes, ``line``, pixels of a range, and constants.
    """
    planes = y.batch * y.channels
    ranges = max(1, min(MOST_RANGES, ceil_div(BUSY, max(planes, 1)), y.pixels))
    run = max(1, ceil_div(y.pixels, ranges))
    sums = program.sums_of(y)
    grid = (ceil_div(planes, THREADS), ceil_div(y.pixels, run))
    program.launch(made, grid, operands, (sums,), (planes, line, run, *constants), flops)
    if sums is not y:
        convert_step(program, sums, y)


@kernel
def scatter(T, index, add):
    """Values at (``add``: added at) their places, zeros elsewhere."""
    kind = Pointer(index)

    @block(THREADS, 4)
    def loop(values: Pointer, indices: kind, y: Pointer, planes: int, line: int, run: int, count: int, pixels: int):
        plane, exists, first, low, high = range_of(planes, line, run, pixels)
        clear_range(exists, y, first, line, low, high, run)
        from_ = plane_at(plane, line, count)
        for i in range(count):
            place, v = read_if(exists, indices, from_ + line * i), read_if(exists, values, from_ + line * i)
            if add:
                add_in_range(exists, y, first, line, low, high, place, v)
            else:
                write_if(exists & (place >= low) & (place < high), y, first + place * line, v)

    return loop


@kernel
def gather(T, index):
    """What stands at places of planes, zero where there is none; an element a thread."""
    kind = Pointer(index)

    @block(THREADS, 4)
    def loop(x: Pointer, indices: kind, y: Pointer, size: int, line: int, count: int, pixels: int):
        at = block_x() * THREADS + thread()
        inside = at < size
        image, c = at // (line * count), at % line
        place = read_if(inside, indices, at)
        found = inside & (place >= 0) & (place < pixels)
        write_if(inside, y, at, read_if(found, x, (image * pixels + place) * line + c))

    return loop


def line_of(*buffers: Buffer) -> int:
    """Elements from a pixel of a plane to the next, the planes of which come one after the other."""
    return buffers[0].channels if shared_layout(*buffers) == BATCH else 1


@lowering("plane_put", "plane_add", inputs=(SAME,), outputs=(SAME,))
def lower_scatter(program, node, inputs, outputs):
    (values, indices), y = inputs, outputs[0]
    made = scatter(y.dtype, index=indices.dtype.name, add=node.op.name == "plane_add")
    ranges_step(program, made, inputs, y, line_of(values, indices, y), (values.pixels, y.pixels), node.flops)


@lowering("plane_pick", inputs=(SAME,), outputs=(SAME,))
def lower_gather(program, node, inputs, outputs):
    (x, indices), y = inputs, outputs[0]
    constants = (y.elements, line_of(x, indices, y), y.pixels, x.pixels)
    made = gather(y.dtype, index=indices.dtype.name)
    program.launch(made, ceil_div(y.elements, THREADS), inputs, outputs, constants, node.flops)


@kernel
def widen(T):
    """int32 as int64; an element a thread."""

    @block(THREADS, 8)
    def loop(x: INT32, y: INT64, n: int):
        i = block_x() * THREADS + thread()
        write_if(i < n, y, i, read_if(i < n, x, i))

    return loop


@lowering("wide_indices", inputs=(SAME,), outputs=(SAME,))
def lower_wide_indices(program, node, inputs, outputs):
    n = outputs[0].elements
    program.launch(widen("int64"), ceil_div(n, THREADS), inputs, outputs, (n,))
