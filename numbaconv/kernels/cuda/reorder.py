"""Reorders: between NumPy's order, NHWC and filters; copies; one number everywhere."""

import math
from collections.abc import Sequence

import numpy as np

from .compiler import NUMBERS, Ints, Pointer, block, kernel
from .intrinsics import (
    barrier,
    block_x,
    block_y,
    block_z,
    read,
    read_if,
    read_shared,
    read_vector_if,
    shared,
    thread,
    write_if,
    write_shared,
)
from .lowering import BATCH, FILTER_TRANSPOSED, PLAIN, Buffer, ceil_div

THREADS = 256
TILE = 32
#: From this many rows and columns on, a transposition of numbers goes through shared memory.
LEAST_TILED = 8


@kernel
def transpose(T):
    """target[b][j][i] = source[b][i][j], a tile of 32 x 32 a block: both are read and written along their rows."""
    step = THREADS // TILE

    @block(THREADS, 8, TILE * (TILE + 1) * 4)
    def loop(source: Pointer, target: Pointer, rows: int, columns: int):
        x, y = thread() % TILE, thread() // TILE
        i0, j0, first = block_z() * TILE, block_y() * TILE, block_x() * rows * columns
        for k in range(0, TILE, step):
            i, j = i0 + y + k, j0 + x
            value = read_if((i < rows) & (j < columns), source, first + i * columns + j)
            write_shared(shared() + ((y + k) * (TILE + 1) + x) * 4, value)  # one word of padding: no bank conflicts
        barrier()
        for k in range(0, TILE, step):
            i, j = i0 + x, j0 + y + k
            value = read_shared(shared() + (x * (TILE + 1) + y + k) * 4)
            write_if((i < rows) & (j < columns), target, first + j * rows + i, value)

    return loop


@kernel
def permute(T):
    """target[i][j][k] = source at i, j, k times its strides; an element a thread."""

    @block(THREADS, 8)
    def loop(source: Pointer, target: Pointer, n: int, rows: int, columns: int, strides: Ints(3)):
        at = block_x() * THREADS + thread()
        line = at // columns
        k, i = at % columns, line // rows
        j = line % rows
        inside = at < n
        write_if(inside, target, at, read_if(inside, source, i * strides[0] + j * strides[1] + k * strides[2]))

    return loop


def transpose_step(program, source: Buffer, target: Buffer, batch: int, rows: int, columns: int) -> None:
    """Append [batch][rows][columns] to [batch][columns][rows]."""
    if min(rows, columns) >= LEAST_TILED and source.dtype in NUMBERS:
        grid = (batch, ceil_div(columns, TILE), ceil_div(rows, TILE))
        program.launch(transpose(source.dtype), grid, (source,), (target,), (rows, columns))
    else:
        strides = (rows * columns, 1, columns)
        permute_step(program, source, target, (batch, columns, rows), strides)


def permute_step(program, source: Buffer, target: Buffer, sizes: Sequence[int], strides: Sequence[int]) -> None:
    """Append the step that brings three dimensions of ``sizes``, which lie ``strides`` apart, into C order."""
    n = math.prod(sizes)
    program.launch(permute(source.dtype), ceil_div(n, THREADS), (source,), (target,), (n, *sizes[1:], *strides))


def reorder_step(program, source: Buffer, target: Buffer) -> None:
    """Append the step that brings a value from one layout into another; one of them is NumPy's order."""
    if source.layout == BATCH:
        assert target.layout == PLAIN
        transpose_step(program, source, target, source.batch, source.pixels, source.channels)
    elif target.layout == BATCH:
        transpose_step(program, source, target, target.batch, target.channels, target.pixels)
    else:
        outputs, inputs = target.shape[:2]
        taps = math.prod(target.shape[2:])
        if target.layout == FILTER_TRANSPOSED:  # [in][taps][out]
            permute_step(program, source, target, (inputs, taps, outputs), (taps, 1, inputs * taps))
        else:
            transpose_step(program, source, target, outputs, inputs, taps)


@kernel
def copy(T):
    """An element a thread."""

    @block(THREADS, 8)
    def loop(source: Pointer, target: Pointer, n: int):
        i = block_x() * THREADS + thread()
        write_if(i < n, target, i, read_if(i < n, source, i))

    return loop


@kernel
def convert(T, width):
    """Numbers of one precision as those of another, ``width`` a thread."""

    @block(THREADS, 8)
    def loop(source: Pointer, target: Pointer, n: int):
        i = (block_x() * THREADS + thread()) * width
        write_if(i < n, target, i, read_vector_if(i < n, source, i, width))

    return loop


@kernel
def fill(T):
    """source[0] everywhere; an element a thread."""

    @block(THREADS, 8)
    def loop(source: Pointer, target: Pointer, n: int):
        i = block_x() * THREADS + thread()
        write_if(i < n, target, i, read(source, 0))

    return loop


def words_of(buffer: Buffer) -> tuple[str, int]:
    """What a value of any dtype can be moved as: the dtype and number of words."""
    size = buffer.elements * buffer.dtype.itemsize
    return ("int32", size // 4) if buffer.dtype.itemsize % 4 == 0 else ("uint8", size)


def copy_step(program, source: Buffer, target: Buffer) -> None:
    """Append a copy of a whole value."""
    dtype, words = words_of(source)
    program.launch(copy(dtype), ceil_div(words, THREADS), (source,), (target,), (words,))


def convert_step(program, source: Buffer, target: Buffer) -> None:
    """Append a copy of a whole value in another precision."""
    width = 4 if source.elements % 4 == 0 else 1
    grid = ceil_div(source.elements, THREADS * width)
    program.launch(convert("float32", width=width), grid, (source,), (target,), (source.elements,))


def fill_step(program, number: Buffer, target: Buffer) -> None:
    """Append a step that writes one number everywhere."""
    grid = ceil_div(target.elements, THREADS)
    program.launch(fill(target.dtype), grid, (number,), (target,), (target.elements,))


def zero_step(program, target: Buffer) -> None:
    """Append a step that fills a value with zeros."""
    dtype, words = words_of(target)
    zero = program.constant(np.zeros(1, dtype))
    program.launch(fill(dtype), ceil_div(words, THREADS), (zero,), (target,), (words,))


__all__ = ["convert_step", "copy_step", "fill_step", "permute_step", "reorder_step", "transpose_step", "zero_step"]
