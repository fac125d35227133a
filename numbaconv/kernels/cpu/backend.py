"""What the planner asks of the CPU."""

import math

from ..lowering import FILTER, FILTERS, PLAIN, Backend
from .lowering import LOWERINGS, Program, buffer_for, lanes_for
from .reorder import copy_step, reorder_step
from .shape import zero_step


def form(shape: tuple[int, ...], layout: str, lanes: int) -> tuple[str, int]:
    """With images in lanes all passes read the same filter, and one of one input channel or one tap as it is."""
    if layout == PLAIN:
        return PLAIN, 1
    if layout in FILTERS and lanes > 1:
        return (PLAIN, 1) if 1 in (shape[1], math.prod(shape[2:])) else (FILTER, lanes)
    return layout, lanes


CPU = Backend(
    "cpu", LOWERINGS, Program, buffer_for, lanes_for, form, reorder_step, copy_step, zero_step,
    takes_addend=lambda node: False,
)  # fmt: skip
