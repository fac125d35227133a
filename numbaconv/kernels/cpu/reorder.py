"""Reorders: between NumPy's order, batches in lanes and filters; a permutation of three dimensions with strides."""

import math

from .lowering import BATCH, FILTER, FILTER_LINES, FILTER_TRANSPOSED, PLAIN, Buffer, ceil_div
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import at

#: Pixels that one unit of a reorder moves at most.
LONGEST_RUN = 512


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
    if source.layout == BATCH:
        batch, plain, back = source, target, True
    else:
        batch, plain, back = target, source, False
    assert plain.layout == PLAIN
    if batch.layout == BATCH:
        pixels, channels, lanes = batch.pixels, batch.channels, batch.lanes
        if lanes == 1:  # the innermost loop goes over pixels
            run = next(n for n in range(min(pixels, LONGEST_RUN), 0, -1) if pixels % n == 0) if pixels else 1
            plain_strides: tuple[int, ...] = (channels * pixels, run, pixels, 1)
            batch_strides = (0, run * channels, 1, channels)
            strides = (batch_strides, plain_strides) if back else (plain_strides, batch_strides)
            _permute(program, source, target, pixels // run, channels, run, batch.blocks * run, False, *strides)
            return
        # a whole value is addressed by the block here; the runner advances values that lie in blocks
        plain_strides = (lanes * channels * pixels, 1, pixels, channels * pixels)
        batch_strides = (0, channels * lanes, lanes, 1)
        strides = (batch_strides, plain_strides) if back else (plain_strides, batch_strides)
        _permute(program, source, target, pixels, channels, lanes, batch.batch, not back, *strides)
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
