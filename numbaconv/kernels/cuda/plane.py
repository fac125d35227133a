"""Numbers put to and taken from places of their planes.

Who scatters would need atomic additions, whose order differs from run to run.  So each thread has a range of a plane's
pixels of its own, looks at all places of the plane, and puts there what falls into its range, in order.
"""

from .compiler import INT32, INT64, Pointer, block, kernel
from .intrinsics import block_x, block_y, minimum, read_if, thread, write_if
from .lowering import BATCH, SAME, Buffer, ceil_div, lowering, shared_layout
from .reorder import convert_step

THREADS = 256

#: Threads that keep a device busy, and the most ranges that a plane is cut into: all of them read all places.
BUSY, MOST_RANGES = 1 << 18, 32


def ranges_of(planes: int, pixels: int) -> tuple[int, int]:
    """(ranges, pixels of one): what a plane is cut into, so that enough threads have something to do."""
    ranges = max(1, min(MOST_RANGES, ceil_div(BUSY, max(planes, 1)), pixels))
    run = ceil_div(pixels, ranges)
    return ceil_div(pixels, max(run, 1)), run


def plane_at(plane, line, pixels):
    """Where a plane's first pixel lies; the next ones are ``line`` apart (1 in NumPy's order, the channels in NHWC)."""
    image = plane // line
    return image * pixels * line + (plane - image * line)


@kernel
def scatter(T, index, add):
    """Values at (``add``: added at) their places, zeros elsewhere; a range (block_y) of a plane's pixels a thread."""
    kind = Pointer(index)

    @block(THREADS, 4)
    def loop(values: Pointer, indices: kind, y: Pointer, planes: int, line: int, count: int, pixels: int, run: int):
        plane = block_x() * THREADS + thread()
        inside = plane < planes
        low = block_y() * run
        high = minimum(low + run, pixels)
        from_, to = plane_at(plane, line, count), plane_at(plane, line, pixels)
        for before in range(run):
            write_if(inside & (low + before < high), y, to + (low + before) * line, 0.0)
        for i in range(count):
            place = read_if(inside, indices, from_ + line * i)
            own = inside & (place >= low) & (place < high)
            v = read_if(own, values, from_ + line * i)
            if add:
                v = v + read_if(own, y, to + place * line)
            write_if(own, y, to + place * line, v)

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
    add, planes = node.op.name == "plane_add", y.batch * y.channels
    ranges, run = ranges_of(planes, y.pixels)
    sums = program.sums_of(y) if add else y
    constants = (planes, line_of(values, indices, y), values.pixels, y.pixels, run)
    made = scatter(y.dtype, index=indices.dtype.name, add=add)
    program.launch(made, (ceil_div(planes, THREADS), ranges), inputs, (sums,), constants, node.flops)
    if sums is not y:
        convert_step(program, sums, y)


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
