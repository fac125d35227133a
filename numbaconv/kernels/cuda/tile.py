"""The block tile: what all matrix products on a GPU are made of.

A block of threads calculates ``rows`` x ``columns`` sums of products.  It walks along the depth in steps of 128 bytes
of each operand's row, which asynchronous copies bring into a ring of ``stages`` in shared memory.  Each warp
multiplies its own part, ``warp_rows`` x ``warp_columns``, out of there: by tensor cores (mma.sync) or, in fp32, by
fused multiply-adds.

A stage of an operand with n rows takes n * 128 bytes however it lies.  A chunk is 16 bytes.

*By depth*: [row][depth], as pixels and filters of a forward pass lie in memory.  Chunk c of row r is kept at chunk
c ^ (r % 8).  The 8 rows that ldmatrix reads at once, or 8 lanes by wide loads, then lie in 8 different bank groups,
where straight rows of 128 bytes would all lie in one.

*By row*: [depth][row], as for weight gradients, whose depth is pixels.  Of 2-byte elements chunk c of line d is kept at
c ^ (d % 8), for ldmatrix's transposition.  The tensor cores' 4-byte elements are read word by word, from 4 lines and 8
rows at a time: chunk c at c ^ (2 (d % 4)) puts them on 32 different banks.
"""

from collections.abc import Callable
from typing import NamedTuple

from .intrinsics import (
    fma_tile,
    ldmatrix,
    ldmatrix_transposed,
    mma_tile,
    put,
    read_shared4,
    read_shared_word,
    registers,
    thread,
    wgmma_tile,
    words,
    write_shared,
    write_shared2,
    write_shared4,
)

WARP = 32

#: Bytes of an operand's row in a stage, and of a chunk, the widest access there is.
ROW_BYTES = 128
CHUNK_BYTES = 16

#: Rows that a warpgroup multiplies at once.
WARPGROUP_ROWS = 64

#: Rows and columns of an mma.sync, and steps of the tensor cores (32 bytes of depth) in a stage.
MMA_ROWS, MMA_COLUMNS = 16, 8
STEPS = 4

#: Lanes of a warp along rows and columns where each thread has a tile of its own (fp32).
LANE_ROWS, LANE_COLUMNS = 4, 8

#: Columns that pad a row of sums in shared memory, so that rows are 32 bytes apart modulo all banks: then the 8 bytes
#: that each lane writes of an mma.sync's sums, 4 lanes a row, lie on different banks.
SUMS_PADDING = 8

ITEMSIZE = {"fp32": 4, "tf32": 4, "bf16": 2, "fp16": 2}


