"""Weight gradient of few input channels, images in lanes: the taps of a filter gathered in vectors.

A channel alone does not fill a vector, but all taps of all channels often do: 3 x 3 taps of 3 channels are 27 of 32
lanes.  The input is turned first, so that every image's rows lie as [column][channel], with zeros for the padding.
What a row of the filter meets at a pixel is then one contiguous run; a vector takes its lanes from one or several runs.
The rows of a tile are output channels, whose gradients are broadcast; images and pixels are summed in registers.
"""

import math
from contextlib import ExitStack
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .algorithm import SPECIAL, WEIGHTS, Convolution, Offer, algorithm
from .compiler import forbid_unrolling, inline
from .lowering import ceil_div
from .native import Ints, Pointer, kernel
from .partial import add_partials
from .target import LANES
from .tile import tiles_for
from .vector import (
    at,
    broadcast,
    constant,
    fused_multiply_add,
    masked_load,
    prefetch,
    transpose,
    vector_load,
    vector_store,
)

I64 = ir.IntType(64)

#: How many pixels ahead of a tile g and x are asked for: a pixel's channels are few lines, far from the next pixel's,
#: and no prefetcher of a CPU follows such steps.
G_AHEAD, X_AHEAD = 6, 8

#: The share of a vector's lanes that must hold taps.
LEAST_USED = 0.8

#: Larger filters are done elsewhere: each of their vectors is written out.
MOST_ELEMENTS = 32 * LANES


