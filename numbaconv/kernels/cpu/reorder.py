"""Reorders between NumPy's order and what kernels read: batches with images or channels in lanes, and filters."""

import math

from .compiler import inline
from .lowering import BATCH, FILTER, FILTER_LINES, FILTER_TRANSPOSED, PLAIN, Buffer, ceil_div
from .native import Ints, Pointer, kernel
from .runs import copy_run
from .target import LANES
from .vector import at, transpose

#: Pixels that one unit of a reorder moves.
RUN = 8 * LANES


@kernel
def reorder_batch(T, back):
    """batch[pixel][plane][i] = plain[i][plane][pixel], or ``back``; a unit is ``RUN`` pixels.

    ``i`` counts ``lines`` images or channels, of which at most ``total`` - block * lines exist; the others become zero.
    """
    zero = T.type(0)

    @inline
    def single(batch, plain, exists):
        if back:
            if exists:
                plain[0] = batch[0]
        else:
            batch[0] = plain[0] if exists else zero

    def loop(
        begin, end, block: int, first: int, source: Pointer, target: Pointer,
        pixels: int, planes: int, lines: int, total: int,
        plain_block: int, plain_line: int, plain_plane: int, batch_pixel: int, batch_plane: int,
    ):  # fmt: skip
        batch, plain = (source, at(target, block * plain_block)) if back else (target, at(source, block * plain_block))
        valid = min(lines, total - block * lines)
        for unit in range(begin, end):
            p_begin, p_end = unit * RUN, min(pixels, (unit + 1) * RUN)
            if lines == 1 and planes == 1:  # both orders are the same
                one, other = (batch, plain) if back else (plain, batch)
                copy_run(at(one, p_begin), at(other, p_begin), p_end - p_begin)
                continue
            for p in range(p_begin, p_end, LANES):
                p = max(0, min(p, pixels - LANES))  # the last tile may repeat some of its neighbour's pixels
                for plane in range(planes):
                    to, of = at(batch, p * batch_pixel + plane * batch_plane), at(plain, plane * plain_plane + p)
                    if pixels >= LANES and valid == lines and lines >= LANES:
                        for i in range(0, lines, LANES):
                            i = min(i, lines - LANES)
                            if back:
                                transpose(at(to, i), batch_pixel, at(of, i * plain_line), plain_line)
                            else:
                                transpose(at(of, i * plain_line), plain_line, at(to, i), batch_pixel)
                    else:
                        for i in range(lines):
                            for k in range(min(LANES, pixels - p)):
                                single(at(to, k * batch_pixel + i), at(of, i * plain_line + k), i < valid)

    return loop


@kernel
def permute(T):
    """target[i, j, k] = source[i, j, k] with any strides; a unit is an i.

    At most ``total`` - block * k of the last dimension exist; where ``fill``, the others become zero.
    """

    def loop(
        begin, end, block: int, first: int, source: Pointer, target: Pointer,
        sizes: Ints(2), total: int, fill: int, source_strides: Ints(4), target_strides: Ints(4),
    ):  # fmt: skip
        rows, columns = sizes
        valid = min(columns, total - block * columns)
        s_block, s_i, s_j, s_k = source_strides
        t_block, t_i, t_j, t_k = target_strides
        for i in range(begin, end):
            for j in range(rows):
                s = block * s_block + i * s_i + j * s_j
                t = block * t_block + i * t_i + j * t_j
                for k in range(valid):
                    target[t + k * t_k] = source[s + k * s_k]
                if fill:
                    for k in range(valid, columns):
                        target[t + k * t_k] = 0

    return loop


