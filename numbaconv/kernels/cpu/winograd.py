"""Winograd convolution: 3 x 3 filters at stride 1 by minimal filtering (Lavin & Gray, arXiv 1509.09308).

The output is cut into m x m tiles.  A tile's input, n = m + 2 pixels in each direction, is transformed, multiplied by
the transformed filters in n x n independent matrix products over the channels, and transformed back:

    y = A [sum over c of (G w G') * (B x B')] A'        36 products for 16 outputs instead of 144 (m = 4)

The tiles of a strip are transformed together, so that the register tile of ``tile.py`` reads a filter once for several
of them.  Transforms work on whole vectors in every layout: a pixel is so many vectors, whatever their lanes mean.

The input gradient is the same with the filter turned by 180 degrees.  The weight gradient correlates input tiles with
output gradients: G' [sum over tiles and images of (A' g A) * (B x B')] G.
"""

import math

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from . import geometry
from .activation import ACTIVATIONS
from .cooktoom import apply_twice, transforms, transposed
from .filter import filter_strides
from .lowering import ceil_div
from .native import Pointer, kernel
from .panel import choose_tile, make_panel, tiles_along_vectors
from .target import LANES
from .tile import product
from .turn import turned
from .vector import at, constant, load, splat, store, vector_load, vector_store

I64 = ir.IntType(64)
TAPS = 3


def _place(builder, pointer, *steps):
    """pointer + sum of number * stride."""
    offset = None
    for number, stride in steps:
        step = builder.mul(ir.Constant(I64, number), stride)
        offset = step if offset is None else builder.add(offset, step)
    return builder.gep(pointer, [offset])


def transform_tile(matrix, bias_at=None):
    """A function (source, row, column, target, plane, rows_from, rows_to, columns_from, columns_to) for use in kernels.

    Reads a square of vectors from ``source``, zeros where a row or column is out of bounds, and writes its product with
    ``matrix`` on both sides, one vector a plane.
    """
    size = len(matrix[0])

    @intrinsic
    def transform(typingctx, source, row, column, target, plane, top, bottom, left, right):
        def codegen(context, builder, signature, arguments):
            source, row, column, target, plane, top, bottom, left, right = arguments
            vector = ir.VectorType(source.type.pointee, LANES)
            zero = constant(vector, 0.0)

            def read(i, j):
                return vector_load(builder, _place(builder, source, (i, row), (j, column)), vector)

            def within(number, low, high):
                number = ir.Constant(I64, number)
                return builder.and_(builder.icmp_signed("<=", low, number), builder.icmp_signed("<", number, high))

            def read_inside(inside):
                with builder.if_else(inside[0]) as (yes, no):
                    with yes:
                        value = read(*inside[1])
                        came_from = builder.block
                    with no:
                        otherwise = builder.block
                phi = builder.phi(vector)
                phi.add_incoming(value, came_from)
                phi.add_incoming(zero, otherwise)
                return phi

            def write(values):
                for i, line in enumerate(apply_twice(builder, matrix, values)):
                    for j, value in enumerate(line):
                        vector_store(builder, value, _place(builder, target, (i * len(matrix) + j, plane)))

            whole = [builder.icmp_signed("<=", low, ir.Constant(I64, 0)) for low in (top, left)]
            whole += [builder.icmp_signed(">=", high, ir.Constant(I64, size)) for high in (bottom, right)]
            inner = builder.and_(builder.and_(whole[0], whole[1]), builder.and_(whole[2], whole[3]))
            with builder.if_else(inner) as (fast, slow):
                with fast:
                    write([[read(i, j) for j in range(size)] for i in range(size)])
                with slow:
                    rows = [within(i, top, bottom) for i in range(size)]
                    columns = [within(j, left, right) for j in range(size)]
                    write([[read_inside((builder.and_(rows[i], columns[j]), (i, j))) for j in range(size)]
                           for i in range(size)])
            return context.get_dummy_value()

        n = types.int64
        return types.void(source, n, n, target, n, n, n, n, n), codegen

    return transform


