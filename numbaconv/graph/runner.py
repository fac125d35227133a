"""Plans and their replay: graph -> fused nodes -> layouts -> steps -> phases -> one arena -> tables for the runner.

Graphs of one structure share a plan.  An ``Executable`` is a plan bound to the arrays of one graph's leaves; running it
writes the addresses of inputs and results into the table of operands and calls the runner once.
"""

import ctypes
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.cpu import runner as cpu
from ..kernels.cpu.backend import CPU
from ..kernels.cpu.native import word
from ..kernels.device import check_precision, driver_for
from ..kernels.workers import OnCompile, compile_kernels
from ..ops.core import Operator, set_eager
from .graph import Graph, Variable
from .memory import PAGE
from .plan import Planned
from .rematerialise import rematerialise
from .schedule import Phase, schedule

#: Called once for each plan, after its first run, with the executable and its inputs; see ``numbaconv.bench.debug``.
after_first_run: Callable[["Executable", Sequence[np.ndarray]], None] | None = None


def address(array: np.ndarray) -> int:
    """Where the array's elements begin; NumPy's own answer takes 0.8 µs, which counts for a lone small image."""
    if array.flags.carray and array.size:
        return ctypes.addressof(ctypes.c_char.from_buffer(array))  # type: ignore[arg-type]
    return array.__array_interface__["data"][0]


