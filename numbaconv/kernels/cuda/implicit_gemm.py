"""Convolutions and fully connected layers as matrix products whose left operand is gathered (implicit GEMM).

``correlate`` serves the forward pass and the input gradient.  A row of its product is an output pixel, a column an
output channel, and the depth goes over filter taps and input channels; no matrix of patches is ever stored.  In a
dimension, output position o meets filter taps first, first + tap step, ... at input positions start + j * index step +
i * tap stride, where o is the j-th position of its *phase*.  A forward pass has one phase.  The input gradient of a
convolution of stride s has s phases of output positions, each of which meets taps of its own (Dumoulin & Visin, arXiv
1603.07285, relationship 13), so no zero is ever inserted or multiplied; all phases run side by side in one launch.

``correlate_weights`` sums over pixels: a row is an output channel, a column a tap and input channel.  Parts of the
pixels, which depend on the shapes alone, have partial sums of their own, which are added in order: the same bits on
every run.
"""

from collections.abc import Callable

from ..elementwise import FUNCTIONS
from .compiler import FLOAT32, INT32, Pointer, block, kernel
from .elementwise import translated
from .intrinsics import (
    barrier,
    block_x,
    block_y,
    block_z,
    copy_async,
    copy_commit,
    copy_element,
    copy_wait,
    high_product,
    i32,
    integers,
    proxy_fence,
    put,
    read,
    read_if,
    read_shared,
    read_shared4,
    read_vector_if,
    registers,
    shared,
    take,
    thread,
    where,
    write_vector_if,
)
from .tile import CHUNK_BYTES, ROW_BYTES, Tile, make_place, make_tile

#: What a phase's row of the table of phases holds: output sizes, output rows in all, input position of the first tap at
#: the first output, taps, the first tap's place in the filter, and the first output position; three are one a
#: dimension.
SIZES, ROWS, START, TAPS, FILTER_AT, FIRST, FIELDS = 0, 3, 4, 7, 10, 11, 14

#: Taps whose meeting the input is kept as bits of an integer.
MASK_BITS = 32

#: Rows that are not there lie so far above the input that no tap reaches it.
FAR_AWAY = -(1 << 29)


def make_copy(size: int):
    """Device function: copy ``size`` bytes into a stage, or zeros where the condition does not hold."""

    def asynchronous(to, condition, pointer, index):
        copy_async(to, condition, pointer, index, size)

    return asynchronous if size >= 4 else copy_element


def make_store(tile: Tile, width: int, activation: str | None, bias: bool, addend: bool):
    """Device functions of the epilogue: from sums in shared memory to results.

    ``bias_of(numbers, inside, bias_at, index)`` fetches ``width`` biases.
    ``store(inside, at, numbers, bias, addend_at, y, index)`` adds bias and addend, applies the activation
    and writes ``width`` results, a chunk of a row of sums that is at ``at``.
    """
    wide = width == 4

    def unchanged(v):
        return v

    function = translated(FUNCTIONS[activation]) if activation else unchanged

    def bias_of(numbers, inside, bias_at, index):
        for e in range(width):
            put(numbers, e, read_if(inside, bias_at, index + e))

    def store(inside, at, biases, addend_at, y, index):
        numbers, added = registers(width), registers(width)
        if wide:
            put(numbers, 0, read_shared4(at))
        else:
            put(numbers, 0, read_shared(at))
        if addend:
            put(added, 0, read_vector_if(inside, addend_at, index, width))
        for e in range(width):
            v = numbers[e]
            if bias:
                v = v + biases[e]
            if addend:
                v = v + added[e]
            put(numbers, e, function(v))
        write_vector_if(inside, y, index, numbers, width)

    return bias_of, store


def make_results(
    tile: Tile, spread: Callable, width: int, activation: str | None, bias: bool, addend: bool, pixel_of: Callable
):
    """Device function of the epilogue: sums to results, by way of shared memory, so that whole rows are written.

    ``pixel_of(m, geometry)`` is the output pixel of row m; ``geometry`` is for it alone.
    """
    bias_of, store = make_store(tile, width, activation, bias, addend)
    pitch = tile.sums_pitch
    across = tile.columns // width  # threads along a row of results
    row_step = tile.threads // across
    store_passes = tile.rows // row_step

    def write_results(
        sums, ring, first_row, first_column, all_rows, columns, first_channel, bias_at, addend_at, y, y_pitch, geometry
    ):
        barrier()
        spread(sums, ring)
        barrier()
        t = thread()
        row, column = t // across, (t % across) * width
        inside = first_column + column < columns
        channel = first_channel + first_column + column
        biases = registers(width)
        if bias:
            bias_of(biases, inside, bias_at, channel)
        for i in range(store_passes):
            m = first_row + row + i * row_step
            at = ring + ((row + i * row_step) * pitch + column * 4)
            pixel = pixel_of(m, geometry)
            store(inside & (m < all_rows), at, biases, addend_at, y, pixel * y_pitch + channel)

    return write_results


