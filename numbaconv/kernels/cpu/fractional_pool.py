"""Fractional max pooling: every plane has windows of its own, so planes are taken one by one, in NumPy's order."""

import math

from numba import from_dtype

from .compiler import inline
from .counter import share_at, stream_of, word_at
from .geometry import three
from .lowering import PLAIN, lowering
from .native import INT32, INT64, Ints, Pointer, kernel


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
    """The largest number of every window and where it stands; a unit is a plane (of volumes: all its images)."""

    def loop(
        begin, end, block: int, first: int, x: Pointer, begins: INT64, y: Pointer, indices: INT32,
        size: Ints(3), windows: Ints(3), kernel_size: Ints(3), total: int,
    ):  # fmt: skip
        rows_at = windows[0] + 1 if volumes else 0
        columns_at = rows_at + windows[1] + 1
        pixels = size[0] * size[1] * size[2]
        for plane in range(begin, end):
            table = plane * total
            to = plane * windows[0] * windows[1] * windows[2]
            for od in range(windows[0]):
                d_begin, d_end = 0, 1
                if volumes:
                    d_begin = begins[table + od]
                    d_end = d_begin + kernel_size[0] if overlapping else begins[table + od + 1]
                for oh in range(windows[1]):
                    h_begin = begins[table + rows_at + oh]
                    h_end = h_begin + kernel_size[1] if overlapping else begins[table + rows_at + oh + 1]
                    for ow in range(windows[2]):
                        w_begin = begins[table + columns_at + ow]
                        w_end = w_begin + kernel_size[2] if overlapping else begins[table + columns_at + ow + 1]
                        place = (d_begin * size[1] + h_begin) * size[2] + w_begin
                        top = x[plane * pixels + place]
                        for d in range(d_begin, d_end):
                            for h in range(h_begin, h_end):
                                row = (d * size[1] + h) * size[2]
                                for w in range(w_begin, w_end):
                                    v = x[plane * pixels + row + w]
                                    if v > top or (v != v and top == top):
                                        top, place = v, row + w
                        y[to] = top
                        indices[to] = place
                        to += 1

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
    program.step(step, inputs, outputs, constants, math.prod(x.shape[:2]))
