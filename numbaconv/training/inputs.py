"""Checks of images and labels, with errors in the caller's terms."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np


class Arrays(NamedTuple):
    """Images and labels as training takes them.

    Attributes:
        images: ``uint8`` or ``float32``, contiguous, ``(N, C, H, W)``.
        labels: ``int64``, contiguous, ``(N,)``.
    """

    images: np.ndarray
    labels: np.ndarray


def as_arrays(name: str, split: Any) -> Arrays:
    """Return the images and labels of a ``data.Split`` or of a pair ``(images, labels)``, checked.

    Args:
        name: what messages call them, such as "training".

    Raises:
        TypeError, ValueError: as ``as_images`` and ``as_labels``, or if their numbers differ.
    """
    if hasattr(split, "images") and hasattr(split, "labels"):
        images, labels = split.images, split.labels
    elif isinstance(split, (tuple, list)) and len(split) == 2:
        images, labels = split
    else:
        raise TypeError(f"{name} data: expected a Split or a pair (images, labels), got {type(split).__name__}")
    arrays = Arrays(as_images(name, images), as_labels(name, labels))
    if len(arrays.images) != len(arrays.labels):
        raise ValueError(f"{name} data: there are {len(arrays.images):,} images but {len(arrays.labels):,} labels")
    return arrays


def as_images(name: str, images: Any) -> np.ndarray:
    """Return images as contiguous ``uint8`` or ``float32``.

    Raises:
        TypeError: if they are of another kind of number.
        ValueError: if they are not ``(N, C, H, W)``, or there are none.
    """
    images = np.asarray(images)
    if images.ndim != 4:
        raise ValueError(f"{name} images: expected shape (images, channels, height, width), got {images.shape}")
    if images.size == 0:
        raise ValueError(f"{name} images: there are none, their shape is {images.shape}")
    if images.dtype != np.uint8 and not np.issubdtype(images.dtype, np.floating):
        raise TypeError(f"{name} images: expected uint8 (0 to 255) or float32, got {images.dtype}")
    return np.ascontiguousarray(images, np.uint8 if images.dtype == np.uint8 else np.float32)


def as_labels(name: str, labels: Any) -> np.ndarray:
    """Return labels as contiguous ``int64``.

    Raises:
        TypeError: if they are not whole numbers.
        ValueError: if they are not ``(N,)``.
    """
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"{name} labels: expected class indices of shape (images,), got shape {labels.shape}")
    if not np.issubdtype(labels.dtype, np.integer):
        raise TypeError(f"{name} labels: expected class indices (whole numbers), got {labels.dtype}")
    return np.ascontiguousarray(labels, np.int64)


def check_range(name: str, labels: np.ndarray, num_classes: int) -> None:
    """Refuse labels the model has no output for.

    Raises:
        ValueError: naming the first such label.
    """
    wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
    if len(wrong):
        raise ValueError(
            f"{name} labels: label {labels[wrong[0]]} of image {wrong[0]} is out of range, "
            f"the model has {num_classes} classes (0 to {num_classes - 1})"
        )
