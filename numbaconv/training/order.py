"""The order of images within an epoch."""

from __future__ import annotations

import numpy as np


def epoch_order(seed: int, epoch: int, images: int) -> np.ndarray:
    """Return a permutation of ``range(images)``, ``int64``, that depends on seed and epoch alone.

    A counter-based generator keyed by both, so that any epoch can be had without the ones before it.
    """
    # The top bit keeps these streams apart from those of numbaconv.random.
    generator = np.random.Generator(np.random.Philox(key=np.array([seed, epoch | 1 << 63], np.uint64)))
    return generator.permutation(images).astype(np.int64, copy=False)
