"""A batch with images in lanes turned such that channels lie in vectors, the images of a pixel one after another."""

from typing import NamedTuple

from .lowering import Buffer, ceil_div
from .native import Pointer, kernel
from .target import LANES
from .vector import at, transpose


@kernel
def turn_pixels(T):
    """[pixels][channels][lanes] to [pixels][lanes][channels, padded]; a unit is a vector of a pixel's channels.

    Channels are read in whole vectors: in the padding stands what lies behind a pixel.
    """

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, row: int):
        vectors = row // LANES
        for unit in range(begin, end):
            pixel = unit // vectors
            c = (unit - pixel * vectors) * LANES
            transpose(at(x, (pixel * channels + c) * LANES), LANES, at(y, pixel * LANES * row + c), row)

    return loop


def turned(program, x) -> Buffer:
    """A batch with the images of each pixel one after another, channels in vectors."""
    row = ceil_div(x.channels, LANES) * LANES
    turned = program.per_block(x, x.pixels * LANES * row)
    program.step(turn_pixels(x.dtype), (x,), (turned,), (x.channels, row), x.pixels * row // LANES, late=True)
    return turned


@kernel
def turn_back(T):
    """[pixels][lanes][channels, padded] to [pixels][channels][lanes]; a unit is a pixel."""

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, channels: int, row: int):
        whole = channels // LANES * LANES
        for pixel in range(begin, end):
            source, target = at(x, pixel * LANES * row), at(y, pixel * LANES * channels)
            for c in range(0, whole, LANES):
                transpose(at(source, c), row, at(target, c * LANES), LANES)
            for c in range(whole, channels):
                for lane in range(LANES):
                    target[c * LANES + lane] = source[lane * row + c]

    return loop


class Rows(NamedTuple):
    """A batch whose pixels' channels lie one after another; ``images`` of them share a block.

    ``pixel`` and ``image`` are the elements from a pixel, and from an image of a block, to the next one.
    """

    buffer: Buffer
    pixel: int
    image: int
    images: int


def rows_of(program, x) -> Rows:
    """``x`` with channels in vectors, turned if images lie in lanes."""
    return Rows(x, x.channels, 0, 1) if x.lanes == 1 else _rows(turned(program, x), x)


def rows_for(program, y) -> Rows:
    """Memory for the rows of ``y``; see ``put_back``."""
    if y.lanes == 1:
        return rows_of(program, y)
    return _rows(program.per_block(y, y.pixels * LANES * ceil_div(y.channels, LANES) * LANES), y)


def _rows(buffer: Buffer, like: Buffer) -> Rows:
    row = ceil_div(like.channels, LANES) * LANES
    return Rows(buffer, LANES * row, row, LANES)


def put_back(program, rows: Rows, y) -> None:
    """Append the step that brings the rows written in ``rows_for(program, y)`` into ``y``."""
    if rows.buffer is not y:
        program.step(turn_back(y.dtype), (rows.buffer,), (y,), (y.channels, rows.image), y.pixels)