class Plan(Planned):
    """A plan with its arena and the tables of the parallel loop."""

    def __init__(self, graph: Graph, threads: int, on_compile: OnCompile | None = None, frozen: bool = False) -> None:
        self.threads, self.has_run = threads, False
        super().__init__(graph, CPU, frozen, cpu.max_threads())
        steps = self.steps
        compile_kernels([step.kernel for step in steps], on_compile)
        self._memory = np.empty(self.memory.bytes + PAGE, np.uint8)
        start = -(-address(self._memory) // PAGE) * PAGE
        self.scratch = np.zeros(cpu.max_threads() * cpu.WORDS, np.int64)
        leaf_rows: list[list[int]] = [[] for _ in graph.leaves]
        output_rows: list[list[int]] = [[] for _ in self.outputs]
        output_of = {id(b): i for i, b in enumerate(self.outputs)}
        step_rows: list[tuple[int, ...]] = []
        operand_rows: list[tuple[int, ...]] = []
        constants: list[int] = []
        self._constants: list[np.ndarray] = []  # held here for their memory
        for step in steps:
            operands = (*step.inputs, *step.outputs)
            if 2 + len(operands) + len(step.constants) > cpu.WORDS:
                raise ValueError(f"{step.label}: too many arguments for a kernel")
            places = (len(operand_rows), len(operands), len(constants), len(step.constants))
            step_rows.append((step.kernel.address(), *places, step.units))
            constants += [word(c) for c in step.constants]
            for b in operands:
                by_block = step.scope == "block"
                if b.leaf is not None:
                    leaf_rows[b.leaf].append(len(operand_rows))
                    operand_rows.append((0, 0, 0, 0))
                elif b.values is not None:
                    self._constants.append(b.values)
                    operand_rows.append((address(b.values), 0, 0, 0))
                elif id(b) in output_of:
                    output_rows[output_of[id(b)]].append(len(operand_rows))
                    operand_rows.append((0, 0, 0, 0))
                else:
                    place = self.memory.places[id(b)]
                    steps_of = (place.block * by_block, place.group * by_block, place.thread)
                    operand_rows.append((start + place.offset, *steps_of))
        first, phase_rows = 0, []
        for phase in self.phases:
            phase_rows.append(
                (first, first + len(phase.steps), phase.blocks, phase.groups, phase.chunks, int(phase.parallel))
            )
            first += len(phase.steps)
        self.table_of_phases = np.array(phase_rows, np.int64).reshape(-1, 6)
        self.table_of_steps = np.array(step_rows, np.int64).reshape(-1, 6)
        self.operands = np.array(operand_rows, np.int64).reshape(-1, 4)
        self.constants = np.array(constants, np.int64)
        self.leaf_rows, self.output_rows = leaf_rows, output_rows

    def rewritten(self, steps: list) -> list:
        return rematerialise(steps, self.threads, self.outputs)

    def scheduled(self, steps: list) -> list[Phase]:
        return schedule(steps, self.threads)


class Executable:
    """A plan bound to the leaves of one graph."""

    def __init__(self, plan: Plan, graph: Graph) -> None:
        self.plan = plan
        self.sources = list(graph.sources)
        self.operands = plan.operands.copy()
        self._bases = self.operands[:, 0]
        self._bound: list[Any] = [None] * len(self.sources)
        self._kept: list[np.ndarray | None] = [None] * len(self.sources)
        self._lock = threading.Lock()
        self._call = self._caller(0)
        self._is_frozen = False

    def _caller(self, first_phase: int) -> Callable[[], None]:
        plan = self.plan
        phases = plan.table_of_phases[first_phase:]
        return cpu.prepare(phases, plan.table_of_steps, self.operands, plan.constants, plan.scratch)

    def _bind(self, position: int, array: np.ndarray) -> None:
        if array is not self._bound[position]:
            spec = self.plan.leaf_specs[position]
            if array.shape != spec.shape or array.dtype != spec.dtype:
                raise self.plan.misfit(position, array)
            flat = array if array.flags.carray else np.require(array, requirements=("C", "A"))
            if position in self.plan.updated and not (flat is array and array.flags.writeable):
                raise ValueError("an array that a run updates must be C-contiguous and writeable")
            self._place(self.plan.leaf_rows[position], flat)
            # A copy is made anew at every run: the array may have changed.
            self._bound[position] = array if flat is array else None
            self._kept[position] = flat

    def _place(self, rows: list[int], array: np.ndarray) -> None:
        base = address(array)
        for row in rows:  # few: faster one by one than as an array
            self._bases[row] = base

    def run(self, inputs: Sequence[np.ndarray] = ()) -> list[np.ndarray]:
        """Run once; ``inputs`` are the arrays of the graph's inputs in order.  Gives fresh arrays."""
        plan = self.plan
        plan.check_inputs(len(inputs))
        with self._lock:  # another thread must not bind its arrays before this run is over
            for position, array in zip(plan.input_positions, inputs, strict=True):
                self._bound[position] = None
                self._bind(position, array)
            for position in () if self._is_frozen else plan.fixed_positions:
                source = self.sources[position]
                array = source.data if isinstance(source, Variable) else source
                self._bind(position, array.copy() if self.plan.frozen else array)
            outputs = [np.empty(spec.shape, spec.dtype) for spec in plan.output_specs]
            for rows, array in zip(plan.output_rows, outputs, strict=True):
                self._place(rows, array)
            self._call()
            if plan.frozen and not self._is_frozen:
                self._is_frozen, self._call = True, self._caller(plan.prepared)
        first, plan.has_run = not plan.has_run, True
        if first and after_first_run is not None:
            after_first_run(self, inputs)
        return outputs


_plans: dict[tuple, Any] = {}
_plans_lock = threading.Lock()
MAX_PLANS = 256


def compile_graph(
    graph: Graph,
    on_compile: OnCompile | None = None,
    freeze: bool = False,
    device: str = "cpu",
    precision: str = "fp32",
) -> Any:
    """A runnable form of ``graph``, planned once for all graphs of its structure, device and thread count.

    ``precision`` is that of matrix products; see ``numbaconv.compile``.

    With ``freeze`` bound arrays keep the values of the first run, and what depends on them alone (packed and
    transformed filters, folded normalisations) is calculated in that run only.
    """
    frozen = freeze and not graph.updates
    make, executable, where = _planner(device, precision)
    if frozen:
        return executable(make(graph, on_compile, True), graph)
    key = (*where, graph.signature())
    with _plans_lock:
        plan = _plans.pop(key, None)
    if plan is None:
        plan = make(graph, on_compile, False)
    with _plans_lock:
        _plans[key] = plan  # the most recently used stands last
        while len(_plans) > MAX_PLANS:
            del _plans[next(iter(_plans))]
    return executable(plan, graph)


def _planner(device: str, precision: str) -> tuple[Callable[..., Any], Callable[..., Any], tuple]:
    """What makes a device's plans and executables, and what tells plans for it from others."""
    check_precision(device, precision)
    if device == "cpu":
        threads = cpu.get_threads()
        return (lambda graph, report, frozen: Plan(graph, threads, report, frozen)), Executable, (threads,)
    from .device import DeviceExecutable, DevicePlan

    driver = driver_for(device)
    return (
        (lambda graph, report, frozen: DevicePlan(graph, driver, report, frozen, precision)),
        DeviceExecutable,
        (device, id(driver), precision),
    )


def _run_one(op: Operator, inputs: tuple, attrs: dict[str, Any]) -> Any:
    """An operator on arrays: a graph of one node."""
    graph = Graph()
    arrays = [value.data if isinstance(value, Variable) else np.asarray(value) for value in inputs]
    result = graph.append(op, [graph.input(a.shape, a.dtype) for a in arrays], attrs)
    graph.output(*(result if isinstance(result, tuple) else (result,)))
    values = compile_graph(graph).run(arrays)
    return tuple(values) if isinstance(result, tuple) else values[0]


set_eager(_run_one)

__all__ = ["Executable", "OnCompile", "Plan", "compile_graph"]
