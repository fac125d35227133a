"""Where the time of a plan goes: each of its steps alone, at its place in the plan's memory.

The sum of the steps is more than the whole run: alone, each step pays for waking the threads and for their meeting.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from numbaconv.graph import Executable, Variable
from numbaconv.kernels.cpu.lowering import Step

from .replay import part
from .report import Row, column
from .session import Session
from .train import build_step, random_batch

# Short enough that the dozens of steps of a network take seconds, long beside a step.
_LEAST_SECONDS = 0.002


@dataclass(kw_only=True)
class StepRow(Row):
    """One step; ``name`` is the operator, ``phase`` says which steps run together, depth first."""

    phase: int = column("phase", "d", 0)
    us: float = column("µs", ",.1f", 0.0)
    share_of_time: float = column("of time", ".1%", 0.0)
    gflops: float | None = column("GFLOP/s", ",.1f")
    gb_per_s: float = column("GB/s", ",.1f", 0.0)
    share_of_peak: float | None = column("of peak", ".0%")
    kernel: str = column("kernel", default="")
    flops: float = column(default=0.0)
    bytes: int = column(default=0)


def measure(session: Session, network: str = "lenet5", batch: int = 64) -> Sequence[Row]:
    """A row for each step of a network's training step, the slowest first, and one for all of it.

    Args:
        session: rounds.
        network: a name of ``numbaconv.models``.
        batch: images of the step.
    """
    images, labels = random_batch(network, batch)
    _, step = build_step(network, images, labels)
    step.read_optimizer()
    return profile(session, step.executable, [images, labels, np.arange(batch)])


def profile(session: Session, executable: Executable, inputs: Sequence[np.ndarray] = ()) -> Sequence[Row]:
    """A row for each step of a plan, the slowest first, and at the end one for a whole run of it.

    Arrays that the plan updates hold their old values again afterwards.

    Args:
        session: rounds.
        executable: the plan.
        inputs: arrays of the graph's inputs, as for ``executable.run``.
    """
    arrays = [
        source.data if isinstance(source, Variable) else source for source in executable.sources if source is not None
    ]
    saved = [array.copy() for array in arrays]
    outputs = executable.run(inputs)  # binds all addresses; the results must live as long as steps write to them
    plan = executable.plan
    phases = [position for position, phase in enumerate(plan.phases) for _ in phase.steps]
    calls = {str(i): part(plan, executable.operands, [i]) for i in range(len(plan.steps))}
    seconds = session.time(calls, _LEAST_SECONDS)
    whole = session.time_beside_peak({"run": lambda: executable.run(inputs)})["run"]
    del outputs
    for array, old in zip(arrays, saved, strict=True):
        if array.flags.writeable:
            array[...] = old
    total = sum(seconds.values())
    rows = [
        _row(session, step, phase, seconds[str(i)], total)
        for i, (step, phase) in enumerate(zip(plan.steps, phases, strict=True))
    ]
    flops = sum(row.flops for row in rows)
    rows.sort(key=lambda row: -row.us)
    run = StepRow(
        name="whole run", phase=len(plan.phases), us=whole * 1e6, share_of_time=whole / total,
        gflops=flops / whole / 1e9, gb_per_s=sum(row.bytes for row in rows) / whole / 1e9,
        share_of_peak=flops / whole / session.peak, flops=flops, bytes=sum(row.bytes for row in rows),
    )  # fmt: skip
    return [*rows, run]


def _row(session: Session, step: Step, phase: int, seconds: float, total: float) -> StepRow:
    moved = sum(buffer.elements * buffer.dtype.itemsize * buffer.copies for buffer in (*step.inputs, *step.outputs))
    return StepRow(
        name=step.label,
        phase=phase,
        us=seconds * 1e6,
        share_of_time=seconds / total,
        gflops=step.flops / seconds / 1e9 if step.flops else None,
        gb_per_s=moved / seconds / 1e9,
        share_of_peak=step.flops / seconds / session.peak if step.flops else None,
        kernel=step.kernel.label,
        flops=step.flops,
        bytes=moved,
    )
