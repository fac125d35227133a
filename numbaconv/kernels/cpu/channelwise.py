"""Programs of elementwise functions with one number for each channel, and statistics of channels in the same pass.

A block is cut into a few runs of pixels (``RUNS``, whatever the number of threads), each with statistics of its own;
these are combined in the order of blocks and runs.  Moments (mean and variance) are taken of the differences to the
run's first pixel, lane by lane, and combined as Chan, Golub and LeVeque (1979) do, so one pass is enough and nothing
cancels however far the mean is from zero.
"""

from ..elementwise import has_channels, input_layouts, output_layouts
from .compiler import inline
from .elementwise import (
    ELEMENTS,
    functions_of,
    homes_of,
    lines_of,
    pointwise,
    read_first,
    read_number,
    read_whole,
    vectors,
    write_first,
    write_whole,
    written_out,
)
from .lowering import ceil_div, lowering
from .native import Pointer, Pointers, kernel
from .target import LANES
from .vector import first_lanes, lane_of, load, maximum, reduce_add, splat, store, store_first, where

RUNS = 4  # of a block's pixels; also what threads share where there are fewer blocks than threads

#: statistic -> (vectors that it adds up for a channel, numbers that come of them)
SIZES = {"sum": (1, 1), "moments": (3, 3)}


# ------------------------------------------------------------------------------------------------ one run of pixels


@inline
def _add_to_sum(s, i, line, v, fresh):
    store(s, i, v if fresh else load(s, i) + v)


@inline
def _add_to_moments(s, i, line, v, fresh):
    """Every lane's first number, and the sums of differences to it and of their squares."""
    if fresh:
        store(s, i, v)
        store(s, i + line, splat(s, 0.0))
        store(s, i + 2 * line, splat(s, 0.0))
    else:
        d = v - load(s, i)
        store(s, i + line, load(s, i + line) + d)
        store(s, i + 2 * line, load(s, i + 2 * line) + d * d)


@inline
def _moments_of_lanes(s, i, line, pixels):
    """First number, mean less the first number, and sum of squared deviations in every lane."""
    inverse = 1.0 / pixels
    total = load(s, i + line)
    return load(s, i), total * inverse, maximum(0.0, load(s, i + 2 * line) - total * total * inverse)


@inline
def _sum_over_lanes(s, i, line, pixels, t, to, channels, valid):
    t[to] = reduce_add(where(first_lanes(valid), load(s, i), 0.0))


@inline
def _moments_over_lanes(s, i, line, pixels, t, to, channels, valid):
    start, mean, squares = _moments_of_lanes(s, i, line, pixels)
    mask, origin = first_lanes(valid), lane_of(start, 0)
    mean = mean + (start - origin)
    center = reduce_add(where(mask, mean, 0.0)) / valid
    d = mean - center
    t[to] = origin
    t[to + channels] = center
    t[to + 2 * channels] = reduce_add(where(mask, squares + d * d * pixels, 0.0))


@inline
def _sum_in_lanes(s, i, line, pixels, t, to, channels, left):
    store_first(t, to, load(s, i), left)


@inline
def _moments_in_lanes(s, i, line, pixels, t, to, channels, left):
    start, mean, squares = _moments_of_lanes(s, i, line, pixels)
    store_first(t, to, start, left)
    store_first(t, to + channels, mean, left)
    store_first(t, to + 2 * channels, squares, left)


_ADD = {"add_sum": _add_to_sum, "add_moments": _add_to_moments}
_OVER_LANES = {"finish_sum": _sum_over_lanes, "finish_moments": _moments_over_lanes}
_IN_LANES = {"finish_sum": _sum_in_lanes, "finish_moments": _moments_in_lanes}


def sizes_of(statistics) -> list[tuple[int, int]]:
    """The vectors and numbers of the statistics before each, and at the end of all."""
    found = [(0, 0)]
    for kind, _ in statistics:
        found.append((found[-1][0] + SIZES[kind][0], found[-1][1] + SIZES[kind][1]))
    return found


@inline
def _read_channel(x, c, left):
    return splat(x, x[c])


@inline
def _write_valid(y, i, v, left):
    store(y, i, where(first_lanes(left), v, 0.0))


