"""Fractional max pooling: every plane has windows of its own, so planes lie one by one, in NumPy's order."""

import math

from ..convolution import three
from .compiler import INT32, INT64, Ints, Pointer, block, kernel
from .counter import share_at, stream_of, word_at
from .intrinsics import block_x, f32, i32, i64, read_if, read_wide, thread, where, write_if
from .lowering import PLAIN, ceil_div, lowering
from .math import floor

THREADS = 256


@kernel
def starts(T, samples, shuffled, dimensions):
    """Where windows begin and the last one ends; a plane a thread.

    ``samples``: the source holds a number in [0, 1) for each plane and dimension; else it is a random key.  The number
    of dimension d is the ``order[d]``-th.  A kernel of size 0 stands for windows that end where the next begin.
    """
    kind = Pointer if samples else INT64

    def given(source, stream, inside, sample, at):
        return read_if(inside, source, sample)

    def random(source, stream, inside, sample, at):
        return share_at(stream, i64(at))

    drawn = given if samples else random

    @block(THREADS, 4)
    def loop(
        source: kind, out: INT64, planes: int, total: int, salt: int,
        size: Ints(3), windows: Ints(3), kernel_size: Ints(3), order: Ints(3),
    ):  # fmt: skip
        plane = block_x() * THREADS + thread()
        inside = plane < planes
        stream = i64(0)
        if not samples:
            stream = stream_of(read_wide(source, 0), read_wide(source, 1), i64(salt))
        at = plane * total
        for before in range(dimensions):
            d = 3 - dimensions + before
            # the last window that overlaps begins where it just fits; those that are disjoint cover all pixels
            span = size[d] - kernel_size[d]
            count = windows[d] - i32(kernel_size[d] > 0)
            if shuffled:  # steps of two neighbouring whole numbers, drawn as one draws balls from an urn
                short = span // where(count > 0, count, 1)
                longer, place = span - short * count, i32(plane * 0)
                for i in range(count):
                    write_if(inside, out, at + i, place)
                    share = (word_at(stream, i64(at + i)) * i64(count - i)) >> 32
                    step = i32(share < i64(longer))
                    place, longer = place + short + step, longer - step
            else:
                u = drawn(source, stream, inside, plane * dimensions + order[d], at)
                alpha = f32(span) / f32(count)
                for i in range(count):
                    write_if(inside, out, at + i, i32(floor((f32(i) + u) * alpha)) - i32(floor(u * alpha)))
            write_if(inside & (kernel_size[d] > 0), out, at + count, span)
            write_if(inside, out, at + windows[d], size[d])
            at = at + windows[d] + 1

    return loop


@kernel
def pool(T, overlapping, volumes):
    """The largest number of every window and where it stands; an output a thread.

    ``most`` bounds the windows' sizes.  ``overlapping``: they are exactly of that size; else they end where the next
    ones begin.
    """

    @block(THREADS, 4)
    def loop(
        x: Pointer, begins: INT64, y: Pointer, indices: INT32,
        n: int, total: int, size: Ints(3), windows: Ints(3), most: Ints(3),
    ):  # fmt: skip
        at = block_x() * THREADS + thread()
        inside = at < n
        line = at // windows[2]
        frame = line // windows[1]
        plane = frame // windows[0]
        table, pixels = plane * total, size[0] * size[1] * size[2]
        d, d_end = i32(0), i32(1)
        if volumes:
            place = table + (frame - plane * windows[0])
            d, d_end = read_if(inside, begins, place), read_if(inside, begins, place + 1)
            table = table + windows[0] + 1
        place = table + (line - frame * windows[1])
        h, h_end = read_if(inside, begins, place), read_if(inside, begins, place + 1)
        place = table + windows[1] + 1 + (at - line * windows[2])
        w, w_end = read_if(inside, begins, place), read_if(inside, begins, place + 1)
        if overlapping:
            d_end, h_end, w_end = d + most[0], h + most[1], w + most[2]
        found = (d * size[1] + h) * size[2] + w
        top = read_if(inside, x, plane * pixels + found)
        for i in range(most[0]):
            for j in range(most[1]):
                for k in range(most[2]):
                    within = inside & (d + i < d_end) & (h + j < h_end) & (w + k < w_end)
                    pixel = ((d + i) * size[1] + (h + j)) * size[2] + (w + k)
                    v = read_if(within, x, plane * pixels + pixel)
                    better = within & ((v > top) | ((v != v) & (top == top)))
                    top, found = where(better, v, top), where(better, pixel, found)
        write_if(inside, y, at, top)
        write_if(inside, indices, at, found)

    return loop


@lowering("fractional_starts", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_fractional_starts(program, node, inputs, outputs):
    attrs, out = node.attrs, outputs[0]
    dimensions = len(attrs["size"])
    # PyTorch's order of samples: columns before rows for images, planes, rows, columns for volumes
    order = (0, 1, 0) if dimensions == 2 else (0, 1, 2)
    kernel_size = three(attrs["kernel"] or (0,) * dimensions, 1)
    samples, planes = inputs[0].dtype.kind == "f", math.prod(attrs["planes"])
    made = starts(attrs["dtype"], samples=samples, shuffled=attrs["shuffled"], dimensions=dimensions)
    constants = (
        planes, out.shape[2], attrs["salt"], *three(attrs["size"], 1), *three(attrs["output_size"], 1), *kernel_size,
        *order,
    )  # fmt: skip
    program.launch(made, ceil_div(planes, THREADS), inputs, outputs, constants)


@lowering("fractional_max_pool", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_fractional_max_pool(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    sizes, windows, kernel_size = x.spatial, y.spatial, node.attrs["kernel"]
    # a window that ends where the next begins has one pixel more than all have on average, the last one two at most
    most = kernel_size or [n // m + 2 for n, m in zip(sizes, windows, strict=True)]
    made = pool(y.dtype, overlapping=kernel_size is not None, volumes=len(sizes) == 3)
    constants = (y.elements, inputs[1].shape[2], *three(sizes, 1), *three(windows, 1), *three(most, 1))
    program.launch(made, ceil_div(y.elements, THREADS), inputs, outputs, constants, node.flops)
