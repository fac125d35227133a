"""Where filters and windows meet their input: integer arithmetic shared by convolution and pooling."""

from ..convolution import three
from . import lowering
from .compiler import inline

#: Division rounding up, inside kernels.
ceil_div = inline(lowering.ceil_div)


@inline
def inside(start, stride, count, size):
    """The range of i in [0, count) with 0 <= start + i * stride < size."""
    if stride > 0:
        low, high = ceil_div(-start, stride), ceil_div(size - start, stride)
    else:
        low, high = ceil_div(start - size + 1, -stride), start // -stride + 1
    low = min(max(low, 0), count)
    return low, max(low, min(high, count))


@inline
def taps_at(dimension, o):
    """(input position of the first tap, first tap, number of taps) for output position ``o`` of ``conv.correlate``."""
    _, _, kernel, phases, tap_step, index_step, _, offset, dilation = dimension
    phase = o % phases
    first = 0
    while first < tap_step and (phase + offset - first * dilation) % phases != 0:
        first += 1
    if first >= tap_step or first >= kernel:
        return 0, 0, 0
    count = (kernel - first + tap_step - 1) // tap_step
    return (phase + offset - first * dilation) // phases + (o // phases) * index_step, first, count


__all__ = ["ceil_div", "inside", "taps_at", "three"]
