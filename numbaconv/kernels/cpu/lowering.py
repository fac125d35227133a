"""From an operator of the graph to steps for the runner: what every file of kernels says about itself.

    @lowering("scale", inputs=(SAME,), outputs=(SAME,))
    def lower_scale(program, node, inputs, outputs):
        program.step(scale(dtype), inputs, outputs, constants, units)

A layout is how a value lies in memory.  ``PLAIN`` is NumPy's C order.  ``BATCH`` cuts the batch into blocks of
``lanes`` images that travel together, ``[n / lanes][spatial ...][channel][lanes]``; with one lane this is NHWC, a
block being one image.  ``FILTER`` is a weight as the convolution reads it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from .native import Specialised
from .target import LANES

PLAIN = "plain"
BATCH = "batch"
FILTER = "filter"  # [out][spatial][in] with images in lanes, [out / 16][spatial][in][16] with channels in lanes
FILTER_TRANSPOSED = "filter transposed"  # input gradient's: as FILTER, or [in / 16][spatial][out][16]
FILTER_LINES = "filter lines"  # of groups: as FILTER, or [spatial][in][out] with channels in lanes
FILTER_LINES_TRANSPOSED = "filter lines transposed"  # as FILTER, or [spatial][out][in]
FILTERS = (FILTER, FILTER_TRANSPOSED, FILTER_LINES, FILTER_LINES_TRANSPOSED)
SAME = "same"  # any layout that all SAME inputs and outputs of the node share

#: Groups of blocks with partial sums of their own; fixed, so that sums do not depend on the number of threads.
MAX_GROUPS = 16


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


def lanes_for(batch: int) -> int:
    """Images in lanes for batches that fill at least half a vector, else channels in lanes."""
    return LANES if batch >= max(2, LANES // 2) else 1


def groups_of(blocks: int) -> int:
    return min(max(blocks, 1), MAX_GROUPS)


@dataclass(eq=False)
class Buffer:
    """Memory of one value in one layout, or of a step's intermediate results.

    ``space`` says how many copies there are: "block" one for each block of the batch, "group" one for each group of
    blocks, "thread" one for each thread (a workspace within a step), "whole" just one.  ``elements`` counts one copy's.
    """

    space: str
    dtype: np.dtype
    elements: int
    layout: str = PLAIN
    shape: tuple[int, ...] = ()
    lanes: int = 1
    values: np.ndarray | None = None  # of a constant
    leaf: int | None = None  # position among the graph's leaves whose array this is

    @property
    def stride(self) -> int:
        """Elements from one copy to the next: a whole number of vectors."""
        return ceil_div(self.elements, LANES) * LANES

    @property
    def bytes(self) -> int:
        return self.stride * self.dtype.itemsize

    @property
    def batch(self) -> int:
        return self.shape[0]

    @property
    def blocks(self) -> int:
        return ceil_div(self.batch, self.lanes)

    @property
    def copies(self) -> int:
        if self.space in ("whole", "thread"):
            return 1
        return self.blocks if self.space == "block" else groups_of(self.blocks)

    @property
    def channels(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def pixels(self) -> int:
        return math.prod(self.shape[2:])


def buffer_for(shape: tuple[int, ...], dtype: np.dtype, layout: str, lanes: int) -> Buffer:
    """The buffer of a value of logical ``shape`` in ``layout``."""
    if layout == BATCH:
        return Buffer("block", dtype, math.prod(shape[1:]) * lanes, layout, shape, lanes)
    elements = math.prod(shape)
    if layout in FILTERS and lanes == 1:
        vector_axis = 0 if layout in (FILTER, FILTER_LINES) else 1
        elements = elements // max(1, shape[vector_axis]) * ceil_div(shape[vector_axis], LANES) * LANES
    return Buffer("whole", dtype, elements, layout, shape, lanes)


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


#: One layout an operand (the last stands for all further ones), or a function that gives them for a node.
Layouts = tuple[str, ...] | Callable[[Any], tuple[str, ...]]
Lower = Callable[[Program, Any, list[Buffer], list[Buffer]], None]


def images_or_plain(node: Any) -> tuple[str]:
    """Layouts for loops along channels: lanes hold images if there are enough of them, else pixels in NumPy's order."""
    return (BATCH if lanes_for(node.inputs[0].shape[0]) > 1 else PLAIN,)


@dataclass(frozen=True)
class Lowering:
    inputs: Layouts
    outputs: Layouts
    lower: Lower


LOWERINGS: dict[str, Lowering] = {}


def lowering(*names: str, inputs: Layouts, outputs: Layouts = (SAME,)) -> Callable[[Lower], Lower]:
    """Say that operators ``names`` are run by the decorated function, with operands in these layouts."""

    def register(lower: Lower) -> Lower:
        for name in names:
            LOWERINGS[name] = Lowering(inputs, outputs, lower)
        return lower

    return register
