"""Plans and their replay on a device: one arena, leaves that stay there, launches recorded once.

Parameters and states live on the device from their first run on; ``Variable.data`` brings them back when it is asked
for.  Inputs that are arrays of the device are read where they are, others are copied into a place of the plan's.  What
a run launches depends on addresses alone, so it is recorded for each set of addresses (on a GPU as a CUDA graph) and
then replayed.  Nothing waits for the device.
"""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.device import Address, DeviceArray, Driver, Launch, Mirror, allocate_for, is_on_device
from ..kernels.lowering import Buffer
from ..kernels.workers import OnCompile, compile_kernels
from .graph import Graph, Variable
from .plan import Planned
from .schedule import Phase

#: Recordings that an executable keeps, for different addresses of its inputs.
MAX_RECORDINGS = 8


class DevicePlan(Planned):
    """A plan with its memory on a device."""

    def __init__(
        self,
        graph: Graph,
        driver: Driver,
        on_compile: OnCompile | None = None,
        frozen: bool = False,
        precision: str = "fp32",
        candidate: str = "mma",
    ) -> None:
        from ..kernels.cuda.backend import cuda

        super().__init__(graph, cuda(precision, candidate), frozen)
        _check_dtypes(graph)
        self.driver, self.lock = driver, threading.Lock()
        kernels = (driver.compilable(step.kernel) for step in self.steps)
        compile_kernels([kernel for kernel in kernels if kernel is not None], on_compile)
        self._arena = self.allocate(self.memory.bytes)
        self.results = [self.allocate(b.bytes) for b in self.outputs]
        self._result_of = {id(b): place for b, place in zip(self.outputs, self.results, strict=True)}
        self._constants: dict[int, int] = {}
        for step in self.steps:
            for b in step.inputs:
                if b.values is not None and id(b) not in self._constants:
                    self._constants[id(b)] = self.allocate(b.bytes)
                    driver.upload(self._constants[id(b)], np.ascontiguousarray(b.values))
        self._slots: dict[int, int] = {}

    def allocate(self, size: int) -> int:
        """The address of memory that lives as long as the plan."""
        return allocate_for(self, self.driver, size)

    def slot(self, position: int) -> int:
        """The place of an input that comes from the host."""
        if position not in self._slots:
            spec = self.leaf_specs[position]
            self._slots[position] = self.allocate(spec.size * spec.dtype.itemsize)
        return self._slots[position]

    def launches(
        self, phases: Sequence[Phase], leaves: Sequence[int], keep: Callable[[Any], bool] = lambda step: True
    ) -> list[Launch]:
        """The launches of some phases, with the leaves at these addresses; of the steps that ``keep`` says yes to."""
        return [
            Launch(
                step.kernel,
                step.grid,
                (*(self._address(b, leaves) for b in (*step.inputs, *step.outputs)), *step.constants),
                len(step.inputs),
            )
            for phase in phases
            for step in phase.steps
            if keep(step)
        ]

    def _address(self, b: Buffer, leaves: Sequence[int]) -> Address:
        if b.leaf is not None:
            return Address(leaves[b.leaf], b.bytes)
        place = self._constants.get(id(b)) or self._result_of.get(id(b))
        return Address(self._arena + self.memory.places[id(b)].offset if place is None else place, b.bytes)


def _check_dtypes(graph: Graph) -> None:
    for t in [*graph.leaves, *(t for node in graph.live_nodes() for t in node.outputs)]:
        if t.dtype == np.float64 and t.size > _FEW:
            raise TypeError("the CUDA engine calculates in float32; float64 is for the CPU")


#: Float64 arrays up to this size are numbers for kernels (learning rates), not values to calculate with.
_FEW = 64


