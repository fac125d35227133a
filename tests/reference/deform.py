"""Deformable convolution, tap by tap and channel by channel."""

from typing import Any

import numpy as np

from .common import Array, each, reference, wide


def bilinear(image: Array, h: float, w: float) -> Array:
    """The channels of ``image`` (C, H, W) at a place, which counts as zero outside."""
    _, height, width = image.shape
    total = np.zeros(len(image))
    if not (-1 < h < height and -1 < w < width):
        return total
    for i in (int(np.floor(h)), int(np.floor(h)) + 1):
        for j in (int(np.floor(w)), int(np.floor(w)) + 1):
            if 0 <= i < height and 0 <= j < width:
                total += (1 - abs(h - i)) * (1 - abs(w - j)) * image[:, i, j]
    return total


def _terms(arguments: dict[str, Any]) -> int:
    return 4 * int(np.prod(np.shape(arguments["weight"])[1:]))


@reference("deform_conv2d", terms=_terms, orders=1)
def deform_conv2d(x, offset, weight, bias=None, stride=1, padding=0, dilation=1, mask=None) -> Array:
    x, offset, weight = wide(x), wide(offset), wide(weight)
    (sh, sw), (ph, pw), (dh, dw) = each(stride, 2), each(padding, 2), each(dilation, 2)
    filters, depth, rows, columns = weight.shape
    batch, pairs, height, width = offset.shape
    groups, taps = x.shape[1] // depth, rows * columns
    shared = x.shape[1] // (pairs // (2 * taps))  # channels that share an offset
    y = np.zeros((batch, filters, height, width))
    for n, i, j, tap, start in np.ndindex(batch, height, width, taps, pairs // (2 * taps)):
        down, right = offset[n, 2 * (start * taps + tap) : 2 * (start * taps + tap) + 2, i, j]
        h = i * sh - ph + tap // columns * dh + down
        w = j * sw - pw + tap % columns * dw + right
        values = bilinear(x[n, start * shared : (start + 1) * shared], h, w)
        if mask is not None:
            values = values * wide(mask)[n, start * taps + tap, i, j]
        for c, value in enumerate(values, start * shared):
            group, per_group = c // depth, filters // groups
            kernel = weight[group * per_group : (group + 1) * per_group, c % depth, tap // columns, tap % columns]
            y[n, group * per_group : (group + 1) * per_group, i, j] += kernel * value
    return y if bias is None else y + wide(bias)[:, None, None]
