"""Phases: which steps run together, and on what share of the work.

Steps on blocks that depend on each other only block by block make one phase, through which each thread takes its
blocks depth first.  Steps on whole values wait for a phase of their own.  Where there are fewer groups of blocks than
threads, every step is a phase and its units are divided instead (breadth first).
"""

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
    before = _dependencies(steps)
    waiting = list(range(len(steps)))
    done: set[int] = set()
    phases: list[Phase] = []
    while waiting:
        # Whole steps first: what can be prepared (packed filters, ...) must not cut the depth-first phase.
        chosen, phase = _whole_phase(steps, waiting, before, done, threads)
        if not chosen:
            chosen, phase = _block_phase(steps, waiting, before, done, threads)
        assert phase is not None, "steps depend on each other in a circle"
        phases.append(phase)
        done.update(chosen)
        waiting = [i for i in waiting if i not in done]
    return phases


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


def _whole_phase(
    steps: list[Step], waiting: list[int], before: Before, done: set[int], threads: int
) -> tuple[list[int], Phase | None]:
    """The steps on whole values that are ready; if they are small, also small ones that follow them."""
    whole = [i for i in waiting if steps[i].scope == "whole"]
    chosen = [i for i in whole if before[i].keys() <= done]
    cycles = sum(_cycles(steps[i]) for i in chosen)
    parallel = threads > 1 and cycles > SERIAL_CYCLES
    if chosen and not parallel:
        limit = max(cycles, SERIAL_CYCLES)
        chosen = []
        reached = set(done)
        cycles = 0.0
        for i in whole:
            if before[i].keys() <= reached and cycles + _cycles(steps[i]) <= limit:
                chosen.append(i)
                reached.add(i)
                cycles += _cycles(steps[i])
    return chosen, Phase([steps[i] for i in chosen], 1, 1, threads if parallel else 1, parallel) if chosen else None


def _block_phase(
    steps: list[Step], waiting: list[int], before: Before, done: set[int], threads: int
) -> tuple[list[int], Phase | None]:
    """The steps on blocks that can follow each other without a meeting of all threads."""
    chosen: list[int] = []
    inside: set[int] = set()
    blocks = -1
    for i in waiting:
        step = steps[i]
        if step.scope != "block" or (chosen and step.blocks != blocks):
            continue
        if all(j in done or (j in inside and by_block) for j, by_block in before[i].items()):
            blocks = step.blocks
            chosen.append(i)
            inside.add(i)
    chosen = _without_early(steps, chosen, before, done) or chosen
    if not chosen:
        return chosen, None
    groups = groups_of(blocks)
    parallel = threads > 1 and sum(_cycles(steps[i]) for i in chosen) > SERIAL_CYCLES
    chunks = 1
    if parallel and groups < threads:  # breadth first: one step a phase, its units divided
        chosen = chosen[:1]
        chunks = -(-threads // groups)
    return chosen, Phase([steps[i] for i in chosen], blocks, groups, chunks, parallel)


def _without_early(steps: list[Step], chosen: list[int], before: Before, done: set[int]) -> list[int]:
    """``chosen`` but for late steps that nothing can follow yet."""
    ready = done.union(chosen)
    kept: set[int] = {i for i in chosen if not steps[i].late}
    for i in reversed(chosen):
        followers = [j for j in range(i + 1, len(steps)) if i in before[j] and (j in kept or not steps[j].late)]
        if any(all(k in ready for k in before[j]) for j in followers):
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
