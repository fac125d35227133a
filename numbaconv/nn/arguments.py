"""Checks of layers' arguments, with errors in the caller's terms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

IntOrTuple = int | Sequence[int]


def positive(layer: str, name: str, value: Any, least: int = 1) -> int:
    """Return a whole number of at least ``least``.

    Raises:
        TypeError: if it is not a whole number.
        ValueError: if it is too small.
    """
    if isinstance(value, bool) or not isinstance(value, (int, np.integer)):
        raise TypeError(f"{layer}: {name} must be a whole number, got {value!r}")
    if value < least:
        raise ValueError(f"{layer}: {name} must be at least {least}, got {value}")
    return int(value)


def as_tuple(layer: str, name: str, value: Any, length: int, least: int = 1) -> tuple[int, ...]:
    """Return ``length`` whole numbers from one for all, or from a sequence of so many.

    Raises:
        TypeError, ValueError: as ``positive``, or if the length is another.
    """
    if not isinstance(value, (tuple, list)):
        return (positive(layer, name, value, least),) * length
    if len(value) != length:
        raise ValueError(f"{layer}: {name} must be one number or {length}, got {tuple(value)}")
    return tuple(positive(layer, name, item, least) for item in value)