def finish_tile(matrix, activation):
    """A function (source, plane, bias, target, row, column, rows, columns): a tile of outputs from its products.

    ``bias`` is a vector; only ``rows`` x ``columns`` are written.
    """
    size = len(matrix[0])
    function = ACTIVATIONS[activation].py_func if activation else None

    @intrinsic
    def finish(typingctx, source, plane, bias, target, row, column, rows, columns):
        def codegen(context, builder, signature, arguments):
            source, plane, bias, target, row, column, rows, columns = arguments
            vector = bias.type
            values = [
                [vector_load(builder, _place(builder, source, (i * size + j, plane)), vector) for j in range(size)]
                for i in range(size)
            ]
            # the second column of the matrix (the point 1) is all ones: what is added there is added to every output
            values[1][1] = builder.fadd(values[1][1], bias, flags=("contract",))
            results = apply_twice(builder, matrix, values)
            if function is not None:
                apply = signature.args[2](signature.args[2])
                results = [[context.compile_internal(builder, function, apply, [v]) for v in line] for line in results]
            m = len(matrix)
            whole = builder.and_(*(builder.icmp_signed(">=", n, ir.Constant(I64, m)) for n in (rows, columns)))
            with builder.if_else(whole) as (fast, slow):
                with fast:
                    for i in range(m):
                        for j in range(m):
                            vector_store(builder, results[i][j], _place(builder, target, (i, row), (j, column)))
                with slow:
                    for i in range(m):
                        with builder.if_then(builder.icmp_signed("<", ir.Constant(I64, i), rows)):
                            for j in range(m):
                                with builder.if_then(builder.icmp_signed("<", ir.Constant(I64, j), columns)):
                                    vector_store(builder, results[i][j], _place(builder, target, (i, row), (j, column)))
            return context.get_dummy_value()

        n = types.int64
        return types.void(source, n, bias, target, n, n, n, n), codegen

    return finish


