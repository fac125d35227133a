"""Padding: zeros or another number, reflected, replicated or circular."""

import math
import numbers

from .core import Case, checked, integers, public, shape_of
from .remap import padding_map, remap
from .shape import reshape

MODES = ("constant", "reflect", "replicate", "circular")

#: Dimensions that one remap goes over.
AT_ONCE = 3


def _check(mode: str, size: int, before: int, after: int) -> None:
    result = size + before + after
    if result < (0 if mode == "constant" else 1):
        raise ValueError(f"pad: nothing is left of a dimension of size {size} with padding ({before}, {after})")
    most = {"reflect": size - 1, "circular": size}.get(mode)
    if most is not None and max(before, after) > most:
        raise ValueError(f'pad: mode "{mode}" pads a dimension of size {size} by at most {most}, not {(before, after)}')
    if mode == "replicate" and not size:
        raise ValueError('pad: mode "replicate" needs at least one pixel')


@public(
    Case({"x": (17, 3, 5, 6)}, {"pad": (1, 2, 0, 3), "value": 0.5}),
    Case({"x": (3, 2, 5, 6)}, {"pad": (-1, 2, 1, -2)}),
    Case({"x": (3, 4)}, {"pad": (1, 0, 2, 1)}, batched=()),
    Case({"x": (17, 2, 5, 6)}, {"pad": (4, 2, 3, 1), "mode": "reflect"}),
    Case({"x": (3, 2, 7)}, {"pad": (3, 4), "mode": "replicate"}),
    Case({"x": (17, 2, 3, 4, 5)}, {"pad": (2, 5, 1, 0, 3, 2), "mode": "circular"}),
    sizes=tuple(
        Case({"x": shape}, {"pad": (1, 1, 1, 1), "mode": mode})
        for mode in MODES
        for shape in ((64, 32, 32, 32), (16, 64, 56, 56))
    ),
)
def pad(x, pad, mode="constant", value=None):
    """``x`` with its last dimensions made longer, or shorter where a padding is negative.

    ``pad``: whole numbers (before, after) of the last dimension, then of the one before it, and so on, in pixels.
    ``mode``: "constant" (``value``, 0 by default; any dimensions), or, over all spatial dimensions of (N, C, ...) or
    (C, ...) with one to three of them: "reflect" (mirrored at the outermost pixels, at most size - 1), "replicate" (the
    outermost pixels again) or "circular" (from the other end, at most size).  Raises ValueError for paddings that do
    not fit, TypeError for dtypes other than float32 and float64.

    Source: PyTorch.
    """
    x = checked("pad", x)
    shape = shape_of(x)
    if mode not in MODES:
        raise ValueError(f"pad: mode must be one of {', '.join(MODES)}, not {mode!r}")
    if not isinstance(pad, (tuple, list)) or len(pad) % 2:
        raise ValueError(f"pad: pad must hold a pair (before, after) for each dimension, not {pad!r}")
    low = -max(shape, default=0)
    ends = integers("pad", "pad", tuple(pad), len(pad), low) if pad else ()
    pairs = list(zip(ends[::2], ends[1::2], strict=True))[::-1]
    if mode != "constant":
        if len(pairs) not in (1, 2, 3) or len(shape) not in (len(pairs) + 1, len(pairs) + 2):
            wanted = "(N, C, ...) or (C, ...) with one pair for each of one to three spatial dimensions"
            raise ValueError(f'pad: mode "{mode}" pads {wanted}, not shape {shape} by {tuple(pad)}')
        if value is not None:
            raise ValueError(f'pad: mode "{mode}" takes no value')
    elif len(pairs) > len(shape):
        raise ValueError(f"pad: {tuple(pad)} has pairs for {len(pairs)} dimensions, x has shape {shape}")
    if value is not None and not isinstance(value, numbers.Real):
        raise TypeError(f"pad: value must be a number, not {value!r}")
    if not any(ends):
        return x if not pairs else remap_by(x, mode, [], 0.0)
    sizes = shape[len(shape) - len(pairs) :]
    for size, pair in zip(sizes, pairs, strict=True):
        _check(mode, size, *pair)
    return remap_by(x, mode, pairs, float(value or 0.0))


def remap_by(x, mode: str, pairs: list[tuple[int, int]], value: float):
    """``x`` with its last dimensions padded by ``pairs``, a few of them at a time."""
    while pairs and pairs[0] == (0, 0):
        pairs = pairs[1:]
    if not pairs:
        return x
    now, shape = pairs[-AT_ONCE:], shape_of(x)
    sizes = shape[len(shape) - len(now) :]
    y = remap(x, tuple(padding_map(mode, n, *pair) for n, pair in zip(sizes, now, strict=True)), value)
    earlier = pairs[:-AT_ONCE]
    if not any(p for pair in earlier for p in pair):
        return y
    rest = shape_of(y)[len(shape) - len(now) :]
    y = remap_by(reshape(y, (*shape[: -len(now)], math.prod(rest))), mode, [*earlier, (0, 0)], value)
    return reshape(y, (*shape_of(y)[:-1], *rest))
