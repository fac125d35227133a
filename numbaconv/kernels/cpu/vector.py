"""SIMD vectors as ordinary values inside Numba kernels.

A ``Vector`` holds ``LANES`` numbers in one (or, for wide dtypes, a few) machine registers.  Kernels load one from
memory, calculate with ``+ - * /``, comparisons and the functions below, and store it:

    v = load(x, i)
    store(y, i, where(v > 0.0, v, v * 0.01))

Every operation is emitted as LLVM vector IR, so that vectorisation is certain instead of hoped for.  Scalars mixed
with vectors are broadcast.  Products and sums may be contracted to fused multiply-adds, nothing else is relaxed:
NaN and infinity behave as in IEEE 754, and results do not depend on how a loop was cut.
"""

import operator

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

from .target import LANES, has_fma, instruction_set

CONTRACT = ("contract",)


class Vector(types.Type):
    """Numba type of ``lanes`` numbers of ``dtype``."""

    def __init__(self, dtype: types.Type, lanes: int = LANES) -> None:
        self.dtype = dtype
        self.lanes = lanes
        super().__init__(name=f"Vector({dtype}, {lanes})")


class Mask(types.Type):
    """Numba type of ``lanes`` truth values, the result of comparing vectors."""

    def __init__(self, lanes: int = LANES) -> None:
        self.lanes = lanes
        super().__init__(name=f"Mask({lanes})")


LLVM_TYPES = {
    types.float32: ir.FloatType(),
    types.float64: ir.DoubleType(),
    types.int32: ir.IntType(32),
    types.uint32: ir.IntType(32),
    types.int64: ir.IntType(64),
}


@register_model(Vector)
class _VectorModel(models.PrimitiveModel):
    def __init__(self, manager, vector):
        super().__init__(manager, vector, ir.VectorType(LLVM_TYPES[vector.dtype], vector.lanes))


@register_model(Mask)
class _MaskModel(models.PrimitiveModel):
    def __init__(self, manager, mask):
        super().__init__(manager, mask, ir.VectorType(ir.IntType(1), mask.lanes))


def constant(vector_type, value):
    """The LLVM vector with ``value`` in every lane."""
    return ir.Constant(vector_type, [value] * vector_type.count)


