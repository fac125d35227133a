"""A day with a GPU: is it right, and how fast is it?  One command, less than ten minutes, everything in one file:

    numbaconv bench gpu --against torch --data-dir DATA --json gpu.json

First every kernel is compiled.  Then come, in the order of their importance, every pass of a few layers of all kinds
and every operator against float64 at every precision; training steps and inference of whole networks; recipes that
train to an accuracy; operators that memory decides, beside a copy; convolutions beside cuDNN's; training steps beside
compiled ones of PyTorch; convolutions in fp32; and their further candidates, wgmma and TMA.  Nothing ends the
measurement: what fails, crashes, hangs or does not fit into the time is noted, and the file is written after every
item.  At the end it says which bars are met.

The device's own events time what it does; the median of the rounds counts, and ours and PyTorch's take turns.

Not measured here is whether kernels access memory rightly: ``pytest -m gpu tests/cuda`` runs them in compute-sanitizer.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numbaconv.kernels import cuda_state
from numbaconv.kernels.device import PRECISIONS, check_precision, driver_for
from numbaconv.training.files import write_atomic

from ..conv import DIRECTIONS
from ..report import Report, Row
from ..session import Session
from ..shapes import ConvLayer, convolutions
from . import goals, memory, networks, operators, passes
from .bars import bars
from .item import Item
from .row import BOUNDS, GpuRow
from .supervise import measure_apart, measure_here

#: Minutes that everything may take: what does not fit is noted.
MINUTES = 9.0

#: Images of the layers that are compared with float64, which the CPU calculates.
COMPARED_IMAGES = 2

#: Layers that are compared: of whole tiles and not, first layers, strided, grouped and depthwise ones.
COMPARED = (
    ConvLayer("3x3", COMPARED_IMAGES, 64, 28, 128, 3, padding=1),
    ConvLayer("3x3 /2", COMPARED_IMAGES, 96, 27, 160, 3, stride=2, padding=1),
    ConvLayer("1x1", COMPARED_IMAGES, 256, 14, 136, 1),
    ConvLayer("1x1 /2", COMPARED_IMAGES, 64, 15, 64, 1, stride=2),
    ConvLayer("stem 7x7 /2", COMPARED_IMAGES, 3, 63, 64, 7, stride=2, padding=3),
    ConvLayer("one channel", COMPARED_IMAGES, 1, 28, 6, 5, bias=True),
    ConvLayer("odd", COMPARED_IMAGES, 30, 17, 34, 3, padding=1, bias=True),
    ConvLayer("grouped", COMPARED_IMAGES, 64, 14, 96, 3, padding=1, groups=4),
    ConvLayer("depthwise", COMPARED_IMAGES, 72, 19, 72, 3, stride=2, padding=1, groups=72),
)


def items(
    layers: Sequence[ConvLayer],
    directions: Sequence[str],
    precisions: Sequence[str],
    compared: Sequence[ConvLayer] = COMPARED,
    elements: int = 1 << 26,
    trained: networks.Which = (("lenet5", 256), ("resnet20", 512)),
    inferred: networks.Which = (("resnet18", 1),),
    reached: Sequence[goals.Goal] = goals.GOALS,
    with_operators: bool = True,
    data_dir: str | None = None,
) -> list[Item]:
    """Everything that is measured, the most important things first; see ``measure``."""
    fast = [p for p in ("tf32", "bf16") if p in precisions] or list(precisions)  # for what takes long
    return [
        *passes.right_items(compared, PRECISIONS),
        *(operators.items(PRECISIONS) if with_operators else ()),
        *networks.items(trained, inferred, precisions),
        *goals.items(reached, fast, data_dir),
        *memory.items(elements, precisions),
        *passes.fast_items(layers, directions, fast),
        *networks.compiled_items(trained, fast),
        *passes.fast_items(layers, directions, [p for p in precisions if p not in fast]),
        # further candidates come last: if one crashes, every item costs another process
        *(item for c in passes.FURTHER for item in passes.right_items(compared, PRECISIONS, c)),
        *(item for c in passes.FURTHER for item in passes.fast_items(layers, directions, fast, c)),
    ]


def measure(
    session: Session,
    networks: Sequence[str] = ("resnet50",),
    directions: Sequence[str] = DIRECTIONS,
    batch: int | None = 64,
    precisions: Sequence[str] = ("tf32", "bf16", "fp32"),
    layers: Sequence[ConvLayer] | None = None,
    minutes: float = MINUTES,
    save: Path | None = None,
    apart: bool = True,
    **more: Any,
) -> Sequence[Row]:
    """Rows of everything, see above.

    Args:
        session: rounds and other libraries; takes the bars, too.
        networks, directions, batch, layers: convolutions whose speed is measured, as of ``conv.measure``.
        precisions: whose speed is measured; everything is compared with float64 at all of them.
        minutes: that it may take.
        save: a file that everything so far is written to after every item, as JSON.
        apart: measure in processes of their own, which may crash.
        more: of ``items``.

    Raises:
        DeviceError: if there is no GPU that can be used; says what mends it.
        ValueError: for an unknown network, pass or precision.
    """
    start = time.monotonic()
    for precision in precisions:
        check_precision("cuda", precision)
    chosen = convolutions(tuple(networks), batch) if layers is None else list(layers)
    arguments = {"layers": chosen, "directions": directions, "precisions": precisions, **more}

    def tell(rows: Sequence[GpuRow]) -> None:
        session.bars = [_plain(dataclasses.asdict(bar)) for bar in bars(rows)]
        if save is not None:
            write_atomic(save, Report("gpu", rows, session.facts(), session.notes, session.bars).to_json())

    if apart:
        cuda_state.require()
        work = [item.name for item in items(**arguments)]
        making = items, arguments, session.against, session.rounds
        rows = measure_apart(making, work, session, 60 * minutes - (time.monotonic() - start), tell)
    else:
        session.device = driver_for("cuda").name
        rows = measure_here(items(**arguments), session)
    tell(rows)
    return rows


def measure_convolutions(
    session: Session, layers: Sequence[ConvLayer], directions: Sequence[str], precisions: Sequence[str]
) -> list[GpuRow]:
    """The rows of ``bench conv --device cuda``."""
    session.device = driver_for("cuda").name
    candidates = (passes.MMA, *passes.FURTHER)
    work = [item for c in candidates for item in passes.fast_items(layers, directions, precisions, c)]
    return measure_here(work, session)


def _plain(bar: dict[str, Any]) -> dict[str, Any]:
    """Without what JSON has no word for."""
    return {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in bar.items()}


__all__ = ["BOUNDS", "COMPARED", "Item", "items", "measure", "measure_convolutions"]
