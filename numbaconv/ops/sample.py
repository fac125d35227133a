"""Images and volumes read at any places: the sampler of spatial transformers (Jaderberg et al., arXiv 1506.02025)."""

import math

import numpy as np

from .core import Case, Operator, Spec, apply, as_input, check_floats, dtype_of, operator, public, shape_of
from .linear import linear
from .rearrange import permute
from .shape import reshape

MODES = ("bilinear", "nearest", "bicubic")
PADDINGS = ("zeros", "border", "reflection")


class GridSample(Operator):
    """x (N, C, *spatial) at the places of grid (N, *out, D)."""

    def shape(self, x: Spec, grid: Spec, **attrs) -> Spec:
        return Spec((*x.shape[:2], *grid.shape[1:-1]), x.dtype)

    def gradient(self, grads, outputs, x, grid, **attrs):
        return grid_sample_grads(grads[0], x, grid, **attrs)

    def flops(self, inputs, outputs, *, mode, **attrs):
        return 2.0 * outputs[0].size * _taps(mode, inputs[0])


class GridSampleGrads(Operator):
    """Gradients of a sampling with respect to the array and to the places."""

    def shape(self, grad: Spec, x: Spec, grid: Spec, **attrs) -> tuple[Spec, ...]:
        return x, grid

    def flops(self, inputs, outputs, *, mode, **attrs):
        return 4.0 * inputs[0].size * _taps(mode, inputs[1])


grid_sample_row, grid_sample_grads = operator(GridSample), operator(GridSampleGrads)


def _taps(mode: str, x: Spec) -> int:
    """Numbers that one sample is made of."""
    return {"nearest": 1, "bilinear": 2, "bicubic": 4}[mode] ** (len(x.shape) - 2)


def _grid(rng, shape, dtype):
    """Places inside and a little outside."""
    return rng.uniform(-1.3, 1.3, shape).astype(dtype)


def _case(x: tuple[int, ...], grid: tuple[int, ...], **arguments) -> Case:
    return Case({"x": x, "grid": grid}, arguments, draw={"grid": _grid}, batched=("x", "grid"))


@public(
    _case((3, 5, 4, 6), (3, 5, 3, 2)),
    _case((17, 3, 5, 4), (17, 3, 4, 2), padding_mode="border", align_corners=True),
    _case((3, 18, 5, 4), (3, 2, 3, 2), padding_mode="reflection"),
    _case((2, 3, 5, 6), (2, 4, 3, 2), mode="bicubic", padding_mode="reflection", align_corners=True),
    _case((3, 2, 4, 5), (3, 3, 4, 2), mode="nearest"),
    _case((17, 2, 3, 4, 3), (17, 2, 3, 2, 3)),
    sizes=[
        _case((64, 32, 32, 32), (64, 32, 32, 2)),
        _case((16, 64, 56, 56), (16, 56, 56, 2)),
        _case((16, 64, 56, 56), (16, 56, 56, 2), mode="nearest", padding_mode="border"),
        _case((8, 16, 16, 16, 16), (8, 16, 16, 16, 3)),
    ],
)
def grid_sample(x, grid, mode="bilinear", padding_mode="zeros", align_corners=None):
    """x (N, C, H, W) at places grid (N, H', W', 2) -> (N, C, H', W'); volumes (N, C, D, H, W), (N, D', H', W', 3).

    A place is (x, y) or (x, y, z), from -1 to 1: from the outer edges of the first pixel to those of the last one, or
    with ``align_corners`` from centre to centre.  ``mode`` is "bilinear" (of volumes trilinear), "nearest" or (images)
    "bicubic".  Outside lie "zeros", or the nearest number of the "border", or places are reflected ("reflection").  A
    place that is not a number counts as -1, as does an infinite one that is reflected.  Gradients of first order to
    both arrays; "nearest" has none to the places.

    Raises ValueError for shapes and options that do not fit.  Source: Jaderberg et al., arXiv 1506.02025, equation 3;
    PyTorch.
    """
    x, grid = as_input(x), as_input(grid)
    check_floats("grid_sample", x=x, grid=grid)
    x_shape, shape = shape_of(x), shape_of(grid)
    if len(x_shape) not in (4, 5) or len(shape) != len(x_shape):
        raise ValueError(f"grid_sample: x and grid must both have 4 or 5 dimensions, not {x_shape}, {shape}")
    rank = len(x_shape) - 2
    if shape[0] != x_shape[0] or shape[-1] != rank:
        raise ValueError(f"grid_sample: grid must have shape ({x_shape[0]}, ..., {rank}), its shape is {shape}")
    if min(x_shape[1:]) < 1:
        raise ValueError(f"grid_sample: there is nothing to read in x, of shape {x_shape}")
    if mode not in MODES or (mode == "bicubic" and rank != 2):
        raise ValueError(f"grid_sample: mode must be one of {', '.join(MODES)} (bicubic for images), not {mode!r}")
    if padding_mode not in PADDINGS:
        raise ValueError(f"grid_sample: padding_mode must be one of {', '.join(PADDINGS)}, not {padding_mode!r}")
    attrs = {"mode": mode, "padding_mode": padding_mode, "align_corners": bool(align_corners)}
    return apply(grid_sample_row, (x, grid), attrs)


@public(
    Case({"theta": (3, 2, 3)}, {"size": (3, 2, 4, 5)}, batched=()),
    Case({"theta": (2, 3, 4)}, {"size": (2, 1, 3, 4, 2), "align_corners": True}, batched=()),
)
def affine_grid(theta, size, align_corners=None):
    """The places that affine maps theta (N, 2, 3) read for images of ``size`` (N, C, H, W): a grid (N, H, W, 2).

    Of volumes theta (N, 3, 4), size (N, C, D, H, W), and the grid (N, D, H, W, 3); see ``grid_sample``.  Raises
    ValueError for shapes that do not fit.  Source: Jaderberg et al., arXiv 1506.02025, equation 1; PyTorch.
    """
    theta = as_input(theta)
    check_floats("affine_grid", theta=theta)
    size = tuple(int(n) for n in size)
    rank = len(size) - 2
    if rank not in (2, 3) or shape_of(theta) != (size[0], rank, rank + 1) or min(size[1:]) < 1:
        raise ValueError(
            f"affine_grid: theta must have shape (N, 2, 3) and size be (N, C, H, W), or (N, 3, 4) and (N, C, D, H, W); "
            f"they are {shape_of(theta)} and {size}"
        )
    axes = []
    for n in size[2:]:
        centres = (2.0 * np.arange(n) + 1.0) / n - 1.0
        axes.append((np.linspace(-1.0, 1.0, n) if n > 1 else np.zeros(1)) if align_corners else centres)
    places = np.meshgrid(*axes, indexing="ij")[::-1]
    base = np.stack([*(p.ravel() for p in places), np.ones(math.prod(size[2:]))], axis=1).astype(dtype_of(theta))
    grid = linear(reshape(theta, (size[0] * rank, rank + 1)), base)  # (N * coordinates, places)
    return reshape(permute(reshape(grid, (size[0], rank, len(base))), (0, 2, 1)), (size[0], *size[2:], rank))
