"""How convolutions read a filter: its forms in memory, and their strides.

With images in lanes a filter (out, in / groups, ...) lies as [out][taps][in].  With channels in lanes it lies in
vectors of output channels, [out / 16][taps][in][16], so that a register tile reads it from front to back; in the
filters of groups, which may begin within a vector, they follow each other: [taps][in][out].  For input gradients in and
out change places.  Vectors are padded.

Passes are given filters in NumPy's order; those that read another ask ``laid_out`` for it.
"""

import math
from typing import NamedTuple

from .geometry import three
from .lowering import Buffer, Program, ceil_div
from .native import Ints, Pointer, kernel
from .target import LANES
from .vector import at


class FilterStrides(NamedTuple):
    """Elements between planes, rows and columns of taps, channels that are summed, channels of the result, groups.

    With channels in lanes, vectors of channels of the result.
    """

    plane: int
    row: int
    column: int
    depth: int
    output: int
    group: int


def _strides(w: Buffer, lanes: int, groups: int, transposed: bool) -> FilterStrides:
    """The strides of the form of ``w``; ``transposed`` exchanges the roles of out and in (input gradient)."""
    outputs, inputs = w.shape[:2]
    _, height, width = three(w.shape[2:], 1)
    taps = math.prod(w.shape[2:])
    per_group = outputs // groups
    if lanes > 1:
        column, group = inputs, per_group * taps * inputs
        depth, output = (taps * inputs, 1) if transposed else (1, taps * inputs)
    else:
        summed = outputs if transposed else inputs
        if groups == 1:
            depth, column, group = LANES, summed * LANES, 0
            output = taps * column
        else:
            depth, output = ceil_div(inputs if transposed else outputs, LANES) * LANES, LANES
            column, group = summed * depth, per_group * depth if transposed else per_group
    return FilterStrides(height * width * column, width * column, column, depth, output, group)


def laid_out(
    program: Program, w: Buffer, lanes: int, groups: int = 1, transposed: bool = False
) -> tuple[Buffer, FilterStrides]:
    """The filter ``w`` as passes with so many ``lanes`` of images read it; each form is made once a program."""
    outputs, inputs = w.shape[:2]
    taps, strides = math.prod(w.shape[2:]), _strides(w, lanes, groups, transposed)
    if lanes > 1 and 1 in (inputs, taps):
        return w, strides  # one form is the other
    key = (w, lanes, *((groups > 1, transposed) if lanes == 1 else ()))
    if key not in program.forms:
        vectors = inputs if transposed else outputs
        padded = vectors if lanes > 1 else ceil_div(vectors, LANES) * LANES
        form = Buffer("whole", w.dtype, w.elements // max(1, vectors) * padded, "filter", w.shape, lanes)
        label, program.label = program.label, "reorder"
        _reorder(program, w, form, groups, transposed)
        program.label = label
        program.forms[key] = form
    return program.forms[key], strides


def _reorder(program: Program, w: Buffer, form: Buffer, groups: int, transposed: bool) -> None:
    """Append the step that writes ``w`` in another form."""
    outputs, inputs = w.shape[:2]
    taps = math.prod(w.shape[2:])
    by_output, by_input = inputs * taps, taps
    if form.lanes > 1:
        sizes, strides = (outputs, taps, inputs), (by_output, 1, by_input)
    else:
        vectors, summed = (inputs, outputs) if transposed else (outputs, inputs)
        by_vector, by_summed = (by_input, by_output) if transposed else (by_output, by_input)
        if groups == 1:
            line = summed * LANES
            pack_step(program, w, form, (vectors, summed, taps), (by_vector, by_summed, 1), (taps * line, line))
            return
        sizes, strides = (taps, summed, vectors), (1, by_summed, by_vector)
    line = form.elements // max(1, sizes[0] * sizes[1])
    program.step(permute(w.dtype), (w,), (form,), (*sizes[1:], line, *strides), sizes[0])


@kernel
def permute(T):
    """form[i, j, k] = w[i, j, k] with any strides of w; a unit is an i.  Lines are filled up with zeros."""

    def loop(
        begin, end, block: int, first: int, w: Pointer, form: Pointer, rows: int, columns: int, line: int,
        strides: Ints(3),
    ):  # fmt: skip
        for i in range(begin, end):
            for j in range(rows):
                source, to = i * strides[0] + j * strides[1], (i * rows + j) * line
                for k in range(columns):
                    form[to + k] = w[source + k * strides[2]]
                for k in range(columns, line):
                    form[to + k] = 0

    return loop


@kernel
def pack(T):
    """A filter in vectors of channels, [vector][tap][summed][lane] or with vectors and taps exchanged.

    A unit is a vector.  Strides are the source's of channels, summed channels and taps; ``to_vector`` and ``to_tap``
    the target's.
    """

    def loop(
        begin, end, block: int, first: int, source: Pointer, target: Pointer,
        channels: int, summed: int, taps: int, channel_stride: int, summed_stride: int, tap_stride: int,
        to_vector: int, to_tap: int,
    ):  # fmt: skip
        for unit in range(begin, end):
            c = unit * LANES
            valid = min(LANES, channels - c)
            to = at(target, unit * to_vector)
            for d in range(summed):
                for t in range(taps):
                    place = t * to_tap + d * LANES
                    for k in range(valid):
                        to[place + k] = source[(c + k) * channel_stride + d * summed_stride + t * tap_stride]
                    for k in range(valid, LANES):
                        to[place + k] = 0

    return loop


def pack_step(program, source: Buffer, target: Buffer, sizes, strides, places) -> None:
    """Append a ``pack`` of ``sizes`` (channels, summed channels, taps) from strides to places, see there."""
    constants = (*sizes, *strides, *places)
    program.step(pack(source.dtype), (source,), (target,), constants, ceil_div(sizes[0], LANES))
