"""Forward passes and input gradients whose operands the hardware copies (TMA), multiplied by warpgroups (sm_90a).

``correlate`` of ``implicit_gemm.py`` has all threads gather chunks.  Here one thread asks for all rows of a stage by
two instructions: pixels by a map of the image that knows padding and strides (im2col), filters by one of their three
dimensions.  Both swizzle as wgmma reads, and put zeros where there is nothing: beside the image, behind the last
channel, the last pixel and the last filter.  So a stage is some channels of one tap.

Two mbarriers a stage take the place of barriers of the whole block: one counts the bytes that arrive, one the warps
that have read them.  A stage is filled again two steps after it was read, so warpgroups may be a step apart, and one
multiplies while another waits.  The first thread asks beside its products: that takes a few dozen cycles of the
hundreds of a step, and a warp that did nothing else would save no more.
"""

from ..convolution import Convolution
from ..cpu.geometry import taps_at
from ..device import TensorMap
from .compiler import FLOAT32, TENSOR_MAP, Pointer, block, kernel
from .implicit_gemm import make_results
from .intrinsics import (
    barrier,
    block_x,
    copy_box_if,
    copy_pixels_if,
    i32,
    map_acquire_if,
    mbarrier_arrive_if,
    mbarrier_expect_if,
    mbarrier_fence,
    mbarrier_init_if,
    mbarrier_wait_if,
    registers,
    shared,
    thread,
    where,
)
from .tile import CHUNK_BYTES, WARP, Tile, make_tile

#: Bytes of an mbarrier.
BARRIER_BYTES = 8

#: What the hardware takes of corners, offsets of taps, and steps of images (cuTensorMapEncodeIm2col, rank 4).
CORNERS, OFFSETS, STEPS = range(-128, 128), range(256), range(1, 9)


