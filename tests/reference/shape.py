"""Other shapes of the same numbers."""

from typing import Any

import numpy as np

from .common import Array, reference, wide


@reference("reshape")
def reshape(x: Any, shape: Any) -> Array:
    return wide(x).reshape(shape)


@reference("flatten")
def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Array:
    shape = np.shape(x) or (1,)
    end = end_dim % len(shape)
    start = start_dim % len(shape)
    return wide(x).reshape(*shape[:start], -1, *shape[end + 1 :])
