"""Phases: which steps run together, and on what share of the work.

Steps on blocks that depend on each other only block by block make one phase, through which each thread takes its
blocks depth first.  Steps on whole values wait for a phase of their own.  Where there are fewer groups of blocks than
threads, every step is a phase and its units are divided instead (breadth first).
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..kernels.cpu.lowering import Buffer, Step, groups_of

#: for each step, the earlier steps it must follow, and whether following them block by block is enough
Before = list[dict[int, bool]]

#: Phases of fewer (estimated) cycles are run by one thread: waking the others would take longer.
SERIAL_CYCLES = 20_000


@dataclass
class Phase:
    steps: list[Any]  # of the backend
    blocks: int
    groups: int
    chunks: int
    parallel: bool

    @property
    def depth_first(self) -> bool:
        return self.chunks == 1 and self.steps[0].scope == "block"


def schedule(steps: list[Step], threads: int) -> list[Phase]:
    """Phases of ``steps``, which are in an order that is right when run one by one."""
    waiting = _Waiting(steps)
    phases: list[Phase] = []
    while waiting.ready:
        # Whole steps first: what can be prepared (packed filters, ...) must not cut the depth-first phase.
        chosen, phase = _whole_phase(waiting, threads) or _block_phase(waiting, threads)
        phases.append(phase)
        waiting.finish(chosen)
    assert sum(len(phase.steps) for phase in phases) == len(steps), "steps depend on each other in a circle"
    return phases


class _Waiting:
    """Steps that have no phase yet; ``ready`` are those that follow only such as have one.

    ``missing`` counts what a step has still to wait for.
    """

    def __init__(self, steps: list[Step]) -> None:
        self.steps = steps
        self.before = _dependencies(steps)
        self.after: list[list[int]] = [[] for _ in steps]
        for i, found in enumerate(self.before):
            for j in found:
                self.after[j].append(i)
        self.missing = [len(found) for found in self.before]
        self.ready = {i for i, count in enumerate(self.missing) if not count}

    def finish(self, chosen: list[int]) -> None:
        """Take steps out that got a phase."""
        for i in chosen:
            for j in self.after[i]:
                self.missing[j] -= 1
                if not self.missing[j]:
                    self.ready.add(j)
        self.ready.difference_update(chosen)

    def missing_after(self, chosen: list[int]) -> dict[int, int]:
        """What followers of ``chosen`` will have to wait for."""
        left: dict[int, int] = {}
        for i in chosen:
            for j in self.after[i]:
                left[j] = left.get(j, self.missing[j]) - 1
        return left

    def chain(self, scope: str, fits: Callable[[Step], bool], by_block: bool = False) -> list[int]:
        """Steps of a scope that are ready or follow others of the chain (``by_block``: block by block), in order.

        One that does not fit is left out.
        """
        steps, left, found = self.steps, dict[int, int](), []
        queue = sorted(i for i in self.ready if steps[i].scope == scope)
        while queue:
            i = heapq.heappop(queue)
            if not fits(steps[i]):
                continue
            found.append(i)
            for j in self.after[i]:
                if steps[j].scope == scope and (self.before[j][i] or not by_block):
                    left[j] = left.get(j, self.missing[j]) - 1
                    if not left[j]:
                        heapq.heappush(queue, j)
        return found


def split_constant(steps: list[Step], inputs: list[int]) -> tuple[list[Step], list[Step]]:
    """The steps that depend on bound arrays only, not on the leaves ``inputs``, and the others."""
    varying: set[int] = set()
    constant, others = [], []
    for step in steps:
        if step.scope == "block" or any(id(b) in varying or b.leaf in inputs for b in step.inputs):
            varying |= {id(b) for b in step.outputs}
            others.append(step)
        else:
            constant.append(step)
    return constant, others


def _cycles(step: Step) -> float:
    """A rough count: two fused multiply-adds of 16 lanes a cycle, 16 elements read or written a cycle."""
    return step.flops / 64 + sum(b.elements * b.copies for b in (*step.inputs, *step.outputs)) / 16


def _whole_phase(waiting: _Waiting, threads: int) -> tuple[list[int], Phase] | None:
    """The steps on whole values that are ready; if they are small, also small ones that follow them."""
    steps = waiting.steps
    chosen = sorted(i for i in waiting.ready if steps[i].scope == "whole")
    if not chosen:
        return None
    cycles = sum(_cycles(steps[i]) for i in chosen)
    parallel = threads > 1 and cycles > SERIAL_CYCLES
    if not parallel:
        left = max(cycles, SERIAL_CYCLES)

        def fits(step: Step) -> bool:
            nonlocal left
            if _cycles(step) > left:
                return False
            left -= _cycles(step)
            return True

        chosen = waiting.chain("whole", fits)
    return chosen, Phase([steps[i] for i in chosen], 1, 1, threads if parallel else 1, parallel)


def _block_phase(waiting: _Waiting, threads: int) -> tuple[list[int], Phase]:
    """The steps on blocks that can follow each other without a meeting of all threads."""
    steps, blocks = waiting.steps, -1

    def fits(step: Step) -> bool:
        nonlocal blocks
        if blocks == -1:
            blocks = step.blocks
        return step.blocks == blocks

    chosen = waiting.chain("block", fits, by_block=True)
    chosen = _without_early(waiting, chosen) or chosen
    groups = groups_of(blocks)
    parallel = threads > 1 and sum(_cycles(steps[i]) for i in chosen) > SERIAL_CYCLES
    chunks = 1
    if parallel and groups < threads:  # breadth first: one step a phase, its units divided
        chosen = chosen[:1]
        chunks = -(-threads // groups)
    return chosen, Phase([steps[i] for i in chosen], blocks, groups, chunks, parallel)


def _without_early(waiting: _Waiting, chosen: list[int]) -> list[int]:
    """``chosen`` but for late steps that nothing can follow yet."""
    steps, left = waiting.steps, waiting.missing_after(chosen)
    kept = {i for i in chosen if not steps[i].late}
    for i in reversed(chosen):
        if any(not left[j] and (j in kept or not steps[j].late) for j in waiting.after[i]):
            kept.add(i)
    return [i for i in chosen if i in kept]


def _dependencies(steps: list[Step]) -> Before:
    """What each step must follow, among the earlier ones."""
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    before: Before = []
    for i, step in enumerate(steps):
        found: dict[int, bool] = {}

        def follow(j: int, buffer: Buffer, found: dict[int, bool] = found, step: Step = step) -> None:
            by_block = buffer.space == "block" and step.scope == "block" and steps[j].scope == "block"
            found[j] = found.get(j, True) and by_block

        for buffer in step.inputs:
            for j in writers.get(id(buffer), ()):
                follow(j, buffer)
        for buffer in step.outputs:
            for j in (*writers.get(id(buffer), ()), *readers.get(id(buffer), ())):
                follow(j, buffer)
        for buffer in step.inputs:
            readers.setdefault(id(buffer), []).append(i)
        for buffer in step.outputs:
            writers.setdefault(id(buffer), []).append(i)
        found.pop(i, None)
        before.append(found)
    return before
