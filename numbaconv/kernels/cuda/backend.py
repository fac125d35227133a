"""What the planner asks of the CUDA backend."""

import functools
import math

from ..lowering import BATCH, FILTER_TRANSPOSED, FILTERS, PLAIN, Backend
from .conv import takes_addend
from .lowering import CANDIDATES, LOWERINGS, Program, buffer_for
from .reorder import copy_step, reorder_step, zero_step


def form(shape: tuple[int, ...], layout: str, lanes: int) -> tuple[str, int]:
    """NHWC of one channel or one pixel, and filters of one tap or one input channel, lie as NumPy has them."""
    if layout == PLAIN or len(shape) < 2:
        return PLAIN, 1
    if layout == FILTER_TRANSPOSED:
        return layout, 1
    if layout == BATCH or layout in FILTERS:
        return (PLAIN if 1 in (shape[1], math.prod(shape[2:])) else layout), 1
    return layout, 1


def cuda(precision: str = "fp32", candidate: str = CANDIDATES[0]) -> Backend:
    """The backend with matrix products of a precision; ``candidate``: see ``Program``."""
    program = functools.partial(Program, precision=precision, candidate=candidate)
    buffers = functools.partial(buffer_for, precision=precision)
    return Backend(
        "cuda", LOWERINGS, program, buffers, lambda batch: 1, form, reorder_step, copy_step, zero_step, takes_addend
    )
