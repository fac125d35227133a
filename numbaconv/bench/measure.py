"""The clock: calls take turns, and the best round of each counts.

A neighbour on a shared machine can cost milliseconds at any moment.  Each round gives every call its turn, so that all
of them meet the same weather, and the minimum over the rounds is the time without neighbours.
"""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Mapping
from typing import Any

#: A turn is a loop of calls that takes at least so long, in seconds: far longer than the clock's resolution.
LEAST_SECONDS = 0.005

# Threads of another library may spin for work for milliseconds after their last call, at the cost of whoever is next.
_SETTLE_SECONDS = 0.01


def interleaved(
    calls: Mapping[str, Callable[[], Any]], rounds: int = 7, least_seconds: float = LEAST_SECONDS
) -> dict[str, float]:
    """Seconds per call of each of ``calls``, best of ``rounds``.

    All are warmed up first, twice: the first call may compile.  Each round begins with another call than the last one.
    """
    repeats = {name: _repeats(call, least_seconds) for name, call in calls.items()}
    best = dict.fromkeys(calls, float("inf"))
    names = list(calls)
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        for turn in range(rounds):
            first = turn % len(names)
            for name in names[first:] + names[:first]:
                time.sleep(_SETTLE_SECONDS)
                calls[name]()  # wakes the threads and fills the caches
                best[name] = min(best[name], _loop(calls[name], repeats[name]) / repeats[name])
    finally:
        if collecting:
            gc.enable()
    return best


def _loop(call: Callable[[], Any], repeats: int) -> float:
    """Seconds of so many calls."""
    start = time.perf_counter()
    for _ in range(repeats):
        call()
    return time.perf_counter() - start


def _repeats(call: Callable[[], Any], least_seconds: float) -> int:
    """Warm up; how many calls take ``least_seconds``."""
    call()
    call()
    repeats = 1
    while (seconds := _loop(call, repeats)) < least_seconds:
        repeats = max(2 * repeats, min(100 * repeats, int(1.1 * repeats * least_seconds / max(seconds, 1e-9))))
    return repeats
