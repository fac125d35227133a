"""Reorders between NumPy's order and batches with images or channels in lanes."""

from .compiler import inline
from .lowering import BATCH, PLAIN, Buffer, ceil_div
from .native import Pointer, kernel
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


def reorder_step(program, source: Buffer, target: Buffer) -> None:
    """Append the step that brings a value from one layout into another; one of them is NumPy's order."""
    back = source.layout == BATCH
    batch, plain = (source, target) if back else (target, source)
    assert plain.layout == PLAIN and batch.layout == BATCH
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
