"""Which launches must wait for which: all others may run at the same time.

A launch waits for the last one that wrote memory it reads or writes, and for those that read memory it writes.  Memory
is what addresses say, wherever values share an arena; nothing else is known of a launch, and nothing else is needed.
"""

import bisect
from collections.abc import Sequence

from .device import Address, Launch


def dependencies(launches: Sequence[Launch]) -> list[list[int]]:
    """For each launch the earlier ones that it must follow, without those that these follow themselves."""
    borders = sorted({edge for launch in launches for a in _addresses(launch) for edge in (a.value, a.value + a.bytes)})
    writer: list[int | None] = [None] * len(borders)  # of the memory from a border to the next
    readers: list[list[int]] = [[] for _ in borders]
    found: list[list[int]] = []
    behind: list[int] = []  # for each launch all that come before it, as bits
    for number, launch in enumerate(launches):
        before: set[int] = set()
        pieces = [(range(*_between(borders, a)), k >= launch.reads) for k, a in enumerate(_addresses(launch))]
        for memory, writes in pieces:
            for piece in memory:
                last = writer[piece]
                if last is not None:
                    before.add(last)
                if writes:
                    before.update(readers[piece])
        for memory, writes in pieces:
            for piece in memory:
                if writes:
                    writer[piece], readers[piece] = number, []
        for memory, writes in pieces:
            for piece in memory:
                if not writes and writer[piece] != number:
                    readers[piece].append(number)
        covered, direct = 0, []
        for other in sorted(before, reverse=True):
            if not covered >> other & 1:
                direct.append(other)
                covered |= behind[other] | 1 << other
        found.append(direct[::-1])
        behind.append(covered)
    return found


def _addresses(launch: Launch) -> list[Address]:
    return [argument for argument in launch.arguments if isinstance(argument, Address)]


def _between(borders: Sequence[int], a: Address) -> tuple[int, int]:
    return bisect.bisect_left(borders, a.value), bisect.bisect_left(borders, a.value + a.bytes)
