"""What a loaded data set is: two splits of images and labels, the class names and the channel statistics."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Split:
    """Images and their labels.

    Attributes:
        images: ``uint8``, shape ``(N, C, H, W)``, 0 to 255.
        labels: ``int64``, shape ``(N,)``, each an index into ``Dataset.classes``.
    """

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclass(frozen=True, eq=False)
class Dataset:
    """A training and a test split, with what is needed to name and normalise them.

    Attributes:
        name: the name it was loaded by, such as ``"mnist"``.
        train, test: the two splits.
        classes: class names; ``classes[label]`` names a label.
        mean, std: per channel, of ``pixel / 255`` over the training images as they are delivered here.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    mean: tuple[float, ...]
    std: tuple[float, ...]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape ``(C, H, W)`` of one image."""
        channels, height, width = self.train.images.shape[1:]
        return channels, height, width

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return len(self.classes)


def channel_statistics(images: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return the mean and the standard deviation of ``pixel / 255`` for each channel.

    Args:
        images: ``uint8``, shape ``(N, C, H, W)``.

    Returns:
        ``(mean, std)``, each a tuple of ``C`` floats. Computed from a histogram in integers, so the result does not
        depend on the order of summation, and memory stays small.
    """
    channels = images.shape[1]
    counts = np.zeros((channels, 256), np.int64)
    block = 512
    for start in range(0, len(images), block):
        for channel in range(channels):
            pixels = images[start : start + block, channel].ravel()
            counts[channel] += np.bincount(pixels, minlength=256)
    values = np.arange(256) / 255.0
    total = counts.sum(axis=1)
    mean = counts @ values / total
    variance = (counts * (values - mean[:, None]) ** 2).sum(axis=1) / total
    return tuple(map(float, mean)), tuple(map(float, np.sqrt(variance)))
