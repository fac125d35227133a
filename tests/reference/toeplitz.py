"""The matrix of a linear map: its columns are what becomes of each unit."""

from typing import Any

import numpy as np

from .common import Array, reference
from .conv import conv


@reference("toeplitz", orders=0)
def toeplitz(
    weight: Any, input_shape: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    sparse: bool | None = None,
) -> Array:  # fmt: skip
    size = int(np.prod(input_shape))
    units = np.eye(size).reshape(size, *input_shape)
    return conv(units, weight, None, stride, padding, dilation, groups).reshape(size, -1).T
