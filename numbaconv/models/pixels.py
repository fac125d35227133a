"""What networks for images of any size share: the demand of a least size, and the mean over what pixels are left."""

from __future__ import annotations

from typing import Any

import numbaconv.functional as F


def require_pixels(name: str, x: Any, least: int) -> None:
    """Refuse images that a network's strides would leave nothing of.

    Args:
        name: the network.
        x: the images, ``(N, C, H, W)``.
        least: pixels they must have in each direction.

    Raises:
        ValueError: if they have fewer.
    """
    if len(x.shape) == 4 and min(x.shape[2:]) < least:
        height, width = x.shape[2:]
        raise ValueError(f"{name}: images must have at least {least}×{least} pixels, these have {height}×{width}")


def mean_over_pixels(x: Any) -> Any:
    """``x`` of shape ``(N, C, H, W)`` to ``(N, C)``: global average pooling (Lin et al., arXiv 1312.4400)."""
    return F.flatten(F.avg_pool2d(x, tuple(x.shape[2:])), 1)
