"""Two-dimensional convolution in float64, by the definition: the yardstick for errors.

One matrix product a tap of the filter.  Arrays are as in ``functional.conv2d``; ``padding`` is the same on all sides.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


def forward(x: np.ndarray, w: np.ndarray, b: np.ndarray | None, stride: int, padding: int, groups: int) -> np.ndarray:
    """y (N, K, P, Q) of x (N, C, H, W), w (K, C / groups, R, S), b (K,)."""
    wide = _padded(x, padding)
    rows, columns = _output(wide, w, stride)
    y = np.zeros((len(x), groups, w.shape[0] // groups, rows * columns))
    for tap, window in _windows(w, rows, columns, stride):
        y += _grouped_filter(w, groups)[tap] @ _grouped(wide[window], groups)
    y = y.reshape(len(x), w.shape[0], rows, columns)
    return y if b is None else y + b.astype(np.float64)[:, None, None]


def input_gradient(g: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int, groups: int) -> np.ndarray:
    """Gradient of x, shaped like it, of g (N, K, P, Q)."""
    result = np.zeros_like(_padded(x, padding))
    for tap, window in _windows(w, g.shape[2], g.shape[3], stride):
        found = _grouped_filter(w, groups)[tap].swapaxes(1, 2) @ _grouped(g.astype(np.float64), groups)
        result[window] += found.reshape(*x.shape[:2], *g.shape[2:])
    inside = slice(padding, -padding or None)
    return result[:, :, inside, inside]


def weight_gradient(g: np.ndarray, x: np.ndarray, w: np.ndarray, stride: int, padding: int, groups: int) -> np.ndarray:
    """Gradient of w, shaped like it, of g (N, K, P, Q)."""
    wide = _padded(x, padding)
    result = np.zeros(w.shape)
    for (*_, r, s), window in _windows(w, g.shape[2], g.shape[3], stride):
        products = _grouped(g.astype(np.float64), groups) @ _grouped(wide[window], groups).swapaxes(2, 3)
        result[:, :, r, s] = products.sum(0).reshape(w.shape[:2])
    return result


def relative_error(found: np.ndarray, exact: np.ndarray) -> float:
    """Largest difference over the largest exact value."""
    return float(np.abs(found - exact).max() / np.abs(exact).max())


def _padded(x: np.ndarray, padding: int) -> np.ndarray:
    return np.pad(x.astype(np.float64), ((0, 0), (0, 0), (padding, padding), (padding, padding)))


def _output(wide: np.ndarray, w: np.ndarray, stride: int) -> tuple[int, int]:
    rows, columns = ((size - kernel) // stride + 1 for size, kernel in zip(wide.shape[2:], w.shape[2:], strict=True))
    return rows, columns


def _grouped(x: np.ndarray, groups: int) -> np.ndarray:
    """(N, C, H, W) as (N, groups, C / groups, H W)."""
    return x.reshape(len(x), groups, x.shape[1] // groups, -1)


def _grouped_filter(w: np.ndarray, groups: int) -> np.ndarray:
    """(K, C, R, S) as (groups, K / groups, C, R, S)."""
    return w.astype(np.float64).reshape(groups, -1, *w.shape[1:])


def _windows(w: np.ndarray, rows: int, columns: int, stride: int) -> Iterator[tuple[tuple, tuple]]:
    """For each tap: its index into a grouped filter, and the pixels of the padded image that it meets."""
    for r in range(w.shape[2]):
        for s in range(w.shape[3]):
            window = (
                ...,
                slice(r, r + stride * (rows - 1) + 1, stride),
                slice(s, s + stride * (columns - 1) + 1, stride),
            )
            yield (..., r, s), window