@kernel
def turn_rows(T):
    """[rows][columns x channels][lanes] to [padded rows][lanes][pitch]; a unit is a padded row.

    ``above`` rows and ``before`` elements of zeros come first, and zeros stand behind.
    """

    def loop(
        begin, end, block: int, first: int, x: Pointer, y: Pointer,
        rows: int, length: int, above: int, before: int, pitch: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            row, target = unit - above, at(y, unit * LANES * pitch)
            inside = 0 <= row < rows
            if inside:
                for i in range(0, length, LANES):
                    transpose(at(x, (row * length + i) * LANES), LANES, at(target, before + i), pitch)
            for image in range(LANES):
                line = at(target, image * pitch)
                for i in range(before if inside else pitch):
                    line[i] = 0
                for i in range(before + length if inside else pitch, pitch):
                    line[i] = 0

    return loop


def _sources(vector: int, run: int, elements: int) -> list[tuple[int, int, int, int]]:
    """Where the lanes of a vector come from: (filter row, first lane, end, element of the row that lane 0 would be)."""
    found = []
    element, end = vector * LANES, min((vector + 1) * LANES, elements)
    while element < end:
        row, place = divmod(element, run)
        lane = element - vector * LANES
        count = min(run - place, end - element)
        found.append((row, lane, lane + count, place - lane))
        element += count
    return found


def gather_tile(rows: int, sources: list[list[tuple[int, int, int, int]]]) -> Any:
    """A function that sums g[row] x[vector] over the pixels of a row and over images, for use in kernels.

    (g, x, p, pixels, g_pixel, x_strides, p_row, again): pointers; pixels and their distance in g; x's strides of
    pixels, of the filter's rows and of images; the distance of p's rows; whether to add to what stands there.
    """

    @intrinsic
    def tile(typingctx, g, x, p, pixels, g_pixel, x_strides, p_row, again):
        one, three = types.int64, types.UniTuple(types.int64, 3)

        def codegen(context, builder, signature, arguments):
            g, x, p, pixels, g_pixel, x_strides, p_row, again = arguments
            vector = ir.VectorType(g.type.pointee, LANES)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(rows * len(sources))]
            for place in sums:
                builder.store(constant(vector, 0.0), place)
            x_pixel, x_filter_row, x_image = cgutils.unpack_tuple(builder, x_strides)
            images = ir.Constant(I64, LANES)
            last_element = max(start + high for pieces in sources for _, _, high, start in pieces) - 1
            with ExitStack() as loops:
                pixel = loops.enter_context(cgutils.for_range(builder, pixels)).index
                g = builder.gep(g, [builder.mul(pixel, g_pixel)])
                x = builder.gep(x, [builder.mul(pixel, x_pixel)])
                for m in range(rows):
                    ahead = builder.gep(g, [builder.mul(g_pixel, ir.Constant(I64, G_AHEAD))])
                    prefetch(builder, builder.gep(ahead, [ir.Constant(I64, m * LANES)]))
                image = loops.enter_context(cgutils.for_range(builder, images)).index
                g = builder.gep(g, [image])
                x = builder.gep(x, [builder.mul(image, x_image)])
                for row in sorted({row for pieces in sources for row, *_ in pieces}):
                    ahead = builder.gep(x, [builder.mul(x_filter_row, ir.Constant(I64, row))])
                    ahead = builder.gep(ahead, [builder.mul(x_pixel, ir.Constant(I64, X_AHEAD))])
                    prefetch(builder, builder.gep(ahead, [ir.Constant(I64, last_element)]))
                columns = []
                for pieces in sources:
                    value = None
                    for row, low, high, start in pieces:
                        pointer = builder.gep(x, [builder.mul(x_filter_row, ir.Constant(I64, row))])
                        pointer = builder.gep(pointer, [ir.Constant(I64, start)])
                        if value is None:  # what lies behind the run is replaced, or belongs to no tap
                            value = vector_load(builder, pointer, vector)
                        else:
                            chosen = [int(low <= lane < high) for lane in range(LANES)]
                            mask = ir.Constant(ir.VectorType(ir.IntType(1), LANES), chosen)
                            value = masked_load(builder, pointer, vector, mask, value)
                    columns.append(value)
                for m in range(rows):
                    row = broadcast(builder, builder.load(builder.gep(g, [ir.Constant(I64, m * LANES)])), LANES)
                    for v, column in enumerate(columns):
                        place = sums[m * len(columns) + v]
                        builder.store(fused_multiply_add(builder, row, column, builder.load(place)), place)
                innermost = builder.block
            forbid_unrolling(builder.module, innermost.terminator)
            for m in range(rows):
                line = builder.gep(p, [builder.mul(p_row, ir.Constant(I64, m))])
                for v in range(len(sources)):
                    to = builder.gep(line, [ir.Constant(I64, v * LANES)])
                    value = builder.load(sums[m * len(sources) + v])
                    with builder.if_else(cgutils.is_not_null(builder, again)) as (add, replace):
                        with add:
                            vector_store(builder, builder.fadd(vector_load(builder, to, vector), value), to)
                        with replace:
                            vector_store(builder, value, to)
            return context.get_dummy_value()

        return types.void(g, x, p, one, one, three, one, one), codegen

    return tile


