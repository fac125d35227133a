"""Padding by NumPy, whose modes have other names."""

from typing import Any

import numpy as np

from .common import Array, reference, wide

NUMPY_MODES = {"constant": "constant", "reflect": "reflect", "replicate": "edge", "circular": "wrap"}


@reference("pad")
def pad(x: Any, pad: tuple[int, ...], mode: str = "constant", value: float | None = None) -> Array:
    """Lengthened where a padding is positive, then cut where it is negative."""
    x = wide(x)
    pairs = [(0, 0)] * (x.ndim - len(pad) // 2) + list(zip(pad[::2], pad[1::2], strict=True))[::-1]
    options = {"constant_values": value or 0.0} if mode == "constant" else {}
    longer = np.pad(x, [(max(a, 0), max(b, 0)) for a, b in pairs], NUMPY_MODES[mode], **options)
    cut = (slice(max(-a, 0), n - max(-b, 0)) for (a, b), n in zip(pairs, longer.shape, strict=True))
    return longer[tuple(cut)]
