"""``numbaconv warmup``: compile kernels ahead of time."""

from __future__ import annotations

import itertools
import time

import click
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from . import console, options

# What plans usually differ by: colours and padding, the size of a batch, the rule of the updates.
_DATASETS = ("digits", "mnist", "cifar10")
_BATCH_SIZES = (64, 256)
_OPTIMIZERS = ("SGD", "Adam", "AdamW")


@click.command("warmup")
@click.argument("model", metavar="[MODEL]", required=False)
@options.THREADS
@options.QUIET
def command(model: str | None, threads: int | None, quiet: bool) -> None:
    """Compile what training and running MODEL (or every model) usually needs, so that nothing waits for it later."""
    import numpy as np

    from numbaconv import Trainer, data, models, optim
    from numbaconv.training.inputs import Arrays

    from .loading import padding

    start = time.perf_counter()
    names = [model] if model else models.names()
    combinations = list(itertools.product(names, _DATASETS, _BATCH_SIZES, _OPTIMIZERS))
    out = console.stdout()
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    note = TextColumn("{task.fields[note]}")
    with Progress(*columns, note, console=out, transient=True, disable=quiet or not out.is_terminal) as bars:
        task = bars.add_task("Compiling kernels ...", total=len(combinations), note="")

        def show(done: int, total: int, name: str) -> None:
            bars.update(task, note=name)

        for name, dataset, batch_size, optimizer in combinations:
            facts = data.info(dataset)
            network = models.build(name, num_classes=len(facts.classes), in_channels=facts.shape[0])
            trainer = Trainer(
                network,
                optimizer=getattr(optim, optimizer)(),
                batch_size=batch_size,
                threads=threads,
                pad=padding(facts.shape[1]),
            )
            # A batch, and one image more for the smaller batch at the end of an epoch and for a single picture.
            images = np.zeros((batch_size + 1, *facts.shape), np.uint8)
            arrays = Arrays(images, np.zeros(len(images), np.int64))
            for size in trainer.batch_sizes(len(images)):
                trainer.train_step(arrays, size, show)
                trainer.eval_step(arrays, size, show)
            bars.advance(task)
    if not quiet:
        out.print(f"{', '.join(names)}: all kernels ready after {time.perf_counter() - start:.1f} s")
