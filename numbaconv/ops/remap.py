"""Pixels put elsewhere along each dimension by itself: padding, cropping and turning.

    y[..., p, q] = x[..., map0[p], map1[q]]         or ``value`` where a map says -1
"""

from typing import Any

import numpy as np

from .core import Operator, Spec, operator

Maps = tuple[tuple[int, ...], ...]


class Remap(Operator):
    """Pixels picked by a map for each of the last dimensions; ``value`` where a map says -1."""

    def shape(self, x: Spec, *, maps, value) -> Spec:
        return Spec((*x.shape[: -len(maps)], *map(len, maps)), x.dtype)

    def gradient(self, grads, outputs, x, *, maps, value):
        return (remap_grad(grads[0], maps=maps, size=x.shape[-len(maps) :]),)

    def flops(self, inputs, outputs, **attrs):
        return 0.0


class RemapGrad(Operator):
    """What was put in several places is summed, what was put in none is zero."""

    def shape(self, grad: Spec, *, maps, size) -> Spec:
        return Spec((*grad.shape[: -len(maps)], *size), grad.dtype)

    def gradient(self, grads, outputs, grad, *, maps, size):
        return (remap(grads[0], maps),)

    def flops(self, inputs, outputs, **attrs):
        return float(inputs[0].size)


remap_row, remap_grad = operator(Remap), operator(RemapGrad)


def remap(x: Any, maps: Maps, value: float = 0.0) -> Any:
    """``x`` with each of its last dimensions (three at the most) mapped."""
    return remap_row(x, maps=maps, value=value)


def padding_map(mode: str, size: int, before: int, after: int) -> tuple[int, ...]:
    """Where the pixels of a padded dimension come from; negative paddings cut pixels off."""
    i = np.arange(-before, size + after)
    if mode == "constant":
        i[(i < 0) | (i >= size)] = -1
    elif mode == "reflect":
        i = size - 1 - np.abs(size - 1 - np.abs(i))
    elif mode == "replicate":
        i = np.clip(i, 0, size - 1)
    else:
        i %= size
    return tuple(i.tolist())
