"""Unpooling straight from its definition."""

import math
from typing import Any

import numpy as np

from .common import Array, each, reference, wide


def max_unpool(dimensions: int) -> Any:
    def call(x, indices, kernel_size, stride=None, padding=0, output_size=None) -> Array:
        x = wide(x)
        kernel = each(kernel_size, dimensions)
        stride_, padding_ = kernel if stride is None else each(stride, dimensions), each(padding, dimensions)
        size = output_size or tuple(
            (n - 1) * s - 2 * p + k
            for n, k, s, p in zip(x.shape[-dimensions:], kernel, stride_, padding_, strict=True)
        )
        lead = x.shape[:-dimensions]
        y = np.zeros((*lead, math.prod(size)))
        for plane in np.ndindex(lead):
            for place, value in zip(np.ravel(indices[plane]), np.ravel(x[plane]), strict=True):
                y[plane][place] = value
        return y.reshape(*lead, *size)

    return call


for dimensions in (1, 2, 3):
    reference(f"max_unpool{dimensions}d")(max_unpool(dimensions))