@kernel
def transform_filters(T, m):
    """G w G' of every filter; a unit is a line of vectors: filters of one output or one input channel.

    w [line][tap][vectors] with strides, u [plane][line][vectors].
    """
    transform = transform_tile(transforms(m, TAPS).filters)

    def loop(
        begin, end, block: int, first: int, w: Pointer, u: Pointer,
        width: int, start: int, line: int, row: int, column: int, plane: int, u_line: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            for c in range(0, width, LANES):
                to = at(u, unit * u_line + c)
                transform(at(w, start + unit * line + c), row, column, to, plane, 0, TAPS, 0, TAPS)

    return loop


@kernel
def winograd(T, m, images, rows, vectors, tail, activation, bias):
    """A strip of ``strip`` tiles of a block a unit."""
    n = m + TAPS - 1
    outputs_matrix, inputs_matrix, _ = transforms(m, TAPS)
    transform, finish = transform_tile(inputs_matrix), finish_tile(outputs_matrix, activation)
    panel = make_panel(images, rows, vectors, tail)

    def loop(
        begin, end, block: int, first: int, x: Pointer, u: Pointer, b: Pointer, y: Pointer, v: Pointer, p: Pointer,
        in_h: int, in_w: int, out_h: int, out_w: int, pad_h: int, pad_w: int,
        depth: int, outputs: int, lanes: int, strip: int, v_plane: int, p_plane: int,
        u_plane: int, u_depth: int, u_row: int,
    ):  # fmt: skip
        tiles_w = geometry.ceil_div(out_w, m)
        tiles = geometry.ceil_div(out_h, m) * tiles_w
        x_pixel, y_pixel = depth * lanes, outputs * lanes
        for unit in range(begin, end):
            low, high = unit * strip, min(tiles, (unit + 1) * strip)
            for t in range(low, high):
                h = t // tiles_w
                i, j = h * m - pad_h, (t - h * tiles_w) * m - pad_w
                xt, vt = at(x, (i * in_w + j) * x_pixel), at(v, (t - low) * x_pixel)
                for c in range(0, x_pixel, LANES):
                    transform(at(xt, c), in_w * x_pixel, x_pixel, at(vt, c), v_plane, -i, in_h - i, -j, in_w - j)
            for e in range(n * n):
                panel(at(v, e * v_plane), at(u, e * u_plane), at(p, e * p_plane), high - low, (1, 1, 1, depth),
                      (0, 0, 0, lanes), (0, 0, 0, u_depth), x_pixel, y_pixel, u_row, outputs)  # fmt: skip
            for t in range(low, high):
                h = t // tiles_w
                i, j = h * m, (t - h * tiles_w) * m
                yt, pt = at(y, (i * out_w + j) * y_pixel), at(p, (t - low) * y_pixel)
                for k in range(0, y_pixel, LANES):
                    if not bias:
                        add = splat(y, 0.0)
                    elif images:
                        add = splat(y, b[k // LANES])
                    else:
                        add = load(b, k)
                    finish(at(pt, k), p_plane, add, at(yt, k), out_w * y_pixel, y_pixel, out_h - i, out_w - j)

    return loop


@kernel
def winograd_weights(T, m, rows, vectors, row_tail, vector_tail):
    """Sums of products of transformed input tiles and output gradients; a unit is ``rows`` output channels.

    x has its pixels turned: [pixel][image][channel].  p [plane][output channel][input channel].
    """
    n = m + TAPS - 1
    outputs_matrix, inputs_matrix, _ = transforms(m, TAPS)
    transform, spread = transform_tile(inputs_matrix), transform_tile(transposed(outputs_matrix))
    tall = tiles_along_vectors(product, rows, vectors, vector_tail, LANES)
    short = tiles_along_vectors(product, max(row_tail, 1), vectors, vector_tail, LANES)

    def loop(
        begin, end, block: int, first: int, x: Pointer, g: Pointer, p: Pointer, v: Pointer, q: Pointer,
        in_h: int, in_w: int, out_h: int, out_w: int, pad_h: int, pad_w: int,
        depth: int, outputs: int, blocks: int, x_block: int, g_block: int, strip: int, v_plane: int, q_plane: int,
        p_plane: int,
    ):  # fmt: skip
        tiles_w = geometry.ceil_div(out_w, m)
        tiles = geometry.ceil_div(out_h, m) * tiles_w
        x_pixel, g_pixel = depth * LANES, outputs * LANES
        again = 1 - first
        from_k, to_k = begin * rows, min(end * rows, outputs)
        for low in range(0, blocks * tiles, strip):
            high = min(blocks * tiles, low + strip)
            for t in range(low, high):
                b = t // tiles
                h = (t - b * tiles) // tiles_w
                i, j = h * m, (t - b * tiles - h * tiles_w) * m
                gt, qt = at(g, b * g_block + (i * out_w + j) * g_pixel), at(q, (t - low) * g_pixel)
                for k in range(from_k * LANES, to_k * LANES, LANES):
                    spread(at(gt, k), out_w * g_pixel, g_pixel, at(qt, k), q_plane, 0, out_h - i, 0, out_w - j)
                i, j = i - pad_h, j - pad_w
                xt, vt = at(x, b * x_block + (i * in_w + j) * x_pixel), at(v, (t - low) * x_pixel)
                for c in range(0, x_pixel, LANES):
                    transform(at(xt, c), in_w * x_pixel, x_pixel, at(vt, c), v_plane, -i, in_h - i, -j, in_w - j)
            counts = (1, 1, high - low, LANES)
            x_strides, g_strides = (0, 0, x_pixel, depth), (0, 0, g_pixel, 1)
            for e in range(n * n):
                ve, qe, pe = at(v, e * v_plane), at(q, e * q_plane), at(p, e * p_plane)
                k = from_k
                while k < to_k:
                    qk, pk = at(qe, k * LANES), at(pe, k * depth)
                    if to_k - k >= rows:
                        tall(ve, qk, pk, depth // LANES, counts, x_strides, g_strides, depth, again)
                    else:
                        short(ve, qk, pk, depth // LANES, counts, x_strides, g_strides, depth, again)
                    k += rows
            again = 1

    return loop


@kernel
def filter_gradients(T, m):
    """G' P G of the groups' ordered sums, as (out, in, 3, 3); a unit is an output channel."""
    planes = (m + TAPS - 1) ** 2
    transform = transform_tile(transposed(transforms(m, TAPS).filters))

    def loop(
        begin, end, block: int, first: int, p: Pointer, w: Pointer, work: Pointer,
        groups: int, group_stride: int, plane: int, depth: int, inputs: int,
    ):  # fmt: skip
        side = m + TAPS - 1
        taps = at(work, planes * LANES)
        for k in range(begin, end):
            for c in range(0, inputs, LANES):
                for e in range(planes):
                    total = load(p, e * plane + k * depth + c)
                    for g in range(1, groups):
                        total = total + load(p, g * group_stride + e * plane + k * depth + c)
                    store(work, e * LANES, total)
                transform(work, side * LANES, LANES, taps, LANES, 0, side, 0, side)
                for i in range(min(LANES, inputs - c)):
                    for t in range(TAPS * TAPS):
                        w[(k * inputs + c + i) * TAPS * TAPS + t] = taps[t * LANES + i]

    return loop


# ------------------------------------------------------------------------------------------------ choosing

#: Output tiles of m x m pixels; larger ones lose too many digits in float32.
SIZES = (4, 2)
#: Tiles that are transformed together: few, so that they stay in the second-level cache.
STRIP = 4
#: Cycles for a byte of filters of up to so many bytes: from caches near and far, and from memory (measured).
STREAMING = ((2 << 20, 0.02), (24 << 20, 0.1), (math.inf, 0.35))


def _suits(attrs, w, dtype) -> bool:
    """Whether a convolution can be done with tiles at all, and may be."""
    if w.shape[2:] != (TAPS, TAPS) or {*attrs["stride"], *attrs["dilation"], attrs["groups"]} != {1}:
        return False
    return attrs["algo"] == "winograd" or (attrs["algo"] == "auto" and dtype == np.float32)


def _choose(attrs, w, x, y) -> int:
    """The m of ``SIZES`` that takes the fewest cycles for a convolution from x to y, 0 if the direct algorithm does.

    Counts products (about 1.7 a cycle), transforms (4 cycles a vector of a plane) and the traffic of filters, which are
    written once and read (or added to) for every strip of tiles.
    """
    filters = w.shape[0] * w.shape[1]
    share = y.lanes / LANES  # of a vector, that an image's channel fills

    def cost(m: int) -> float:
        each = (m + TAPS - 1) ** 2 if m else 1
        if m:
            tiles = math.prod(ceil_div(size, m) for size in y.spatial)
        else:  # taps that fall outside are left out
            tiles = math.prod(
                sum(0 <= o + t - p < i for o in range(n) for t in range(TAPS))
                for i, n, (p, _) in zip(x.spatial, y.spatial, attrs["padding"], strict=True)
            )
        strips = ceil_div(tiles, STRIP) * y.blocks if m else y.blocks
        size = filters * 4 * (each if m else TAPS**2)
        rate = next(rate for limit, rate in STREAMING if size <= limit)
        products = each * filters * share * tiles * y.blocks / 1.7
        transforms = 4 * each * (x.channels + y.channels) * share * tiles * y.blocks if m else 0.0
        return products + transforms + size * rate * (2 + strips)

    best = min(SIZES, key=cost)
    return best if attrs["algo"] == "winograd" or cost(best) < 0.9 * cost(0) else 0


def choose_size(attrs, w, x, y) -> int:
    """m of the tiles for y from x (forward or input gradient), 0 for the direct algorithm."""
    whole_vectors = y.lanes > 1 or (x.channels % LANES == 0 and y.channels % LANES == 0)
    return _choose(attrs, w, x, y) if whole_vectors and _suits(attrs, w, y.dtype) else 0


def choose_weights_size(attrs, w, x, g) -> int:
    """m of the tiles for the weight gradient, 0 for the direct algorithm."""
    return _choose(attrs, w, x, g) if x.lanes > 1 and _suits(attrs, w, x.dtype) else 0


# ------------------------------------------------------------------------------------------------ lowering


def correlate(program, m, x, w, bias, y, padding, transposed, activation, flops) -> None:
    """Append the steps of y = x * w; ``transposed``: the input gradient, x being the output's."""
    images = y.lanes > 1
    depth, outputs, planes = x.channels, y.channels, (m + TAPS - 1) ** 2
    strides = filter_strides(w, y.lanes, transposed=transposed)
    tap_row, tap_column, start = strides.row, strides.column, 0
    if transposed:  # turned by 180 degrees: from the last tap backwards
        start, tap_row, tap_column = (TAPS - 1) * (tap_row + tap_column), -tap_row, -tap_column
    # a filter's lines lie as w's: of all input channels for an output channel, or with channels in lanes the reverse
    lines, width = w.shape[:2] if images else (depth, outputs)
    line = ceil_div(width, LANES) * LANES
    w_line = TAPS * TAPS * width if images else line
    plane = _plane(lines * line)
    u = program.whole(y.dtype, planes * plane)
    constants: tuple[int, ...] = (width, start, w_line, tap_row, tap_column, plane, line)
    program.step(transform_filters(y.dtype, m=m), (w,), (u,), constants, lines)
    tiles = math.prod(ceil_div(size, m) for size in y.spatial)
    strip = min(STRIP, tiles)
    itemsize = y.dtype.itemsize
    if images:
        rows, vectors = choose_tile(itemsize, outputs, [(strip, 1)], cut_rows=True)
        u_depth, u_row = (line, 1) if transposed else (1, line)
    else:
        rows, vectors = choose_tile(itemsize, strip, [(ceil_div(outputs, LANES), 1)], cut_rows=False)
        u_depth, u_row = line, 0
    v_plane, p_plane = _plane(strip * depth * x.lanes), _plane(strip * outputs * y.lanes)
    work = [program.per_thread(y.dtype, planes * size) for size in (v_plane, p_plane)]
    step = winograd(
        y.dtype, m=m, images=images, rows=rows, vectors=vectors, tail=outputs % rows if images else 0,
        activation=activation, bias=bias is not None,
    )  # fmt: skip
    constants = (
        *x.spatial, *y.spatial, *padding, depth, outputs, x.lanes, strip, v_plane, p_plane, plane, u_depth, u_row,
    )  # fmt: skip
    program.step(step, (x, u, bias or u), (y, *work), constants, ceil_div(tiles, strip), flops=flops)


def correlate_weights(program, m, g, x, w, padding, flops) -> None:
    """Append the steps of the weight gradient w of output gradient g and input x."""
    outputs, inputs = w.shape[:2]
    planes, depth = (m + TAPS - 1) ** 2, ceil_div(inputs, LANES) * LANES
    plane = _plane(outputs * depth)
    source = turned(program, x)
    # Partial sums of every group of blocks, unless they are so large that adding them up costs more than threads that
    # each transform all inputs.
    whole = planes * plane * x.dtype.itemsize > STREAMING[0][0]
    sums = program.whole(x.dtype, planes * plane) if whole else program.per_group(x, planes * plane)
    blocks = x.blocks if whole else 1
    tiles = blocks * math.prod(ceil_div(size, m) for size in g.spatial)
    strip = min(STRIP, tiles)
    v_plane, q_plane = _plane(strip * depth * LANES), _plane(strip * outputs * LANES)
    work = [program.per_thread(x.dtype, planes * size) for size in (v_plane, q_plane)]
    rows, vectors = choose_tile(x.dtype.itemsize, outputs, [(depth // LANES, 1)], cut_rows=True)
    step = winograd_weights(
        x.dtype, m=m, rows=rows, vectors=vectors, row_tail=outputs % rows, vector_tail=depth // LANES % vectors
    )
    constants: tuple[int, ...] = (
        *x.spatial, *g.spatial, *padding, depth, outputs, blocks, source.stride, g.stride, strip,
        v_plane, q_plane, plane,
    )  # fmt: skip
    program.step(step, (source, g), (sums, *work), constants, ceil_div(outputs, rows), whole=whole, flops=flops)
    constants = (sums.copies, sums.stride, plane, depth, inputs)
    work = [program.per_thread(x.dtype, (planes + TAPS * TAPS) * LANES)]
    program.step(filter_gradients(x.dtype, m=m), (sums,), (w, *work), constants, outputs, whole=True)


def _plane(elements: int) -> int:
    """Elements from one plane to the next, a vector more than needed.

    A tile's planes are written one after another; a power of two between them would put all of them into the same few
    lines of the cache.
    """
    return ceil_div(elements, LANES) * LANES + LANES
