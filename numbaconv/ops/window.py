"""Windows over pixels: where they lie, for all operators that make one number of each.

A window is a product of spans, one a dimension.  Windows *slide* (a kernel size, stride, padding and dilation) or are
*adaptive*: as many as asked for, of about the same size, side by side or overlapping by one.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from .core import apply, as_input, check_floats, integers, shape_of
from .geometry import output_size
from .shape import channel_broadcast, expand, reshape_row


class Span(NamedTuple):
    """One window along one dimension.

    Attributes:
        first: position of its first tap that lies inside the input.
        taps: how many lie inside.
        length: how many lie inside or in the padding (PyTorch's divisor with padding counted).
    """

    first: int
    taps: int
    length: int


def spans(attrs: Mapping[str, Any], input_size: Sequence[int], output_size: Sequence[int]) -> list[list[Span]]:
    """The spans of a node's windows, a list for each dimension."""
    if "kernel" not in attrs:
        return [[adaptive_span(o, n, m) for o in range(m)] for n, m in zip(input_size, output_size, strict=True)]
    geometry = (attrs[name] for name in ("kernel", "stride", "padding", "dilation"))
    return [
        [sliding_span(o, n, *how) for o in range(m)]
        for n, m, *how in zip(input_size, output_size, *geometry, strict=True)
    ]


def sliding_span(o: int, size: int, kernel: int, stride: int, padding: int, dilation: int) -> Span:
    """Window ``o`` of those that slide over ``size`` pixels."""
    start = o * stride - padding
    low = max(0, -(start // dilation))
    high = min(kernel, -((start - size) // dilation))
    return Span(start + low * dilation, max(0, high - low), min(start + kernel, size + padding) - start)


def adaptive_span(o: int, size: int, count: int) -> Span:
    """Window ``o`` of ``count`` over ``size`` pixels: from floor(o size / count) to ceil((o + 1) size / count)."""
    first, end = o * size // count, -(-(o + 1) * size // count)
    return Span(first, end - first, end - first)


def steps(attrs: Mapping[str, Any], dimensions: int) -> tuple[int, ...]:
    """Pixels from one tap of a window to the next."""
    return tuple(attrs.get("dilation", (1,) * dimensions))


def taps(attrs: Mapping[str, Any], input_size: Sequence[int], output_size: Sequence[int]) -> int:
    """Numbers that all windows of one channel of one image hold together."""
    return math.prod(sum(span.taps for span in found) for found in spans(attrs, input_size, output_size))


# ------------------------------------------------------------------------------------------------ arguments


def sliding(
    function: str, shape: Sequence[int], kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False
) -> dict[str, Any]:
    """Checked attributes of windows that slide over the pixels of an array of ``shape``, batch and channels first."""
    dimensions = len(shape) - 2
    kernel = integers(function, "kernel_size", kernel_size, dimensions, 1)
    stride = kernel if stride is None else integers(function, "stride", stride, dimensions, 1)
    before = integers(function, "padding", padding, dimensions, 0)
    dilation = integers(function, "dilation", dilation, dimensions, 1)
    size = []
    for length, k, s, p, d in zip(shape[2:], kernel, stride, before, dilation, strict=True):
        if 2 * p > k:
            raise ValueError(f"{function}: padding {p} is more than half of kernel size {k}")
        positions = output_size(length, k, s, (p, p), d)
        if ceil_mode:
            positions = -(-(length + 2 * p - d * (k - 1) - 1) // s) + 1
            if (positions - 1) * s >= length + p:  # a window must start inside the input or its padding before
                positions -= 1
        if positions < 1 or length < 1:
            room = f"{length + 2 * p} (input {length} and padding)"
            raise ValueError(f"{function}: a window of size {d * (k - 1) + 1} does not fit into {room}")
        size.append(positions)
    return {"size": tuple(size), "kernel": kernel, "stride": stride, "padding": before, "dilation": dilation}


def adaptive(function: str, shape: Sequence[int], output_size) -> dict[str, Any]:
    """Checked attributes of ``output_size`` windows, each size an integer or None for the input's.

    Where they are of one size, they slide: there are faster kernels for that.
    """
    pixels, dimensions = tuple(shape[2:]), len(shape) - 2
    given = output_size if isinstance(output_size, (tuple, list)) else (output_size,) * dimensions
    if len(given) == 1:
        given = (*given,) * dimensions
    if len(given) != dimensions:
        raise ValueError(f"{function}: output_size must be an integer or {dimensions} integers, not {output_size!r}")
    size = integers(
        function, "output_size", [n if m is None else m for n, m in zip(pixels, given, strict=True)], dimensions, 0
    )
    if 0 in pixels:
        raise ValueError(f"{function}: x has no pixels, its shape is {tuple(shape)}")
    if 0 in size or any(n % m for n, m in zip(pixels, size, strict=True)):
        return {"size": size}
    kernel = tuple(n // m for n, m in zip(pixels, size, strict=True))
    return {
        "size": size, "kernel": kernel, "stride": kernel, "padding": (0,) * dimensions, "dilation": (1,) * dimensions,
    }  # fmt: skip


def as_batch(function: str, dimensions: int, x: Any, name: str = "x") -> tuple[Any, bool]:
    """``x`` with a batch dimension, and whether it had none."""
    x = as_input(x)
    check_floats(function, **{name: x})
    return with_batch(function, dimensions, x, name)


def with_batch(function: str, dimensions: int, x: Any, name: str) -> tuple[Any, bool]:
    """As ``as_batch`` for arrays of any dtype."""
    shape = shape_of(x)
    if len(shape) == dimensions + 1:
        return apply(reshape_row, (x,), {"shape": (1, *shape)}), True
    if len(shape) != dimensions + 2:
        wanted = f"{dimensions + 2} dimensions (or {dimensions + 1} without a batch)"
        raise ValueError(f"{function}: {name} must have {wanted}, its shape is {shape}")
    return x, False


def without_batch(y: Any, single: bool) -> Any:
    """The result, or each of several, without its batch dimension if the input had none."""
    if isinstance(y, tuple):
        return tuple(without_batch(part, single) for part in y)
    return apply(reshape_row, (y,), {"shape": shape_of(y)[1:]}) if single else y


def over_channels(function: str, name: str, value: Any, shape: Sequence[int]) -> Any:
    """One number, or one for each channel, in all places of an array of ``shape``."""
    given = shape_of(value)
    if math.prod(given) == 1 and len(given) <= 1:
        return apply(expand, (apply(reshape_row, (value,), {"shape": ()}),), {"shape": tuple(shape)})
    if given != (shape[1],):
        raise ValueError(f"{function}: {name} must be one number or have shape ({shape[1]},), its shape is {given}")
    return apply(channel_broadcast, (value,), {"shape": tuple(shape)})
