"""Counting batches, for running statistics that are averages of all of them."""

from .lowering import PLAIN, lowering
from .native import INT64, Pointer, kernel


@kernel
def count_up(T):
    """y = count + 1, integers."""

    def loop(begin, end, block: int, first: int, count: INT64, y: INT64):
        y[0] = count[0] + 1

    return loop


@kernel
def reciprocal(T):
    """y = 1 / count."""

    def loop(begin, end, block: int, first: int, count: INT64, y: Pointer):
        y[0] = 1.0 / count[0]

    return loop


@lowering("count_up", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_count_up(program, node, inputs, outputs):
    program.step(count_up("float32"), inputs, outputs)


@lowering("reciprocal", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_reciprocal(program, node, inputs, outputs):
    program.step(reciprocal(outputs[0].dtype), inputs[:1], outputs)
