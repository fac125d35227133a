"""Numbers put to and taken from places of their planes.

In NumPy's order the pixels of a plane are contiguous, and a plane is taken as a whole; in lanes the planes of a pixel
are, and are walked together.
"""

from .lowering import BATCH, SAME, lowering
from .native import INT32, INT64, Ints, Pointer, kernel

_INDICES = {"int32": INT32, "int64": INT64}


def _planes(buffer) -> tuple[int, int, int]:
    """(planes, distance of planes, distance of pixels) of one copy of a buffer."""
    if buffer.layout == BATCH:
        line = buffer.channels * buffer.lanes
        return line, 1, line
    return buffer.shape[0] * buffer.channels, buffer.pixels, 1


@kernel
def scatter(T, index, add, in_lanes):
    """Values at (``add``: added at) their places, zeros elsewhere; a unit is a plane."""
    kind = _INDICES[index]

    def loop(
        begin, end, block: int, first: int, values: Pointer, indices: kind, out: Pointer,
        count: int, pixels: int, value_steps: Ints(2), out_steps: Ints(2),
    ):  # fmt: skip
        value_plane, value_pixel = value_steps
        out_plane, out_pixel = out_steps
        # the contiguous dimension is the inner one: runs of planes in lanes, pixels of a plane else
        outer, inner = (1, end - begin) if in_lanes else (end - begin, 1)
        for plane in range(begin, begin + outer):
            for i in range(pixels):
                for j in range(inner):
                    out[(plane + j) * out_plane + i * out_pixel] = 0.0
            for i in range(count):
                for j in range(inner):
                    at = (plane + j) * value_plane + i * value_pixel
                    place = indices[at]
                    if 0 <= place < pixels:
                        to = (plane + j) * out_plane + place * out_pixel
                        out[to] = out[to] + values[at] if add else values[at]

    return loop


@kernel
def gather(T, index, in_lanes):
    """What stands at places of planes; a unit is a plane."""
    kind = _INDICES[index]

    def loop(
        begin, end, block: int, first: int, x: Pointer, indices: kind, y: Pointer,
        count: int, pixels: int, x_steps: Ints(2), y_steps: Ints(2),
    ):  # fmt: skip
        outer, inner = (1, end - begin) if in_lanes else (end - begin, 1)
        for plane in range(begin, begin + outer):
            for i in range(count):
                for j in range(inner):
                    at = (plane + j) * y_steps[0] + i * y_steps[1]
                    place = indices[at]
                    y[at] = x[(plane + j) * x_steps[0] + place * x_steps[1]] if 0 <= place < pixels else 0.0

    return loop


@lowering("plane_put", "plane_add", inputs=(SAME,), outputs=(SAME,))
def lower_scatter(program, node, inputs, outputs):
    (values, indices), out = inputs, outputs[0]
    add, in_lanes = node.op.name == "plane_add", out.layout == BATCH
    step = scatter(out.dtype, index=str(indices.dtype), add=add, in_lanes=in_lanes)
    planes, *steps = _planes(out)
    program.step(step, inputs, outputs, (values.pixels, out.pixels, *_planes(values)[1:], *steps), planes)


@lowering("plane_pick", inputs=(SAME,), outputs=(SAME,))
def lower_gather(program, node, inputs, outputs):
    (x, indices), y = inputs, outputs[0]
    step = gather(y.dtype, index=str(indices.dtype), in_lanes=y.layout == BATCH)
    planes, *steps = _planes(y)
    program.step(step, inputs, outputs, (y.pixels, x.pixels, *_planes(x)[1:], *steps), planes)


WIDEN_UNIT = 1024  # indices that one unit makes wide


@kernel
def widen(T):
    """int32 as int64; a unit is ``WIDEN_UNIT`` of them."""

    def loop(begin, end, block: int, first: int, x: INT32, y: INT64, n: int):
        for i in range(begin * WIDEN_UNIT, min(n, end * WIDEN_UNIT)):
            y[i] = x[i]

    return loop


@lowering("wide_indices", inputs=(SAME,), outputs=(SAME,))
def lower_wide_indices(program, node, inputs, outputs):
    y = outputs[0]
    program.step(widen("int64"), inputs, outputs, (y.elements,), -(-y.elements // WIDEN_UNIT))
