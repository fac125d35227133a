"""One arena for everything a run needs: nothing is allocated in a step, and dead values make room for new ones.

A value that lives and dies within one depth-first phase exists once for each thread, not once for each block: the
thread uses the same few hundred kilobytes for block after block, and they stay in its cache.
"""

from dataclasses import dataclass, field

from ..kernels.cpu.lowering import Buffer
from .schedule import Phase

ALIGNMENT = 64
SLACK = 4096  # vector loads may read past the end of a row, never write


@dataclass
class Place:
    """Where a buffer lies: bytes from the start of the shared part or of a thread's part, and steps between copies."""

    offset: int
    local: bool
    block: int = 0
    group: int = 0


@dataclass
class MemoryPlan:
    places: dict[int, Place] = field(default_factory=dict)
    shared: int = 0
    thread: int = 0

    def bytes(self, threads: int) -> int:
        return self.shared + threads * self.thread + SLACK


def plan_memory(phases: list[Phase], kept: list[Buffer], prepared: int = 0) -> MemoryPlan:
    """Place all buffers of ``phases`` but leaves; ``kept`` (results) are bound to memory of their own at each run.

    What the first ``prepared`` phases leave for the others stays for good.
    """
    plan = MemoryPlan()
    spans: dict[int, list[tuple[int, int]]] = {}  # buffer -> (phase, step) of each use
    buffers: dict[int, Buffer] = {}
    outside = {id(b) for b in kept}
    for p, phase in enumerate(phases):
        for s, step in enumerate(phase.steps):
            for b in (*step.inputs, *step.outputs):
                if b.leaf is None and b.values is None and id(b) not in outside:
                    spans.setdefault(id(b), []).append((p, s))
                    buffers[id(b)] = b
    shared: list[tuple[int, int, int, Buffer]] = []
    local: dict[int, list[tuple[int, int, int, Buffer]]] = {}
    for key, uses in spans.items():
        b = buffers[key]
        first, last = uses[0][0], uses[-1][0]
        if first < prepared <= last:
            last = len(phases)
        if b.space == "thread" or (b.space == "block" and first == last and phases[first].depth_first):
            assert first == last, "a thread's workspace holds nothing from one phase to the next"
            local.setdefault(first, []).append((uses[0][1], uses[-1][1], _aligned(b.bytes), b))
        else:
            shared.append((first, last, _aligned(b.bytes * b.copies), b))
    for items in local.values():
        plan.thread = max(plan.thread, _pack(items, plan, local=True))
    plan.thread = -(-plan.thread // 4096) * 4096 + (ALIGNMENT if plan.thread else 0)
    plan.shared = _pack(shared, plan, local=False)
    return plan


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def _pack(items: list[tuple[int, int, int, Buffer]], plan: MemoryPlan, local: bool) -> int:
    """Give each (first use, last use, bytes, buffer) an offset such that buffers alive together do not overlap.

    Largest first, each at the lowest gap that fits.
    """
    placed: list[tuple[int, int, int, int]] = []  # first, last, start, end
    total = 0
    for first, last, size, buffer in sorted(items, key=lambda item: -item[2]):
        start = 0
        for _, _, low, high in sorted((q for q in placed if q[0] <= last and first <= q[1]), key=lambda q: q[2]):
            if start + size <= low:
                break
            start = max(start, high)
        placed.append((first, last, start, start + size))
        total = max(total, start + size)
        plan.places[id(buffer)] = Place(
            start,
            local,
            block=buffer.bytes if buffer.space == "block" and not local else 0,
            group=buffer.bytes if buffer.space == "group" else 0,
        )
    return total