@kernel
def pack(T):
    """A filter in vectors of channels, [vector][tap][summed][lane] or with vectors and taps exchanged.

    A unit is a vector.  Strides are the source's of channels, summed channels and taps; ``to_vector`` and ``to_tap``
    the target's.
    """

    def loop(
        begin, end, block: int, first: int, source: Pointer, target: Pointer,
        channels: int, summed: int, taps: int, channel_stride: int, summed_stride: int, tap_stride: int,
        to_vector: int, to_tap: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            c = unit * LANES
            valid = min(LANES, channels - c)
            to = at(target, unit * to_vector)
            for d in range(summed):
                for t in range(taps):
                    place = t * to_tap + d * LANES
                    for k in range(valid):
                        to[place + k] = source[(c + k) * channel_stride + d * summed_stride + t * tap_stride]
                    for k in range(valid, LANES):
                        to[place + k] = 0

    return loop


def _permute(program, source, target, units, rows, columns, total, fill, source_strides, target_strides) -> None:
    constants = (rows, columns, total, int(fill), *source_strides, *target_strides)
    program.step(permute(source.dtype), (source,), (target,), constants, units)


def reorder_step(program, source: Buffer, target: Buffer) -> None:
    """Append the step that brings a value from one layout into another; one of them is NumPy's order."""
    back = source.layout == BATCH
    batch, plain = (source, target) if back else (target, source)
    assert plain.layout == PLAIN
    if batch.layout == BATCH:
        pixels, channels, lanes = batch.pixels, batch.channels, batch.lanes
        if lanes > 1:
            planes, lines, total = channels, lanes, batch.batch
        else:  # channels, all of which exist in every image
            planes, lines, total = 1, channels, batch.batch * channels
        if pixels == 1:  # tiles go along the longer side
            pixels, planes, lines = channels, 1, lanes
        # a whole value is addressed by the block here; the runner advances values that lie in blocks
        strides = (lanes * channels * batch.pixels, planes * pixels, pixels, planes * lines, lanes)
        constants = (pixels, planes, lines, total, *strides)
        program.step(reorder_batch(source.dtype, back=back), (source,), (target,), constants, ceil_div(pixels, RUN))
        return
    outputs, inputs = target.shape[:2]
    taps = math.prod(target.shape[2:])
    strides_of = {"out": inputs * taps, "in": taps, "tap": 1}
    if target.lanes > 1:  # [out][taps][in]
        sizes, order, line = (outputs, taps, inputs), ("out", "tap", "in"), inputs
    elif target.layout in (FILTER, FILTER_TRANSPOSED):
        vectors, summed = ("out", "in") if target.layout == FILTER else ("in", "out")
        counts = {"out": outputs, "in": inputs}
        line = counts[summed] * LANES
        pack_step(
            program, source, target, (counts[vectors], counts[summed], taps),
            (strides_of[vectors], strides_of[summed], 1), (taps * line, line),
        )  # fmt: skip
        return
    elif target.layout == FILTER_LINES:  # [taps][in][out, padded]
        sizes, order = (taps, inputs, outputs), ("tap", "in", "out")
        line = ceil_div(outputs, LANES) * LANES
    else:  # [taps][out][in, padded]
        sizes, order = (taps, outputs, inputs), ("tap", "out", "in")
        line = ceil_div(inputs, LANES) * LANES
    plain_strides = (0, *(strides_of[axis] for axis in order))
    filter_strides = (0, sizes[1] * line, line, 1)
    _permute(program, source, target, sizes[0], sizes[1], line, sizes[2], True, plain_strides, filter_strides)


def pack_step(program, source: Buffer, target: Buffer, sizes, strides, places) -> None:
    """Append a ``pack`` of ``sizes`` (channels, summed channels, taps) from strides to places, see there."""
    constants = (*sizes, *strides, *places)
    program.step(pack(source.dtype), (source,), (target,), constants, ceil_div(sizes[0], LANES))


@kernel
def copy(T):
    """A unit is 1024 elements."""

    def loop(begin, end, block: int, first: int, source: Pointer, target: Pointer, n: int):
        for i in range(begin * 1024, min(n, end * 1024)):
            target[i] = source[i]

    return loop


def copy_step(program, source: Buffer, target: Buffer) -> None:
    """Append a copy of a whole value."""
    program.step(copy(source.dtype), (source,), (target,), (source.elements,), ceil_div(source.elements, 1024))
