"""The one building block: a register-tiled batch-reduce matrix product (Georganas et al., arXiv 1906.06440).

    C[m, v, lane] = sum over (t, r, s, d) of  A[m; t, r, s, d] * B[v; t, r, s, d, lane]

The accumulators, ``rows`` x ``vectors`` of them, stay in registers.  The four nested sums walk the planes, rows and
columns of a filter and its channels; each has its own stride in A and in B, and so one loop serves forward, input
gradient, weight gradient and fully connected layers in every layout.  A is read one number at a time and broadcast
(``product``), or a vector at a time, lanes being summed at the end (``lane_sum``).
"""

from contextlib import ExitStack
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from .compiler import forbid_unrolling
from .target import LANES, TILES, has_fma, instruction_set
from .vector import (
    broadcast,
    constant,
    fused_multiply_add,
    lanes_below,
    masked_store,
    prefetch,
    sum_lanes_of_all,
    vector_load,
    vector_store,
)

I64 = ir.IntType(64)


def tiles_for(itemsize: int, lone: bool = False) -> tuple[tuple[int, int], ...]:
    """Register tiles (rows, vectors) for a dtype whose sums and operands fit into the registers.

    A vector of float64 fills two registers, so these tiles have half the rows.
    """
    _, registers, tiles, more = TILES[instruction_set()]
    if lone:
        tiles += more
    each = itemsize // 4

    def fits(rows: int, vectors: int) -> bool:
        columns = vectors if rows > 1 else 1  # a column that serves one row is read when it is needed
        others = 1 if has_fma() else 2  # the row, and the product where it is not added at once
        return (rows * vectors + columns) * each + others <= registers

    return tuple(t for t in dict.fromkeys((max(1, m // each), v) for m, v in tiles) if fits(*t))


def product(rows: int, vectors: int, ahead: int = 0) -> Any:
    """C = AB, or C += AB if ``last`` is not 0.

    ``ahead``: how many steps of the third sum ahead A is asked for (B one step); the fourth sum must walk along one
    cache line of each row of A.
    """

    def write(builder, sums, targets, again):
        with builder.if_else(cgutils.is_not_null(builder, again)) as (add, replace):
            with add:
                for value, target in zip(sums, targets, strict=True):
                    vector_store(builder, builder.fadd(vector_load(builder, target, value.type), value), target)
            with replace:
                for value, target in zip(sums, targets, strict=True):
                    vector_store(builder, value, target)

    return _tile(rows, vectors, _read_broadcast, write, ahead)


def product_first(rows: int, vectors: int) -> Any:
    """C = AB, of whose columns only the first ``last`` are written."""

    def write(builder, sums, targets, count):
        whole = builder.icmp_signed(">=", count, ir.Constant(I64, vectors * LANES))
        with builder.if_else(whole) as (full, cut):
            with full:
                for value, target in zip(sums, targets, strict=True):
                    vector_store(builder, value, target)
            with cut:
                for i, (value, target) in enumerate(zip(sums, targets, strict=True)):
                    left = builder.sub(count, ir.Constant(I64, i % vectors * LANES))
                    masked_store(builder, value, target, lanes_below(builder, left, LANES))

    return _tile(rows, vectors, _read_broadcast, write)


def lane_sum(rows: int, vectors: int) -> Any:
    """C[m, v] = the sum of the lanes of A[m] B[v], or += if ``last`` is not 0."""

    def write(builder, sums, targets, again):
        keep = cgutils.is_not_null(builder, again)
        for total, target in zip(sum_lanes_of_all(builder, sums), targets, strict=True):
            old = builder.select(keep, builder.load(target), ir.Constant(total.type, 0.0))
            builder.store(builder.fadd(old, total), target)

    return _tile(rows, vectors, vector_load, write)


def _read_broadcast(builder, a, vector):
    return broadcast(builder, builder.load(a), vector.count)


def _tile(rows: int, vectors: int, read_row, write, ahead: int = 0) -> Any:
    """A function (a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, last) for use in kernels.

    Pointers; the lengths of the four sums; their strides in A and B; the distances of A's rows, B's vectors, C's rows
    and C's vectors, all in elements; and what ``write`` makes of ``last``.
    """

    @intrinsic
    def tile(typingctx, a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, last):
        four, one = types.UniTuple(types.int64, 4), types.int64

        def codegen(context, builder, signature, arguments):
            a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, last = arguments
            vector = ir.VectorType(c.type.pointee, LANES)
            zero = constant(vector, 0.0)
            sums = [cgutils.alloca_once(builder, vector) for _ in range(rows * vectors)]
            for place in sums:
                builder.store(zero, place)
            with ExitStack() as loops:
                sizes = [cgutils.unpack_tuple(builder, t) for t in (counts, a_strides, b_strides)]
                for depth, (count, a_stride, b_stride) in enumerate(zip(*sizes, strict=True)):
                    index = loops.enter_context(cgutils.for_range(builder, count)).index
                    a = builder.gep(a, [builder.mul(index, a_stride)])
                    b = builder.gep(b, [builder.mul(index, b_stride)])
                    if ahead and depth == 2:
                        for m in range(rows):
                            prefetch(builder, _at(builder, _at(builder, a, a_stride, ahead), a_row, m))
                        b_step = b_stride
                if ahead:
                    for v in range(vectors):
                        prefetch(builder, _at(builder, _at(builder, b, b_step, 1), b_vector, v))
                columns = [vector_load(builder, _at(builder, b, b_vector, v), vector) for v in range(vectors)]
                for m in range(rows):
                    row = read_row(builder, _at(builder, a, a_row, m), vector)
                    for v in range(vectors):
                        place = sums[m * vectors + v]
                        builder.store(fused_multiply_add(builder, row, columns[v], builder.load(place)), place)
                innermost = builder.block
            forbid_unrolling(builder.module, innermost.terminator)  # registers are full, a second copy would spill them
            targets = [
                _at(builder, _at(builder, c, c_row, m), c_vector, v) for m in range(rows) for v in range(vectors)
            ]
            write(builder, [builder.load(place) for place in sums], targets, last)
            return context.get_dummy_value()

        return types.void(a, b, c, four, four, four, one, one, one, one, one), codegen

    return tile


def _at(builder, pointer, stride, number: int):
    return builder.gep(pointer, [builder.mul(stride, ir.Constant(I64, number))])
