"""Stochastic pooling straight from its paper."""

from typing import Any

import numpy as np

from .common import Array, reference, unbatched, wide
from .pool import pool_windows, window
from .random import random_word


def stochastic_pool(x, kernel_size, stride=None, padding=0, ceil_mode=False, training=True, *, key=None) -> Any:
    """The tap at which the sum of what is above 0 exceeds a drawn share of the whole; or the mean of such taps."""
    x = wide(x)
    out, places = pool_windows(x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    y: Array = np.zeros((*x.shape[:2], *out))
    for number, (position, inside, _) in enumerate(places):
        for n, c in np.ndindex(x.shape[:2]):
            taps = np.array([max(x[(n, c, *i)], 0.0) for i in inside])
            if not taps.sum() > 0.0:
                continue
            if training:
                word = random_word(key, (n * x.shape[1] + c) * len(places) + number)
                drawn = (word >> 8) / 2**24
                y[(n, c, *position)] = taps[np.argmax(np.cumsum(taps) > drawn * taps.sum())]
            else:
                y[(n, c, *position)] = (taps / taps.sum() * taps).sum()
    return y


for dimensions in (1, 2, 3):
    reference(f"stochastic_pool{dimensions}d", terms=window)(unbatched(stochastic_pool, dimensions))
