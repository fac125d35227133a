"""Running a part of a plan: some of its steps, on the plan's memory or on memory of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from numbaconv.graph import Executable, Variable
from numbaconv.graph.runner import Plan, address
from numbaconv.kernels.cpu import runner
from numbaconv.kernels.cpu.lowering import Buffer, Step

_ALIGNMENT = 64
_SLACK = 4096  # vector loads may read past the end


def part(plan: Plan, operands: np.ndarray, chosen: Iterable[int]) -> Callable[[], None]:
    """A function that runs the chosen steps (by position) as the plan runs them: phases, blocks and threads.

    Args:
        plan: whose steps.
        operands: the plan's table of operands, bound to memory.
        chosen: positions in ``plan.steps``.
    """
    kept = np.array(sorted(chosen), np.int64)
    phases = plan.table_of_phases.copy()
    phases[:, :2] = np.searchsorted(kept, phases[:, :2])  # first and last step, counted among the kept ones
    phases = phases[phases[:, 0] < phases[:, 1]]
    return runner.prepare(phases, plan.table_of_steps[kept], operands, plan.constants, plan.scratch)


class Replay:
    """A plan on memory of its own, where every value has a place for itself.

    A plan reuses memory and keeps what it can in the caches, which flatters a step that is run alone and over again.
    Here a step reads all blocks of its input from where they lie, and writes all blocks of its output.

    The graph must have no inputs: all its leaves are bound.  On creation everything is run once, so that each step
    finds the numbers it is meant for.
    """

    def __init__(self, executable: Executable) -> None:
        self.plan = executable.plan
        if self.plan.input_positions:
            raise ValueError("a replay needs a graph without inputs")
        self._arrays = [
            np.ascontiguousarray(source.data if isinstance(source, Variable) else source)
            for source in executable.sources
        ]
        self._memory: dict[int, np.ndarray] = {}
        rows = []
        for step in self.plan.steps:
            by_block = step.scope == "block"
            for buffer in (*step.inputs, *step.outputs):
                a_block = buffer.bytes if by_block and buffer.space == "block" else 0
                a_group = buffer.bytes if by_block and buffer.space == "group" else 0
                a_thread = buffer.bytes if buffer.space == "thread" else 0
                rows.append((self._place(buffer), a_block, a_group, a_thread))
        self._operands = np.array(rows, np.int64).reshape(-1, 4)
        part(self.plan, self._operands, range(len(self.plan.steps)))()

    def _place(self, buffer: Buffer) -> int:
        if buffer.leaf is not None:
            return address(self._arrays[buffer.leaf])
        if buffer.values is not None:
            return address(buffer.values)
        if id(buffer) not in self._memory:
            copies = runner.max_threads() if buffer.space == "thread" else buffer.copies
            self._memory[id(buffer)] = np.zeros(buffer.bytes * copies + _ALIGNMENT + _SLACK, np.uint8)
        start = address(self._memory[id(buffer)])
        return -(-start // _ALIGNMENT) * _ALIGNMENT

    def only(self, keep: Callable[[Step], Any]) -> Callable[[], None]:
        """A function that runs the steps that ``keep`` says yes to.

        Raises:
            ValueError: if there is none.
        """
        chosen = [i for i, step in enumerate(self.plan.steps) if keep(step)]
        if not chosen:
            raise ValueError("none of the plan's steps is to be run")
        call = part(self.plan, self._operands, chosen)

        def run(held: Replay = self) -> None:  # the operands are addresses only
            call()

        return run
