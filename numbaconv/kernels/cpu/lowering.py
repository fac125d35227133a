"""From an operator of the graph to steps for the runner: what every file of kernels says about itself.

    @lowering("scale", inputs=(SAME,), outputs=(SAME,))
    def lower_scale(program, node, inputs, outputs):
        program.step(scale(dtype), inputs, outputs, constants, units)
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .. import lowering as common
from ..lowering import BATCH, PLAIN, SAME, Lowerings, ceil_div
from .native import Specialised
from .target import LANES

__all__ = [
    "BATCH", "Buffer", "LOWERINGS", "PLAIN", "Program", "SAME", "Step", "buffer_for", "ceil_div", "groups_of",
    "images_or_plain", "lanes_for", "lowering",
]  # fmt: skip

#: Groups of blocks with partial sums of their own; fixed, so that sums do not depend on the number of threads.
MAX_GROUPS = 16


def lanes_for(batch: int) -> int:
    """Images in lanes for batches that fill at least half a vector, else channels in lanes."""
    return LANES if batch >= max(2, LANES // 2) else 1


def groups_of(blocks: int) -> int:
    return min(max(blocks, 1), MAX_GROUPS)


class Buffer(common.Buffer):
    """Memory of a value; copies are a whole number of vectors apart."""

    @property
    def stride(self) -> int:
        """Elements from one copy to the next: a whole number of vectors."""
        return ceil_div(self.elements, LANES) * LANES

    @property
    def bytes(self) -> int:
        return self.stride * self.dtype.itemsize

    @property
    def blocks(self) -> int:
        return ceil_div(self.batch, self.lanes)

    @property
    def copies(self) -> int:
        if self.space in ("whole", "thread"):
            return 1
        return self.blocks if self.space == "block" else groups_of(self.blocks)


def buffer_for(shape: tuple[int, ...], dtype: np.dtype, layout: str, lanes: int) -> Buffer:
    """The buffer of a value of logical ``shape`` in ``layout``."""
    if layout == BATCH:
        return Buffer("block", dtype, math.prod(shape[1:]) * lanes, layout, shape, lanes)
    return Buffer("whole", dtype, math.prod(shape), layout, shape, lanes)


@dataclass(eq=False)
class Step:
    """One kernel with its operands; ``units`` are what the runner may divide among threads.

    A ``late`` step makes another form of a value and is best run just before that is read: its result would only fill
    memory and caches until then.  A ``cheap`` one takes a pass over its operands and may be run again.
    """

    kernel: Specialised
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    constants: tuple[Any, ...]
    units: int
    scope: str  # "block": called for each block; "whole": once
    blocks: int
    label: str
    flops: float = 0.0
    late: bool = False
    cheap: bool = False


@dataclass
class Program:
    """Steps in the order in which they were lowered; what depends on bound arrays only is ``frozen`` or not."""

    frozen: bool = False
    steps: list[Step] = field(default_factory=list)
    label: str = ""
    forms: dict[tuple, Buffer] = field(default_factory=dict)  # of filters, see ``filter.laid_out``

    def step(
        self,
        kernel: Specialised,
        inputs: Sequence[Buffer],
        outputs: Sequence[Buffer],
        constants: Sequence[Any] = (),
        units: int = 1,
        whole: bool = False,
        flops: float = 0.0,
        late: bool = False,
        cheap: bool = False,
    ) -> None:
        """Append a step; it works on blocks if any of its operands does and ``whole`` is not asked for."""
        blocks = [b.blocks for b in (*inputs, *outputs) if b.space == "block"]
        scope = "block" if blocks and not whole else "whole"
        self.steps.append(
            Step(
                kernel,
                tuple(inputs),
                tuple(outputs),
                tuple(constants),
                units,
                scope,
                blocks[0] if scope == "block" else 1,
                self.label or kernel.label,
                flops,
                late,
                cheap,
            )
        )

    @staticmethod
    def constant(values: np.ndarray) -> Buffer:
        """Numbers known when the graph is planned."""
        return Buffer("whole", values.dtype, values.size, values=values)

    @staticmethod
    def number(value: float, dtype: np.dtype) -> Buffer:
        """One number known when the graph is planned."""
        return Program.constant(np.array([value], dtype))

    @staticmethod
    def whole(dtype: np.dtype, elements: int) -> Buffer:
        """An intermediate result of which there is one."""
        return Buffer("whole", dtype, elements)

    @staticmethod
    def per_thread(dtype: np.dtype, elements: int) -> Buffer:
        """A thread's workspace within one step."""
        return Buffer("thread", dtype, elements)

    @staticmethod
    def per_block(like: Buffer, elements: int) -> Buffer:
        """An intermediate result for every block of ``like``'s batch."""
        return Buffer("block", like.dtype, elements, BATCH, like.shape, like.lanes)

    @staticmethod
    def per_group(like: Buffer, elements: int) -> Buffer:
        """Partial sums of every group of ``like``'s blocks."""
        return Buffer("group", like.dtype, elements, PLAIN, like.shape, like.lanes)


def images_or_plain(node: Any) -> tuple[str]:
    """Layouts for loops along channels: lanes hold images if there are enough of them, else pixels in NumPy's order."""
    return (BATCH if lanes_for(node.inputs[0].shape[0]) > 1 else PLAIN,)


LOWERINGS = Lowerings()
lowering = LOWERINGS.register
