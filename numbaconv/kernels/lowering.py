"""How values lie in memory, and how a backend's files say what they run: shared by all backends.

A layout is how a value lies in memory.  ``PLAIN`` is NumPy's C order.  ``BATCH`` cuts the batch into blocks of
``lanes`` images that travel together, ``[n / lanes][spatial ...][channel][lanes]``; with one lane this is NHWC, a
block being one image.  ``FILTER`` is a weight as CUDA's convolutions read it; on the CPU algorithms choose among forms
of their own, ``kernels/cpu/filter.py``.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

PLAIN = "plain"
BATCH = "batch"
FILTER = "filter"  # [out][spatial][in]
FILTER_TRANSPOSED = "filter transposed"  # an input gradient's: [in][spatial][out]
FILTERS = (FILTER, FILTER_TRANSPOSED)
SAME = "same"  # any layout that all SAME inputs and outputs of the node share


def ceil_div(a: int, b: int) -> int:
    return -(-a // b)


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
    def bytes(self) -> int:
        """Of one copy."""
        return self.elements * self.dtype.itemsize

    @property
    def batch(self) -> int:
        return self.shape[0]

    @property
    def copies(self) -> int:
        return 1

    @property
    def channels(self) -> int:
        return self.shape[1] if len(self.shape) > 1 else 1

    @property
    def spatial(self) -> tuple[int, ...]:
        return self.shape[2:]

    @property
    def pixels(self) -> int:
        return math.prod(self.shape[2:])


#: One layout an operand (the last stands for all further ones), or a function that gives them for a node.
Layouts = tuple[str, ...] | Callable[[Any], tuple[str, ...]]
#: Called with the backend's program, the node, and the buffers of its inputs and outputs.
Lower = Callable[[Any, Any, list, list], None]


@dataclass(frozen=True)
class Lowering:
    inputs: Layouts
    outputs: Layouts
    lower: Lower

    def layouts(self, node: Any) -> tuple[tuple[str, ...], tuple[str, ...]]:
        """The layouts of all inputs and of all outputs of a node."""
        return _for_all(self.inputs, node, node.inputs), _for_all(self.outputs, node, node.outputs)


def _for_all(layouts: Layouts, node: Any, tensors: Sequence[Any]) -> tuple[str, ...]:
    found = layouts(node) if callable(layouts) else layouts
    return (*found, *found[-1:] * (len(tensors) - len(found)))[: len(tensors)]


class Lowerings(dict[str, Lowering]):
    """What a backend can run, by the operators' names."""

    def register(self, *names: str, inputs: Layouts, outputs: Layouts = (SAME,)) -> Callable[[Lower], Lower]:
        """Say that operators ``names`` are run by the decorated function, with operands in these layouts."""

        def register(lower: Lower) -> Lower:
            for name in names:
                self[name] = Lowering(inputs, outputs, lower)
            return lower

        return register


@dataclass(frozen=True)
class Backend:
    """What the planner asks of a backend.

    Attributes:
        name: as users call it.
        lowerings: what it can run.
        program: makes the empty list of steps; called with whether bound arrays are frozen.
        buffer_for: the buffer of a value of a shape and dtype in a layout with some lanes.
        lanes_for: images in lanes, by the batch size.
        form: layout and lanes that a value of a shape really takes where a layout and lanes are asked for.
        reorder_step, copy_step: append the step that brings a source into the form of a target, or copies it.
        zero_step: append the step that fills a buffer with zeros.
        takes_addend: whether the kernel of a convolution or fully connected layer adds a value of its result's form.
    """

    name: str
    lowerings: Lowerings
    program: Callable[[bool], Any]
    buffer_for: Callable[[tuple[int, ...], np.dtype, str, int], Any]
    lanes_for: Callable[[int], int]
    form: Callable[[tuple[int, ...], str, int], tuple[str, int]]
    reorder_step: Callable[[Any, Any, Any], None]
    copy_step: Callable[[Any, Any, Any], None]
    zero_step: Callable[[Any, Any], None]
    takes_addend: Callable[[Any], bool]
