"""What is measured, one thing at a time, and how all its kernels are compiled before the first one is.

An item can say which kernels it launches without a GPU doing anything: it makes its plans for a ``Collector``.  So all
kernels of a measurement are compiled side by side, by as many processes as there are CPUs, and none while others wait.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from numbaconv.graph import Graph
from numbaconv.graph.plan import Planned
from numbaconv.kernels import device
from numbaconv.kernels.cpu.backend import CPU
from numbaconv.kernels.device import Launch
from numbaconv.kernels.workers import Compilable, OnCompile, compile_kernels

from ..session import Session
from .row import GpuRow


class Item(NamedTuple):
    """Something to measure.

    Attributes:
        name: what reports call it.
        prepare: makes its plans, on the device ``"cuda"``, and runs none.
        measure: gives its rows.
        seconds: when it must be done, or something hangs.
    """

    name: str
    prepare: Callable[[Collector], Any]
    measure: Callable[[Session], Sequence[GpuRow]]
    seconds: float = 60.0


class Collector:
    """A device that holds and runs nothing: it collects the kernels of the plans that are made for it."""

    name = "collector"

    def __init__(self, driver: Any) -> None:
        self._driver = driver
        self.architecture: str = getattr(driver, "architecture", "")
        self.kernels: dict[str, Compilable] = {}
        self._next = 256

    def compilable(self, kernel: Any) -> None:
        self.add([self._driver.compilable(kernel)])

    def add(self, kernels: Iterable[Compilable | None]) -> None:
        """Collect kernels, also of the CPU."""
        self.kernels.update((kernel.label, kernel) for kernel in kernels if kernel is not None)

    def on_cpu(self, graph: Graph) -> None:
        """Collect the kernels of a graph that the CPU is to run."""
        self.add(step.kernel for step in Planned(graph, CPU, False).steps)

    def allocate(self, size: int) -> int:
        self._next += -(-size // 256) * 256
        return self._next

    def free(self, address: int) -> None:
        pass

    def upload(self, address: int, array: np.ndarray) -> None:
        pass

    def download(self, array: np.ndarray, address: int) -> None:
        raise RuntimeError("nothing runs while kernels are collected")

    def copy(self, target: int, source: int, size: int) -> None:
        pass

    def record(self, launches: Sequence[Launch], in_order: bool = False) -> Callable[[], None]:
        raise RuntimeError("nothing runs while kernels are collected")

    def synchronize(self) -> None:
        pass

    def timed(self, call: Callable[[], Any]) -> float:
        raise RuntimeError("nothing runs while kernels are collected")


class _Forgiving:
    """A kernel that is noted, not raised, if it cannot be compiled."""

    def __init__(self, kernel: Compilable, note: Callable[[str, BaseException], None]) -> None:
        self._kernel, self._note, self.label = kernel, note, kernel.label
        self.is_ready, self.request = kernel.is_ready, kernel.request

    def prepare(self) -> None:
        try:
            self._kernel.prepare()
        except Exception as error:
            self._note(self.label, error)


def compile_all(items: Iterable[Item], driver: Any, note: Callable[[str], None], on_compile: OnCompile | None) -> int:
    """Compile what all items launch and is not in the cache; gives how many kernels that were."""

    def failed(name: str, error: BaseException) -> None:
        note(f"{name}: {reason(error)}")

    collector = Collector(driver)
    with device.use(collector):
        for item in items:
            try:
                item.prepare(collector)
            except Exception as error:
                failed(f"{item.name} cannot be planned", error)
    return compile_kernels([_Forgiving(kernel, failed) for kernel in collector.kernels.values()], on_compile)


def reason(error: BaseException) -> str:
    """An exception in one line."""
    return f"{type(error).__name__}: {(str(error).strip() or 'no message').splitlines()[0]}"
