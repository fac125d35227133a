"""Patches as columns, and columns put back, one position at a time."""

from typing import Any

import numpy as np

from .common import Array, each, reference, unbatched, wide
from .conv import windows, zero_padded


def unfold(x: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    x, kernel = wide(x), each(kernel_size, 2)
    padded = zero_padded(x, tuple((p, p) for p in each(padding, 2)))
    columns = [
        padded[(slice(None), slice(None), *window)].reshape(len(x), -1)
        for _, window in windows(x.shape[2:], kernel, stride, padding, dilation)
    ]
    return np.stack(columns, axis=2)


def fold(x: Any, output_size: Any, kernel_size: Any, dilation: Any = 1, padding: Any = 0, stride: Any = 1) -> Array:
    x, kernel, size, border = wide(x), each(kernel_size, 2), each(output_size, 2), each(padding, 2)
    channels = x.shape[1] // int(np.prod(kernel))
    y = np.zeros((len(x), channels, *(n + 2 * p for n, p in zip(size, border, strict=True))))
    for column, (_, window) in enumerate(windows(size, kernel, stride, padding, dilation)):
        y[(slice(None), slice(None), *window)] += x[:, :, column].reshape(len(x), channels, *kernel)
    return y[(slice(None), slice(None), *(slice(p, p + n) for p, n in zip(border, size, strict=True)))]


def overlaps(arguments: dict[str, Any]) -> int:
    """Columns that at most meet in one place."""
    return int(np.prod(each(arguments["kernel_size"], 2)))


reference("unfold")(unbatched(unfold, 2))
reference("fold", terms=overlaps)(unbatched(fold, 1))