@kernel
def correlate_boxes(T, result, tile, width, activation, bias, addend, homes):
    """A block: a tile of output pixels and channels.

    Memory, ``result``, T and ``width``: as for ``correlate``, of one group, two dimensions and one phase.  x and w are
    read by their maps alone.  Output (p, q) meets the first tap in memory's order at (``low`` + p or q * ``index`` +
    ``first``), the next ones ``step`` further on; all these are rows, then columns.
    """
    Result, tile = Pointer(result), Tile(*tile)
    multiply, spread = make_tile(tile, by_row=False)

    def same(m, geometry):
        return m

    write_results = make_results(tile, spread, width, activation, bias, addend, same)
    rows, tile_columns, stage_depth, stages = tile.rows, tile.columns, tile.depth, tile.stages
    left_bytes, stage_bytes, sums_count = tile.left_bytes, tile.stage_bytes, tile.sums
    last, ahead, warps = stages - 1, stages - 2, tile.threads // WARP
    arrived_at = tile.shared_bytes
    left_at = arrived_at + stages * BARRIER_BYTES

    @block(tile.threads, tile.resident, left_at + stages * BARRIER_BYTES, "a")
    def loop(
        x: Pointer, w: Pointer, bias_at: FLOAT32, addend_at: Result, y: Result, images: TENSOR_MAP, filters: TENSOR_MAP,
        all_rows: int, depth: int, columns: int, y_pitch: int, size_h: int, size_w: int, low_h: int, low_w: int,
        index_h: int, index_w: int, taps_h: int, taps_w: int, first_h: int, first_w: int, step_h: int, step_w: int,
    ):  # fmt: skip
        t = thread()
        tiles_across = (columns + (tile_columns - 1)) // tile_columns
        first_row = (block_x() // tiles_across) * rows
        first_column = (block_x() % tiles_across) * tile_columns
        ring = shared()
        arrived, left = ring + arrived_at, ring + left_at

        asks = t == 0
        for s in range(stages):
            mbarrier_init_if(asks, arrived + s * BARRIER_BYTES, 1)
            mbarrier_init_if(asks, left + s * BARRIER_BYTES, warps)
        mbarrier_fence()
        map_acquire_if(asks, images)
        map_acquire_if(asks, filters)
        barrier()

        # -------- where copies begin, and along taps and channels go on
        q, rest = first_row % size_w, first_row // size_w
        h, v, n = (rest % size_h) * index_h + low_h, q * index_w + low_w, rest // size_h
        c, tap, tap_w, down, right = i32(0), i32(0), i32(0), i32(first_h), i32(first_w)

        sums = registers(sums_count)
        filling, reading = i32(0), i32(0)  # stages
        filling_round, reading_round = i32(0), i32(0)  # odd or even
        steps = ((depth + (stage_depth - 1)) // stage_depth) * taps_h * taps_w
        step = i32(-ahead)
        while step < steps:
            # -------- copies of the stage that all warps have left
            is_wanted = asks & (step + ahead < steps)
            to, here = ring + filling * stage_bytes, arrived + filling * BARRIER_BYTES
            mbarrier_wait_if(is_wanted, left + filling * BARRIER_BYTES, filling_round ^ 1)
            mbarrier_expect_if(is_wanted, here, stage_bytes)
            copy_pixels_if(is_wanted, to, images, here, c, v, h, n, right, down)
            copy_box_if(is_wanted, to + left_bytes, filters, here, c, tap, first_column)
            c += stage_depth
            over = c >= depth
            c, tap, tap_w = where(over, 0, c), tap + i32(over), tap_w + i32(over)
            right = where(over, right + step_w, right)
            over = tap_w >= taps_w
            tap_w, right, down = where(over, 0, tap_w), where(over, first_w, right), where(over, down + step_h, down)
            over = filling == last
            filling, filling_round = where(over, 0, filling + 1), filling_round ^ i32(over)
            # -------- products of the stage that has arrived
            if step >= 0:
                mbarrier_wait_if(t >= 0, arrived + reading * BARRIER_BYTES, reading_round)
                multiply(sums, ring + reading * stage_bytes, ring + (reading * stage_bytes + left_bytes))
                mbarrier_arrive_if((t & (WARP - 1)) == 0, left + reading * BARRIER_BYTES)
                over = reading == last
                reading, reading_round = where(over, 0, reading + 1), reading_round ^ i32(over)
            step += 1
        write_results(
            sums, ring, first_row, first_column, all_rows, columns, 0, bias_at, addend_at, y, y_pitch, 0
        )

    return loop


# ------------------------------------------------------------------------------------------ which passes, by which maps


def _line(dimension: tuple[int, ...]) -> tuple[int, int, int, int, int]:
    """Of a dimension of one phase: ``low``, ``first`` and ``step`` as the kernel takes them, and both corners."""
    out, size, taps, _, _, index_step, stride, *_ = dimension
    start, _, _ = taps_at(dimension, 0)
    reach = min(0, (taps - 1) * stride)  # taps of an input gradient go down: offsets begin at the last one's place
    low = start + reach
    return low, -reach, stride, low, low + (out - 1) * index_step - (size - 1)


def serves(c: Convolution) -> bool:
    """Whether the hardware's copies can gather what a pass reads."""
    (out_d, in_d, taps_d, *_), *plane = c.dimensions
    itemsize = c.x.dtype.itemsize
    if c.pairs is not None or c.groups > 1 or out_d * in_d * taps_d > 1 or any(d[3] > 1 for d in c.dimensions):
        return False
    if c.x.channels * itemsize % CHUNK_BYTES or not c.x.elements or not c.y.elements:
        return False
    for d in plane:
        _, first, stride, *corners = _line(d)
        offsets = first, first + (d[2] - 1) * stride
        if d[5] not in STEPS or any(at not in CORNERS for at in corners) or any(at not in OFFSETS for at in offsets):
            return False
    return True


def maps_and_sizes(c: Convolution, tile: Tile) -> tuple:
    """The kernel's arguments behind its pointers, of which the first two are the operands."""
    _, (out_h, in_h, taps_h, _, _, index_h, *_), (out_w, in_w, taps_w, _, _, index_w, *_) = c.dimensions
    (low_h, first_h, step_h, *corners_h), (low_w, first_w, step_w, *corners_w) = map(_line, c.dimensions[1:])
    depth, columns = c.x.channels, c.y.channels
    corners = (corners_w[0], corners_h[0]), (corners_w[1], corners_h[1])
    sizes = depth, in_w, in_h, c.x.batch
    images = TensorMap(0, c.x.dtype, sizes, (tile.depth, tile.rows), corners, (index_w, index_h))
    filters = TensorMap(1, c.w.dtype, (depth, taps_h * taps_w, columns), (tile.depth, 1, tile.columns))
    return (
        images, filters, c.y.batch * out_h * out_w, depth, columns, columns, out_h, out_w, low_h, low_w,
        index_h, index_w, taps_h, taps_w, first_h, first_w, step_h, step_w,
    )  # fmt: skip
