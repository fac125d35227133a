"""From an operator of the graph to launches: what every file of CUDA kernels says about itself.

    @lowering("scale", inputs=(SAME,), outputs=(SAME,))
    def lower_scale(program, node, inputs, outputs):
        program.launch(scale(dtype), grid, inputs, outputs, constants)

Layouts are those of ``kernels/lowering.py`` with one lane: ``BATCH`` is NHWC, ``FILTER`` is [out][spatial][in].  Every
value is one piece of memory.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..lowering import BATCH, FILTER, FILTER_TRANSPOSED, FILTERS, PLAIN, SAME, Buffer, Lowerings, ceil_div
from .compiler import NUMBERS, Specialised

__all__ = [
    "BATCH", "Buffer", "CANDIDATES", "FILTER", "FILTERS", "FILTER_TRANSPOSED", "LOWERINGS", "OPERANDS", "PLAIN", "Program",
    "SAME", "Step", "buffer_for", "ceil_div", "lowering", "shared_layout",
]  # fmt: skip


#: What ``precision`` makes of images between layers and of operands of matrix products.  Parameters, what lies in
#: NumPy's order, and sums of any kind are float32.  tf32 is the tensor cores' reading of float32; uint16 holds bf16.
OPERANDS: dict[str, np.dtype] = {
    "fp32": np.dtype(np.float32),
    "tf32": np.dtype(np.float32),
    "bf16": np.dtype(np.uint16),
    "fp16": np.dtype(np.float16),
}


FLOAT32 = np.dtype(np.float32)

#: By what forward passes and input gradients are calculated: each warp's tensor core instructions, or on sm_90
#: those of warpgroups, fed by threads or, where the hardware can gather what a pass reads (``tma.py``), by it.
CANDIDATES = ("mma", "wgmma", "tma")


def buffer_for(
    shape: tuple[int, ...], dtype: np.dtype, layout: str, lanes: int = 1, precision: str = "fp32"
) -> Buffer:
    """The buffer of a value of logical ``shape`` in ``layout``."""
    if layout == BATCH and dtype == FLOAT32:
        dtype = OPERANDS[precision]
    return Buffer("whole", dtype, math.prod(shape), layout, shape)


def shared_layout(*buffers: Buffer) -> str:
    """The layout of operands that are asked for in the SAME one; of one channel or pixel both are the same memory."""
    return BATCH if any(buffer.layout == BATCH for buffer in buffers) else PLAIN


@dataclass(eq=False)
class Step:
    """One launch of a kernel: its arguments are inputs, outputs and constants, in this order."""

    kernel: Specialised
    grid: tuple[int, int, int]
    inputs: tuple[Buffer, ...]
    outputs: tuple[Buffer, ...]
    constants: tuple[Any, ...]
    label: str
    flops: float = 0.0
    scope: str = "whole"


@dataclass
class Program:
    """Steps in the order in which they were lowered; what depends on bound arrays only is ``frozen`` or not.

    ``precision`` is that of matrix products: a key of ``OPERANDS``.  ``candidate``, one of ``CANDIDATES``, says by what
    convolutions are calculated.
    """

    frozen: bool = False
    precision: str = "fp32"
    candidate: str = CANDIDATES[0]
    steps: list[Step] = field(default_factory=list)
    label: str = ""
    _made: dict[Hashable, Buffer] = field(default_factory=dict)

    def launch(
        self,
        kernel: Specialised,
        grid: int | tuple[int, ...],
        inputs: Sequence[Buffer],
        outputs: Sequence[Buffer],
        constants: Sequence[Any] = (),
        flops: float = 0.0,
    ) -> None:
        """Append a launch over ``grid`` blocks (up to three numbers); one without a block is left out."""
        sizes = (grid,) if isinstance(grid, int) else tuple(grid)
        x, y, z = (*sizes, 1, 1)[:3]
        if x * y * z:
            label = self.label or kernel.label
            kernel = kernel.taking([buffer.dtype for buffer in (*inputs, *outputs)])
            self.steps.append(
                Step(kernel, (x, y, z), tuple(inputs), tuple(outputs), tuple(constants), label, flops)
            )

    def once(self, key: Hashable, make: Callable[[], Buffer]) -> Buffer:
        """What ``make`` gives, which is called where no one has asked for ``key`` before."""
        if key not in self._made:
            self._made[key] = make()
        return self._made[key]

    @staticmethod
    def constant(values: np.ndarray) -> Buffer:
        """Numbers known when the graph is planned."""
        return Buffer("whole", values.dtype, values.size, values=values)

    @staticmethod
    def number(value: float, dtype: np.dtype) -> Buffer:
        """One number known when the graph is planned."""
        return Program.constant(np.array([value], _wide(dtype)))

    @staticmethod
    def whole(dtype: np.dtype, elements: int) -> Buffer:
        """An intermediate result; sums of 2-byte numbers are float32."""
        return Buffer("whole", _wide(dtype), elements)


    @staticmethod
    def sums_of(value: Buffer) -> Buffer:
        """Where numbers of a value are added up that it holds in the end: itself, if it is float32."""
        return value if _wide(value.dtype) == value.dtype else Program.whole(value.dtype, value.elements)


def _wide(dtype: Any) -> np.dtype:
    return FLOAT32 if np.dtype(dtype) in NUMBERS else np.dtype(dtype)


LOWERINGS = Lowerings()
lowering = LOWERINGS.register
