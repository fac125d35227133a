"""Power-average pooling straight from its definition."""

from typing import Any

import numpy as np

from .common import Array, each, reference, unbatched, wide
from .pool import max_pool, pool_sum, pool_windows, window


def lp_pool(x: Any, norm_type: Any, kernel_size: Any, stride: Any = None, ceil_mode: bool = False) -> Array:
    """(sum of x^p)^(1 / p); a window that hangs over is as if it were full of its mean."""
    x = wide(x)
    dimensions = x.ndim - 2
    if np.ndim(norm_type) == 0 and np.isinf(norm_type):
        return max_pool(np.abs(x), kernel_size, stride, ceil_mode=ceil_mode)
    learned = isinstance(norm_type, np.ndarray)
    p = wide(norm_type)
    of_x = p.reshape(-1, *[1] * dimensions) if p.ndim else p
    with np.errstate(invalid="ignore"):
        powers = (np.abs(x) if learned else x) ** of_x
    out, places = pool_windows(x.shape[2:], kernel_size, stride, 0, 1, ceil_mode)
    y = np.zeros((*x.shape[:2], *out))
    for position, inside, padded in places:
        total = pool_sum(powers, inside) * (np.prod(each(kernel_size, dimensions)) / padded)
        y[(slice(None), slice(None), *position)] = total ** (1.0 / p)
    return y


def powers(arguments: dict[str, Any]) -> int:
    """Numbers in a window; a power multiplies relative errors, as more terms do the square of."""
    p = np.max(arguments["norm_type"])
    return window(arguments) * (int(max(p, 1.0) + 1) ** 2 if np.isfinite(p) else 1)


for dimensions in (1, 2, 3):
    reference(f"lp_pool{dimensions}d", terms=powers)(unbatched(lp_pool, dimensions))
