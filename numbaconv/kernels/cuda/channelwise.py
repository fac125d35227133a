"""Chains of elementwise functions with statistics of channels in the same pass.

The rows of a value, [row][channel], are cut into runs, a partition that depends on shapes alone.  A block takes a run
of some channels and leaves its statistics; a second kernel combines the runs in their order.  So results are the same
bits every time.  Moments (mean and sum of squared deviations) are taken of the differences to a thread's first number,
and combined as Chan, Golub and LeVeque (1979) do: one pass is enough, and nothing cancels however far the mean is from
zero.
"""

from typing import Any

from ..elementwise import input_layouts, output_layouts
from .compiler import Pointer, block, kernel
from .elementwise import (
    ELEMENTS,
    THREADS,
    functions_of,
    homes_of,
    names_of,
    pointwise_step,
    stores_of,
    values_of,
    written_out,
)
from .intrinsics import (
    barrier,
    block_x,
    block_y,
    f32,
    maximum,
    minimum,
    read,
    read_if,
    read_shared,
    shared,
    thread,
    where,
    write_if,
    write_shared,
)
from .lowering import ceil_div, lowering

#: statistic -> numbers that a run leaves for a channel
SIZES = {"sum": 1, "moments": 2}
#: Runs at most: what a device's multiprocessors share, twice over.
MAX_RUNS = 256
#: Rows that a thread adds up at least, where there are so many.
LEAST_ROWS = 8
#: Blocks that a multiprocessor shall hold.
RESIDENT = 4


def merged(n, mean, squares, more, other, spread):
    """Mean and squared deviations of n numbers and more others together; either may be none."""
    share = more / maximum(n + more, 1.0)
    d = other - mean
    return mean + d * share, squares + spread + d * d * n * share


def _tree(statistics: Any, across: int) -> list[str]:
    """Code that combines the numbers of a channel's threads, in a tree through shared memory."""
    lines, words = [], sum(2 * SIZES[kind] - 1 for kind, _ in statistics)
    lines.append(f"at = shared() + thread() * {4 * words}")
    rows, step = THREADS // across, THREADS // across // 2
    names = []
    for k, (kind, _) in enumerate(statistics):
        names += [f"s{k}"] if kind == "sum" else [f"count{k}", f"mean{k}", f"squares{k}"]
    lines += [f"write_shared(at + {4 * i}, {name})" for i, name in enumerate(names)]
    while step:
        far = 4 * words * step * across
        lines.append("barrier()")
        # all threads read, so that the way is the same for all; those behind the first `step` rows read their own
        lines.append(f"other = at + where(row < {step}, {far}, 0)")
        reads = [f"o_{name} = read_shared(other + {4 * i})" for i, name in enumerate(names)]
        lines += [*reads, "barrier()"]
        for k, (kind, _) in enumerate(statistics):
            if kind == "sum":
                lines.append(f"s{k} = s{k} + o_s{k}")
            else:
                lines.append(f"mean{k}, squares{k} = merged(count{k}, mean{k}, squares{k}, "
                             f"o_count{k}, o_mean{k}, o_squares{k})")  # fmt: skip
                lines.append(f"count{k} = count{k} + o_count{k}")
        lines += [f"write_shared(at + {4 * i}, {name})" for i, name in enumerate(names)]
        step //= 2
    assert rows & (rows - 1) == 0
    return lines


@kernel
def statistics_of_runs(T, operands, program, stores, statistics, across, homes):
    """A program on every element, and the statistics of runs of rows; a block takes ``across`` channels of a run.

    Pointers: operands, stored values, statistics [run][number][channel].
    """
    reads, writes = names_of(operands, len(stores))
    parameters = dict.fromkeys([*reads, *writes, "parts"], Pointer)
    parameters |= dict.fromkeys(["rows", "run", "channels"], int)
    rows = THREADS // across
    numbers = sum(SIZES[kind] for kind, _ in statistics)
    lines = [
        f"row, c = thread() // {across}, block_y() * {across} + thread() % {across}",
        "first = block_x() * run",
        "last = minimum(first + run, rows)",
        "inside = (first + row < last) & (c < channels)",
    ]
    start, adding = [], []
    for k, (kind, position) in enumerate(statistics):
        if kind == "sum":
            start.append(f"s{k} = f32(0.0)")
            adding.append(f"s{k} = s{k} + where(inside, v{position}_0, 0.0)")
        else:
            start += [f"origin{k} = f32(0.0)", f"s{k} = f32(0.0)", f"q{k} = f32(0.0)", f"count{k} = f32(0.0)"]
            adding += [
                f"origin{k} = where(count{k} == 0.0, v{position}_0, origin{k})",
                f"d{k} = where(inside, v{position}_0 - origin{k}, 0.0)",
                f"s{k} = s{k} + d{k}",
                f"q{k} = q{k} + d{k} * d{k}",
                f"count{k} = count{k} + where(inside, 1.0, 0.0)",
            ]
    body = [
        f"r = first + step * {rows} + row",
        "inside = (r < last) & (c < channels)",
        "i = r * channels + c",
        *values_of(operands, program, 1),
        *stores_of(stores, 1),
        *adding,
    ]
    lines += [*start, f"for step in range((run + {rows - 1}) // {rows}):", *(f"    {line}" for line in body)]
    for k, (kind, _) in enumerate(statistics):
        if kind == "moments":
            lines += [
                f"inverse{k} = 1.0 / maximum(count{k}, 1.0)",
                f"mean{k} = origin{k} + s{k} * inverse{k}",
                f"squares{k} = maximum(q{k} - s{k} * s{k} * inverse{k}, 0.0)",
            ]
    lines += _tree(statistics, across)
    lines.append("chosen = (row == 0) & (c < channels)")
    number = 0
    for k, (kind, _) in enumerate(statistics):
        for name in [f"s{k}"] if kind == "sum" else [f"mean{k}", f"squares{k}"]:
            lines.append(f"write_if(chosen, parts, (block_x() * {numbers} + {number}) * channels + c, {name})")
            number += 1
    names = {
        "barrier": barrier, "block_x": block_x, "block_y": block_y, "f32": f32, "maximum": maximum,
        "merged": merged, "minimum": minimum, "read": read, "read_if": read_if, "read_shared": read_shared,
        "shared": shared, "thread": thread, "where": where, "write_if": write_if, "write_shared": write_shared,
        **functions_of(program),
    }  # fmt: skip
    words = sum(2 * SIZES[kind] - 1 for kind, _ in statistics)
    return block(THREADS, RESIDENT, THREADS * words * 4)(written_out(parameters, lines, names))


