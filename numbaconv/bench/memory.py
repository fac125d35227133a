"""Memory: the most that a training process has of it, ours and PyTorch's each in processes of its own.

All pages in memory count (peak resident set size), and so does what a process needs before its first image: Python, the
library, its kernels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .peers import layouts
from .process import our_training, run, torch_training
from .report import Row, column
from .session import Session
from .shapes import batches_of

_STEPS = 3  # from the second on nothing new is allocated


@dataclass(kw_only=True)
class MemoryRow(Row):
    """One network at one batch size; ``ratio`` is the smaller one of PyTorch's to ours."""

    batch: int = column("batch", default=0)
    ratio: float | None = column("ratio", ".2f")
    ours_mib: float = column("ours MiB", ",.0f", 0.0)
    torch_nchw_mib: float | None = column("torch NCHW", ",.0f")
    torch_channels_last_mib: float | None = column("torch channels_last", ",.0f")


def measure(
    session: Session, networks: Sequence[str] = ("resnet20", "vgg16"), batches: Sequence[int] | None = None
) -> Sequence[Row]:
    """A row for each network and batch size; the least memory of the session's rounds.

    Args:
        session: rounds and other libraries.
        networks: names of ``numbaconv.models``.
        batches: images a step; by default what ``shapes`` says of each network.
    """
    work = [(network, batch) for network in networks for batch in batches or batches_of(network).train]
    return session.each(work, lambda network, batch: f"{network}, batch {batch}", measure_process)


def measure_process(session: Session, network: str, batch: int) -> MemoryRow:
    """One row."""
    programs = {"ours": our_training(network, batch, _STEPS)}
    if session.torch is not None:
        for name, form in layouts(session.torch).items():
            layout = str(form).removeprefix("torch.")
            programs[name] = torch_training(session, network, batch, _STEPS, layout)
    run(programs["ours"])  # with all kernels in the cache no process has to compile any
    least = {
        name: min(run(program).memory for _ in range(session.rounds)) / 2**20 for name, program in programs.items()
    }
    ours = least.pop("ours")
    return MemoryRow(
        name=network,
        batch=batch,
        ratio=min(least.values()) / ours if least else None,
        ours_mib=ours,
        torch_nchw_mib=least.get("nchw"),
        torch_channels_last_mib=least.get("channels_last"),
    )