def broadcast(builder, scalar, lanes):
    """The LLVM vector with ``scalar`` in every lane."""
    undefined = ir.Constant(ir.VectorType(scalar.type, lanes), ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    return builder.shuffle_vector(first, undefined, constant(ir.VectorType(ir.IntType(32), lanes), 0))


def vector_load(builder, pointer, vector_type):
    """Load without any demand on alignment beyond the element's."""
    value = builder.load(builder.bitcast(pointer, vector_type.as_pointer()))
    value.align = element_bytes(vector_type)
    return value


def vector_store(builder, value, pointer):
    builder.store(value, builder.bitcast(pointer, value.type.as_pointer())).align = element_bytes(value.type)


def element_bytes(vector_type) -> int:
    return 4 if vector_type.element in (ir.FloatType(), ir.IntType(32)) else 8


def llvm_name(vector_type) -> str:
    """LLVM's suffix of a vector type in intrinsic names: v16f32, v8i64 ..."""
    letter = "i" if isinstance(vector_type.element, ir.IntType) else "f"
    return f"v{vector_type.count}{letter}{8 * element_bytes(vector_type)}"


def call_llvm(builder, name, result, *arguments):
    """Call LLVM's intrinsic ``name``, declared by name because llvmlite cannot mangle vector types."""
    function_type = ir.FunctionType(result, [a.type for a in arguments])
    return builder.call(cgutils.get_or_insert_function(builder.module, function_type, name), arguments)


def prefetch(builder, pointer):
    """Ask for the cache line at ``pointer``, which need not exist."""
    number = ir.IntType(32)
    pointer = builder.bitcast(pointer, ir.IntType(8).as_pointer())
    read, all_levels, data = ir.Constant(number, 0), ir.Constant(number, 3), ir.Constant(number, 1)
    call_llvm(builder, "llvm.prefetch.p0", ir.VoidType(), pointer, read, all_levels, data)


def fused_multiply_add(builder, x, y, z):
    """x * y + z, rounded once where the CPU can do that in one instruction."""
    name = "fma" if has_fma() else "fmuladd"
    return call_llvm(builder, f"llvm.{name}.{llvm_name(x.type)}", x.type, x, y, z)


def as_vector(context, builder, value, value_type, vector: Vector):
    """``value`` itself if it is a vector, else the scalar converted and broadcast."""
    if isinstance(value_type, (Vector, Mask)):
        return value
    return broadcast(builder, context.cast(builder, value, value_type, vector.dtype), vector.lanes)


def _vectors(context, builder, vector, arguments, argument_types):
    """All arguments as vectors of one type."""
    pairs = zip(arguments, argument_types, strict=True)
    return [as_vector(context, builder, value, kind, vector) for value, kind in pairs]


# ------------------------------------------------------------------------------------------------ operators


def _vector_of(*arguments):
    found = [a for a in arguments if isinstance(a, Vector)]
    return found[0] if found and all(isinstance(a, (Vector, types.Number)) for a in arguments) else None


def _operator(python_operator, emit, result=None):
    """Teach Numba ``vector ∘ vector``, ``vector ∘ scalar`` and ``scalar ∘ vector``."""

    @type_callable(python_operator)
    def typing(context):
        def typer(left, right):
            vector = _vector_of(left, right)
            return None if vector is None else (result(vector) if result else vector)

        return typer

    def lower(context, builder, signature, arguments):
        vector = _vector_of(*signature.args)
        return emit(builder, *_vectors(context, builder, vector, arguments, signature.args))

    for pair in ((Vector, Vector), (Vector, types.Number), (types.Number, Vector)):
        lower_builtin(python_operator, *pair)(lower)


def _arithmetic(for_floats, for_integers):
    def emit(builder, left, right):
        if isinstance(left.type.element, ir.IntType):
            return getattr(builder, for_integers)(left, right)
        return getattr(builder, for_floats)(left, right, flags=CONTRACT)

    return emit


def _comparison(symbol):
    def emit(builder, left, right):
        if isinstance(left.type.element, ir.IntType):
            return builder.icmp_signed(symbol, left, right)
        return (builder.fcmp_unordered if symbol == "!=" else builder.fcmp_ordered)(symbol, left, right)

    return emit


_operator(operator.add, _arithmetic("fadd", "add"))
_operator(operator.sub, _arithmetic("fsub", "sub"))
_operator(operator.mul, _arithmetic("fmul", "mul"))
_operator(operator.truediv, lambda builder, x, y: builder.fdiv(x, y))
_operator(operator.and_, lambda builder, x, y: builder.and_(x, y))
_operator(operator.xor, lambda builder, x, y: builder.xor(x, y))
_operator(operator.lshift, lambda builder, x, y: builder.shl(x, y))
_operator(operator.rshift, lambda builder, x, y: builder.lshr(x, y))
for _python, _symbol in (
    (operator.lt, "<"), (operator.le, "<="), (operator.gt, ">"),
    (operator.ge, ">="), (operator.eq, "=="), (operator.ne, "!="),
):  # fmt: skip
    _operator(_python, _comparison(_symbol), lambda vector: Mask(vector.lanes))


@type_callable(operator.neg)
def _type_neg(context):
    return lambda vector: vector if isinstance(vector, Vector) else None


@lower_builtin(operator.neg, Vector)
def _lower_neg(context, builder, signature, arguments):
    value = arguments[0]
    return builder.fneg(value) if not isinstance(value.type.element, ir.IntType) else builder.neg(value)


def _mask_operator(python_operator, method):
    @type_callable(python_operator)
    def typing(context):
        return lambda left, right: left if isinstance(left, Mask) and left == right else None

    @lower_builtin(python_operator, Mask, Mask)
    def lower(context, builder, signature, arguments):
        return getattr(builder, method)(*arguments)


@type_callable(operator.invert)
def _type_invert(context):
    return lambda mask: mask if isinstance(mask, Mask) else None


@lower_builtin(operator.invert, Mask)
def _lower_invert(context, builder, signature, arguments):
    return builder.not_(arguments[0])


_mask_operator(operator.and_, "and_")
_mask_operator(operator.or_, "or_")


# ------------------------------------------------------------------------------------------------ memory


@intrinsic
def at(typingctx, pointer, index):
    """The pointer ``index`` elements further."""
    return pointer(pointer, types.int64), lambda context, builder, signature, a: builder.gep(a[0], [a[1]])


@intrinsic
def load(typingctx, pointer, index):
    """The vector of ``LANES`` elements from ``pointer[index]`` on."""

    def codegen(context, builder, signature, arguments):
        vector_type = context.get_value_type(signature.return_type)
        return vector_load(builder, builder.gep(arguments[0], [arguments[1]]), vector_type)

    return Vector(pointer.dtype)(pointer, types.int64), codegen


@intrinsic
def store(typingctx, pointer, index, vector):
    """Write all lanes from ``pointer[index]`` on."""

    def codegen(context, builder, signature, arguments):
        pointer, index, value = arguments
        vector_store(builder, value, builder.gep(pointer, [index]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector), codegen


def lanes_below(builder, count, lanes):
    """The LLVM mask whose lane i is set if i < ``count`` (an i64)."""
    numbers = ir.Constant(ir.VectorType(ir.IntType(64), lanes), list(range(lanes)))
    return builder.icmp_signed("<", numbers, broadcast(builder, count, lanes))


def masked_store(builder, value, pointer, mask):
    """Store the masked lanes; memory of the others is not touched."""
    pointer = builder.bitcast(pointer, value.type.as_pointer())
    align = ir.Constant(ir.IntType(32), element_bytes(value.type))
    call_llvm(builder, f"llvm.masked.store.{llvm_name(value.type)}.p0", ir.VoidType(), value, pointer, align, mask)


def masked_load(builder, pointer, vector_type, mask, others=None):
    """Load the masked lanes, the others being those of ``others`` or zero; their memory is not read."""
    pointer = builder.bitcast(pointer, vector_type.as_pointer())
    align = ir.Constant(ir.IntType(32), element_bytes(vector_type))
    name = f"llvm.masked.load.{llvm_name(vector_type)}.p0"
    return call_llvm(builder, name, vector_type, pointer, align, mask, others or ir.Constant(vector_type, None))


@intrinsic
def load_first(typingctx, pointer, index, count):
    """The vector whose first ``count`` lanes come from ``pointer[index]`` on, the others zero and not read.

    Where that is all of them a plain load reads them: a row of masked loads comes from memory at a third of the speed.
    """

    def codegen(context, builder, signature, arguments):
        pointer, index, count = arguments
        vector_type = context.get_value_type(signature.return_type)
        pointer, lanes = builder.gep(pointer, [index]), vector_type.count
        is_whole = builder.icmp_signed(">=", count, ir.Constant(count.type, lanes))
        with builder.if_else(is_whole, likely=True) as (all_lanes, some_lanes):
            with all_lanes:
                whole, end_of_whole = vector_load(builder, pointer, vector_type), builder.block
            with some_lanes:
                some = masked_load(builder, pointer, vector_type, lanes_below(builder, count, lanes))
                end_of_some = builder.block
        found = builder.phi(vector_type)
        found.add_incoming(whole, end_of_whole)
        found.add_incoming(some, end_of_some)
        return found

    return Vector(pointer.dtype)(pointer, types.int64, types.int64), codegen


@intrinsic
def store_first(typingctx, pointer, index, vector, count):
    """Write the first ``count`` lanes from ``pointer[index]`` on, all of them by a plain store (see ``load_first``)."""

    def codegen(context, builder, signature, arguments):
        pointer, index, value, count = arguments
        pointer, lanes = builder.gep(pointer, [index]), value.type.count
        is_whole = builder.icmp_signed(">=", count, ir.Constant(count.type, lanes))
        with builder.if_else(is_whole, likely=True) as (all_lanes, some_lanes):
            with all_lanes:
                vector_store(builder, value, pointer)
            with some_lanes:
                masked_store(builder, value, pointer, lanes_below(builder, count, lanes))
        return context.get_dummy_value()

    return types.void(pointer, types.int64, vector, types.int64), codegen


@intrinsic
def fetch(typingctx, pointer, index):
    """Ask for the cache line of ``pointer[index]``, which need not exist."""

    def codegen(context, builder, signature, arguments):
        prefetch(builder, builder.gep(arguments[0], [arguments[1]]))
        return context.get_dummy_value()

    return types.void(pointer, types.int64), codegen


@intrinsic
def pick(typingctx, x, places, index, count):
    """The vector of ``x[place]`` for the integers from ``places[index]`` on; zero where not 0 <= place < ``count``.

    Lanes are loaded one by one: instructions that gather take longer, and LLVM uses them for the same loop of scalars.
    """
    vector = Vector(x.dtype)

    def codegen(context, builder, signature, arguments):
        x, places, index, count = arguments
        integer = places.type.pointee
        places = builder.gep(places, [index])
        value = ir.Constant(context.get_value_type(vector), ir.Undefined)
        zeros = ir.Constant(value.type, None)
        count = builder.trunc(count, integer) if integer != count.type else count
        for lane in range(vector.lanes):
            number = ir.Constant(ir.IntType(32), lane)
            place = builder.load(builder.gep(places, [number]))
            place = builder.select(builder.icmp_unsigned("<", place, count), place, ir.Constant(integer, 0))
            value = builder.insert_element(value, builder.load(builder.gep(x, [place])), number)
        place = vector_load(builder, places, ir.VectorType(integer, vector.lanes))
        return builder.select(builder.icmp_unsigned("<", place, broadcast(builder, count, vector.lanes)), value, zeros)

    return vector(x, places, types.int64, types.int64), codegen


# ------------------------------------------------------------------------------------------------ functions


def _named(typing, name, doc):
    """An intrinsic with a name and a docstring of its own."""
    typing.__name__ = typing.__qualname__ = name
    typing.__doc__ = doc
    return intrinsic(typing)


def _unary(name, doc):
    """LLVM's function ``name`` of one vector."""

    def typing(typingctx, x):
        def codegen(context, builder, signature, arguments):
            x = arguments[0]
            return call_llvm(builder, f"llvm.{name}.{llvm_name(x.type)}", x.type, x)

        return x(x), codegen

    return _named(typing, name, doc)


@intrinsic
def product(typingctx, x, y):
    """x * y, rounded: it never becomes part of a fused multiply-add."""
    if not isinstance(x, Vector):
        return None

    def codegen(context, builder, signature, arguments):
        made = builder.fmul(*_vectors(context, builder, x, arguments, signature.args))
        # without a fence Numba lets every product be contracted, whatever its flags
        return call_llvm(builder, f"llvm.arithmetic.fence.{llvm_name(made.type)}", made.type, made)

    return x(x, y), codegen


absolute = _unary("fabs", "The lanes without their signs.")
sqrt = _unary("sqrt", "The square root of each lane, correctly rounded.")
floor = _unary("floor", "The largest whole number that is not larger.")
nearest = _unary("rint", "The nearest whole number, ties to even.")


@intrinsic
def lane_numbers(typingctx):
    """0, 1, 2 ... as 64-bit integers."""

    def codegen(context, builder, signature, arguments):
        return ir.Constant(context.get_value_type(signature.return_type), list(range(LANES)))

    return Vector(types.int64)(), codegen


@intrinsic
def splat(typingctx, like, scalar):
    """The vector of ``like``'s type (a pointer or a vector) with ``scalar`` in every lane."""
    vector = Vector(like.dtype)

    def codegen(context, builder, signature, arguments):
        return as_vector(context, builder, arguments[1], signature.args[1], signature.return_type)

    return vector(like, scalar), codegen


@intrinsic
def fma(typingctx, x, y, z):
    """``x * y + z``, rounded once (twice on CPUs without such an instruction)."""

    def codegen(context, builder, signature, arguments):
        values = _vectors(context, builder, signature.return_type, arguments, signature.args)
        return fused_multiply_add(builder, *values)

    return _vector_of(x, y, z)(x, y, z), codegen


@intrinsic
def where(typingctx, mask, x, y):
    """``x`` in the lanes where ``mask`` is set, else ``y``."""

    def codegen(context, builder, signature, arguments):
        values = _vectors(context, builder, signature.return_type, arguments[1:], signature.args[1:])
        return builder.select(arguments[0], *values)

    return _vector_of(x, y)(mask, x, y), codegen


def _extreme(name, symbol, doc):
    """``x`` where x ``symbol`` y, else ``y``: one instruction, which gives ``y`` where either is NaN."""

    def typing(typingctx, x, y):
        def codegen(context, builder, signature, arguments):
            x, y = _vectors(context, builder, signature.return_type, arguments, signature.args)
            return builder.select(builder.fcmp_ordered(symbol, x, y), x, y)

        return _vector_of(x, y)(x, y), codegen

    return _named(typing, name, doc)


maximum = _extreme("maximum", ">", "The larger of x and y; y where either is NaN.")
minimum = _extreme("minimum", "<", "The smaller of x and y; y where either is NaN.")


@intrinsic
def first_lanes(typingctx, count):
    """The mask of the first ``count`` lanes."""

    def codegen(context, builder, signature, arguments):
        return lanes_below(builder, arguments[0], LANES)

    return Mask()(types.int64), codegen


def halve(builder, value, combine):
    """LLVM: all lanes combined in a fixed order: halves with each other until one lane is left."""
    while value.type.count > 1:
        half = value.type.count // 2
        undefined = ir.Constant(value.type, ir.Undefined)
        index_type = ir.VectorType(ir.IntType(32), half)
        low = builder.shuffle_vector(value, undefined, ir.Constant(index_type, list(range(half))))
        high = builder.shuffle_vector(value, undefined, ir.Constant(index_type, list(range(half, 2 * half))))
        value = combine(low, high)
    return builder.extract_element(value, ir.Constant(ir.IntType(32), 0))


def sum_lanes(builder, value):
    return halve(builder, value, builder.fadd)


def sum_lanes_of_all(builder, values):
    """LLVM: the sums of the lanes of several vectors, as scalars, in the order of additions of ``sum_lanes``.

    Two vectors at a time are folded into one that holds half as many partial sums of each.  This takes two shuffles and
    an addition for each vector; summing them one by one takes as much for each halving of each vector.
    """
    lanes = values[0].type.count
    index_type = ir.VectorType(ir.IntType(32), lanes)
    run, found = lanes, len(values)
    while run > 1:  # a vector holds lanes / run sums, each in ``run`` partial sums
        low = [i for i in range(lanes) if i % run < run // 2]
        high = [i for i in range(lanes) if i % run >= run // 2]
        folded = []
        for i in range(0, len(values), 2):
            first, second = values[i], values[min(i + 1, len(values) - 1)]
            a = builder.shuffle_vector(first, second, ir.Constant(index_type, low + [lanes + j for j in low]))
            b = builder.shuffle_vector(first, second, ir.Constant(index_type, high + [lanes + j for j in high]))
            folded.append(builder.fadd(a, b))
        values, run = folded, run // 2
    return [
        builder.extract_element(values[i // lanes], ir.Constant(ir.IntType(32), i % lanes)) for i in range(found)
    ]


@intrinsic
def reduce_max(typingctx, x):
    """The largest lane; NaN if one is NaN."""

    def codegen(context, builder, signature, arguments):
        def larger(a, b):
            keep = builder.or_(builder.fcmp_ordered(">", a, b), builder.fcmp_unordered("uno", a, a))
            return builder.select(keep, a, b)

        return halve(builder, arguments[0], larger)

    return x.dtype(x), codegen


@intrinsic
def reduce_add(typingctx, x):
    """The sum of the lanes, added pairwise."""

    def codegen(context, builder, signature, arguments):
        return sum_lanes(builder, arguments[0])

    return x.dtype(x), codegen


_INTEGERS = {32: types.int32, 64: types.int64}
_FLOATS = {32: types.float32, 64: types.float64}


def _conversion(name, kinds, instruction, doc):
    """A function to vectors of the same width whose elements are of another kind."""

    def typing(typingctx, x):
        def codegen(context, builder, signature, arguments):
            return getattr(builder, instruction)(arguments[0], context.get_value_type(signature.return_type))

        return Vector(kinds[x.dtype.bitwidth])(x), codegen

    return _named(typing, name, doc)


bits = _conversion("bits", _INTEGERS, "bitcast", "The same bits as integers of the same width.")
from_bits = _conversion("from_bits", _FLOATS, "bitcast", "Integers read as the bits of numbers of the same width.")
to_integer = _conversion("to_integer", _INTEGERS, "fptosi", "Truncated to integers of the same width; must fit.")
to_float = _conversion("to_float", _FLOATS, "sitofp", "Signed integers converted to numbers of the same width.")


@intrinsic
def integers_of(typingctx, like, x):
    """The integers x (that fit) in the width of ``like``, a pointer or a vector of integers."""

    def codegen(context, builder, signature, arguments):
        kind = context.get_value_type(signature.return_type)
        wider = signature.return_type.dtype.bitwidth > x.dtype.bitwidth
        return builder.sext(arguments[1], kind) if wider else builder.trunc(arguments[1], kind)

    return Vector(like.dtype)(like, x), codegen


@intrinsic
def times_power_of_two(typingctx, x, exponent):
    """``x * 2^exponent`` for whole numbers ``exponent`` of x's type, at most those of all numbers.

    AVX-512 has an instruction for it.  Elsewhere the power is taken in two factors, for it may itself be too large or
    too small for a number.
    """
    bits_of, mantissa, bias = (32, 23, 127) if x.dtype == types.float32 else (64, 52, 1023)

    def codegen(context, builder, signature, arguments):
        x, exponent = arguments
        if x.type.count * bits_of == 512 and instruction_set() == "avx512":
            kind = "ps" if bits_of == 32 else "pd"
            mask = ir.Constant(ir.IntType(x.type.count), -1)
            rounding = ir.Constant(ir.IntType(32), 4)  # as the processor is set
            return call_llvm(
                builder, f"llvm.x86.avx512.mask.scalef.{kind}.512", x.type, x, exponent, x, mask, rounding
            )
        integers = ir.VectorType(ir.IntType(bits_of), x.type.count)
        whole = builder.fptosi(exponent, integers)
        half = builder.ashr(whole, constant(integers, 1))
        for part in (half, builder.sub(whole, half)):
            shifted = builder.shl(builder.add(part, constant(integers, bias)), constant(integers, mantissa))
            x = builder.fmul(x, builder.bitcast(shifted, x.type))
        return x

    return x(x, x), codegen


@intrinsic
def arithmetic_shift(typingctx, x, count):
    """``x >> count`` keeping the sign (the operator ``>>`` shifts zeros in)."""

    def codegen(context, builder, signature, arguments):
        x, count = arguments
        return builder.ashr(x, as_vector(context, builder, count, signature.args[1], signature.return_type))

    return x(x, count), codegen


@intrinsic
def lane_of(typingctx, x, lane):
    """The number in one lane."""

    def codegen(context, builder, signature, arguments):
        return builder.extract_element(*arguments)

    return x.dtype(x, types.int64), codegen


@intrinsic
def transpose(typingctx, source, source_row, target, target_row):
    """Write the transpose of ``LANES`` rows of ``LANES`` numbers.

    Rows lie ``source_row`` elements apart, the transpose's ``target_row``.  Row i is riffled into row i + LANES / 2,
    like a deck of cards; after log2(LANES) rounds rows are columns.
    """
    half = LANES // 2
    low = [i // 2 + i % 2 * LANES for i in range(LANES)]
    high = [half + i for i in low]

    def codegen(context, builder, signature, arguments):
        source, source_row, target, target_row = arguments
        vector = ir.VectorType(source.type.pointee, LANES)
        index = ir.VectorType(ir.IntType(32), LANES)

        def row(pointer, stride, number):
            return builder.gep(pointer, [builder.mul(stride, ir.Constant(ir.IntType(64), number))])

        values = [vector_load(builder, row(source, source_row, i), vector) for i in range(LANES)]
        for _ in range(LANES.bit_length() - 1):
            pairs = [(values[i], values[i + half]) for i in range(half)]
            orders = [ir.Constant(index, order) for order in (low, high)]
            values = [builder.shuffle_vector(a, b, order) for a, b in pairs for order in orders]
        for i, value in enumerate(values):
            vector_store(builder, value, row(target, target_row, i))
        return context.get_dummy_value()

    return types.void(source, types.int64, target, types.int64), codegen


def collect(builder, vectors, places):
    """The vector whose lanes are those at ``places`` of ``vectors``: (vector, lane)."""
    order = ir.VectorType(ir.IntType(32), LANES)
    found = vectors[0]
    for i, vector in enumerate(vectors):
        lanes = [LANES + lane if of == i else kept for kept, (of, lane) in enumerate(places)]
        found = builder.shuffle_vector(found, vector, ir.Constant(order, lanes))
    return found


def deal(rows: int):
    """A function (x, x_row, y) for kernels: y[j rows + i] = x[i x_row + j] for ``rows`` vectors i."""

    @intrinsic
    def deal(typingctx, x, x_row, y):
        def codegen(context, builder, signature, arguments):
            x, x_row, y = arguments
            vector, number = ir.VectorType(x.type.pointee, LANES), ir.IntType(64)
            sources = [
                vector_load(builder, builder.gep(x, [builder.mul(x_row, ir.Constant(number, i))]), vector)
                for i in range(rows)
            ]
            for part in range(0, rows * LANES, LANES):
                places = [divmod(i, rows) for i in range(part, part + LANES)]
                value = collect(builder, sources, [(row, lane) for lane, row in places])
                vector_store(builder, value, builder.gep(y, [ir.Constant(number, part)]))
            return context.get_dummy_value()

        return types.void(x, types.int64, y), codegen

    return deal