@kernel
def combine_sums(T):
    """The sum over all runs, in their order; a channel a thread."""

    @block(THREADS, RESIDENT)
    def loop(parts: Pointer, y: Pointer, number: int, numbers: int, channels: int, runs: int):
        c = block_x() * THREADS + thread()
        inside = c < channels
        total = f32(0.0)
        for r in range(runs):
            total = total + read_if(inside, parts, (r * numbers + number) * channels + c)
        write_if(inside, y, c, total)

    return loop


@kernel
def combine_moments(T):
    """Mean and variance over all runs, in their order; a channel a thread."""

    @block(THREADS, RESIDENT)
    def loop(
        parts: Pointer, mean: Pointer, var: Pointer,
        number: int, numbers: int, channels: int, runs: int, rows: int, run: int,
    ):  # fmt: skip
        c = block_x() * THREADS + thread()
        inside = c < channels
        count = f32(minimum(run, rows))
        center = read_if(inside, parts, number * channels + c)
        squares = read_if(inside, parts, (number + 1) * channels + c)
        for before in range(runs - 1):
            r = before + 1
            more = f32(minimum(run, rows - r * run))
            at = (r * numbers + number) * channels + c
            center, squares = merged(
                count, center, squares, more, read_if(inside, parts, at), read_if(inside, parts, at + channels)
            )
            count = count + more
        write_if(inside, mean, c, center)
        write_if(inside, var, c, squares / count)

    return loop


# ------------------------------------------------------------------------------------------------ lowering


def across_of(channels: int) -> int:
    """Channels that a block takes: as many as a warp has threads, fewer if there are not so many."""
    return next(n for n in (4, 8, 16, 32) if n >= channels or n == 32)


@lowering("fused", inputs=input_layouts, outputs=output_layouts)
def lower_fused(program, node, inputs, outputs):
    attrs = node.attrs
    like = next((b for b, kind in zip(inputs, attrs["operands"], strict=False) if kind == ELEMENTS), outputs[0])
    operands = [*inputs, *(program.number(value, like.dtype) for value in attrs["numbers"])]
    statistics, stored = attrs["statistics"], len(attrs["stores"])
    if not statistics:
        pointwise_step(program, operands, outputs, like, attrs)
        return
    rows, channels, across = like.batch * like.pixels, like.channels, across_of(like.channels)
    run = max(ceil_div(rows, MAX_RUNS), min(rows, LEAST_ROWS * THREADS // across))
    runs = ceil_div(rows, run)
    numbers = sum(SIZES[kind] for kind, _ in statistics)
    parts = program.whole(like.dtype, runs * numbers * channels)
    constants = {name: attrs[name] for name in ("operands", "program", "stores", "statistics")}
    made = statistics_of_runs(like.dtype, across=across, homes=homes_of(attrs["program"]), **constants)
    grid = (runs, ceil_div(channels, across))
    program.launch(made, grid, operands, (*outputs[:stored], parts), (rows, run, channels))
    results, number, grid = list(outputs[stored:]), 0, ceil_div(channels, THREADS)
    for kind, _ in statistics:
        constants = (number, numbers, channels, runs)
        if kind == "sum":
            program.launch(combine_sums(like.dtype), grid, (parts,), [results.pop(0)], constants)
        else:
            found = [results.pop(0), results.pop(0)]
            program.launch(combine_moments(like.dtype), grid, (parts,), found, (*constants, rows, run))
        number += SIZES[kind]
