"""Phases: which steps run together, and on what share of the work.

Steps on blocks that depend on each other only block by block make one phase, through which each thread takes its
blocks depth first.  Steps on whole values wait for a phase of their own.  Where there are fewer groups of blocks than
threads, every step is a phase and its units are divided instead (breadth first).
"""

from dataclasses import dataclass

from ..kernels.cpu.lowering import Buffer, Step, groups_of


@dataclass
class Phase:
    steps: list[Step]
    blocks: int
    groups: int
    chunks: int

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
        chosen = [i for i in waiting if steps[i].scope == "whole" and before[i].keys() <= done]
        if chosen:
            phases.append(Phase([steps[i] for i in chosen], 1, 1, threads))
        else:
            chosen = _block_phase(steps, waiting, before, done, threads)
            blocks = steps[chosen[0]].blocks
            groups = groups_of(blocks)
            chunks = 1 if groups >= threads else -(-threads // groups)
            phases.append(Phase([steps[i] for i in chosen], blocks, groups, chunks))
        done.update(chosen)
        taken = set(chosen)
        waiting = [i for i in waiting if i not in taken]
    return phases


def _block_phase(steps: list[Step], waiting: list[int], before, done: set[int], threads: int) -> list[int]:
    """The steps on blocks that can follow each other without a meeting of all threads."""
    chosen: list[int] = []
    inside: set[int] = set()
    blocks = None
    for i in waiting:
        step = steps[i]
        if step.scope != "block" or (blocks is not None and step.blocks != blocks):
            continue
        ready = all(j in done or (j in inside and by_block) for j, by_block in before[i].items())
        if ready:
            blocks = step.blocks
            chosen.append(i)
            inside.add(i)
            if groups_of(blocks) < threads:
                break  # breadth first: one step a phase
    return chosen


def _dependencies(steps: list[Step]) -> list[dict[int, bool]]:
    """For each step, the earlier steps it must follow, and whether following them block by block is enough."""
    writers: dict[int, list[int]] = {}
    readers: dict[int, list[int]] = {}
    before: list[dict[int, bool]] = []
    for i, step in enumerate(steps):
        found: dict[int, bool] = {}

        def follow(j: int, buffer: Buffer, found=found, step=step) -> None:
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
