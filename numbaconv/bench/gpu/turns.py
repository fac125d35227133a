"""The device's clock: calls take turns, and the median of the rounds counts."""

from __future__ import annotations

import statistics
from collections.abc import Callable
from typing import Any

#: What copies of a pass touch together, in bytes: twice the second-level cache of an H100.
TOUCHED = 100 << 20

#: A round lasts at least so long, in seconds.
ROUND_SECONDS = 2e-3


class Turns:
    """Functions that launch work on the device, each with how many passes it makes; they are timed in turn."""

    def __init__(self, timed: Callable[[Callable[[], Any]], float], rounds: int) -> None:
        self._timed, self._rounds = timed, rounds

    def seconds(self, calls: dict[str, tuple[Callable[[], Any], int]]) -> dict[str, float]:
        """Seconds of a pass: the median of the rounds."""
        repeats = {name: self._repeats(call) for name, (call, _) in calls.items()}
        found: dict[str, list[float]] = {name: [] for name in calls}
        for _ in range(self._rounds):
            for name, (call, count) in calls.items():
                found[name].append(self._timed(_repeated(call, repeats[name])) / (repeats[name] * count))
        return {name: statistics.median(seconds) for name, seconds in found.items()}

    def _repeats(self, call: Callable[[], Any]) -> int:
        """How often a call is made in a round; it has run before, twice: the second time it is recorded."""
        call()
        call()
        return max(1, round(ROUND_SECONDS / max(self._timed(call), 1e-7)))


def _repeated(call: Callable[[], Any], times: int) -> Callable[[], None]:
    def run() -> None:
        for _ in range(times):
            call()

    return run


def copies_for(size: int) -> int:
    """How many copies of a pass over ``size`` bytes take turns."""
    return max(1, -(-TOUCHED // max(size, 1)))
