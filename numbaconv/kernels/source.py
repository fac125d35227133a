"""How bytes become the pixels of a batch, for every backend."""

from collections.abc import Sequence

import numpy as np


def pixel_table(dtype: np.dtype, mean: Sequence[float], std: Sequence[float]) -> np.ndarray:
    """Scale and offset of every channel, one after the other: a pixel is value * scale + offset.

    Bytes count as shares of 255 and are normalised; floating-point numbers stay as they are.
    """
    if dtype != np.uint8:
        return np.array([1.0, 0.0] * len(std))
    return np.array([(1.0 / (255.0 * s), -m / s) for m, s in zip(mean, std, strict=True)]).ravel()
