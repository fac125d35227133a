"""Dimensions in another order, and what is made of it: pixels shuffled between channels and places."""

import math

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    checked,
    dimension,
    image_sizes,
    integers,
    operator,
    public,
    shape_of,
)
from .shape import reshape

#: Dimensions that ``permute`` takes at most (those that stay together count as one).
MOST_DIMENSIONS = 8


class Permute(Operator):
    """The dimensions of x in the order ``dims``."""

    def shape(self, x: Spec, *, dims) -> Spec:
        return Spec(tuple(x.shape[d] for d in dims), x.dtype)

    def gradient(self, grads, outputs, x, *, dims):
        return (permute_row(grads[0], dims=tuple(sorted(range(len(dims)), key=dims.__getitem__))),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class PixelShuffle(Operator):
    """Channels (N, C r r, H, W) as pixels (N, C, H r, W r)."""

    def shape(self, x: Spec, *, factor) -> Spec:
        n, c, h, w = x.shape
        return Spec((n, c // factor**2, h * factor, w * factor), x.dtype)

    def gradient(self, grads, outputs, x, *, factor):
        return (pixel_unshuffle_row(grads[0], factor=factor),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class PixelUnshuffle(Operator):
    """Pixels (N, C, H r, W r) as channels (N, C r r, H, W)."""

    def shape(self, x: Spec, *, factor) -> Spec:
        n, c, h, w = x.shape
        return Spec((n, c * factor**2, h // factor, w // factor), x.dtype)

    def gradient(self, grads, outputs, x, *, factor):
        return (pixel_shuffle_row(grads[0], factor=factor),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class ChannelShuffle(Operator):
    """Channel j of group i becomes channel i of group j."""

    def shape(self, x: Spec, *, groups) -> Spec:
        return x

    def gradient(self, grads, outputs, x, *, groups):
        return (channel_shuffle_row(grads[0], groups=x.shape[1] // groups),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


permute_row, channel_shuffle_row = operator(Permute), operator(ChannelShuffle)
pixel_shuffle_row, pixel_unshuffle_row = operator(PixelShuffle), operator(PixelUnshuffle)


@public(
    Case({"x": (3, 4, 2, 5)}, {"dims": (0, 2, 3, 1)}),
    Case({"x": (17, 3, 4)}, {"dims": (2, 0, -2)}),
    Case({"x": (3, 2, 2, 3, 2, 2)}, {"dims": (0, 3, 1, 5, 2, 4)}),
)
def permute(x, dims):
    """The dimensions of ``x`` in the order ``dims`` (torch.permute; a copy, not a view).

    Raises ValueError if ``dims`` does not name every dimension once.  Source: PyTorch.
    """
    x = checked("permute", x)
    shape = shape_of(x)
    if not isinstance(dims, (tuple, list)):
        raise TypeError(f"permute: dims must be a list or tuple of integers, not {dims!r}")
    order = tuple(dimension("permute", "dims", d, len(shape)) for d in dims)
    if sorted(order) != list(range(len(shape))):
        raise ValueError(f"permute: dims must name each of the {len(shape)} dimensions of x once, not {tuple(dims)}")
    moved = [d for d in order if shape[d] != 1]
    if moved == sorted(moved):  # only dimensions of size 1 move: the numbers stay in their order
        return reshape(x, tuple(shape[d] for d in order))
    if len(runs_of(order, shape)) > MOST_DIMENSIONS:
        raise ValueError(f"permute: more than {MOST_DIMENSIONS} dimensions cannot be moved")
    return apply(permute_row, (x,), {"dims": order})


def runs_of(order, shape) -> list[list[int]]:
    """The dimensions in an order, those of size 1 left out and those that stay neighbours together."""
    found: list[list[int]] = []
    kept = [d for d in range(len(shape)) if shape[d] != 1]
    place = {d: i for i, d in enumerate(kept)}
    for d in order:
        if d not in place:
            continue
        if found and place[d] == place[found[-1][-1]] + 1:
            found[-1].append(d)
        else:
            found.append([d])
    return found


@public(Case({"x": (3, 4, 5)}, {"dim0": 1, "dim1": -1}), Case({"x": (17, 3, 2)}, {"dim0": 0, "dim1": 1}))
def transpose(x, dim0, dim1):
    """``x`` with two dimensions exchanged (torch.transpose; a copy, not a view).  Source: PyTorch."""
    x = checked("transpose", x)
    rank = len(shape_of(x))
    a, b = dimension("transpose", "dim0", dim0, rank), dimension("transpose", "dim1", dim1, rank)
    order = list(range(rank))
    order[a], order[b] = b, a
    return permute(x, order)


@public(Case({"x": (3, 1, 4, 1)}), Case({"x": (17, 1, 4)}, {"dim": 1}))
def squeeze(x, dim=None):
    """``x`` without its dimensions of size 1, or without those of them that ``dim`` names.  Source: PyTorch."""
    x = checked("squeeze", x)
    shape = shape_of(x)
    named = range(len(shape)) if dim is None else dim if isinstance(dim, (tuple, list)) else (dim,)
    gone = {dimension("squeeze", "dim", d, len(shape)) for d in named}
    return reshape(x, tuple(size for d, size in enumerate(shape) if size != 1 or d not in gone))


@public(Case({"x": (3, 4)}, {"dim": 1}), Case({"x": (17, 3, 2)}, {"dim": -1}))
def unsqueeze(x, dim):
    """``x`` with a new dimension of size 1 at ``dim``.  Source: PyTorch."""
    x = checked("unsqueeze", x)
    shape = shape_of(x)
    at = dimension("unsqueeze", "dim", dim, len(shape) + 1)
    return reshape(x, (*shape[:at], 1, *shape[at:]))


def _images(function: str, x):
    """``x`` as (N, C, H, W), and the leading dimensions to be put back."""
    x = checked(function, x)
    shape = shape_of(x)
    if len(shape) < 3:
        raise ValueError(f"{function}: x must have at least 3 dimensions (..., C, H, W), its shape is {shape}")
    if len(shape) == 4:
        return x, shape[:-3]
    return reshape(x, (math.prod(shape[:-3]), *shape[-3:])), shape[:-3]


def _put_back(y, leading):
    return y if len(leading) == 1 else reshape(y, (*leading, *shape_of(y)[1:]))


@public(
    Case({"x": (3, 8, 4, 5)}, {"upscale_factor": 2}),
    Case({"x": (17, 9, 2, 3)}, {"upscale_factor": 3}),
    Case({"x": (17, 64, 2, 3)}, {"upscale_factor": 2}),
    sizes=image_sizes(upscale_factor=2),
)
def pixel_shuffle(x, upscale_factor):
    """Channels become pixels: x (..., C r r, H, W) -> (..., C, H r, W r) for an upscale factor r.

    y[c, h r + i, w r + j] = x[c r r + i r + j, h, w].  Raises ValueError if r r does not divide the channels.
    Source: Shi et al., arXiv 1609.05158, equation 4.
    """
    x, leading = _images("pixel_shuffle", x)
    (factor,) = integers("pixel_shuffle", "upscale_factor", upscale_factor, 1, 1)
    channels = shape_of(x)[1]
    if channels % factor**2:
        raise ValueError(f"pixel_shuffle: {channels} channels cannot be divided into squares of {factor} x {factor}")
    return _put_back(apply(pixel_shuffle_row, (x,), {"factor": factor}), leading)


@public(
    Case({"x": (3, 2, 4, 6)}, {"downscale_factor": 2}),
    Case({"x": (17, 16, 6, 3)}, {"downscale_factor": 3}),
    sizes=image_sizes(downscale_factor=2),
)
def pixel_unshuffle(x, downscale_factor):
    """Pixels become channels: x (..., C, H r, W r) -> (..., C r r, H, W), the inverse of ``pixel_shuffle``.

    Raises ValueError if r does not divide height and width.  Source: PyTorch.
    """
    x, leading = _images("pixel_unshuffle", x)
    (factor,) = integers("pixel_unshuffle", "downscale_factor", downscale_factor, 1, 1)
    height, width = shape_of(x)[2:]
    if height % factor or width % factor:
        raise ValueError(f"pixel_unshuffle: {height} x {width} pixels cannot be divided by {factor}")
    return _put_back(apply(pixel_unshuffle_row, (x,), {"factor": factor}), leading)


@public(
    Case({"x": (3, 6, 4, 5)}, {"groups": 2}),
    Case({"x": (17, 6, 3)}, {"groups": 3}),
    sizes=image_sizes(groups=4),
)
def channel_shuffle(x, groups):
    """Channels of ``groups`` groups dealt out in turn: x (N, C, *spatial), y[:, j g + i] = x[:, i C / g + j].

    Raises ValueError if the groups do not divide the channels.  Source: Zhang et al., arXiv 1707.01083, figure 1.
    """
    x = checked("channel_shuffle", x)
    shape = shape_of(x)
    if len(shape) < 3:
        raise ValueError(f"channel_shuffle: x must have at least 3 dimensions, its shape is {shape}")
    (groups,) = integers("channel_shuffle", "groups", groups, 1, 1)
    if shape[1] % groups:
        raise ValueError(f"channel_shuffle: {shape[1]} channels cannot be divided into {groups} groups")
    return apply(channel_shuffle_row, (x,), {"groups": groups})
