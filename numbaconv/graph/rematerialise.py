"""Rematerialisation: elementwise results that the backward pass needs again are calculated again.

A normalised and rectified activation takes one pass to make from the convolution's result, which is kept for its own
gradient anyway.  Made again just before its gradients are, it lives within a phase both times, in a thread's cache,
instead of waiting in memory from the forward to the backward pass (Chen et al., arXiv 1604.06174).
"""

from collections.abc import Sequence
from dataclasses import replace

from ..kernels.cpu.lowering import Buffer, Step
from .schedule import schedule

#: Phases in which a value may be made again.
MOST_COPIES = 2


def rematerialise(steps: list[Step], threads: int, kept: Sequence[Buffer]) -> list[Step]:
    """``steps`` with copies of cheap ones where later phases read their results; ``kept`` buffers are results."""
    phase_of = {id(step): p for p, phase in enumerate(schedule(steps, threads)) for step in phase.steps}
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for b in step.inputs:
            readers.setdefault(id(b), []).append(step)
    place_of = {id(step): i for i, step in enumerate(steps)}
    writes: dict[int, list[int]] = {}
    for i, step in enumerate(steps):
        for b in step.outputs:
            writes.setdefault(id(b), []).append(i)
    results = {id(b) for b in kept}
    needed: set[int] = set()  # what copies read must stay
    before: dict[int, list[Step]] = {}  # the copies to run before a step

    def last_read(b: Buffer) -> int:
        return max(phase_of[id(step)] for step in readers[id(b)])

    def changes(b: Buffer, since: Step, until: Step) -> bool:
        """Whether an update in place comes between two steps."""
        return any(place_of[id(since)] < i < place_of[id(until)] for i in writes.get(id(b), ()))

    for step in steps:
        if not step.cheap or step.scope != "block" or len(step.outputs) != 1:
            continue
        value = step.outputs[0]
        here = phase_of[id(step)]
        later = [s for s in readers.get(id(value), ()) if phase_of[id(s)] > here]
        phases = sorted({phase_of[id(s)] for s in later})
        sources = [b for b in step.inputs if b.space == "block"]
        if (
            not 0 < len(phases) <= MOST_COPIES
            or id(value) in results | needed
            or any(s.scope != "block" for s in later)
            or any(last_read(b) < phases[-1] for b in sources)
            or any(changes(b, step, later[-1]) for b in step.inputs)
        ):
            continue
        needed.update(id(b) for b in sources)
        for phase in phases:
            again = replace(value)
            copy = replace(step, outputs=(again,), late=True)
            phase_of[id(copy)] = phase
            users = [s for s in later if phase_of[id(s)] == phase]
            for user in users:
                user.inputs = tuple(again if b is value else b for b in user.inputs)
            readers[id(again)] = users
            for b in step.inputs:
                readers[id(b)].append(copy)
            before.setdefault(id(users[0]), []).append(copy)
        readers[id(value)] = [s for s in readers[id(value)] if s not in later]
    return [s for step in steps for s in (*before.get(id(step), ()), step)]
