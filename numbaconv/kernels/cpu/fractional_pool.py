"""Fractional max pooling: every plane has windows of its own, so planes are taken one by one, in NumPy's order."""

import math

import numpy as np
from numba import from_dtype

from .compiler import inline
from .counter import share_at, stream_of, word_at
from .geometry import three
from .lowering import PLAIN, ceil_div, lowering
from .native import INT32, INT64, Ints, Pointer, kernel
from .target import LANES
from .vector import at, bits, integers_of, load, pick, store_first, where


@inline
def _shuffled(out, at, span, count, stream, position):
    """``count`` steps over ``span`` pixels, each one of two neighbouring whole numbers, in a random order."""
    low = span // max(count, 1)
    longer = span - low * count  # steps that are one longer, drawn as one draws balls from an urn
    place = 0
    for i in range(count):
        out[at + i] = place
        place += low
        if (word_at(stream, position + i) * (count - i)) >> 32 < longer:
            place += 1
            longer -= 1


@kernel
def starts(T, samples, shuffled):
    """Where windows begin and the last one ends; a unit is a plane.

    ``samples``: the source holds a number in [0, 1) for each plane and dimension; else it is a random key.  The number
    of dimension d is the ``order[d]``-th.  A kernel of size 0 stands for windows that end where the next begin.
    """
    real = from_dtype(T)
    kind = Pointer if samples else INT64

    def loop(
        begin, end, block: int, first: int, source: kind, out: INT64,
        size: Ints(3), windows: Ints(3), kernel_size: Ints(3), order: Ints(3), dimensions: int, total: int, salt: int,
    ):  # fmt: skip
        stream = 0 if samples else stream_of(source[0], source[1], salt)
        for plane in range(begin, end):
            at = plane * total
            for d in range(3 - dimensions, 3):
                # the last window that overlaps begins where it just fits; those that are disjoint cover all pixels
                span = size[d] - kernel_size[d]
                count = windows[d] - 1 if kernel_size[d] > 0 else windows[d]
                if shuffled:
                    _shuffled(out, at, span, count, stream, at)
                else:
                    u = source[plane * dimensions + order[d]] if samples else real(share_at(stream, at))
                    alpha = real(span) / real(count)
                    for i in range(count):
                        out[at + i] = int((real(i) + u) * alpha) - int(u * alpha)
                if kernel_size[d] > 0:
                    out[at + count] = span
                out[at + windows[d]] = size[d]
                at += windows[d] + 1

    return loop


@kernel
def pool(T, overlapping, volumes):
    """The largest number of every window and where it stands; a unit is a plane (of volumes: all its images).

    Windows of a row are walked together, a lane each; ``columns`` has room for where they begin, in whole vectors, and
    behind that for how wide they are.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, begins: INT64, y: Pointer, indices: INT32, columns: INT64,
        size: Ints(3), windows: Ints(3), kernel_size: Ints(3), total: int,
    ):  # fmt: skip
        rows_at = windows[0] + 1 if volumes else 0
        columns_at = rows_at + windows[1] + 1
        room = (windows[2] + LANES - 1) // LANES * LANES
        pixels = size[0] * size[1] * size[2]
        for plane in range(begin, end):
            table, image = plane * total, at(x, plane * pixels)
            to = plane * windows[0] * windows[1] * windows[2]
            widest = kernel_size[2]
            for ow in range(room):
                start = begins[table + columns_at + min(ow, windows[2] - 1)]
                width = kernel_size[2]
                if not overlapping:
                    width = begins[table + columns_at + min(ow, windows[2] - 1) + 1] - start
                    widest = max(widest, width)
                columns[ow], columns[room + ow] = start, width
            for od in range(windows[0]):
                d_begin, d_end = 0, 1
                if volumes:
                    d_begin = begins[table + od]
                    d_end = d_begin + kernel_size[0] if overlapping else begins[table + od + 1]
                for oh in range(windows[1]):
                    h_begin = begins[table + rows_at + oh]
                    h_end = h_begin + kernel_size[1] if overlapping else begins[table + rows_at + oh + 1]
                    for ow in range(0, windows[2], LANES):
                        start = (d_begin * size[1] + h_begin) * size[2]
                        top = pick(at(image, start), columns, ow, size[2])
                        offset = integers_of(bits(top), load(columns, ow))
                        width = integers_of(offset, load(columns, room + ow))
                        place = offset + start
                        for d in range(d_begin, d_end):
                            for h in range(h_begin, h_end):
                                row = (d * size[1] + h) * size[2]
                                for w in range(widest):
                                    v = pick(at(image, row + w), columns, ow, size[2] - w)
                                    better = (v > top) | ((v != v) & (top == top))
                                    if not overlapping:
                                        better = better & (width > w)
                                    top, place = where(better, v, top), where(better, offset + (row + w), place)
                        store_first(y, to, top, windows[2] - ow)
                        store_first(indices, to, integers_of(indices, place), windows[2] - ow)
                        to += min(LANES, windows[2] - ow)

    return loop


@lowering("fractional_starts", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_fractional_starts(program, node, inputs, outputs):
    attrs = node.attrs
    dimensions = len(attrs["size"])
    samples = inputs[0].dtype.kind == "f"
    # PyTorch's order of samples: columns before rows for images, planes, rows, columns for volumes
    order = (0, 1, 0) if dimensions == 2 else (0, 1, 2)
    kernel_size = three(attrs["kernel"] or (0,) * dimensions, 1)
    step = starts(attrs["dtype"], samples=samples, shuffled=attrs["shuffled"])
    constants = (
        *three(attrs["size"], 1), *three(attrs["output_size"], 1), *kernel_size, *order, dimensions,
        outputs[0].shape[2], attrs["salt"],
    )  # fmt: skip
    program.step(step, inputs, outputs, constants, math.prod(attrs["planes"]))


@lowering("fractional_max_pool", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_fractional_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    kernel_size = node.attrs["kernel"]
    step = pool(y.dtype, overlapping=kernel_size is not None, volumes=len(x.spatial) == 3)
    kernel_size = three(kernel_size or (0,) * len(x.spatial), 1)
    constants = (*three(x.spatial, 1), *three(y.spatial, 1), *kernel_size, inputs[1].shape[2])
    columns = program.per_thread(np.dtype(np.int64), 2 * ceil_div(y.spatial[-1], LANES) * LANES)
    program.step(step, inputs, (*outputs, columns), constants, math.prod(x.shape[:2]))
