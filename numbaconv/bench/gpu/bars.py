"""What a measurement must show, and whether it does."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from .goals import GOALS
from .passes import FURTHER
from .row import GpuRow

FORWARD, BACKWARD = ("forward",), ("input gradient", "weight gradient")

#: Of cuDNN's speed, the geometric mean over a network's convolutions.
CONVOLUTIONS = (
    (FORWARD, "tf32", 0.8), (FORWARD, "bf16", 0.8), (BACKWARD, "tf32", 0.7), (BACKWARD, "bf16", 0.7),
    (FORWARD + BACKWARD, "fp32", 0.9),
)  # fmt: skip

#: Of PyTorch's speed, at the best precision: name of the row, what is done, bar.
NETWORKS = (
    ("lenet5, batch 256", "training step", 3.0), ("resnet20, batch 512", "training step", 1.5),
    ("lenet5, batch 256", "training step, torch.compile", 1.0),
    ("resnet20, batch 512", "training step, torch.compile", 1.0), ("resnet18, batch 1", "inference", 2.0),
)  # fmt: skip

#: Of the bandwidth of a copy, the least of all operators.
OF_COPY = 0.9


@dataclass(frozen=True)
class Bar:
    """Something to reach: ``found`` is None where it was not measured, and ``met`` then, too."""

    what: str
    bar: float
    found: float | None
    met: bool | None


def bars(rows: Sequence[GpuRow]) -> list[Bar]:
    """All bars, in the order of importance."""
    found = []
    errors = [row for row in rows if row.bound is not None]
    wrong = [row for row in errors if row.is_wrong]
    found.append(_bar("wrong results", 0, float(len(wrong)) if errors else None, at_least=False))
    for precision in dict.fromkeys(row.direction.split(", ")[1] for row in errors):
        mine = [row for row in errors if row.direction.split(", ")[1] == precision]
        worst = max(mine, key=lambda row: math.inf if row.error != row.error else row.error or 0.0)
        what = f"largest error, {precision} ({worst.name.removeprefix('right: ')}, {worst.direction})"
        found.append(_bar(what, worst.bound or 0.0, worst.error, at_least=False))
    micros_of = {(row.name, row.direction): row.ours_us for row in rows}

    def further(row: GpuRow) -> float:
        """The time of a pass by the fastest of the further candidates."""
        return min(micros_of.get((row.name, f"{row.direction}, {c}")) or math.inf for c in FURTHER)

    for directions, precision, bar in CONVOLUTIONS:
        mine = [row for row in rows if row.ratio and row.direction in [f"{d}, {precision}" for d in directions]]
        what = f"convolutions, {' and '.join(directions)}, {precision}, times cuDNN's speed, geometric mean"
        found.append(_bar(what, bar, _mean([row.ratio for row in mine if row.ratio])))
        best = [row.ratio * max(1.0, (row.ours_us or 0.0) / further(row)) for row in mine if row.ratio]
        if any(further(row) < math.inf for row in mine):
            found.append(_bar(f"the same by the faster candidate of each: {what}", bar, _mean(best)))
    copies = {row.of_copy: f"{row.name}, {row.direction}" for row in rows if row.of_copy is not None}
    least = min(copies, default=None)
    what = "operators that memory decides, of a copy's bandwidth, least"
    found.append(_bar(what + (f" ({copies[least]})" if least is not None else ""), OF_COPY, least))
    for name, work, bar in NETWORKS:
        ratios = {
            row.ratio: row.direction
            for row in rows
            if row.ratio and row.name == name and row.direction.rpartition(", ")[0] == work
        }
        best_of = max(ratios, default=None)
        what = f"{name}, {work}, times PyTorch's speed" + (f" ({ratios[best_of]})" if best_of else "")
        found.append(_bar(what, bar, best_of))
    for goal in GOALS:
        mine = [row for row in rows if row.train_seconds is not None and row.name.startswith(goal.recipe + ",")]
        reached = [row.train_seconds for row in mine if (row.accuracy or 0.0) >= goal.accuracy]
        what = f"{goal.recipe} to {goal.accuracy:.1%}, seconds of training"
        seconds = min((s for s in reached if s is not None), default=math.inf if mine else None)
        found.append(_bar(what, goal.seconds, seconds, at_least=False))
    return found


def _bar(what: str, bar: float, found: float | None, at_least: bool = True) -> Bar:
    met = None if found is None else found >= bar if at_least else found <= bar
    return Bar(what, bar, found, met)


def _mean(ratios: Sequence[float]) -> float | None:
    return statistics.geometric_mean(ratios) if ratios else None
