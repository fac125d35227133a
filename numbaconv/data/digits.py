"""The data set that ships inside the package: 1,797 real handwritten digits.

Optical Recognition of Handwritten Digits, by E. Alpaydin and C. Kaynak (1998), UCI Machine Learning Repository,
https://doi.org/10.24432/C50P49, licence CC BY 4.0. The two IDX files beside this one hold the 8 x 8 images (0 to 16)
and labels of its test part, as scikit-learn's ``load_digits`` has them, pixels and order unchanged.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from . import idx
from .catalog import DatasetInfo
from .dataset import Split

FOLDER = Path(__file__).parent

_SIDE = 8
_FULL = 16  # The largest value stored: a pixel counts the dark points in a 4 x 4 square of the scan.
_SCALE = 4
_SEED = 1998


def load(facts: DatasetInfo) -> tuple[Split, Split]:
    """Return the training and the test split, enlarged to 32 x 32 pixels of 0 to 255.

    The split is fixed. Images are ordered by class, within a class by the SplitMix64 hash of their index; every fifth
    in that order is a test image, so each class gives its share to within one. Both splits keep the order of the file.
    """
    count = facts.train_size + facts.test_size
    small = idx.read(FOLDER / "digits-images-idx3-ubyte.gz", (_SIDE, _SIDE), count)
    labels = idx.read(FOLDER / "digits-labels-idx1-ubyte.gz", (), count).astype(np.int64)
    images = enlarge(small)[:, None]
    test = np.zeros(count, bool)
    test[np.lexsort((split_mix(np.arange(count), _SEED), labels))[::5]] = True
    return Split(images[~test], labels[~test]), Split(images[test], labels[test])


def enlarge(images: np.ndarray) -> np.ndarray:
    """Enlarge images four times by bilinear interpolation and scale 0..16 to 0..255.

    Pixel centres are aligned (output pixel ``i`` lies at ``(i + 0.5) / 4 - 0.5``) and the border is repeated. The
    arithmetic is in integers, so that the result is the same everywhere; halves are rounded up.

    Args:
        images: ``uint8``, shape ``(N, H, W)``, values 0 to 16.

    Returns:
        ``uint8``, shape ``(N, 4 * H, 4 * W)``.
    """
    rows = _weights(images.shape[1])
    columns = _weights(images.shape[2])
    scaled: np.ndarray = rows @ images.astype(np.int32) @ columns.T
    unit = (2 * _SCALE) ** 2 * _FULL
    rounded: np.ndarray = (scaled * 255 + unit // 2) // unit
    return rounded.astype(np.uint8)


def _weights(size: int) -> np.ndarray:
    """Return the bilinear weights ``(4 * size, size)`` in eighths: every row sums to 8."""
    place = 2 * np.arange(_SCALE * size) + 1 - _SCALE  # Position of each output pixel, in eighths of an input pixel.
    unit = 2 * _SCALE
    left = place // unit
    share = place - left * unit
    weights = np.zeros((_SCALE * size, size), np.int32)
    row = np.arange(_SCALE * size)
    weights[row, np.clip(left, 0, size - 1)] += (unit - share).astype(np.int32)
    weights[row, np.clip(left + 1, 0, size - 1)] += share.astype(np.int32)
    return weights


def split_mix(index: np.ndarray, seed: int) -> np.ndarray:
    """Return the SplitMix64 hash of each index, ``uint64``: a random order that no library version can change.

    Source: G. L. Steele, D. Lea, C. H. Flood, "Fast splittable pseudorandom number generators", 2014.
    """
    golden = np.uint64(0x9E3779B97F4A7C15)
    mixed: np.ndarray = (index.astype(np.uint64) + np.uint64(seed + 1)) * golden
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed ^= mixed >> np.uint64(31)
    return mixed
