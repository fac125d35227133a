"""Where filters and windows meet their input: integer arithmetic shared by convolution and pooling."""

from numba import njit

from . import lowering

#: Division rounding up, inside kernels.
ceil_div = njit(error_model="numpy")(lowering.ceil_div)


@njit(error_model="numpy")
def inside(start, stride, count, size):
    """The range of i in [0, count) with 0 <= start + i * stride < size."""
    if stride > 0:
        low, high = ceil_div(-start, stride), ceil_div(size - start, stride)
    else:
        low, high = ceil_div(start - size + 1, -stride), start // -stride + 1
    low = min(max(low, 0), count)
    return low, max(low, min(high, count))


def three(values, fill: int) -> tuple[int, int, int]:
    """One to three (or no) spatial values as three, leading ones filled."""
    values = tuple(values)
    return (fill,) * (3 - len(values)) + values  # type: ignore[return-value]