class Tile(NamedTuple):
    """Sizes of a block tile, known when a kernel is compiled.

    kind: "fp32" (fused multiply-adds), "tf32", "bf16" or "fp16" (tensor cores; sums are float32).
    resident: how many blocks a multiprocessor is to hold; it bounds the registers of a thread.
    wgmma: products by warpgroups (4 warps, sm_90a), straight from shared memory; a warp has 16 rows of all columns.
    """

    kind: str
    rows: int
    columns: int
    warp_rows: int
    warp_columns: int
    stages: int
    resident: int
    wgmma: bool = False

    @property
    def itemsize(self) -> int:
        return ITEMSIZE[self.kind]

    @property
    def warps_down(self) -> int:
        return self.rows // self.warp_rows

    @property
    def threads(self) -> int:
        return WARP * self.warps_down * (self.columns // self.warp_columns)

    @property
    def chunk(self) -> int:
        """Elements of a chunk."""
        return CHUNK_BYTES // self.itemsize

    @property
    def depth(self) -> int:
        """Elements of depth in a stage."""
        return ROW_BYTES // self.itemsize

    @property
    def left_bytes(self) -> int:
        """Bytes of the left operand in a stage; the right one follows."""
        return self.rows * ROW_BYTES

    @property
    def stage_bytes(self) -> int:
        return (self.rows + self.columns) * ROW_BYTES

    @property
    def sums(self) -> int:
        """Sums of a thread."""
        return self.warp_rows * self.warp_columns // WARP

    @property
    def sums_pitch(self) -> int:
        """Bytes from one row of sums in shared memory to the next."""
        return (self.columns + SUMS_PADDING) * 4

    @property
    def shared_bytes(self) -> int:
        """What the ring of stages needs, and the sums after it is done with."""
        return max(self.stages * self.stage_bytes, self.rows * self.sums_pitch)


def make_place(tile: Tile, by_row: bool) -> Callable:
    """Device function ``place(line, chunk, width)``: where a chunk lies within an operand of a stage.

    ``line`` is a row of 128 bytes, or with ``by_row`` a line of ``width`` bytes.
    """
    two_bytes = tile.itemsize == 2

    def by_depth(line, chunk, width):
        return line * width + (chunk ^ (line & 7)) * CHUNK_BYTES

    def by_lines(line, chunk, width):
        return line * width + (chunk ^ ((line & 3) * 2)) * CHUNK_BYTES

    return by_lines if by_row and not two_bytes else by_depth


def make_tile(tile: Tile, by_row: bool) -> tuple[Callable, Callable]:
    """Device functions of a tile whose operands both lie by row, or both by depth.

    ``multiply(sums, left, right)`` adds the products of a stage's operands, which are at these addresses.
    ``spread(sums, at)`` writes the sums of all threads into shared memory, ``sums_pitch`` bytes a row.
    """
    warps_down, warp_rows, warp_columns = tile.warps_down, tile.warp_rows, tile.warp_columns

    def corner():
        """The first row and column of this thread's warp."""
        warp = thread() >> 5
        return (warp % warps_down) * warp_rows, (warp // warps_down) * warp_columns

    if tile.kind == "fp32":
        return _of_threads(tile, by_row, corner)
    return _of_warps(tile, by_row, corner)


# ------------------------------------------------------------------------------------------------ tensor cores


def _of_warps(tile: Tile, by_row: bool, corner: Callable) -> tuple[Callable, Callable]:
    kind, pitch, itemsize, chunk = tile.kind, tile.sums_pitch, tile.itemsize, tile.chunk
    down, across = tile.warp_rows // MMA_ROWS, tile.warp_columns // MMA_COLUMNS  # products of a warp
    pairs = across // 2  # ldmatrix brings the right operand of two products
    left_words, right_words = down * 4, across * 2
    left_line, right_line = tile.rows * itemsize, tile.columns * itemsize  # bytes, by row
    place = make_place(tile, by_row)
    columns = tile.columns

    def multiply_by_depth(sums, left, right):
        a, b = words(left_words), words(right_words)
        row, column = corner()
        lane = thread() & 31
        row += lane & 15
        column += (lane & 7) + ((lane >> 4) << 3)
        for step in range(STEPS):
            for i in range(down):
                put(a, i * 4, ldmatrix(left + place(row + i * MMA_ROWS, (lane >> 4) + step * 2, ROW_BYTES)))
            for j in range(pairs):
                at = place(column + j * (2 * MMA_COLUMNS), ((lane >> 3) & 1) + step * 2, ROW_BYTES)
                put(b, j * 4, ldmatrix(right + at))
            mma_tile(sums, a, b, down, across, kind)

    def multiply_by_row(sums, left, right):
        """2-byte elements: ldmatrix transposes."""
        a, b = words(left_words), words(right_words)
        row, column = corner()
        lane = thread() & 31
        matrix, line = lane >> 3, lane & 7
        for step in range(STEPS):
            first = step * 16 + line
            for i in range(down):
                at = place(first + (matrix >> 1) * 8, row // chunk + i * 2 + (matrix & 1), left_line)
                put(a, i * 4, ldmatrix_transposed(left + at))
            for j in range(pairs):
                at = place(first + (matrix & 1) * 8, column // chunk + j * 2 + (matrix >> 1), right_line)
                put(b, j * 4, ldmatrix_transposed(right + at))
            mma_tile(sums, a, b, down, across, kind)

    def word(operand, line, element, width):
        """The word of a 4-byte element."""
        return read_shared_word(operand + place(line, element >> 2, width) + (element & 3) * 4)

    def multiply_words_by_row(sums, left, right):
        """4-byte elements, which ldmatrix cannot transpose."""
        a, b = words(left_words), words(right_words)
        row, column = corner()
        lane = thread() & 31
        row += lane >> 2
        column += lane >> 2
        for step in range(STEPS):
            line = step * 8 + (lane & 3)
            for i in range(down):
                for part in range(4):  # rows + 8 first, then depth + 4
                    v = word(left, line + (part >> 1) * 4, row + i * MMA_ROWS + (part & 1) * 8, left_line)
                    put(a, i * 4 + part, v)
            for j in range(across):
                for part in range(2):
                    put(b, j * 2 + part, word(right, line + part * 4, column + j * MMA_COLUMNS, right_line))
            mma_tile(sums, a, b, down, across, kind)

    def multiply_by_warpgroups(sums, left, right):
        wgmma_tile(sums, left + (thread() >> 7) * (WARPGROUP_ROWS * ROW_BYTES), right, columns, kind)

    def spread(sums, at):
        row, column = corner()
        lane = thread() & 31
        at += (row + (lane >> 2)) * pitch + (column + (lane & 3) * 2) * 4
        for i in range(down):
            for j in range(across):
                for half in range(2):
                    s = (i * across + j) * 4 + half * 2
                    to = at + (i * MMA_ROWS + half * 8) * pitch + j * (MMA_COLUMNS * 4)
                    write_shared2(to, sums[s], sums[s + 1])

    if tile.wgmma:
        return multiply_by_warpgroups, spread
    if not by_row:
        return multiply_by_depth, spread
    return (multiply_by_row if itemsize == 2 else multiply_words_by_row), spread


# ------------------------------------------------------------------------------------------------ fused multiply-adds


def _of_threads(tile: Tile, by_row: bool, corner: Callable) -> tuple[Callable, Callable]:
    """Each thread has ``down`` x ``across`` sums.

    By depth its rows are ``LANE_ROWS`` apart and its columns ``LANE_COLUMNS``: the lanes of a wide load lie in
    different bank groups, or read the same.  By row, fours of rows and columns are contiguous.
    """
    down, across = tile.warp_rows // LANE_ROWS, tile.warp_columns // LANE_COLUMNS
    row_fours, column_fours = down // 4, across // 4
    pitch, left_line, right_line = tile.sums_pitch, tile.rows * 4, tile.columns * 4
    left_numbers, right_numbers = down * 4, across * 4
    chunks = ROW_BYTES // CHUNK_BYTES
    lines = tile.depth
    place = make_place(tile, by_row)

    def multiply_by_depth(sums, left, right):
        a, b = registers(left_numbers), registers(right_numbers)
        row, column = corner()
        lane = thread() & 31
        row += lane >> 3
        column += lane & 7
        for c in range(chunks):
            for i in range(down):
                v = read_shared4(left + place(row + i * LANE_ROWS, c, ROW_BYTES))
                for k in range(4):
                    put(a, k * down + i, v[k])
            for j in range(across):
                v = read_shared4(right + place(column + j * LANE_COLUMNS, c, ROW_BYTES))
                for k in range(4):
                    put(b, k * across + j, v[k])
            fma_tile(sums, a, b, down, across, 4)

    def multiply_by_row(sums, left, right):
        a, b = registers(left_numbers), registers(right_numbers)
        row, column = corner()
        lane = thread() & 31
        row = (row >> 2) + (lane >> 3)
        column = (column >> 2) + (lane & 7)
        for line in range(lines):
            for i in range(row_fours):
                put(a, i * 4, read_shared4(left + place(line, row + i * LANE_ROWS, left_line)))
            for j in range(column_fours):
                put(b, j * 4, read_shared4(right + place(line, column + j * LANE_COLUMNS, right_line)))
            fma_tile(sums, a, b, down, across, 1)

    def spread_by_depth(sums, at):
        row, column = corner()
        lane = thread() & 31
        at += (row + (lane >> 3)) * pitch + (column + (lane & 7)) * 4
        for i in range(down):
            for j in range(across):
                write_shared(at + i * (LANE_ROWS * pitch) + j * (LANE_COLUMNS * 4), sums[i * across + j])

    def spread_by_row(sums, at):
        row, column = corner()
        lane = thread() & 31
        at += (row + (lane >> 3) * 4) * pitch + (column + (lane & 7) * 4) * 4
        for i in range(down):
            for j in range(column_fours):
                to = at + ((i >> 2) * (LANE_ROWS * 4) + (i & 3)) * pitch + j * (LANE_COLUMNS * 16)
                s = i * across + j * 4
                write_shared4(to, sums[s], sums[s + 1], sums[s + 2], sums[s + 3])

    if by_row:
        return multiply_by_row, spread_by_row
    return multiply_by_depth, spread_by_depth
