"""Operators that move numbers without changing them."""

import math

import numpy as np

from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    checked,
    dimension,
    integers,
    operator,
    public,
    shape_of,
)


class Reshape(Operator):
    """The same numbers in C order under another shape."""

    def shape(self, x: Spec, *, shape) -> Spec:
        return Spec(shape, x.dtype)

    def gradient(self, grads, outputs, x, *, shape):
        return (reshape_row(grads[0], shape=x.shape),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class Expand(Operator):
    """One number, in every place of an array."""

    def shape(self, x: Spec, *, shape) -> Spec:
        return Spec(shape, x.dtype)

    def gradient(self, grads, outputs, x, *, shape):
        from .arithmetic import sum_row

        return (sum_row(grads[0]),)


class ChannelBroadcast(Operator):
    """One number for each channel, in all of the channel's places."""

    def shape(self, x: Spec, *, shape) -> Spec:
        return Spec(shape, x.dtype)

    def gradient(self, grads, outputs, x, *, shape):
        from .conv import channel_sum

        return (channel_sum(grads[0]),)


reshape_row = operator(Reshape)
expand = operator(Expand)
channel_broadcast = operator(ChannelBroadcast)


@public(Case({"x": (3, 4, 5)}, {"shape": (6, -1)}, batched=()), Case({"x": (17, 3, 4, 2)}, {"shape": (-1, 24)}))
def reshape(x, shape):
    """``x`` under another shape with as many elements; one dimension may be -1.  ValueError if it does not fit.

    Source: PyTorch.
    """
    x = checked("reshape", x)
    shape = tuple(shape) if isinstance(shape, (tuple, list, np.ndarray)) else (shape,)
    old, new = shape_of(x), integers("reshape", "shape", shape, len(shape), -1) if shape else ()
    known = math.prod(d for d in new if d != -1)
    if new.count(-1) == 1 and known and math.prod(old) % known == 0:
        new = tuple(math.prod(old) // known if d == -1 else d for d in new)
    if -1 in new or math.prod(new) != math.prod(old):
        raise ValueError(f"reshape: an array of shape {old} cannot take the shape {shape}")
    return x if old == new else apply(reshape_row, (x,), {"shape": new})


@public(Case({"x": (3, 4, 2, 5)}), Case({"x": (17, 2, 3, 3)}), Case({"x": (2, 3, 4)}, {"start_dim": 0}))
def flatten(x, start_dim=0, end_dim=-1):
    """Dimensions ``start_dim`` to ``end_dim`` of ``x`` as one (torch.flatten).

    Source: PyTorch.
    """
    x = as_input(x)
    shape = shape_of(x)
    rank = max(len(shape), 1)
    start, end = dimension("flatten", "start_dim", start_dim, rank), dimension("flatten", "end_dim", end_dim, rank)
    if start > end:
        raise ValueError("flatten: start_dim must not come after end_dim")
    return reshape(x, (*shape[:start], math.prod(shape[start : end + 1]), *shape[end + 1 :]))


class ChannelTotal(Operator):
    """The sum over the channels: (N, C, ...) to (N, ...)."""

    def shape(self, x: Spec) -> Spec:
        return Spec((x.shape[0], *x.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x):
        return (channel_repeat(grads[0], channels=x.shape[1]),)


class ChannelRepeat(Operator):
    """The same numbers in every channel: (N, ...) to (N, C, ...)."""

    def shape(self, x: Spec, *, channels) -> Spec:
        return Spec((x.shape[0], channels, *x.shape[1:]), x.dtype)

    def gradient(self, grads, outputs, x, *, channels):
        return (channel_total(grads[0]),)


channel_total = operator(ChannelTotal)
channel_repeat = operator(ChannelRepeat)
