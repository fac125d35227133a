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
from collections.abc import Callable
from typing import NamedTuple

from ..convolution import FORWARD, INPUT, WEIGHTS, Convolution, Triple

#: Ranks: algorithms that count cycles and may decline, those made for special shapes, and those that serve all.
COUNTED, SPECIAL, GENERAL = range(3)

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


__all__ = [
    "CANDIDATES", "COUNTED", "Candidate", "Convolution", "FORWARD", "GENERAL", "INPUT", "Offer", "SPECIAL", "Triple",
    "WEIGHTS", "algorithm", "append_steps",
]  # fmt: skip
