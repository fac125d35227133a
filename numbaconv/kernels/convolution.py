"""One pass of a convolution as the backends see it: its buffers and its geometry, in three dimensions."""

import math
from dataclasses import dataclass
from typing import Any

FORWARD, INPUT, WEIGHTS = "forward", "input gradient", "weight gradient"

Triple = tuple[int, int, int]


def three(values: Any, fill: int) -> Triple:
    """One to three (or no) spatial values as three, leading ones filled."""
    values = tuple(values)
    return (fill,) * (3 - len(values)) + values  # type: ignore[return-value]


@dataclass(frozen=True)
class Convolution:
    """One pass of a convolution (or fully connected layer), to be put into steps.

    The pass reads ``x`` and ``w`` and writes ``y``; in an input gradient ``x`` is the output's gradient and ``y`` the
    input's.  A weight gradient reads the input ``x`` and the output's gradient ``y`` and writes ``w``.  Leading
    dimensions that there are not have size 1.
    """

    program: Any
    direction: str
    attrs: dict[str, Any]
    x: Any  # the backend's buffers
    w: Any
    y: Any
    bias: Any = None
    addend: Any = None  # of y's form: added before the activation
    flops: float = 0.0
    pairs: Any = None  # of sparse convolutions: the rows of x that taps read, which no geometry gives

    @property
    def _has_geometry(self) -> bool:
        """Fully connected layers have none."""
        return bool(self.y.spatial)

    @property
    def algo(self) -> str:
        return self.attrs.get("algo", "direct")

    @property
    def activation(self) -> str | None:
        return self.attrs.get("activation")

    @property
    def transposed(self) -> bool:
        return self.direction == INPUT

    @property
    def groups(self) -> int:
        return self.attrs["groups"] if self._has_geometry else 1

    @property
    def filter_size(self) -> Triple:
        return three(self.w.shape[2:], 1)

    @property
    def stride(self) -> Triple:
        return three(self.attrs["stride"] if self._has_geometry else (), 1)

    @property
    def dilation(self) -> Triple:
        return three(self.attrs["dilation"] if self._has_geometry else (), 1)

    @property
    def before(self) -> Triple:
        """Padding before each dimension."""
        return three((p for p, _ in self.attrs["padding"]) if self._has_geometry else (), 0)

    @property
    def has_padding(self) -> bool:
        return self._has_geometry and any(p for pair in self.attrs["padding"] for p in pair)

    @property
    def sizes(self) -> tuple[Triple, Triple]:
        """Pixels of y and of x."""
        return three(self.y.spatial, 1), three(self.x.spatial, 1)

    @property
    def dimensions(self) -> list[tuple[int, ...]]:
        """As the backends' ``correlate`` reads them; those of a weight gradient are the forward pass's.

        (output size, input size, filter size, phases, tap step, index step, tap stride, offset, dilation)
        """
        found: list[tuple[int, ...]] = []
        geometry = zip(*self.sizes, self.filter_size, self.stride, self.before, self.dilation, strict=True)
        for o, i, k, s, p, d in geometry:
            if self.transposed:
                common = math.gcd(s, d)
                found.append((o, i, k, s, s // common, 1, -(d // common), p, d))
            else:
                found.append((o, i, k, 1, 1, s, d, -p, d))
        return found
