"""One arena for everything a run needs: nothing is allocated in a step, and dead values make room for new ones.

A value that lives and dies within one depth-first phase exists once for each thread, not once for each block: the
thread uses the same few hundred kilobytes for block after block, and they stay in its cache.
"""

from dataclasses import dataclass, field

from ..kernels.lowering import Buffer
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


@dataclass
class _Item:
    """Buffers that follow each other in one place of ``size`` bytes, in use from ``first`` to ``last``.

    ``last_use``: phase and step at which what lies there is read for the last time.
    """

    first: int
    last: int
    size: int
    buffers: list[Buffer]
    last_use: tuple[int, int] = (-1, -1)


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
    shared: list[_Item] = []
    local: dict[int, list[_Item]] = {}
    for key, uses in spans.items():
        b = buffers[key]
        first, last = uses[0][0], uses[-1][0]
        if first < prepared <= last:
            last = len(phases)
        if b.space == "thread" or (b.space == "block" and first == last and phases[first].depth_first):
            assert first == last, "a thread's workspace holds nothing from one phase to the next"
            local.setdefault(first, []).append(_Item(uses[0][1], uses[-1][1], _aligned(b.bytes), [b]))
            continue
        place = _left_behind(shared, b, uses[0]) if phases[first].depth_first else None
        if place is None:
            place = _Item(first, last, _aligned(b.bytes * b.copies), [])
            shared.append(place)
        place.buffers.append(b)
        place.last, place.last_use = last, uses[-1]
    for items in local.values():
        plan.thread = max(plan.thread, _pack(items, plan, local=True))
    plan.thread = -(-plan.thread // 4096) * 4096 + (ALIGNMENT if plan.thread else 0)
    plan.shared = _pack(shared, plan, local=False)
    return plan


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def _left_behind(items: list[_Item], b: Buffer, first_use: tuple[int, int]) -> _Item | None:
    """The place of a value that the same phase has read for the last time before it makes ``b``, block by block.

    Its lines are still in the cache, and so need not come from memory to be written over.
    """
    form = (b.space, b.bytes, b.copies)
    found = [
        item
        for item in items
        if b.space == "block"
        and form == (item.buffers[-1].space, item.buffers[-1].bytes, item.buffers[-1].copies)
        and item.last == first_use[0]
        and item.last_use < first_use
    ]
    return max(found, key=lambda item: item.last_use, default=None)


def _pack(items: list[_Item], plan: MemoryPlan, local: bool) -> int:
    """Give each item an offset such that what is alive at the same time does not overlap.

    Largest first, each at the lowest gap that fits.
    """
    placed: list[tuple[int, int, int, int]] = []  # first, last, start, end
    total = 0
    for item in sorted(items, key=lambda item: -item.size):
        start = 0
        beside = (q for q in placed if q[0] <= item.last and item.first <= q[1])
        for _, _, low, high in sorted(beside, key=lambda q: q[2]):
            if start + item.size <= low:
                break
            start = max(start, high)
        placed.append((item.first, item.last, start, start + item.size))
        total = max(total, start + item.size)
        for buffer in item.buffers:
            plan.places[id(buffer)] = Place(
                start,
                local,
                block=buffer.bytes if buffer.space == "block" and not local else 0,
                group=buffer.bytes if buffer.space == "group" else 0,
            )
    return total