@kernel
def gathered_weights(T, rows, vectors, tail, run, elements):
    """Partial sums of the weight gradient over a group of blocks; a unit is a tile of output channels.

    ``run`` elements of each row of the filter meet a pixel, ``elements`` of all of them.  p is [channels][vectors].
    """
    count = -(-elements // LANES)

    def along(height, first):
        """Tiles of ``height`` output channels and of the vectors from ``first`` on."""
        last = min(first + vectors, count)
        tile = gather_tile(height, [_sources(v, run, elements) for v in range(first, last)])
        following = along(height, last) if last < count else None

        @inline
        def one(g, x, p, pixels, g_pixel, x_strides, p_row, again):
            tile(g, x, at(p, first * LANES), pixels, g_pixel, x_strides, p_row, again)

        @inline
        def more(g, x, p, pixels, g_pixel, x_strides, p_row, again):
            tile(g, x, at(p, first * LANES), pixels, g_pixel, x_strides, p_row, again)
            following(g, x, p, pixels, g_pixel, x_strides, p_row, again)

        return one if following is None else more

    tall = along(rows, 0)
    short = along(tail, 0) if tail else tall
    line = count * LANES

    def loop(
        begin, end, block: int, first: int, g: Pointer, x: Pointer, p: Pointer,
        outputs: int, out_h: int, out_w: int, x_row: int, x_strides: Ints(3),
    ):  # fmt: skip
        g_pixel = outputs * LANES
        for row in range(out_h):  # sums of a row are added to the others': few terms are added one by one
            g_row, xk, again = at(g, row * out_w * g_pixel), at(x, row * x_row), 1 - first + row
            for unit in range(begin, end):
                k = unit * rows
                gk, pk = at(g_row, k * LANES), at(p, k * line)
                if outputs - k >= rows:
                    tall(gk, xk, pk, out_w, g_pixel, x_strides, line, again)
                else:
                    short(gk, xk, pk, out_w, g_pixel, x_strides, line, again)

    return loop


def _choose_tile(itemsize: int, outputs: int, vectors: int) -> tuple[int, int]:
    """The register tile that takes the fewest cycles: two multiply-adds, two loads a cycle; a latency of four."""
    registers = itemsize // 4

    def cycles(m: int, v: int) -> float:
        return max(m * v * registers / 2, (m + 2 * v * registers) / 2, 4.0 * registers) + 0.5 if m and v else 0.0

    def cost(tile: tuple[int, int]) -> float:
        m, v = tile
        total = sum(
            often * (vectors // v * cycles(height, v) + cycles(height, vectors % v))
            for height, often in ((m, outputs // m), (outputs % m, 1))
        )
        units = ceil_div(outputs, m)
        return total * (units + units % 2) / units  # units are dealt to threads, mostly an even number

    return min(tiles_for(itemsize), key=cost)


@algorithm(WEIGHTS, name="direct", rank=SPECIAL)
def offer_gathered(c: Convolution) -> Offer:
    """Filters of few input channels, which do not fill vectors by themselves, but their taps do."""
    depth, taps = c.x.channels, math.prod(c.filter_size)
    if c.x.lanes == 1 or c.groups > 1 or c.dilation[2] > 1 or depth > LANES:
        return None
    elements = taps * depth
    used = elements / (ceil_div(elements, LANES) * LANES)
    if c.filter_size[0] > 1 or taps == 1 or elements > MOST_ELEMENTS or used < LEAST_USED:
        return None
    return lambda: correlate_weights(c)


def correlate_weights(c: Convolution) -> None:
    """Append the steps of a weight gradient."""
    x, g = c.x, c.y
    stride, before, dilation, filter_size = c.stride, c.before, c.dilation, c.filter_size
    out_sizes, in_sizes = c.sizes
    channels, outputs = x.channels, g.channels
    run, elements = filter_size[2] * channels, math.prod(filter_size) * channels
    sizes = zip(out_sizes, stride, filter_size, dilation, strict=True)
    needed = [(o - 1) * s + (k - 1) * d + 1 for o, s, k, d in sizes]
    length, ahead = in_sizes[2] * channels, before[2] * channels
    pitch = max(needed[2] * channels, ahead + ceil_div(length, LANES) * LANES)
    pitch = (ceil_div(pitch, LANES) | 1) * LANES  # an odd number of vectors: images lie in different sets of a cache
    turned = c.program.per_block(x, needed[1] * LANES * pitch)
    constants: tuple[int, ...] = (in_sizes[1], length, before[1], ahead, pitch)
    c.program.step(turn_rows(x.dtype), (x,), (turned,), constants, needed[1], late=True)
    vectors = ceil_div(elements, LANES)
    rows, wide = _choose_tile(x.dtype.itemsize, outputs, vectors)
    partials = c.program.per_group(x, outputs * vectors * LANES)
    kernel_ = gathered_weights(x.dtype, rows=rows, vectors=wide, tail=outputs % rows, run=run, elements=elements)
    row = LANES * pitch
    constants = (
        outputs, out_sizes[1], out_sizes[2], stride[1] * row, stride[2] * channels, dilation[1] * row, pitch
    )  # fmt: skip
    c.program.step(kernel_, (g, turned), (partials,), constants, ceil_div(outputs, rows), flops=c.flops)
    counts, strides = (outputs, channels, math.prod(filter_size)), (0, vectors * LANES, 1, channels)
    add_partials(c.program, partials, c.w, counts, strides)
