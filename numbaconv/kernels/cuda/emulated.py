"""A device without a GPU: memory is NumPy's and kernels run in the emulator.

    with device.use(EmulatedGpu()):
        f = nc.compile(model, device="cuda")

Every operand is a view of its own bytes, so that an index outside it is found even where the arena goes on.  New memory
holds NaN.
"""

import bisect
import heapq
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..dependencies import dependencies
from ..device import Address, Launch
from . import emulator

_ALIGNMENT = 256


def _last_first(before: Sequence[Sequence[int]]) -> list[int]:
    """All numbers, each behind those it must follow: always the last one that may come next."""
    missing = [len(others) for others in before]
    followers: list[list[int]] = [[] for _ in before]
    for number, others in enumerate(before):
        for other in others:
            followers[other].append(number)
    ready = [-number for number, count in enumerate(missing) if not count]
    heapq.heapify(ready)
    order = []
    while ready:
        order.append(-heapq.heappop(ready))
        for number in followers[order[-1]]:
            missing[number] -= 1
            if not missing[number]:
                heapq.heappush(ready, -number)
    return order


class EmulatedGpu:
    """A driver, see ``kernels/device.py``; ``launches`` counts the kernels that were run."""

    name = "emulator"

    def __init__(self) -> None:
        self._next = _ALIGNMENT
        self._starts: list[int] = []
        self._pieces: dict[int, np.ndarray] = {}
        self.launches = 0
        self.uploads = self.downloads = 0

    def compilable(self, kernel: Any) -> None:
        return None

    def allocate(self, size: int) -> int:
        address = self._next
        self._next += -(-(size + 1) // _ALIGNMENT) * _ALIGNMENT + _ALIGNMENT
        self._starts.append(address)  # addresses grow
        self._pieces[address] = np.full(size, 0xFF, np.uint8)
        return address

    def free(self, address: int) -> None:
        self._starts.remove(address)
        del self._pieces[address]

    def memory(self, address: int, size: int) -> np.ndarray:
        """The bytes at an address; raises IndexError outside what was allocated."""
        place = bisect.bisect_right(self._starts, address) - 1
        start = self._starts[place] if place >= 0 else 0
        piece = self._pieces.get(start, np.empty(0, np.uint8))
        if not 0 <= address - start <= address - start + size <= piece.size:
            raise IndexError(f"{size} bytes at {address:#x} are outside the device's memory")
        return piece[address - start : address - start + size]

    def upload(self, address: int, array: np.ndarray) -> None:
        self.uploads += 1
        self.memory(address, array.nbytes)[...] = np.frombuffer(array.tobytes(), np.uint8)

    def download(self, array: np.ndarray, address: int) -> None:
        self.downloads += 1
        array[...] = self.memory(address, array.nbytes).view(array.dtype).reshape(array.shape)

    def copy(self, target: int, source: int, size: int) -> None:
        self.memory(target, size)[...] = self.memory(source, size)

    def record(self, launches: Sequence[Launch], in_order: bool = False) -> Callable[[], None]:
        """In an order that the dependencies allow and that is as far from the planned one as can be."""
        order = range(len(launches)) if in_order else _last_first(dependencies(launches))

        def run() -> None:
            for number in order:
                self._launch(launches[number])

        return run

    def synchronize(self) -> None:
        pass

    def timed(self, call: Callable[[], Any]) -> float:
        """The host's clock: there is no other."""
        start = time.perf_counter()
        call()
        return time.perf_counter() - start

    def _launch(self, launch: Launch) -> None:
        function, block = launch.kernel.function, launch.kernel.block
        kinds = launch.kernel.kinds
        arguments = [
            self._operand(argument, launch.kernel.dtype_of(position, kinds[position]))
            if isinstance(argument, Address)
            else argument
            for position, argument in enumerate(launch.arguments)
        ]
        self.launches += 1
        emulator.launch(function, launch.grid, block.threads, block.shared, arguments)

    def _operand(self, place: Address, dtype: np.dtype) -> np.ndarray:
        return self.memory(*place)[: place.bytes // dtype.itemsize * dtype.itemsize].view(dtype)
