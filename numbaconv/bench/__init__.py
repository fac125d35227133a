"""Measuring: convolutions, other layers, training steps, inference, start-up, memory, and where a plan's time goes.

    from numbaconv import bench

    report = bench.run("conv", against=("torch",), networks=("lenet5",))
    report.show()

Ours and theirs take turns in one process and the best round of each counts (``measure``); ratios are theirs / ours in
time, so above 1 we are faster.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from .report import Report, Row
from .session import OnProgress, Session

#: Kind of measurement -> what it can be measured against.  Each is a module of this package with a ``measure``.
KINDS: dict[str, tuple[str, ...]] = {
    "conv": ("torch",),
    "layers": ("torch",),
    "train": ("torch",),
    "infer": ("torch", "onnxruntime"),
    "startup": ("torch",),
    "memory": ("torch",),
    "scaling": ("torch",),
    "profile": (),
    "gpu": ("torch",),
}


def run(
    kind: str,
    against: str | Sequence[str] | None = (),
    rounds: int = 7,
    threads: int | None = None,
    on_progress: OnProgress | None = None,
    **options: Any,
) -> Report:
    """Measure one kind of thing.

    Args:
        kind: one of ``KINDS``; see the ``measure`` function of the module of that name.
        against: names of other libraries to measure beside ours; they are imported only if they stand here.
        rounds: rounds to take the best of.
        threads: of ours and theirs; Numba's setting by default.  PyTorch keeps the number afterwards.
        on_progress: called as ``on_progress(done, total, name)`` before each thing that is measured, and at the end.
        options: of the kind's ``measure``.

    Raises:
        ValueError: if there is no such kind, it is not measured against such a library, or an option cannot be.
        TypeError: if the kind takes no such option.
        ImportError: if another library is not installed, with the line that installs it.
    """
    from numbaconv.training.threads import use_threads

    if kind not in KINDS:
        raise ValueError(f"bench: there is no {kind!r}, only {', '.join(KINDS)}")
    if rounds < 1:
        raise ValueError(f"bench: rounds must be 1 or more, got {rounds}")
    others = (against,) if isinstance(against, str) else tuple(against or ())
    for other in others:
        if other not in KINDS[kind]:
            known = f"only against {' and '.join(KINDS[kind])}" if KINDS[kind] else "which is about ours alone"
            raise ValueError(f"bench {kind}: cannot be measured against {other}, {known}")
    with use_threads(threads):
        session = Session(others, rounds, on_progress)
        module = importlib.import_module(f".{kind}", __name__)
        rows: Sequence[Row] = module.measure(session, **options)
        return Report(kind, rows, session.facts(), session.notes, session.bars)


__all__ = ["KINDS", "Report", "Row", "Session", "run"]
