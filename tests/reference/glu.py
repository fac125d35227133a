"""The gated linear unit, from its equation."""

from typing import Any

import numpy as np

from .activation import logistic
from .common import Array, reference, wide


@reference("glu", orders=1)
def glu(x: Any, dim: int = -1) -> Array:
    a, b = np.split(wide(x), 2, axis=dim)
    return a * logistic(b)
