"""Local response normalisation over the channels around each, which lie side by side in NHWC; an element a thread."""

from .compiler import Pointer, block, kernel
from .intrinsics import block_x, f32, read_if, thread, write_if
from .lowering import BATCH, ceil_div, lowering
from .math import exp, log

THREADS = 256


def sum_around(x, inside, at, channels, before, behind, squared):
    """The sum of the numbers, or of their squares, of the channels around element ``at``."""
    c = at % channels
    total = f32(0.0)
    for step in range(before + behind + 1):
        j = c + step - before
        v = read_if(inside & (j >= 0) & (j < channels), x, at + step - before)
        total = total + (v * v if squared else v)
    return total


@kernel
def local_response_norm(T):
    """y = x / (k + share * sum of squares around)^beta."""

    @block(THREADS, 4)
    def loop(
        x: Pointer, y: Pointer, n: int, channels: int, before: int, behind: int, share: float, beta: float, k: float
    ):
        i = block_x() * THREADS + thread()
        inside = i < n
        d = sum_around(x, inside, i, channels, before, behind, True) * share + k
        write_if(inside, y, i, read_if(inside, x, i) * exp(-beta * log(d)))

    return loop


@kernel
def powers(T):
    """With d = k + share * sum of squares around: g d^-beta, and g x d^(-beta - 1)."""

    @block(THREADS, 4)
    def loop(
        g: Pointer, x: Pointer, power: Pointer, part: Pointer,
        n: int, channels: int, before: int, behind: int, share: float, beta: float, k: float,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < n
        d = sum_around(x, inside, i, channels, before, behind, True) * share + k
        scaled = read_if(inside, g, i) * exp(-beta * log(d))
        write_if(inside, power, i, scaled)
        write_if(inside, part, i, scaled * read_if(inside, x, i) / d)

    return loop


@kernel
def local_response_norm_grad(T):
    """y = power - 2 beta share x * sum of the parts of the channels that have this one around them."""

    @block(THREADS, 4)
    def loop(
        power: Pointer, part: Pointer, x: Pointer, y: Pointer,
        n: int, channels: int, before: int, behind: int, share: float, beta: float,
    ):  # fmt: skip
        i = block_x() * THREADS + thread()
        inside = i < n
        total = sum_around(part, inside, i, channels, behind, before, False)
        v = read_if(inside, x, i) * (-2.0 * beta * share) * total
        write_if(inside, y, i, read_if(inside, power, i) + v)

    return loop


def _constants(node, x) -> tuple:
    attrs = node.attrs
    size = attrs["size"]
    numbers = (attrs["alpha"] / size, float(attrs["beta"]), float(attrs["k"]))
    return (x.elements, x.channels, size // 2, (size - 1) // 2, *numbers)


@lowering("local_response_norm", inputs=(BATCH,), outputs=(BATCH,))
def lower_local_response_norm(program, node, inputs, outputs):
    x = inputs[0]
    made = local_response_norm(x.dtype)
    program.launch(made, ceil_div(x.elements, THREADS), inputs, outputs, _constants(node, x), node.flops)


@lowering("local_response_norm_grad", inputs=(BATCH,), outputs=(BATCH,))
def lower_local_response_norm_grad(program, node, inputs, outputs):
    x, constants = inputs[1], _constants(node, inputs[1])
    power, part = program.whole(x.dtype, x.elements), program.whole(x.dtype, x.elements)
    grid = ceil_div(x.elements, THREADS)
    program.launch(powers(x.dtype), grid, inputs, (power, part), constants, node.flops)
    made = local_response_norm_grad(x.dtype)
    program.launch(made, grid, (power, part, x), outputs, constants[:-1])
