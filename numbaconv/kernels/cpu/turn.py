"""Matrices turned: a batch with images in lanes such that channels lie in vectors, a filter such that outputs do.

The images of a pixel lie one after another (``turned``), or the pixels of an image (``rows_of``).
"""

from typing import NamedTuple

from .lowering import Buffer, ceil_div
from .native import Pointer, kernel
from .target import LANES
from .vector import at, transpose


@kernel
def turn_pixels(T):
    """[pixels][channels][lanes] to vectors of ``row`` channels (padded); a unit is a vector of a pixel's channels.

    ``pixel`` and ``image`` are the elements from a pixel, and from an image of a block, to the next one.

    Channels are read in whole vectors: in the padding stands what lies behind a pixel.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, row: int, pixel: int, image: int
    ):  # fmt: skip
        vectors = row // LANES
        for unit in range(begin, end):
            place = unit // vectors
            c = (unit - place * vectors) * LANES
            transpose(at(x, (place * channels + c) * LANES), LANES, at(y, place * pixel + c), image)

    return loop


def turned(program, x) -> Buffer:
    """A batch with the images of each pixel one after another, channels in vectors."""
    row = ceil_div(x.channels, LANES) * LANES
    turned = program.per_block(x, x.pixels * LANES * row)
    _turn(program, x, turned, row, LANES * row, row)
    return turned


def _turn(program, x, turned: Buffer, row: int, pixel: int, image: int) -> None:
    constants = (x.channels, row, pixel, image)
    program.step(turn_pixels(x.dtype), (x,), (turned,), constants, x.pixels * row // LANES, late=True)


@kernel
def turn_back(T):
    """[images][pixels][channels, padded] to [pixels][channels][lanes]; a unit is a pixel."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, pixel: int, image: int):
        whole = channels // LANES * LANES
        for place in range(begin, end):
            of, to = at(x, place * pixel), at(y, place * LANES * channels)
            for c in range(0, whole, LANES):
                transpose(at(of, c), image, at(to, c * LANES), LANES)
            for c in range(whole, channels):
                for lane in range(LANES):
                    to[c * LANES + lane] = of[lane * image + c]

    return loop


class Rows(NamedTuple):
    """A batch whose pixels' channels lie one after another, image by image; ``images`` of them share a block.

    ``pixel`` and ``image`` are the elements from a pixel, and from an image of a block, to the next one.
    """

    buffer: Buffer
    pixel: int
    image: int
    images: int


def rows_of(program, x) -> Rows:
    """``x`` with channels in vectors, turned if images lie in lanes."""
    rows = rows_for(program, x)
    if rows.buffer is not x:
        _turn(program, x, rows.buffer, rows.pixel, rows.pixel, rows.image)
    return rows


def rows_for(program, y) -> Rows:
    """Memory for the rows of ``y``; see ``put_back``."""
    if y.lanes == 1:
        return Rows(y, y.channels, 0, 1)
    row = ceil_div(y.channels, LANES) * LANES
    image = y.pixels * row + LANES  # a vector more: images begin in different sets of a cache
    return Rows(program.per_block(y, LANES * image), row, image, LANES)


def put_back(program, rows: Rows, y) -> None:
    """Append the step that brings the rows written in ``rows_for(program, y)`` into ``y``."""
    if rows.buffer is not y:
        program.step(turn_back(y.dtype), (rows.buffer,), (y,), (y.channels, rows.pixel, rows.image), y.pixels)


@kernel
def exchange(T):
    """A filter [out][taps][in] as [in][taps][out]; a unit is a vector of inputs."""

    def loop(begin, end, block: int, first: int, w: Pointer, u: Pointer, outputs: int, taps: int, inputs: int):
        for unit in range(begin, end):
            c = unit * LANES
            for t in range(taps):
                source, to = at(w, t * inputs + c), at(u, (c * taps + t) * outputs)
                for k in range(0, outputs, LANES):
                    if k + LANES <= outputs and c + LANES <= inputs:
                        transpose(at(source, k * taps * inputs), taps * inputs, at(to, k), taps * outputs)
                    else:
                        for i in range(min(LANES, inputs - c)):
                            for o in range(k, min(k + LANES, outputs)):
                                to[i * taps * outputs + o] = source[o * taps * inputs + i]

    return loop
