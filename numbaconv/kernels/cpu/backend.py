"""What the planner asks of the CPU."""

from ..lowering import PLAIN, Backend
from .lowering import LOWERINGS, Program, buffer_for, lanes_for
from .reorder import copy_step, reorder_step
from .shape import zero_step


def form(shape: tuple[int, ...], layout: str, lanes: int) -> tuple[str, int]:
    """NumPy's order has no lanes."""
    return (PLAIN, 1) if layout == PLAIN else (layout, lanes)


CPU = Backend(
    "cpu", LOWERINGS, Program, buffer_for, lanes_for, form, reorder_step, copy_step, zero_step,
    takes_addend=lambda node: False,
)  # fmt: skip
