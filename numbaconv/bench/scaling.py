"""Scaling: training steps at growing batches, with one thread and with more."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from numbaconv import models
from numbaconv.kernels.cpu import runner
from numbaconv.training.threads import use_threads

from .peers import in_all_layouts
from .report import Row, column
from .session import Session
from .train import build_step, random_batch, torch_step

_BATCHES = (32, 64, 128, 256, 512, 1024)


@dataclass(kw_only=True)
class ScalingRow(Row):
    """One network at one batch size with so many threads; ``speedup`` is over one thread."""

    batch: int = column("batch", default=0)
    threads: int = column("threads", "d", 0)
    ratio: float | None = column("ratio", ".2f")
    ours_images_per_s: float = column("ours images/s", ",.0f", 0.0)
    speedup: float = column("speed-up", ".2f", 1.0)
    torch_images_per_s: float | None = column("torch images/s", ",.0f")
    torch_speedup: float | None = column("torch speed-up", ".2f")


def measure(
    session: Session, networks: Sequence[str] = ("resnet20",), batches: Sequence[int] = _BATCHES
) -> Sequence[Row]:
    """A row for each network, batch size and number of threads: 1, 2, 4, ... up to all of the session's.

    Args:
        session: rounds and other libraries.
        networks: names of ``numbaconv.models``.
        batches: images a step.
    """
    work = [(network, batch) for network in networks for batch in batches]
    found = session.each(work, lambda network, batch: f"{network}, batch {batch}", measure_batch)
    return [row for rows in found for row in rows]


def thread_counts(most: int) -> list[int]:
    """The powers of two below ``most``, and ``most``."""
    return [*(1 << power for power in range((most - 1).bit_length())), most]


def measure_batch(session: Session, network: str, batch: int) -> list[ScalingRow]:
    """The rows of one batch size; all numbers of threads take turns."""
    images, labels = random_batch(network, batch)
    counts = thread_counts(runner.get_threads())
    calls: dict[str, Callable[[], Any]] = {}
    for count in counts:
        with use_threads(count):
            calls[f"ours {count}"] = _ours(network, images, labels, count)
            if session.torch is not None:
                steps = _torchs(session.torch, network, images, labels, count)
                calls |= {f"{layout} {count}": step for layout, step in steps.items()}
    with use_threads(max(counts)):  # puts back what the calls change
        rates = {name: batch / seconds for name, seconds in session.time(calls).items()}
    ours = {count: rates[f"ours {count}"] for count in counts}
    torch = {
        count: max((rates[name] for name in (f"nchw {count}", f"channels_last {count}") if name in rates), default=None)
        for count in counts
    }
    return [
        ScalingRow(
            name=network,
            batch=batch,
            threads=count,
            ratio=ours[count] / theirs if (theirs := torch[count]) else None,
            ours_images_per_s=ours[count],
            speedup=ours[count] / ours[1],
            torch_images_per_s=theirs,
            torch_speedup=theirs / torch[1] if theirs and torch[1] else None,
        )
        for count in counts
    ]


def _ours(network: str, images: np.ndarray, labels: np.ndarray, threads: int) -> Callable[[], Any]:
    """A step, planned for the number of threads at hand, that runs with so many."""
    _, step = build_step(network, images, labels)
    indices = np.arange(len(images))

    def call() -> None:
        runner.set_threads(threads)
        step(images, labels, indices)

    return call


def _torchs(
    torch: Any, network: str, images: np.ndarray, labels: np.ndarray, threads: int
) -> dict[str, Callable[[], Any]]:
    """PyTorch's steps in both layouts with so many threads."""
    model = models.build(network)

    def with_threads(step: Callable[[], Any]) -> Callable[[], Any]:
        def call() -> None:
            torch.set_num_threads(threads)
            step()

        return call

    return in_all_layouts(torch, lambda form: with_threads(torch_step(torch, model, images, labels, form)))
