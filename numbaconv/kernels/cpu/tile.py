"""The one building block: a register-tiled batch-reduce matrix product (Georganas et al., arXiv 1906.06440).

    C[m, v, lane] = sum over (t, r, s, d) of  A[m; t, r, s, d] * B[v; t, r, s, d, lane]

The accumulators, ``rows`` x ``vectors`` of them, stay in registers.  The four nested sums walk the planes, rows and
columns of a filter and its channels; each has its own stride in A and in B, and so one loop serves forward, input
gradient, weight gradient and fully connected layers in every layout.  A is read one number at a time and broadcast
(``product``), or a vector at a time, lanes being summed at the end (``lane_sum``).
"""

from typing import NamedTuple

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic

from .target import LANES, TILES, instruction_set
from .vector import (
    Vector, at, broadcast, constant, fused_multiply_add, lanes_below, masked_store, sum_lanes, vector_load, vector_store,
)  # fmt: skip


class Tile(NamedTuple):
    """Compiled loops for one tile size."""

    product: object
    product_first: object
    lane_sum: object


def tiles_for(itemsize: int) -> tuple[tuple[int, int], ...]:
    """Register tiles (rows, vectors) for a dtype; a vector of float64 fills two registers."""
    tiles = TILES[instruction_set()][2]
    return tiles if itemsize == 4 else tuple(dict.fromkeys((max(1, m // 2), v) for m, v in tiles))


def _index(builder, stride, number):
    return builder.mul(stride, ir.Constant(ir.IntType(64), number))


def make_tile(rows: int, vectors: int) -> Tile:
    """The loops of a ``rows`` x ``vectors`` tile, to be captured by a kernel."""
    size = rows * vectors

    @intrinsic
    def zeros(typingctx, like):
        accumulators = types.UniTuple(Vector(like.dtype), size)

        def codegen(context, builder, signature, arguments):
            zero = constant(context.get_value_type(signature.return_type.dtype), 0.0)
            return cgutils.pack_array(builder, [zero] * size)

        return accumulators(like), codegen

    def outer_product(read_row):
        """accumulators[m, v] += A[m] * B[v], with A's rows read by ``read_row``."""

        @intrinsic
        def step(typingctx, accumulators, a, a_row, b, b_vector):
            def codegen(context, builder, signature, arguments):
                accumulators, a, a_row, b, b_vector = arguments
                sums = cgutils.unpack_tuple(builder, accumulators)
                vector = sums[0].type
                columns = [vector_load(builder, builder.gep(b, [_index(builder, b_vector, v)]), vector) for v in range(vectors)]
                result = []
                for m in range(rows):
                    row = read_row(builder, builder.gep(a, [_index(builder, a_row, m)]), vector)
                    result += [
                        fused_multiply_add(builder, row, columns[v], sums[m * vectors + v]) for v in range(vectors)
                    ]
                return cgutils.pack_array(builder, result)

            return accumulators(accumulators, a, types.int64, b, types.int64), codegen

        return step

    add_broadcast = outer_product(lambda builder, a, vector: broadcast(builder, builder.load(a), vector.count))
    add_vectors = outer_product(vector_load)

    def each(builder, accumulators, c, c_row, c_vector):
        for i, value in enumerate(cgutils.unpack_tuple(builder, accumulators)):
            m, v = divmod(i, vectors)
            offset = builder.add(_index(builder, c_row, m), _index(builder, c_vector, v))
            yield v, value, builder.gep(c, [offset])

    @intrinsic
    def write(typingctx, accumulators, c, c_row, c_vector):
        def codegen(context, builder, signature, arguments):
            for _, value, target in each(builder, *arguments):
                vector_store(builder, value, target)
            return context.get_dummy_value()

        return types.void(accumulators, c, types.int64, types.int64), codegen

    @intrinsic
    def add(typingctx, accumulators, c, c_row, c_vector):
        def codegen(context, builder, signature, arguments):
            for _, value, target in each(builder, *arguments):
                vector_store(builder, builder.fadd(vector_load(builder, target, value.type), value), target)
            return context.get_dummy_value()

        return types.void(accumulators, c, types.int64, types.int64), codegen

    @intrinsic
    def write_first(typingctx, accumulators, c, c_row, c_vector, count):
        def codegen(context, builder, signature, arguments):
            count = arguments[-1]
            for v, value, target in each(builder, *arguments[:-1]):
                left = builder.sub(count, ir.Constant(ir.IntType(64), v * LANES))
                masked_store(builder, value, target, lanes_below(builder, left, LANES))
            return context.get_dummy_value()

        return types.void(accumulators, c, types.int64, types.int64, types.int64), codegen

    @intrinsic
    def write_sums(typingctx, accumulators, c, c_row, c_vector, accumulate):
        def codegen(context, builder, signature, arguments):
            again = builder.icmp_signed("!=", arguments[-1], ir.Constant(ir.IntType(64), 0))
            for _, value, target in each(builder, *arguments[:-1]):
                total = sum_lanes(builder, value)
                old = builder.select(again, builder.load(target), ir.Constant(total.type, 0.0))
                builder.store(builder.fadd(old, total), target)
            return context.get_dummy_value()

        return types.void(accumulators, c, types.int64, types.int64, types.int64), codegen

    def reduction(step):
        @njit(error_model="numpy")
        def loop(a, b, counts, a_strides, b_strides, a_row, b_vector):
            planes, rows, columns, depth = counts
            a_plane, a_tap_row, a_column, a_depth = a_strides
            b_plane, b_tap_row, b_column, b_depth = b_strides
            total = zeros(b)
            for t in range(planes):
                for r in range(rows):
                    for s in range(columns):
                        ap = at(a, t * a_plane + r * a_tap_row + s * a_column)
                        bp = at(b, t * b_plane + r * b_tap_row + s * b_column)
                        for _ in range(depth):
                            total = step(total, ap, a_row, bp, b_vector)
                            ap = at(ap, a_depth)
                            bp = at(bp, b_depth)
            return total

        return loop

    sum_products = reduction(add_broadcast)
    sum_vectors = reduction(add_vectors)

    @njit(error_model="numpy")
    def product(a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, accumulate):
        total = sum_products(a, b, counts, a_strides, b_strides, a_row, b_vector)
        if accumulate:
            add(total, c, c_row, c_vector)
        else:
            write(total, c, c_row, c_vector)

    @njit(error_model="numpy")
    def product_first(a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, count):
        total = sum_products(a, b, counts, a_strides, b_strides, a_row, b_vector)
        write_first(total, c, c_row, c_vector, count)

    @njit(error_model="numpy")
    def lane_sum(a, b, c, counts, a_strides, b_strides, a_row, b_vector, c_row, c_vector, accumulate):
        total = sum_vectors(a, b, counts, a_strides, b_strides, a_row, b_vector)
        write_sums(total, c, c_row, c_vector, accumulate)

    return Tile(product, product_first, lane_sum)
