"""The transforms of Winograd's algorithm: squares of vectors times the matrices of ``cooktoom.py`` on both sides."""

import math
from typing import NamedTuple

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .activation import ACTIVATIONS
from .compiler import inline
from .cooktoom import apply_twice, transforms, transposed
from .filter import FilterStrides
from .lowering import Buffer, ceil_div
from .target import LANES
from .vector import at, collect, constant, load, splat, vector_load, vector_store

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


def _copy(builder, source, target, count):
    with cgutils.for_range(builder, count) as loop:
        builder.store(builder.load(builder.gep(source, [loop.index])), builder.gep(target, [loop.index]))


def transform_filter(m: int, backward: bool):
    """A function (w, inputs, u, plane) for use in kernels: G w G' of a vector of filters in NumPy's order.

    w [input channel][tap], of which there are ``inputs``; written one vector a plane.  ``backward``: the filters turned
    by 180 degrees.
    """
    matrix, taps = transforms(m, TAPS).filters, TAPS * TAPS

    @intrinsic
    def transform(typingctx, w, inputs, u, plane):
        def codegen(context, builder, signature, arguments):
            w, inputs, u, plane = arguments
            number = w.type.pointee
            vector = ir.VectorType(number, LANES)
            # the last filters of a row are read from a place of their own: those beyond are not ours
            room = cgutils.alloca_once(builder, number, taps * LANES)
            few = builder.icmp_signed("<", inputs, ir.Constant(I64, LANES))
            with builder.if_then(few, likely=False):
                _copy(builder, w, room, builder.mul(inputs, ir.Constant(I64, taps)))
            w = builder.select(few, room, w)
            lines = [
                vector_load(builder, builder.gep(w, [ir.Constant(I64, i * LANES)]), vector) for i in range(taps)
            ]

            # the tap t of all filters is a lane or two of each line
            order = [taps - 1 - t if backward else t for t in range(taps)]
            found = [collect(builder, lines, [divmod(t + taps * i, LANES) for i in range(LANES)]) for t in order]
            results = apply_twice(builder, matrix, [found[i * TAPS : (i + 1) * TAPS] for i in range(TAPS)])
            for i, value in enumerate(value for line in results for value in line):
                vector_store(builder, value, _place(builder, u, (i, plane)))
            return context.get_dummy_value()

        return types.void(w, types.int64, u, types.int64), codegen

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


def reader(matrix):
    """A function (x, i, j, height, width, pixel, low, high, v, plane) for use in kernels.

    Transforms the vectors from ``low`` to ``high`` of the pixels from row i and column j on, of an image of
    ``height`` x ``width`` pixels of ``pixel`` elements with zeros around it.
    """
    transform = transform_tile(matrix)

    @inline
    def read(x, i, j, height, width, pixel, low, high, v, plane):
        corner = at(x, (i * width + j) * pixel)
        for c in range(low, high, LANES):
            transform(at(corner, c), width * pixel, pixel, at(v, c), plane, -i, height - i, -j, width - j)

    return read


def writer(m: int, images: bool, activation: str | None, bias: bool):
    """A function (p, plane, b, y, i, j, height, width, pixel, low, high) for use in kernels.

    The outputs of channels' vectors from ``low`` to ``high`` from their products p, plus the bias b, written to the
    pixels from row i and column j on.
    """
    finish = finish_tile(transforms(m, TAPS).outputs, activation)

    @inline
    def write(p, plane, b, y, i, j, height, width, pixel, low, high):
        corner = at(y, (i * width + j) * pixel)
        for k in range(low, high, LANES):
            if not bias:
                add = splat(y, 0.0)
            elif images:
                add = splat(y, b[k // LANES])
            else:
                add = load(b, k)
            finish(at(p, k - low), plane, add, at(corner, k), width * pixel, pixel, height - i, width - j)

    return write


def weights_writer(m: int):
    """A function (p, row, column, w, inputs) for use in kernels: G' P G of up to a vector of input channels.

    w [input channel][tap], of which there are ``inputs``.
    """
    side, taps = m + TAPS - 1, TAPS * TAPS
    matrix = transposed(transforms(m, TAPS).filters)

    @intrinsic
    def write(typingctx, p, row, column, w, inputs):
        def codegen(context, builder, signature, arguments):
            p, row, column, w, inputs = arguments
            number = w.type.pointee
            vector = ir.VectorType(number, LANES)
            values = [
                [vector_load(builder, _place(builder, p, (i, row), (j, column)), vector) for j in range(side)]
                for i in range(side)
            ]
            found = [value for line in apply_twice(builder, matrix, values) for value in line]
            # numbers that follow each other are the taps of a filter, which lie in one lane
            places = [divmod(i, taps) for i in range(taps * LANES)]
            lines = [
                collect(builder, found, [(tap, lane) for lane, tap in places[i : i + LANES]])
                for i in range(0, taps * LANES, LANES)
            ]

            def put(target):
                for i, line in enumerate(lines):
                    vector_store(builder, line, builder.gep(target, [ir.Constant(I64, i * LANES)]))

            few = builder.icmp_signed("<", inputs, ir.Constant(I64, LANES))
            with builder.if_else(few, likely=False) as (cut, whole):
                with whole:
                    put(w)
                with cut:  # by a place of our own: numbers beyond the row are others'
                    room = cgutils.alloca_once(builder, number, taps * LANES)
                    put(room)
                    _copy(builder, room, w, builder.mul(inputs, ir.Constant(I64, taps)))
            return context.get_dummy_value()

        return types.void(p, types.int64, types.int64, w, types.int64), codegen

    return write


# ------------------------------------------------------------------------------------------------ sizes


class Grid(NamedTuple):
    """The tiles of an image, and the planes of a transformed one."""

    tiles: int
    tiles_w: int
    planes: int

    @classmethod
    def of(cls, m: int, y: Buffer) -> "Grid":
        """Tiles of m x m pixels of a convolution's output y."""
        counts = [ceil_div(size, m) for size in y.spatial]
        return cls(math.prod(counts), counts[-1], (m + TAPS - 1) ** 2)


class FilterLines(NamedTuple):
    """A filter of channels in lanes as the transforms read it: ``lines`` of ``vectors``.

    A line holds all channels of the result for one that is summed.  ``strides``: the first number, and the distances of
    lines, rows and columns of taps; ``vector``: that of a line's vectors.
    """

    lines: int
    vectors: int
    strides: tuple[int, int, int, int]
    vector: int

    @classmethod
    def of(cls, w: Buffer, w_strides: FilterStrides, transposed: bool) -> "FilterLines":
        """The filter w of a forward pass or, ``transposed``, of an input gradient: turned by 180 degrees."""
        _, row, column, line, vector, _ = w_strides
        lines, width = w.shape[:2] if transposed else w.shape[1::-1]
        strides = (0, line, row, column)
        if transposed:  # from the last tap backwards
            strides = ((TAPS - 1) * (row + column), line, -row, -column)
        return cls(lines, ceil_div(width, LANES), strides, vector)


def plane_size(elements: int) -> int:
    """Elements from one plane to the next, a vector more than needed.

    A tile's planes are written one after another; a power of two between them would put all of them into the same few
    lines of the cache.
    """
    return ceil_div(elements, LANES) * LANES + LANES
