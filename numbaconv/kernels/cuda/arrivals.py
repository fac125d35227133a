"""The emulator's mbarriers and copies of boxes: who knows of what, and what a tensor map gathers.

A copy arrives as late as can be, when someone waits for the end of the very phase that counts its bytes.  Who may read
it, and when its place may be filled again, is decided by vector clocks (Mattern, Virtual Time and Global States of
Distributed Systems, 1989): each warp, and each mbarrier's copies, have a clock, and a warp knows of each how far it had
come when they last met.  Warps meet at barriers, and who waits meets those who had arrived.
"""

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..device import TensorMap

#: Barriers of a block, at most.
MAX_BARRIERS = 32

#: Bytes of a row of a box in shared memory, of a chunk of it, and of 8 swizzled rows.
ROW, CHUNK, SWIZZLED = 128, 16, 1024


class Clocks:
    """What each warp of a block knows of the clocks of all warps and of all mbarriers' copies."""

    def __init__(self, warps: int) -> None:
        self.warps = warps
        self.known = np.zeros((warps, warps + MAX_BARRIERS), np.int64)
        self._tick(range(warps))

    def _tick(self, warps: Any) -> None:
        self.known[warps, warps] += 1

    def now(self) -> np.ndarray:
        """The warps' own clocks."""
        return self.known.diagonal()[: self.warps]

    def tell(self, warps: np.ndarray) -> np.ndarray:
        """What some warps know together; what they do from now on is not part of it."""
        told = self.known[warps].max(0)
        self._tick(warps)
        return told

    def learn(self, warps: Any, told: np.ndarray) -> None:
        self.known[warps] = np.maximum(self.known[warps], told)

    def meet(self) -> None:
        """A barrier of the whole block."""
        everyone = np.arange(self.warps)
        self.learn(everyone, self.tell(everyone))


@dataclass
class Mbarrier:
    """One of each block; all blocks that run in lock step are at the same point."""

    arrivals: int  # that end a phase
    copies_clock: int  # its copies' place among the clocks
    made_at: int  # how many barriers the block had passed
    clocks: int  # how many clocks there are
    missing: int = 0
    phase: int = 0
    bytes: int = 0  # announced and not there yet
    copied: int = 0  # copies so far
    told: np.ndarray = field(init=False)  # by those who arrived in this phase
    known: np.ndarray = field(init=False)  # to those who wait: of all phases that have ended
    on_their_way: list[tuple[np.ndarray, np.ndarray, int]] = field(default_factory=list)  # units, data, bytes

    def __post_init__(self) -> None:
        self.missing = self.arrivals
        self.told, self.known = np.zeros((2, self.clocks), np.int64)

    def end_phase(self) -> None:
        """Begin the next phase if nothing is missing."""
        if self.missing == 0 and self.bytes == 0 and not self.on_their_way:
            self.known = np.maximum(self.known, self.told)
            self.phase += 1
            self.missing = self.arrivals


def box(which: TensorMap, values: np.ndarray, corner: list[np.ndarray]) -> np.ndarray:
    """Elements (boxes, rows, elements of a row) from some corners on, zeros outside the operand."""
    places = [first[:, None] + np.arange(count) for first, count in zip(corner, which.box, strict=True)]
    x, y, z = places[0][:, None, None], places[1][:, None, :, None], places[2][:, :, None, None]
    return _elements(which, values, [x, y, z]).reshape(len(x), -1, which.box[0])


def pixels(which: TensorMap, values: np.ndarray, first: list[np.ndarray], tap: list[np.ndarray]) -> np.ndarray | None:
    """Elements (copies, pixels, channels): see ``copy_pixels_if``; None if the first place is none of the map's."""
    assert which.corners is not None
    channel, *place, image = first
    channels, count = which.box
    counts, indices = [], []
    for at, size, low, high, step in zip(place, which.sizes[1:3], *which.corners, which.steps, strict=True):
        counts.append((size - 1 + high - low) // step + 1)
        indices.append((at - low) // step)
        if ((at - low) % step).any() or (indices[-1] < 0).any() or (indices[-1] >= counts[-1]).any():
            return None
    number = ((image * counts[1] + indices[1]) * counts[0] + indices[0])[:, None] + np.arange(count)
    column = number % counts[0] * which.steps[0] + which.corners[0][0] + tap[0][:, None]
    row = number // counts[0] % counts[1] * which.steps[1] + which.corners[0][1] + tap[1][:, None]
    places = (v[:, :, None] for v in (column, row, number // (counts[0] * counts[1])))
    return _elements(which, values, [channel[:, None, None] + np.arange(channels), *places])


def _elements(which: TensorMap, values: np.ndarray, at: list[np.ndarray]) -> np.ndarray:
    inside = np.all(np.broadcast_arrays(*((v >= 0) & (v < n) for v, n in zip(at, which.sizes, strict=True))), axis=0)
    index = sum(v * math.prod(which.sizes[:i]) for i, v in enumerate(at))
    found = values[np.where(inside, index, 0)]
    return np.where(inside, found, found.dtype.type(0))


def swizzled(rows: np.ndarray) -> np.ndarray:
    """Elements (boxes, rows, elements of a row) as units of 2 bytes (boxes, units), in the order of shared memory."""
    boxes, count, _ = rows.shape
    chunks = np.ascontiguousarray(rows).view(np.uint16).reshape(boxes, count, ROW // CHUNK, CHUNK // 2)
    row = np.arange(count)[:, None]
    placed = np.empty_like(chunks)
    placed[:, row, np.arange(ROW // CHUNK) ^ (row & 7)] = chunks
    return placed.reshape(boxes, -1)
