"""Numbers put to and taken from places of their planes.

In NumPy's order the pixels of a plane are contiguous, and a plane is taken as a whole; in lanes the planes of a pixel
are, and are walked together.
"""

from .lowering import BATCH, SAME, lowering
from .native import INT32, INT64, Pointer, kernel
from .target import LANES
from .vector import at, fetch, pick, store

_INDICES = {"int32": INT32, "int64": INT64}


@kernel
def scatter(T, index, add, in_lanes):
    """Values at (``add``: added at) their places, zeros elsewhere; a unit is a plane of ``planes``.

    In NumPy's order so many planes are ``sharing`` their places.
    """
    kind = _INDICES[index]

    def in_turn(
        begin, end, block: int, first: int, values: Pointer, indices: kind, out: Pointer,
        count: int, pixels: int, planes: int, sharing: int,
    ):  # fmt: skip
        for plane in range(begin, end):
            given, found = at(values, plane * count), at(out, plane * pixels)
            places = at(indices, plane // sharing * count)
            for i in range(pixels):
                found[i] = 0.0
            for i in range(count):
                place = places[i]
                if 0 <= place < pixels:
                    found[place] = found[place] + given[i] if add else given[i]

    def together(
        begin, end, block: int, first: int, values: Pointer, indices: kind, out: Pointer,
        count: int, pixels: int, planes: int, sharing: int,
    ):  # fmt: skip
        for i in range(pixels):
            for plane in range(begin, end):
                out[i * planes + plane] = 0.0
        for i in range(count):
            for plane in range(begin, end):
                place = indices[i * planes + plane]
                if 0 <= place < pixels:
                    to = place * planes + plane
                    out[to] = out[to] + values[i * planes + plane] if add else values[i * planes + plane]

    return together if in_lanes else in_turn


@kernel
def gather(T, index, in_lanes):
    """What stands at places of planes; a unit is a plane of ``planes``, ``sharing`` as for ``scatter``."""
    kind = _INDICES[index]

    def in_turn(
        begin, end, block: int, first: int, x: Pointer, indices: kind, y: Pointer,
        count: int, pixels: int, planes: int, sharing: int,
    ):  # fmt: skip
        for plane in range(begin, end):
            given, found = at(x, plane * pixels), at(y, plane * count)
            places = at(indices, plane // sharing * count)
            whole = count // LANES * LANES
            stretch = pixels * LANES // max(1, count)
            for i in range(0, whole, LANES):
                if sharing > 1:  # places in any order: the next plane comes into the cache from its first to its last
                    for k in range(0, stretch, LANES):
                        fetch(given, pixels + i // LANES * stretch + k)
                store(found, i, pick(given, places, i, pixels))
            for i in range(whole, count):
                place = places[i]
                inside = 0 <= place < pixels
                v = given[place if inside else 0]
                found[i] = v if inside else 0.0

    def together(
        begin, end, block: int, first: int, x: Pointer, indices: kind, y: Pointer,
        count: int, pixels: int, planes: int, sharing: int,
    ):  # fmt: skip
        for i in range(count):
            for plane in range(begin, end):
                place = indices[i * planes + plane]
                inside = 0 <= place < pixels
                v = x[(place if inside else 0) * planes + plane]
                y[i * planes + plane] = v if inside else 0.0

    return together if in_lanes else in_turn


def _planes(buffer) -> int:
    """The planes of one copy of a buffer."""
    return buffer.channels * (buffer.lanes if buffer.layout == BATCH else buffer.shape[0])


def scatter_step(program, values, indices, out, add: bool, sharing: int = 1) -> None:
    """Append the step that puts values to (``add``: adds them at) their places in ``out``."""
    in_lanes = out.layout == BATCH
    step = scatter(out.dtype, index=str(indices.dtype), add=add, in_lanes=in_lanes)
    constants = (values.pixels, out.pixels, _planes(out), sharing)
    program.step(step, (values, indices), (out,), constants, _planes(out))


def gather_step(program, x, indices, y, sharing: int = 1) -> None:
    """Append the step that takes ``y`` from places in ``x``."""
    step = gather(y.dtype, index=str(indices.dtype), in_lanes=y.layout == BATCH)
    program.step(step, (x, indices), (y,), (y.pixels, x.pixels, _planes(y), sharing), _planes(y))


@lowering("plane_put", "plane_add", inputs=(SAME,), outputs=(SAME,))
def lower_scatter(program, node, inputs, outputs):
    scatter_step(program, *inputs, *outputs, add=node.op.name == "plane_add")


@lowering("plane_pick", inputs=(SAME,), outputs=(SAME,))
def lower_gather(program, node, inputs, outputs):
    gather_step(program, *inputs, *outputs)


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
