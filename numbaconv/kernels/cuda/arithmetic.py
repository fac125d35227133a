"""The sum of everything, of its squares, and its largest magnitude; each row times a number of its own."""

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, write_if
from .lowering import PLAIN, ceil_div, lowering
from .math import absolute
from .warp import WARP, largest, largest_of_warp, over_block, sum_of_warp

THREADS = 256
#: Elements that a block of a sum adds up.
UNIT = 32 * THREADS


@kernel
def partial_sums(T, function):
    """The sum, the sum of squares or the largest magnitude of every ``UNIT`` elements, a block each."""
    over_all = over_block(largest_of_warp if function == "largest" else sum_of_warp, THREADS)

    @block(THREADS, 4, THREADS // WARP * 4)
    def loop(x: Pointer, y: Pointer, n: int):
        total = f32(0.0)
        for step in range(UNIT // THREADS):
            i = block_x() * UNIT + step * THREADS + thread()
            v = read_if(i < n, x, i)
            if function == "largest":
                total = largest(absolute(v), total)
            elif function == "sum_of_squares":
                total = total + v * v
            else:
                total = total + v
        total = over_all(total)
        write_if(thread() == 0, y, block_x(), total)

    return loop


@lowering("sum", "sum_of_squares", "largest", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_sum(program, node, inputs, outputs):
    x, y = inputs[0], outputs[0]
    function = node.op.name
    while x.elements > UNIT:
        units = ceil_div(x.elements, UNIT)
        part = program.whole(x.dtype, units)
        program.launch(partial_sums(x.dtype, function=function), units, (x,), (part,), (x.elements,))
        x = part
        function = "largest" if function == "largest" else "sum"
    program.launch(partial_sums(x.dtype, function=function), 1, (x,), (y,), (x.elements,))


@kernel
def scale_rows(T):
    """Each row of n numbers times a number of its own; an element a thread."""

    @block(THREADS, 8)
    def loop(x: Pointer, factors: Pointer, y: Pointer, size: int, n: int):
        i = block_x() * THREADS + thread()
        write_if(i < size, y, i, read_if(i < size, x, i) * read_if(i < size, factors, i // n))

    return loop


@lowering("scale_filters", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_scale_filters(program, node, inputs, outputs):
    y = outputs[0]
    constants = (y.elements, y.elements // y.shape[0])
    program.launch(scale_rows(y.dtype), ceil_div(y.elements, THREADS), inputs, outputs, constants)