# ------------------------------------------------------------------------------------------ forward and input gradient


@kernel
def correlate(T, result, tile, vector, width, volume, phased, masked, gathered, activation, bias, addend, homes):
    """A block: a tile of output pixels and channels, of a group and a phase (block_y).

    Memory: x [pixel][``x_pitch`` channels], w [output channel][tap][input channel], y [pixel][``y_pitch`` channels].  A
    group takes ``depth`` channels of x and gives ``columns`` of y.  ``result`` is the dtype of y and the addend, T
    that of x and w.  ``vector``: elements that a copy takes; ``width``: results that a thread writes at once.
    ``volume``: three dimensions, not two.  ``phased``: more than one phase. ``masked``: at most ``MASK_BITS`` taps;
    then a bit for each says whether it meets the input, for a row of a copy.  ``gathered``: tap t of row m reads the
    pixel ``pairs[t][m]`` of the ``in_w`` there are, none if there is no such one.
    """
    Result, tile = Pointer(result), Tile(*tile)
    multiply, spread = make_tile(tile, by_row=False)
    place = make_place(tile, by_row=False)
    copy = make_copy(vector * tile.itemsize)
    rows, tile_columns, stage_depth, chunk_size = tile.rows, tile.columns, tile.depth, tile.chunk
    ahead, left_bytes, stage_bytes = tile.stages - 1, tile.left_bytes, tile.stage_bytes
    in_flight, sums_count = tile.stages - 2, tile.sums
    chunks = ROW_BYTES // CHUNK_BYTES
    line_step = tile.threads // chunks  # rows that all threads together copy
    left_copies, right_copies = rows // line_step, tile_columns // line_step
    pieces, piece_bytes = chunk_size // vector, vector * tile.itemsize
    wgmma = tile.wgmma

    def pixel_of(m, geometry):
        """The output pixel of a row of the phase."""
        table, phase, size_d, size_h, size_w, out_d, out_h, out_w, step_d, step_h, step_w = geometry
        if not phased:
            return m
        q, left = m % size_w, m // size_w
        p, left = left % size_h, left // size_h
        p, q = p * step_h + read(table, phase + FIRST + 1), q * step_w + read(table, phase + FIRST + 2)
        if volume:
            d, left = left % size_d, left // size_d
            left = left * out_d + d * step_d + read(table, phase + FIRST)
        return (left * out_h + p) * out_w + q

    write_results = make_results(tile, spread, width, activation, bias, addend, pixel_of)

    @block(tile.threads, tile.resident, tile.shared_bytes, "a" if wgmma else "")
    def loop(
        x: Pointer, w: Pointer, bias_at: FLOAT32, addend_at: Result, table: INT32, pairs: INT32, y: Result,
        phases: int, depth: int, columns: int, x_pitch: int, y_pitch: int,
        in_d: int, in_h: int, in_w: int, index_d: int, index_h: int, index_w: int,
        stride_d: int, stride_h: int, stride_w: int, w_group: int, w_row: int, w_d: int, w_h: int, w_w: int,
        out_d: int, out_h: int, out_w: int, step_d: int, step_h: int, step_w: int,
    ):  # fmt: skip
        t = thread()
        tiles_across = (columns + (tile_columns - 1)) // tile_columns
        first_row = (block_x() // tiles_across) * rows
        first_column = (block_x() % tiles_across) * tile_columns  # neighbours share the input, which is larger
        group = block_y() // phases
        phase = (block_y() % phases) * FIELDS
        size_d, size_h, size_w = read(table, phase), read(table, phase + 1), read(table, phase + 2)
        all_rows = read(table, phase + ROWS)
        taps_d, taps_h, taps_w = read(table, phase + TAPS), read(table, phase + TAPS + 1), read(table, phase + TAPS + 2)
        total = taps_d * taps_h * taps_w * depth

        if first_row < all_rows:
            # -------- where this thread's copies begin: a chunk of depth, in some rows and columns
            line, chunk = t >> 3, t & 7
            base, masks = integers(left_copies), integers(left_copies)
            planes, heights, widths = integers(left_copies), integers(left_copies), integers(left_copies)
            for i in range(left_copies):
                row = first_row + line + i * line_step
                if gathered:
                    put(base, i, row)
                else:
                    q, left = row % size_w, row // size_w
                    p, left = left % size_h, left // size_h
                    h = p * index_h + read(table, phase + START + 1)
                    v = q * index_w + read(table, phase + START + 2)
                    d = i32(0)
                    if volume:
                        d = (left % size_d) * index_d + read(table, phase + START)
                        left = (left // size_d) * in_d + d
                    put(base, i, ((left * in_h + h) * in_w + v) * x_pitch + group * depth)
                    put(planes, i, d)
                    put(heights, i, where(row < all_rows, h, FAR_AWAY))
                    put(widths, i, v)
            if masked:
                bit = i32(0)
                for f in range(taps_d):
                    for r in range(taps_h):
                        for s in range(taps_w):
                            for i in range(left_copies):
                                h, v = take(heights, i) + stride_h * r, take(widths, i) + stride_w * s
                                ok = (h >= 0) & (h < in_h) & (v >= 0) & (v < in_w)
                                if volume:
                                    d = take(planes, i) + stride_d * f
                                    ok = ok & (d >= 0) & (d < in_d)
                                put(masks, i, take(masks, i) | (i32(ok) << bit))
                            bit += 1
            column = first_column + line
            w_at = group * w_group + column * w_row + read(table, phase + FILTER_AT)

            # -------- position along the depth: k = ((tap_d * taps_h + tap_h) * taps_w + tap_w) * depth + c
            k = chunk * chunk_size
            c, tap = k % depth, k // depth
            tap_w, tap_h, tap_d = tap % taps_w, tap // taps_w, i32(0)
            next_c, next_tap = i32(stage_depth) % depth, i32(stage_depth) // depth
            next_w, next_h, next_d = next_tap % taps_w, next_tap // taps_w, i32(0)
            if volume:
                tap_h, tap_d = tap_h % taps_h, tap_h // taps_h
                next_h, next_d = next_h % taps_h, next_h // taps_h

            sums = registers(sums_count)
            ring = shared()
            here = place(line, chunk, ROW_BYTES)
            filling, reading = i32(0), i32(0)  # stages
            step = i32(-ahead)
            while step * stage_depth < total:
                if step >= 0:
                    copy_wait(in_flight)
                    if wgmma:
                        proxy_fence()
                    barrier()
                # -------- copies of the stage that all threads have left
                to = ring + filling * stage_bytes + here
                c_e, tap_e, w_e, h_e, d_e = c, tap, tap_w, tap_h, tap_d
                for e in range(pieces):
                    inside = k + e * vector < total
                    down, right = h_e * stride_h, w_e * stride_w
                    x_at = (down * in_w + right) * x_pitch + c_e
                    w_e_at = w_at + h_e * w_h + w_e * w_w + c_e
                    if volume:
                        x_at += d_e * stride_d * in_h * in_w * x_pitch
                        w_e_at += d_e * w_d
                    bit = tap_e & (MASK_BITS - 1)
                    for i in range(left_copies):
                        from_ = take(base, i) + x_at
                        if gathered:
                            row = take(base, i)
                            ok = inside & (row < all_rows)
                            pixel = read_if(ok, pairs, tap_e * all_rows + row)
                            ok = ok & (pixel >= 0) & (pixel < in_w)
                            from_ = pixel * x_pitch + (group * depth + c_e)
                        elif masked:
                            ok = inside & (((take(masks, i) >> bit) & 1) == 1)
                        else:
                            h, v = take(heights, i) + down, take(widths, i) + right
                            ok = inside & (h >= 0) & (h < in_h) & (v >= 0) & (v < in_w)
                            if volume:
                                d = take(planes, i) + d_e * stride_d
                                ok = ok & (d >= 0) & (d < in_d)
                        copy(to + (i * line_step * ROW_BYTES + e * piece_bytes), ok, x, from_)
                    for i in range(right_copies):
                        ok = inside & (column + i * line_step < columns)
                        copy(to + (left_bytes + i * line_step * ROW_BYTES + e * piece_bytes), ok, w, w_e_at)
                        w_e_at += w_row * line_step
                    if pieces > 1:
                        c_e += vector
                        over = c_e >= depth
                        c_e, tap_e, w_e = where(over, c_e - depth, c_e), tap_e + i32(over), w_e + i32(over)
                        over = w_e >= taps_w
                        w_e, h_e = where(over, 0, w_e), h_e + i32(over)
                        if volume:
                            over = h_e >= taps_h
                            h_e, d_e = where(over, 0, h_e), d_e + i32(over)
                copy_commit()
                k += stage_depth
                c += next_c
                over = c >= depth
                c, tap, tap_w = where(over, c - depth, c), tap + next_tap + i32(over), tap_w + next_w + i32(over)
                over = tap_w >= taps_w
                tap_w, tap_h = where(over, tap_w - taps_w, tap_w), tap_h + next_h + i32(over)
                if volume:
                    over = tap_h >= taps_h
                    tap_h, tap_d = where(over, tap_h - taps_h, tap_h), tap_d + next_d + i32(over)
                filling = where(filling == ahead, 0, filling + 1)
                # -------- products of the stage that has arrived
                if step >= 0:
                    multiply(sums, ring + reading * stage_bytes, ring + (reading * stage_bytes + left_bytes))
                    reading = where(reading == ahead, 0, reading + 1)
                step += 1

            copy_wait(0)
            geometry = table, phase, size_d, size_h, size_w, out_d, out_h, out_w, step_d, step_h, step_w
            first_channel = group * columns
            write_results(
                sums, ring, first_row, first_column, all_rows, columns, first_channel,
                bias_at, addend_at, y, y_pitch, geometry,
            )  # fmt: skip

    return loop


# ------------------------------------------------------------------------------------------ weight gradient


@kernel
def correlate_weights(T, tile, g_vector, x_vector, width, volume, gathered):
    """A block: a tile of output channels, and of taps and input channels, of a part of the pixels and a group.

    block_y: group, block_z: part.  Memory: g [pixel][``g_pitch``], x [pixel][``x_pitch``], sums [part][all output
    channels][tap][``depth``].  A pixel's position comes from its number by multiplication (``conv.divide``).
    ``gathered``: pairs as in ``correlate``.
    """
    tile = Tile(*tile)
    multiply, spread = make_tile(tile, by_row=True)
    place = make_place(tile, by_row=True)
    copy_g, copy_x = make_copy(g_vector * tile.itemsize), make_copy(x_vector * tile.itemsize)
    _, store = make_store(tile, width, None, False, False)
    rows, tile_columns, stage_depth, chunk_size = tile.rows, tile.columns, tile.depth, tile.chunk
    ahead, left_bytes, stage_bytes = tile.stages - 1, tile.left_bytes, tile.stage_bytes
    in_flight, sums_count, pitch = tile.stages - 2, tile.sums, tile.sums_pitch
    g_line, x_line = rows * tile.itemsize, tile_columns * tile.itemsize  # bytes of a line of depth
    g_chunks, x_chunks = rows // chunk_size, tile_columns // chunk_size
    g_step, x_step = tile.threads // g_chunks, tile.threads // x_chunks  # lines that all threads together copy
    g_copies, x_copies = stage_depth // g_step, stage_depth // x_step
    g_pieces, g_bytes = chunk_size // g_vector, g_vector * tile.itemsize
    x_pieces, x_bytes = chunk_size // x_vector, x_vector * tile.itemsize
    across = tile_columns // width
    row_step = tile.threads // across
    store_passes = rows // row_step

    @block(tile.threads, tile.resident, tile.shared_bytes)
    def loop(
        g: Pointer, x: Pointer, pairs: INT32, partial: FLOAT32,
        pixels: int, part_pixels: int, outputs: int, depth: int, g_pitch: int, x_pitch: int, part_size: int,
        in_d: int, in_h: int, in_w: int, stride_d: int, stride_h: int, stride_w: int,
        pad_d: int, pad_h: int, pad_w: int, dilation_d: int, dilation_h: int, dilation_w: int,
        taps_d: int, taps_h: int, taps_w: int, size_d: int, size_h: int, size_w: int,
        shift_d: int, factor_d: int, shift_h: int, factor_h: int, shift_w: int, factor_w: int,
    ):  # fmt: skip
        t = thread()
        columns = taps_d * taps_h * taps_w * depth
        tiles_across = (columns + (tile_columns - 1)) // tile_columns
        first_row = (block_x() // tiles_across) * rows
        first_column = (block_x() % tiles_across) * tile_columns
        group = block_y()
        pixel = block_z() * part_pixels
        end = where(pixel + part_pixels < pixels, pixel + part_pixels, pixels)

        # -------- of this thread's copies: an output channel, and taps and input channels
        g_chunk, g_first = t % g_chunks, t // g_chunks
        x_chunk, x_first = t % x_chunks, t // x_chunks
        output = first_row + g_chunk * chunk_size
        g_at = group * outputs + output
        offsets, downs, rights, fronts = integers(x_pieces), integers(x_pieces), integers(x_pieces), integers(x_pieces)
        for e in range(x_pieces):
            column = first_column + x_chunk * chunk_size + e * x_vector
            c, tap = column % depth, column // depth
            right, tap = (tap % taps_w) * dilation_w - pad_w, tap // taps_w
            down, front = tap * dilation_h - pad_h, i32(0)
            if volume:
                down, front = (tap % taps_h) * dilation_h - pad_h, (tap // taps_h) * dilation_d - pad_d
            if gathered:
                put(offsets, e, group * depth + c)
            else:
                put(offsets, e, ((front * in_h + down) * in_w + right) * x_pitch + group * depth + c)
            put(fronts, e, front)
            put(downs, e, where(column < columns, down, FAR_AWAY))
            put(rights, e, right)

        sums = registers(sums_count)
        ring = shared()
        filling, reading = i32(0), i32(0)  # stages
        step = i32(-ahead)
        while pixel + step * stage_depth < end:
            if step >= 0:
                copy_wait(in_flight)
                barrier()
            # -------- copies of the stage that all threads have left
            first = pixel + (step + ahead) * stage_depth
            to = ring + filling * stage_bytes
            for i in range(g_copies):
                line = g_first + i * g_step
                m = first + line
                for e in range(g_pieces):
                    ok = (m < end) & (output + e * g_vector < outputs)
                    at = to + place(line, g_chunk, g_line) + e * g_bytes
                    copy_g(at, ok, g, m * g_pitch + (g_at + e * g_vector))
            for i in range(x_copies):
                line = x_first + i * x_step
                m = first + line
                p, q, d, x_at = i32(0), i32(0), i32(0), i32(0)
                if not gathered:
                    left = high_product(m * 2, factor_w) >> shift_w
                    q = m - left * size_w
                    n = high_product(left * 2, factor_h) >> shift_h
                    p = left - n * size_h
                    if volume:
                        left = n
                        n = high_product(left * 2, factor_d) >> shift_d
                        d = (left - n * size_d) * stride_d
                        n = n * in_d + d
                    p, q = p * stride_h, q * stride_w
                    x_at = ((n * in_h + p) * in_w + q) * x_pitch
                for e in range(x_pieces):
                    h, v = p + take(downs, e), q + take(rights, e)
                    if gathered:  # ``v`` is the tap
                        ok = (m < end) & (h >= 0)
                        v = read_if(ok, pairs, v * pixels + m)
                        ok, x_at = ok & (v >= 0) & (v < in_w), v * x_pitch
                    else:
                        ok = (m < end) & (h >= 0) & (h < in_h) & (v >= 0) & (v < in_w)
                    if volume:
                        f = d + take(fronts, e)
                        ok = ok & (f >= 0) & (f < in_d)
                    at = to + (left_bytes + place(line, x_chunk, x_line) + e * x_bytes)
                    copy_x(at, ok, x, x_at + take(offsets, e))
            copy_commit()
            filling = where(filling == ahead, 0, filling + 1)
            # -------- products of the stage that has arrived
            if step >= 0:
                multiply(sums, ring + reading * stage_bytes, ring + (reading * stage_bytes + left_bytes))
                reading = where(reading == ahead, 0, reading + 1)
            step += 1

        copy_wait(0)
        barrier()
        spread(sums, ring)
        barrier()
        row, column = t // across, (t % across) * width
        inside = first_column + column < columns
        biases = registers(width)
        for i in range(store_passes):
            m = first_row + row + i * row_step
            at = ring + ((row + i * row_step) * pitch + column * 4)
            index = block_z() * part_size + (group * outputs + m) * columns + (first_column + column)
            store(inside & (m < outputs), at, biases, partial, partial, index)

    return loop
