"""Normalisation straight from its definition."""

from typing import Any

import numpy as np

from .common import reference, wide


def per_channel(arguments: dict[str, Any]) -> int:
    """Numbers in a channel."""
    return int(np.prod(np.shape(arguments["x"]))) // np.shape(arguments["x"])[1]


@reference("batch_norm", terms=per_channel)
def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    x = wide(x)
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    mean, var = (x.mean(axes), x.var(axes)) if training else (wide(running_mean), wide(running_var))
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    y = y if weight is None else y * wide(weight).reshape(shape)
    return y if bias is None else y + wide(bias).reshape(shape)
