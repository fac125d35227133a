"""Counting batches, for running statistics that are averages of all of them."""

from .compiler import INT64, Pointer, block, kernel
from .intrinsics import f32, read, thread, write_if
from .lowering import PLAIN, lowering


@kernel
def count_up(T):
    """y = count + 1, integers."""

    @block(32)
    def loop(count: INT64, y: INT64):
        write_if(thread() == 0, y, 0, read(count, 0) + 1)

    return loop


@kernel
def reciprocal(T):
    """y = 1 / count."""

    @block(32)
    def loop(count: INT64, y: Pointer):
        write_if(thread() == 0, y, 0, 1.0 / f32(read(count, 0)))

    return loop


@lowering("count_up", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_count_up(program, node, inputs, outputs):
    program.launch(count_up("float32"), 1, inputs, outputs)


@lowering("reciprocal", inputs=(PLAIN,), outputs=(PLAIN,))
def lower_reciprocal(program, node, inputs, outputs):
    program.launch(reciprocal(outputs[0].dtype), 1, inputs[:1], outputs)
