"""Partial sums of groups of blocks, added up in their order: the same bits for any number of threads."""

from .lowering import Buffer
from .native import Pointer, kernel


@kernel
def sum_groups(T):
    """Ordered sum of the groups' partial weight gradients, put into the order (out, in, taps); a unit is an output."""
    zero = T.type(0)

    def loop(
        begin, end, block: int, first: int, p: Pointer, w: Pointer,
        groups: int, group_stride: int, outputs: int, inputs: int, taps: int,
        conv_group: int, p_output: int, p_input: int, p_tap: int,
    ):  # fmt: skip
        for o in range(begin, end):
            base = (o // outputs) * conv_group + (o % outputs) * p_output
            for i in range(inputs):
                for t in range(taps):
                    total = zero
                    for g in range(groups):
                        total += p[g * group_stride + base + i * p_input + t * p_tap]
                    w[(o * inputs + i) * taps + t] = total

    return loop


def add_partials(program, partials: Buffer, w: Buffer, sizes, strides, copies=None) -> None:
    """Append the sum of partial weight gradients; see ``sum_groups`` for the sizes and strides.

    ``copies`` = (number, distance), if there are more of them than groups.
    """
    constants = (*(copies or (partials.copies, partials.stride)), *sizes, *strides)
    program.step(sum_groups(w.dtype), (partials,), (w,), constants, w.shape[0], whole=True)
