"""One arena for everything a run needs: nothing is allocated in a step, and dead values make room for new ones.

A value that lives and dies within one depth-first phase exists once for each thread, not once for each block: the
thread uses the same few hundred kilobytes for block after block, and they stay in its cache.  All phases have their
threads' values at the start of the arena; what is not alive in a phase may lie there before and after it.
"""

import bisect
from dataclasses import dataclass, field

from ..kernels.lowering import Buffer
from .schedule import Phase

ALIGNMENT = 64
PAGE = 4096
SLACK = 4096  # vector loads may read past the end of a row, never write


@dataclass
class Place:
    """Where a buffer lies: bytes from the start of the arena, and steps from one copy to the next."""

    offset: int
    block: int = 0
    group: int = 0
    thread: int = 0


@dataclass
class MemoryPlan:
    """Places of buffers, by their ``id``, and how many bytes the arena has."""

    places: dict[int, Place] = field(default_factory=dict)
    bytes: int = SLACK


@dataclass
class _Item:
    """Buffers that follow each other in one place of ``size`` bytes from ``start``, in use from ``first`` to ``last``.

    ``last_use``: phase and step at which what lies there is read for the last time.
    """

    first: int
    last: int
    size: int
    buffers: list[Buffer]
    last_use: tuple[int, int] = (-1, -1)
    start: int = 0


class _LeftBehind:
    """Places of values of blocks, to be found by the form of the last one and the phase that reads it last.

    The next value of that form that the phase makes is written over it, block by block: its lines are still in the
    cache, and need not come from memory.
    """

    def __init__(self) -> None:
        self._items: dict[tuple, list[tuple[int, _Item]]] = {}
        self._numbers: dict[int, int] = {}

    @staticmethod
    def _key(b: Buffer, phase: int) -> tuple:
        return b.bytes, b.copies, phase

    def add(self, item: _Item) -> None:
        b = item.buffers[-1]
        if b.space == "block":
            number = self._numbers.setdefault(id(item), len(self._numbers))
            self._items.setdefault(self._key(b, item.last), []).append((number, item))

    def take(self, b: Buffer, first_use: tuple[int, int]) -> _Item | None:
        """The place, read last of all (the oldest of several), that ``b`` may take over; it is no longer known."""
        if b.space != "block":
            return None
        items = self._items.get(self._key(b, first_use[0]), [])
        found = [(item.last_use, -number, i) for i, (number, item) in enumerate(items) if item.last_use < first_use]
        return items.pop(max(found)[2])[1] if found else None


def plan_memory(phases: list[Phase], kept: list[Buffer], prepared: int = 0, threads: int = 1) -> MemoryPlan:
    """Place all buffers of ``phases`` but leaves; ``kept`` (results) are bound to memory of their own at each run.

    What the first ``prepared`` phases leave for the others stays for good.  There is room for ``threads`` threads.
    """
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
    behind = _LeftBehind()
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
        place = behind.take(b, uses[0]) if phases[first].depth_first else None
        if place is None:
            place = _Item(first, last, _aligned(b.bytes * b.copies), [])
            shared.append(place)
        place.buffers.append(b)
        place.last, place.last_use = last, uses[-1]
        behind.add(place)
    plan = MemoryPlan()
    areas: list[_Item] = []
    for p, items in local.items():
        # A page and a line apart, the threads' values do not share lines, nor sets of the caches.
        thread = -(-_pack(_largest_first(items)) // PAGE) * PAGE + ALIGNMENT
        areas.append(_Item(p, p, thread * threads, []))
        for item in items:
            plan.places |= {id(b): Place(item.start, thread=thread) for b in item.buffers}
    plan.bytes += _pack([*areas, *_largest_first(shared)])
    for item in shared:
        for b in item.buffers:
            block, group = (b.bytes if b.space == space else 0 for space in ("block", "group"))
            plan.places[id(b)] = Place(item.start, block, group)
    return plan


def _aligned(size: int) -> int:
    return max(ALIGNMENT, -(-size // ALIGNMENT) * ALIGNMENT)


def _largest_first(items: list[_Item]) -> list[_Item]:
    return sorted(items, key=lambda item: -item.size)


def _pack(items: list[_Item]) -> int:
    """Start each item, one after the other, at the lowest gap among those alive with it; the bytes that all need."""
    placed: list[tuple[int, int, int, int]] = []  # start, end, first, last, in this order
    total = 0
    for item in items:
        start = 0
        for low, high, first, last in placed:
            if start + item.size <= low:
                break
            if high > start and first <= item.last and item.first <= last:
                start = high
        bisect.insort(placed, (start, start + item.size, item.first, item.last))
        item.start, total = start, max(total, start + item.size)
    return total
