"""What the backends' updates of parameters share."""

from collections.abc import Sequence
from typing import Any

#: Between these the scale of a loss stays.
LEAST_SCALE, LARGEST_SCALE = 2.0**-24, 2.0**24


def with_factor(inputs: Sequence[Any], position: int) -> tuple[tuple[Any, ...], bool]:
    """The operands of an update, and whether there is a factor at this position; else another one takes its place."""
    scaled = len(inputs) > position
    return (*inputs, *(() if scaled else inputs[:1])), scaled
