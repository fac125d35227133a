"""What one line of the GPU's report holds."""

from __future__ import annotations

from dataclasses import dataclass

from ..report import Row, column

#: Largest errors of each precision, relative to the largest result.
BOUNDS = {"fp32": 1e-5, "tf32": 1e-3, "bf16": 1e-2, "fp16": 1e-2}


@dataclass(kw_only=True)
class GpuRow(Row):
    """One pass of a convolution, one operator, or one network; rates count the operations of the definition.

    ``error`` is relative to the largest exact result and may be ``bound`` at most.  ``of_copy`` is the share of a
    copy's bandwidth.  ``train_seconds`` is what an accuracy took, without compiling and evaluating.
    """

    direction: str = column("what and precision", default="")
    ratio: float | None = column("ratio", ".2f")
    ours_us: float | None = column("ours µs", ",.1f")
    torch_us: float | None = column("torch µs", ",.1f")
    tflops: float | None = column("TFLOP/s", ",.1f")
    gbytes: float | None = column("GB/s", ",.0f")
    of_copy: float | None = column("of copy", ".0%")
    accuracy: float | None = column("accuracy", ".2%")
    train_seconds: float | None = column("training s", ",.2f")
    error: float | None = column("error", ".1e")
    bound: float | None = column()
    kernels: str = column(default="")

    @property
    def is_wrong(self) -> bool:
        """Whether the error is larger than it may be; NaN is."""
        return self.error is not None and self.bound is not None and not self.error <= self.bound