class DeviceExecutable:
    """A plan bound to the leaves of one graph."""

    def __init__(self, plan: DevicePlan, graph: Graph) -> None:
        self.plan = plan
        self.sources = list(graph.sources)
        self._addresses = [0] * len(self.sources)
        self._own: dict[int, tuple[int, bytes]] = {}  # places of bound arrays, and what was last copied there
        self._recorded: dict[tuple[int, ...], Callable[[], None]] = {}
        self._is_frozen = False
        self._variables = [p for p in plan.fixed_positions if isinstance(self.sources[p], Variable)]
        self._arrays = [p for p in plan.fixed_positions if not isinstance(self.sources[p], Variable)]
        self._seen = -1  # the count of changes when variables were bound

    def run(self, inputs: Sequence[Any] = ()) -> list[DeviceArray]:
        """Run once; ``inputs`` are arrays, of the device or not.  Gives fresh arrays of the device."""
        plan, driver = self.plan, self.plan.driver
        plan.check_inputs(len(inputs))
        with plan.lock:
            for position, given in zip(plan.input_positions, inputs, strict=True):
                self._addresses[position] = self._input(position, given)
            is_new = self._seen != Mirror.changes  # else all variables are where they were, and newer there
            if not self._is_frozen:
                for position in (*self._variables, *self._arrays) if is_new else self._arrays:
                    self._addresses[position] = self._bound(position)
            seen = Mirror.changes
            self._recording()()
            results = []
            for spec, place in zip(plan.output_specs, plan.results, strict=True):
                results.append(DeviceArray(driver, spec.shape, spec.dtype))
                driver.copy(results[-1].address, place, results[-1].nbytes)
            for position in self._variables if is_new else ():
                if position in plan.updated:
                    self.sources[position].written()
            for position in self._arrays:
                if position in plan.updated:
                    self._fetch(position)
            self._seen = seen
            if plan.frozen and not self._is_frozen:
                self._is_frozen = True
                self._recorded.clear()
        return results

    def launches(self, keep: Callable[[Any], bool]) -> list[Launch]:
        """What the last run launched, of the steps that ``keep`` says yes to: for measuring."""
        return self.plan.launches(self.plan.phases, self._addresses, keep)

    def _recording(self) -> Callable[[], None]:
        key = tuple(self._addresses)
        found = self._recorded.pop(key, None)
        if found is None:
            plan = self.plan
            phases = plan.phases[plan.prepared :] if self._is_frozen else plan.phases
            found = plan.driver.record(plan.launches(phases, self._addresses))
        self._recorded[key] = found  # the most recently used stands last
        while len(self._recorded) > MAX_RECORDINGS:
            del self._recorded[next(iter(self._recorded))]
        return found

    def _input(self, position: int, given: Any) -> int:
        if isinstance(given, DeviceArray) or is_on_device(given):
            array = DeviceArray.of(self.plan.driver, given)
            self._check(position, array)
            return array.address
        host = np.require(given, requirements=("C", "A"))
        self._check(position, host)
        place = self.plan.slot(position)
        self.plan.driver.upload(place, host)
        return place

    def _check(self, position: int, array: Any) -> None:
        spec = self.plan.leaf_specs[position]
        if array.shape != spec.shape or array.dtype != spec.dtype:
            raise self.plan.misfit(position, array)

    def _bound(self, position: int) -> int:
        source, driver = self.sources[position], self.plan.driver
        spec = self.plan.leaf_specs[position]
        if isinstance(source, Variable):
            copy = source.on(driver)
            self._check(position, copy)
            if not self.plan.frozen:
                return copy.address
            place, _ = self._place(position)
            driver.copy(place, copy.address, copy.nbytes)
            return place
        if isinstance(source, DeviceArray) and not self.plan.frozen:
            return source.address
        place, last = self._place(position)
        host = np.require(source, spec.dtype, ("C", "A"))
        now = host.tobytes()
        if now != last:
            driver.upload(place, host)
            self._own[position] = place, now
        return place

    def _place(self, position: int) -> tuple[int, bytes]:
        if position not in self._own:
            spec = self.plan.leaf_specs[position]
            self._own[position] = allocate_for(self, self.plan.driver, spec.size * spec.dtype.itemsize), b""
        return self._own[position]

    def _fetch(self, position: int) -> None:
        """Bring an updated array back, if it is the host's."""
        source = self.sources[position]
        if isinstance(source, np.ndarray):
            self.plan.driver.download(source, self._addresses[position])
            self._own[position] = self._addresses[position], source.tobytes()
