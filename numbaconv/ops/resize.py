"""Images and volumes of another size: every output is a weighted sum of a few inputs along each dimension.

All modes are separable: they differ in the taps (input, weight) of an output along one dimension, which ``taps`` gives.
The gradient is the transpose of these tables, and so a weighted sum again.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    checked,
    image_sizes,
    integers,
    operator,
    public,
    shape_of,
)

#: mode -> dimensions it is for
MODES = {
    "nearest": (1, 2, 3), "nearest-exact": (1, 2, 3), "area": (1, 2, 3),
    "linear": (1,), "bilinear": (2,), "bicubic": (2,), "trilinear": (3,),
}  # fmt: skip
#: modes whose outermost samples may lie on the corners
CORNERED = ("linear", "bilinear", "bicubic", "trilinear")
#: modes that can smooth before they take fewer samples
SMOOTHED = ("bilinear", "bicubic")


class Resample(Operator):
    """x at ``size`` places along its spatial dimensions."""

    def shape(self, x: Spec, *, size, **attrs) -> Spec:
        return Spec((*x.shape[:2], *size), x.dtype)

    def gradient(self, grads, outputs, x, **attrs):
        return (resample_grad(grads[0], input_size=x.shape[2:], **attrs),)


class ResampleGrad(Operator):
    """Each number of grad goes to the places it was made of."""

    def shape(self, grad: Spec, *, input_size, **attrs) -> Spec:
        return Spec((*grad.shape[:2], *input_size), grad.dtype)

    def gradient(self, grads, outputs, grad, *, input_size, **attrs):
        return (resample(grads[0], **attrs),)


resample, resample_grad = operator(Resample), operator(ResampleGrad)


# ------------------------------------------------------------------------------------------------ taps

Taps = list[list[tuple[int, float]]]  # for each output along a dimension: (input, weight)


def taps(mode: str, size: int, output: int, scale: float | None, align_corners: bool, antialias: bool) -> Taps:
    """The taps along a dimension of ``size`` inputs; ``scale`` is the scale factor if that was given."""
    if mode == "area":
        windows = ((o * size // output, -(-(o + 1) * size // output)) for o in range(output))
        return [[(i, 1.0 / (stop - start)) for i in range(start, stop)] for start, stop in windows]
    if mode.startswith("nearest"):  # in single precision, as PyTorch: else other inputs would be the nearest
        step = np.float32(1.0 / scale) if scale else np.float32(size) / np.float32(output)
        offset = np.float32(0.5 if mode == "nearest-exact" else 0.0)
        places = (int(np.floor((np.float32(o) + offset) * step)) for o in range(output))
        return [[(min(place, size - 1), 1.0)] for place in places]
    if size == output and (mode != "bicubic" or antialias):  # as PyTorch, whatever the scale factor
        return [[(o, 1.0)] for o in range(output)]
    if align_corners:
        step = (size - 1) / (output - 1) if output > 1 else 0.0
    else:
        step = 1.0 / scale if scale else size / output
    if antialias:
        return [_smoothed(o, size, step, *((_cubic(-0.5), 2.0) if mode == "bicubic" else (_tent, 1.0)))
                for o in range(output)]  # fmt: skip
    positions = (o * step if align_corners else (o + 0.5) * step - 0.5 for o in range(output))
    if mode == "bicubic":
        weight = _cubic(-0.75)
        return [_merged([(math.floor(p) + k, weight(p - math.floor(p) - k)) for k in range(-1, 3)], size)
                for p in positions]  # fmt: skip
    found = []
    for p in positions:
        p = min(max(p, 0.0), size - 1.0)
        low = int(p)
        found.append(_merged([(low, 1.0 - (p - low)), (low + 1, p - low)], size))
    return found


def _merged(pairs: list[tuple[int, float]], size: int) -> list[tuple[int, float]]:
    """Taps beyond the border at the border; those of weight zero are left out."""
    weights: dict[int, float] = {}
    for place, weight in pairs:
        place = min(max(place, 0), size - 1)
        weights[place] = weights.get(place, 0.0) + weight
    return [(place, weight) for place, weight in weights.items() if weight != 0.0]


def _tent(t: float) -> float:
    return max(0.0, 1.0 - abs(t))


def _cubic(a: float) -> Callable[[float], float]:
    """Keys, Cubic convolution interpolation for digital image processing, 1981, equation 15."""

    def weight(t: float) -> float:
        t = abs(t)
        if t < 1.0:
            return ((a + 2.0) * t - (a + 3.0)) * t * t + 1.0
        return ((t - 5.0) * t + 8.0) * t * a - 4.0 * a if t < 2.0 else 0.0

    return weight


def _smoothed(o: int, size: int, step: float, weight: Callable, reach: float) -> list[tuple[int, float]]:
    """Taps of a filter that is as wide as the distance of two outputs."""
    wide = max(step, 1.0)
    centre = step * (o + 0.5)
    start = max(int(centre - reach * wide + 0.5), 0)
    stop = min(int(centre + reach * wide + 0.5), size)
    weights = [weight((i - centre + 0.5) / wide) for i in range(start, stop)]
    total = sum(weights)
    return [(i, w / total) for i, w in zip(range(start, stop), weights, strict=True) if w != 0.0]


# ------------------------------------------------------------------------------------------------ the function


@public(
    Case({"x": (3, 2, 5)}, {"size": 8}),
    Case({"x": (17, 3, 4, 5)}, {"scale_factor": (1.5, 2.0), "mode": "bilinear"}),
    Case({"x": (3, 5, 6, 7)}, {"size": (3, 10), "mode": "bilinear", "align_corners": True}),
    Case({"x": (2, 3, 5, 4)}, {"scale_factor": 2, "mode": "bicubic"}),
    Case({"x": (2, 2, 9, 7)}, {"size": (4, 3), "mode": "bilinear", "antialias": True}),
    Case({"x": (17, 2, 3, 4, 3)}, {"scale_factor": 2, "mode": "trilinear"}),
    Case({"x": (3, 2, 7, 5)}, {"size": (3, 5), "mode": "area"}),
    Case({"x": (3, 2, 7)}, {"scale_factor": 1.7, "mode": "linear"}),
    Case({"x": (3, 2, 5, 5)}, {"scale_factor": 0.6, "mode": "nearest-exact"}),
    sizes=[
        *image_sizes(scale_factor=2),
        *image_sizes(scale_factor=2, mode="bilinear"),
        *image_sizes(size=24, mode="bilinear", align_corners=True),
        Case({"x": (8, 16, 16, 16, 16)}, {"scale_factor": 2, "mode": "trilinear"}),
    ],
)
def interpolate(
    x, size=None, scale_factor=None, mode="nearest", align_corners=None, recompute_scale_factor=None, antialias=False
):
    """Resample signals, images or volumes: x (N, C, *spatial) -> (N, C, *size) or (N, C, *floor(spatial scale_factor)).

    ``mode`` is "nearest", "nearest-exact", "area" (mean of what an output covers), "linear" (3-D arrays), "bilinear" or
    "bicubic" (4-D), "trilinear" (5-D).  Pixels are squares: output o lies at (o + 0.5) / scale - 0.5; with
    ``align_corners`` they are points, and the outermost ones stay where they are.  The scale is ``scale_factor``, or
    the ratio of sizes if that is not given or with ``recompute_scale_factor``.  ``antialias`` ("bilinear", "bicubic")
    smooths before it makes smaller.  Inputs whose weight is zero do not count, even if they are infinite.

    Raises ValueError for arguments that do not fit together.  Source: PyTorch; Keys 1981 (bicubic).
    """
    x = checked("interpolate", x)
    spatial = shape_of(x)[2:]
    rank = len(spatial)
    if mode not in MODES:
        raise ValueError(f"interpolate: mode must be one of {', '.join(MODES)}, not {mode!r}")
    if rank not in MODES[mode]:
        wanted = " or ".join(str(d + 2) for d in MODES[mode])
        raise ValueError(f"interpolate: x must have {wanted} dimensions for mode {mode!r}, its shape is {shape_of(x)}")
    if align_corners is not None and mode not in CORNERED:
        raise ValueError(f"interpolate: align_corners belongs to {', '.join(CORNERED)}, not to {mode}")
    if antialias and mode not in SMOOTHED:
        raise ValueError(f"interpolate: antialias belongs to {' and '.join(SMOOTHED)}, not to {mode}")
    if (size is None) == (scale_factor is None):
        raise ValueError("interpolate: either size or scale_factor must be given")
    scales: tuple[float | None, ...] = (None,) * rank
    if size is not None:
        if recompute_scale_factor:
            raise ValueError("interpolate: recompute_scale_factor belongs to scale_factor, not to size")
        sizes = integers("interpolate", "size", size, rank, 1)
    else:
        given = _scales(scale_factor, rank)
        sizes = tuple(math.floor(n * s) for n, s in zip(spatial, given, strict=True))
        if not recompute_scale_factor:
            scales = given
    if min(*spatial, *sizes) < 1:
        raise ValueError(f"interpolate: {spatial} cannot be brought to the size {sizes}")
    attrs = {
        "size": sizes, "mode": mode, "scales": scales,
        "align_corners": bool(align_corners), "antialias": bool(antialias),
    }  # fmt: skip
    return apply(resample, (x,), attrs)


def _scales(value: Any, rank: int) -> tuple[float, ...]:
    values = tuple(value) if isinstance(value, (tuple, list, np.ndarray)) else (value,) * rank
    if not all(isinstance(v, (int, float, np.number)) and not isinstance(v, bool) for v in values):
        raise TypeError(f"interpolate: scale_factor must be a number or {rank} numbers, not {value!r}")
    if len(values) != rank:
        raise ValueError(f"interpolate: scale_factor must be a number or {rank} numbers, not {value!r}")
    if not all(0.0 < v < math.inf for v in values):
        raise ValueError(f"interpolate: scale_factor must be positive, not {value!r}")
    return tuple(float(v) for v in values)
