"""Convolution algorithms: each says itself which passes it serves, and how it appends its steps.

    @algorithm(FORWARD, INPUT, name="winograd", rank=COUNTED)
    def offer_winograd(c: Convolution) -> Offer:
        plan = choose(c)
        return None if plan is None else lambda: correlate(c, plan)

A pass is offered to all algorithms that go by the name asked for, lowest rank first, and taken by the first that does
not answer None.  "auto" asks all; a pass that the named algorithm cannot serve is done by the direct one.  A new
algorithm is a new file.
"""

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from .geometry import three
from .lowering import Buffer, Program

FORWARD, INPUT, WEIGHTS = "forward", "input gradient", "weight gradient"

#: Ranks: algorithms that count cycles and may decline, those made for special shapes, and those that serve all.
COUNTED, SPECIAL, GENERAL = range(3)

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Convolution:
    """One pass of a convolution (or fully connected layer), to be put into steps.

    The pass reads ``x`` and ``w`` and writes ``y``; in an input gradient ``x`` is the output's gradient and ``y`` the
    input's.  A weight gradient reads the input ``x`` and the output's gradient ``y`` and writes ``w``.  Leading
    dimensions that there are not have size 1.
    """

    program: Program
    direction: str
    attrs: dict[str, Any]
    x: Buffer
    w: Buffer
    y: Buffer
    bias: Buffer | None = None
    flops: float = 0.0

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
        """As ``conv.correlate`` reads them; those of a weight gradient are the forward pass's.

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


#: What appends an algorithm's steps; None if it does not want the pass.
Offer = Callable[[], None] | None


class Candidate(NamedTuple):
    rank: int
    name: str
    offer: Callable[[Convolution], Offer]


CANDIDATES: dict[str, list[Candidate]] = {FORWARD: [], INPUT: [], WEIGHTS: []}


def algorithm(*directions: str, name: str, rank: int) -> Callable:
    """The decorated function offers to serve ``directions`` when ``algo`` is ``name`` or "auto".

    Algorithms of one rank and direction must not want the same shapes.
    """

    def register(offer: Callable[[Convolution], Offer]) -> Callable[[Convolution], Offer]:
        for direction in directions:
            bisect.insort(CANDIDATES[direction], Candidate(rank, name, offer), key=lambda candidate: candidate.rank)
        return offer

    return register


def append_steps(c: Convolution) -> None:
    """Append the steps of a pass by the first algorithm that wants it."""
    for asked in (c.algo, "direct"):
        for candidate in CANDIDATES[c.direction]:
            append = candidate.offer(c) if asked in ("auto", candidate.name) else None
            if append is not None:
                append()
                return
    raise NotImplementedError(f"no algorithm for the {c.direction} of {c.attrs}")