@kernel
def channelwise(T, images, ragged, operands, program, stores, statistics, homes):
    """A program on every element of a block; a unit is a run of pixels.

    Pointers: operands, stored values and, with ``statistics`` (pairs of a kind and a value's number), room for sums
    of vectors and the statistics of every run.  ``ragged``: the last block has lanes without an image, where zeros are
    stored.
    """
    if images:
        reads = {"read_e": read_whole, "read_c": _read_channel, "write": _write_valid if ragged else write_whole}
    else:
        reads = {"read_e": read_first, "read_c": read_first, "write": write_first}
    names = {"read_n": read_number, **reads, **functions_of(program), **_ADD, **(_OVER_LANES if images else _IN_LANES)}
    stored, sizes = len(operands) + len(stores), sizes_of(statistics)
    rows, numbers = sizes[-1]
    adding, finishing = [], []
    for (kind, position), (row, number) in zip(statistics, sizes, strict=False):
        adding.append(f"add_{kind}(pointers[{stored}], room + {row} * line, line, v{position}, fresh)")
        places = f"s, room + {row} * line, line, pixels, t, to + {number} * channels, channels, left"
        finishing.append(f"finish_{kind}({places})")
    lines = lines_of(operands, program, stores) + adding
    calculate = written_out("pointers, i, c, left, room, line, fresh", lines, names)
    finish = written_out("s, room, line, pixels, t, to, channels, left", finishing, names)
    lanes, step = (LANES, 1) if images else (1, LANES)

    def loop(
        begin, end, block: int, first: int, pointers: Pointers(stored + (2 if statistics else 0)),
        pixels: int, run: int, channels: int, batch: int,
    ):  # fmt: skip
        valid = min(LANES, batch - block * LANES)
        line = (channels + step - 1) // step * LANES
        for unit in range(begin, end):
            low, high = unit * run, min(pixels, (unit + 1) * run)
            room = unit * rows * line
            for p in range(low, high):
                for c in range(0, channels, step):
                    left = valid if images else channels - c
                    calculate(pointers, (p * channels + c) * lanes, c, left, room + c * lanes, line, p == low)
            if statistics:
                for c in range(0, channels, step):
                    left = valid if images else channels - c
                    finish(pointers[stored], room + c * lanes, line, high - low,
                           pointers[stored + 1], unit * numbers * channels + c, channels, left)  # fmt: skip

    return loop


# ------------------------------------------------------------------------------------------------ all runs


@kernel
def combine_sums(T):
    """The sum over all runs; a unit is a channel."""

    def loop(
        begin, end, block: int, first: int, t: Pointer, y: Pointer,
        number: int, numbers: int, channels: int, blocks: int, stride: int, runs: int,
    ):  # fmt: skip
        for c in range(begin, end):
            total = 0.0
            for b in range(blocks):
                for r in range(runs):
                    total += t[b * stride + (r * numbers + number) * channels + c]
            y[c] = total

    return loop


@kernel
def combine_moments(T):
    """Mean and variance over all runs; a unit is a channel."""

    def loop(
        begin, end, block: int, first: int, t: Pointer, mean: Pointer, var: Pointer,
        number: int, numbers: int, channels: int, blocks: int, stride: int, runs: int,
        pixels: int, run: int, batch: int, lanes: int,
    ):  # fmt: skip
        for c in range(begin, end):
            count, center, squares = 0.0, 0.0, 0.0
            for b in range(blocks):
                images = min(lanes, batch - b * lanes)
                for r in range(runs):
                    more = float((min(pixels, (r + 1) * run) - r * run) * images)
                    i = b * stride + (r * numbers + number) * channels + c
                    d = float(t[i]) - center + t[i + channels]  # in double precision
                    center += d * more / (count + more)
                    squares += t[i + 2 * channels] + d * d * count * more / (count + more)
                    count += more
            mean[c] = center
            var[c] = squares / count

    return loop


# ------------------------------------------------------------------------------------------------ lowering


@lowering("fused", inputs=input_layouts, outputs=output_layouts)
def lower_fused(program, node, inputs, outputs):
    attrs = node.attrs
    constants = {name: attrs[name] for name in ("operands", "program", "stores")}
    constants["homes"] = homes_of(attrs["program"])
    like = next((b for b, kind in zip(inputs, attrs["operands"], strict=False) if kind == ELEMENTS), outputs[0])
    operands = [*inputs, *(program.number(value, like.dtype) for value in attrs["numbers"])]
    if not has_channels(node):
        program.step(pointwise(like.dtype, **constants), operands, outputs, (like.elements,), vectors(like), cheap=True)
        return
    statistics, stored = attrs["statistics"], len(attrs["stores"])
    images = like.lanes > 1
    kernel_ = channelwise(
        like.dtype, images=images, ragged=images and like.batch % LANES != 0, statistics=statistics, **constants
    )
    run = ceil_div(like.pixels, RUNS) if statistics else 1
    runs = ceil_div(like.pixels, max(run, 1))
    constants = (like.pixels, run, like.channels, like.batch)
    if not statistics:
        program.step(kernel_, operands, outputs, constants, runs, cheap=True)
        return
    line = like.channels * LANES if images else ceil_div(like.channels, LANES) * LANES
    sizes = sizes_of(statistics)
    rows, numbers = sizes[-1]
    room, parts = (program.per_block(like, runs * n) for n in (rows * line, numbers * like.channels))
    program.step(kernel_, operands, (*outputs[:stored], room, parts), constants, runs)
    results = list(outputs[stored:])
    for (kind, _), (_, number) in zip(statistics, sizes, strict=False):
        constants = (number, numbers, like.channels, like.blocks, parts.stride, runs)
        if kind == "sum":
            program.step(combine_sums(like.dtype), (parts,), [results.pop(0)], constants, like.channels, whole=True)
        else:
            constants += (like.pixels, run, like.batch, like.lanes)
            found = [results.pop(0), results.pop(0)]
            program.step(combine_moments(like.dtype), (parts,), found, constants, like.channels, whole=True)
