"""Convolution in 1 to 3 dimensions and fully connected layers on a GPU: which tile, and how it is launched.

The kernels are in ``implicit_gemm.py``.  A fully connected layer is a convolution of one pixel, a 1x1 convolution one
of one tap: both are the same matrix product with less to gather.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from ..convolution import FORWARD, INPUT, WEIGHTS, Convolution
from ..cpu.geometry import taps_at
from ..elementwise import homes_of
from . import tma
from .compiler import FLOAT32, Pointer, block, kernel
from .depthwise import depthwise_step, depthwise_weight_parts, is_depthwise, serves, serves_weights
from .implicit_gemm import (
    FIELDS,
    FILTER_AT,
    FIRST,
    MASK_BITS,
    ROWS,
    SIZES,
    START,
    TAPS,
    correlate,
    correlate_weights,
)
from .intrinsics import block_x, f32, read_if, thread, write_if
from .lowering import BATCH, FILTER, FILTER_TRANSPOSED, OPERANDS, PLAIN, Buffer, ceil_div, lowering
from .reorder import convert_step
from .tile import CHUNK_BYTES, MMA_ROWS, Tile

#: Tiles by kind of arithmetic: (rows, columns, warp rows, warp columns, stages, resident blocks).  A warp's tile
#: decides what it reads of shared memory for each product, a block's tile what it reads of global memory; many stages
#: hide the way to memory, and two resident blocks hide each other's beginning and end.
TILES = {
    "fp32": ((128, 128, 32, 64, 3, 1), (128, 64, 32, 32, 2, 2), (128, 32, 32, 32, 3, 2), (64, 32, 32, 32, 3, 4)),
    "tensor": ((128, 128, 64, 64, 3, 2), (128, 64, 64, 32, 3, 2), (64, 64, 32, 32, 4, 2), (128, 32, 32, 32, 4, 2)),
}

#: Tiles for warpgroups, which read operands straight from shared memory: (rows, columns, stages, resident blocks).
WARPGROUP_TILES = ((128, 256, 4, 1), (128, 128, 3, 2), (128, 64, 4, 2))

#: The same for weight gradients, whose operands lie by row: lines of 2-byte elements need 64 rows and columns.
WEIGHT_TILES = {
    "fp32": ((128, 128, 32, 64, 2, 2), (64, 64, 32, 32, 3, 2), (64, 32, 32, 32, 3, 4)),
    "tensor": ((128, 128, 64, 64, 3, 2), (64, 128, 32, 32, 3, 2), (64, 64, 32, 32, 4, 2)),
}

#: Multiprocessors of the GPU that launches are laid out for (H100).  A constant, because the parts of a weight
#: gradient, and with them its last bits, must not depend on the GPU at hand.
MULTIPROCESSORS = 132

#: Steps along the depth that a part of a weight gradient takes at least, so that its ring of stages is worth filling.
LEAST_STEPS = 8

#: What a tile costs beyond its products, in rows and columns of products: operands come from memory.
OPERAND_COST = 24

THREADS = 256


def tiles_for(kind: str, candidate: str) -> list[Tile]:
    """The tiles that forward passes and input gradients choose from."""
    if candidate != "mma" and kind != "fp32":
        return [
            Tile(kind, rows, columns, MMA_ROWS, columns, stages, resident, wgmma=True)
            for rows, columns, stages, resident in WARPGROUP_TILES
        ]
    return [Tile(kind, *sizes) for sizes in TILES["fp32" if kind == "fp32" else "tensor"]]


def choose_tile(tiles: Sequence[Tile], rows: int, columns: int, copies: int) -> Tile:
    """The tile that is done first with ``copies`` products of rows x columns, by a count of rounds and operands.

    All resident blocks of a round take as long as their sums and operands; the last round is as long as a full one.
    """

    def cost(tile: Tile) -> float:
        blocks = ceil_div(rows, tile.rows) * ceil_div(columns, tile.columns) * copies
        rounds = ceil_div(blocks, MULTIPROCESSORS * tile.resident)
        work = tile.rows * tile.columns + OPERAND_COST * (tile.rows + tile.columns)
        return rounds * tile.resident * work

    return min(tiles, key=cost)


def tile_kind(dtype: np.dtype, precision: str) -> str:
    """The kind of arithmetic for operands of a dtype: "tf32" is a choice for float32, 2-byte numbers have one kind."""
    return {"float16": "fp16", "uint16": "bf16"}.get(dtype.name, "tf32" if precision == "tf32" else "fp32")


def copy_width(itemsize: int, *sizes: int) -> int:
    """Elements of a copy, at most 16 bytes: where all sizes are multiples of it, every row begins with a whole copy."""
    width = CHUNK_BYTES // itemsize
    while any(size % width for size in sizes):
        width //= 2
    return width


def store_width(*sizes: int) -> int:
    """Results that a thread writes at once."""
    return 4 if all(size % 4 == 0 for size in sizes) else 1


def check_size(*buffers: object) -> None:
    """Indices of kernels are 32 bits wide."""
    for buffer in buffers:
        if buffer.elements >= 1 << 31:  # type: ignore[attr-defined]
            raise ValueError(f"conv on the GPU: a value has {buffer.elements:,} elements, 2^31 are too many")  # type: ignore[attr-defined]


# ------------------------------------------------------------------------------------------ forward and input gradient


def filter_pitch(c: Convolution) -> int:
    """Elements from one tap of a filter to the next.

    A filter is [out][tap][in of a group]; that of an input gradient [in of a group][tap][out], of all groups.
    """
    return c.x.channels if c.transposed else c.x.channels // c.groups


def phase_table(c: Convolution) -> np.ndarray:
    """One row for each phase of output positions, as ``correlate`` reads it."""
    dimensions = c.dimensions
    filter_size = c.filter_size
    table = []
    for phase in itertools.product(*(range(d[3]) for d in dimensions)):
        row = [0] * FIELDS
        at, none = 0, False
        for i, (d, first) in enumerate(zip(dimensions, phase, strict=True)):
            start, first_tap, count = taps_at(d, first)
            row[SIZES + i] = max(0, ceil_div(d[0] - first, d[3]))
            row[START + i], row[FIRST + i] = start, first
            row[TAPS + i] = max(count, 1)  # a divisor
            none = none or count == 0
            at = at * filter_size[i] + first_tap
        row[ROWS] = c.y.batch * math.prod(row[SIZES : SIZES + 3])
        row[FILTER_AT] = at * filter_pitch(c)
        if none:
            row[TAPS] = 0
        table.append(row)
    return np.array(table, np.int32)


def correlate_step(c: Convolution) -> None:
    """Append the launch of a forward pass or input gradient."""
    x, w, y, dimensions = c.x, c.w, c.y, c.dimensions
    check_size(x, w, y)
    depth, columns = x.channels // c.groups, y.channels // c.groups
    table = phase_table(c)
    phases, rows = len(table), int(table[:, ROWS].max())
    kind = tile_kind(x.dtype, c.program.precision)
    tile = choose_tile(tiles_for(kind, c.program.candidate), rows, columns, phases * c.groups)
    (out_d, in_d, *_), (out_h, in_h, *_), (out_w, in_w, *_) = dimensions
    _, filter_h, filter_w = c.filter_size
    tap_step = [d[4] for d in dimensions]
    w_tap = filter_pitch(c)
    w_row = math.prod(c.filter_size) * w_tap
    w_group = depth if c.transposed else columns * w_row
    constants = {
        "result": y.dtype.name, "tile": tuple(tile), "width": store_width(columns, y.channels),
        "activation": c.activation, "bias": c.bias is not None, "addend": c.addend is not None,
        "homes": homes_of([(c.activation, ())]) if c.activation else (),
    }  # fmt: skip
    blocks = ceil_div(rows, tile.rows) * ceil_div(columns, tile.columns)
    # Without a bias, an addend or pairs the operands are still there, and not read.
    nothing = c.program.constant(np.zeros(1, np.float32))
    operands = x, w, c.bias or nothing, c.addend or y
    if c.program.candidate == "tma" and tile.wgmma and tma.serves(c):
        boxes = tma.correlate_boxes(x.dtype, **constants)
        c.program.launch(boxes, blocks, operands, (y,), tma.maps_and_sizes(c, tile), flops=c.flops)
        return
    made = correlate(
        x.dtype, vector=copy_width(x.dtype.itemsize, depth, x.channels),
        volume=in_d > 1 or out_d > 1 or c.filter_size[0] > 1, phased=phases > 1,
        masked=c.pairs is None and math.prod(c.filter_size) <= MASK_BITS, gathered=c.pairs is not None, **constants,
    )  # fmt: skip
    sizes = (
        phases, depth, columns, x.channels, y.channels, in_d, in_h, in_w,
        *(d[5] for d in dimensions), *(d[6] for d in dimensions),
        w_group, w_row, tap_step[0] * filter_h * filter_w * w_tap, tap_step[1] * filter_w * w_tap, tap_step[2] * w_tap,
        out_d, out_h, out_w, *(d[3] for d in dimensions),
    )  # fmt: skip
    phase = c.program.constant(table)
    inputs = (*operands, phase, c.pairs or phase)
    c.program.launch(made, (blocks, phases * c.groups), inputs, (y,), sizes, flops=c.flops)


# ------------------------------------------------------------------------------------------ weight gradient


def divide(divisor: int) -> tuple[int, int]:
    """(shift, factor) with n // divisor == ((2 n * factor) >> 32) >> shift for all 0 <= n < 2^31.

    Source: Granlund & Montgomery, Division by Invariant Integers using Multiplication, theorem 4.2.
    """
    shift = max(0, divisor - 1).bit_length()
    factor = ceil_div(1 << (31 + shift), divisor)
    return shift, factor - (1 << 32) if factor >= 1 << 31 else factor  # as a signed number


@kernel
def add_parts(T):
    """Sums of the parts of a weight gradient [part][out][tap][in], in order, as weight [out][in][tap]."""

    @block(THREADS, 8)
    def loop(partial: FLOAT32, w: Pointer, parts: int, size: int, inputs: int, taps: int):
        i = block_x() * THREADS + thread()
        inside = i < size
        tap, left = i % taps, i // taps
        c, out = left % inputs, left // inputs
        at = (out * taps + tap) * inputs + c
        total = f32(0.0)
        for part in range(parts):
            total = total + read_if(inside, partial, at + size * part)
        write_if(inside, w, i, total)

    return loop


def add_parts_step(program, partial: Buffer, parts: int, w: Buffer, inputs: int, taps: int) -> None:
    """Append the sum of parts of a gradient of so many inputs and taps for each output."""
    constants = (parts, w.elements, inputs, taps)
    program.launch(add_parts(w.dtype), ceil_div(w.elements, THREADS), (partial,), (w,), constants)


def weight_step(c: Convolution) -> None:
    """Append the launches of a weight gradient: partial sums of parts of the pixels, and their sum."""
    if serves_weights(c):
        partial, parts = depthwise_weight_parts(c)
    else:
        partial, parts = weight_parts(replace(c, x=operand(c.program, c.x), y=operand(c.program, c.y)))
    add_parts_step(c.program, partial, parts, c.w, c.x.channels // c.groups, math.prod(c.filter_size))


def weight_parts(c: Convolution):
    """Append the launch of a weight gradient's partial sums; gives their buffer and number."""
    x, g = c.x, c.y
    depth, outputs, taps = x.channels // c.groups, g.channels // c.groups, math.prod(c.filter_size)
    (size_d, size_h, size_w), (in_d, in_h, in_w) = c.sizes
    pixels = g.batch * size_d * size_h * size_w
    columns = taps * depth
    kind = tile_kind(x.dtype, c.program.precision)
    tiles = [Tile(kind, *sizes) for sizes in WEIGHT_TILES["fp32" if kind == "fp32" else "tensor"]]
    most_parts = max(1, ceil_div(pixels, tiles[0].depth) // LEAST_STEPS)
    tile = choose_tile(tiles, outputs, columns, c.groups * most_parts)
    blocks = ceil_div(outputs, tile.rows) * ceil_div(columns, tile.columns)
    steps = ceil_div(pixels, tile.depth)
    wanted = ceil_div(MULTIPROCESSORS * tile.resident, blocks * c.groups)
    parts = max(1, min(wanted, steps // LEAST_STEPS))
    part_steps = ceil_div(steps, parts)
    parts = ceil_div(steps, part_steps)
    partial = c.program.whole(np.dtype(np.float32), parts * g.channels * columns)
    check_size(x, g, partial)
    made = correlate_weights(
        x.dtype, tile=tuple(tile), g_vector=copy_width(x.dtype.itemsize, outputs, g.channels),
        x_vector=copy_width(x.dtype.itemsize, depth, x.channels), width=store_width(columns),
        volume=in_d > 1 or size_d > 1 or c.filter_size[0] > 1, gathered=c.pairs is not None,
    )  # fmt: skip
    constants = (
        pixels, part_steps * tile.depth, outputs, depth, g.channels, x.channels, g.channels * columns,
        in_d, in_h, in_w, *c.stride, *c.before, *c.dilation, *c.filter_size, size_d, size_h, size_w,
        *divide(size_d), *divide(size_h), *divide(size_w),
    )  # fmt: skip
    nothing = c.program.constant(np.zeros(1, np.int32))
    inputs = (g, x, c.pairs or nothing)
    c.program.launch(made, (blocks, c.groups, parts), inputs, (partial,), constants, flops=c.flops)
    return partial, parts


# ------------------------------------------------------------------------------------------ lowering


def operand(program, source):
    """A value as the program's precision wants operands of products: with bf16 and fp16 a copy, made once."""
    dtype = OPERANDS[program.precision]
    if dtype == source.dtype:
        return source

    def make():
        target = Buffer("whole", dtype, source.elements, source.layout, source.shape)
        convert_step(program, source, target)
        return target

    return program.once((id(source), dtype), make)


def pass_step(c: Convolution) -> None:
    """Append the steps of a forward pass or input gradient, whose filter lies as ``filter_layout`` says."""
    if serves(c):
        depthwise_step(c)
    else:
        correlate_step(replace(c, x=operand(c.program, c.x), w=operand(c.program, c.w)))


def filter_layout(groups: int, inputs: int, outputs: int, dimensions: int, direction: str) -> str:
    """Depthwise filters lie as [tap][channel] in both directions."""
    alone = is_depthwise(groups, inputs, outputs, dimensions)
    return FILTER_TRANSPOSED if alone or direction == INPUT else FILTER


def _sizes(node) -> tuple[int, int, int, int]:
    """Groups, channels in and out, dimensions."""
    x, weight = node.inputs[:2]
    return node.attrs.get("groups", 1), x.shape[1], weight.shape[0], len(x.shape) - 2


def takes_addend(node) -> bool:
    """Whether the kernel of a convolution adds a value of its result's form on the way out."""
    return not is_depthwise(*_sizes(node))


def _layouts(node):
    """Behind the bias there may be an addend."""
    addend = (BATCH,) if "addend" in node.attrs else ()
    bias = (PLAIN,) * (len(node.inputs) - 2 - len(addend))
    return BATCH, filter_layout(*_sizes(node), FORWARD), *bias, *addend


def _lower(program, node, direction, inputs, outputs) -> None:
    x, w, *more = inputs
    addend = more.pop() if "addend" in node.attrs else None
    bias = more[0] if more else None
    pass_step(Convolution(program, direction, node.attrs, x, w, outputs[0], bias, addend, flops=node.flops))


@lowering("conv", "linear", inputs=_layouts, outputs=(BATCH,))
def lower_conv(program, node, inputs, outputs):
    _lower(program, node, FORWARD, inputs, outputs)


@lowering("conv_input_grad", "linear_input_grad", inputs=(BATCH, FILTER_TRANSPOSED, PLAIN), outputs=(BATCH,))
def lower_conv_input_grad(program, node, inputs, outputs):
    _lower(program, node, INPUT, inputs, outputs)


@lowering("conv_weight_grad", "linear_weight_grad", inputs=(BATCH, BATCH), outputs=(PLAIN,))
def lower_conv_weight_grad(program, node, inputs, outputs):
    g, x = inputs
    weight_step(Convolution(program, WEIGHTS, node.attrs, x, *outputs, g, flops=node.flops))
