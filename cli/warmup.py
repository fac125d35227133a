"""``numbaconv warmup``: compile kernels ahead of time."""

from __future__ import annotations

import itertools
import time

import click

from . import console, options
from .bars import bar
from .loading import padding

# What is warmed up unless a model is named.
_MODELS = ("lenet5", "resnet20")

# What plans usually differ by: colours and padding, the size of a batch, the rule of the updates.
_DATASETS = ("digits", "mnist", "cifar10")
_BATCH_SIZES = (64, 256)
_OPTIMIZERS = ("SGD", "Adam", "AdamW")


@click.command("warmup")
@click.argument("model", metavar="[MODEL]", required=False)
@options.QUIET
def command(model: str | None, quiet: bool) -> None:
    """Compile what training and running MODEL usually needs, so that nothing waits for it later.

    Without MODEL: what LeNet-5 and ResNet-20 need.
    """
    import numpy as np

    from numbaconv import Trainer, data, models, optim
    from numbaconv.training.inputs import Arrays

    start = time.perf_counter()
    names = (model,) if model else _MODELS
    combinations = list(itertools.product(names, _DATASETS, _BATCH_SIZES, _OPTIMIZERS))
    out = console.stdout()
    with bar(out, quiet, "Compiling kernels ...") as show:
        for done, (name, dataset, batch_size, optimizer) in enumerate(combinations):

            def show_kernel(compiled: int, total: int, kernel: str, done: int = done) -> None:
                show(done, len(combinations), f"kernel {compiled} of {total}: {kernel}" if kernel else "")

            show(done, len(combinations), f"{name}, images of {dataset}, batch {batch_size}, {optimizer}")
            facts = data.info(dataset)
            trainer = Trainer(
                models.build(name, num_classes=len(facts.classes), in_channels=facts.shape[0]),
                optimizer=getattr(optim, optimizer)(),
                batch_size=batch_size,
                pad=padding(facts.shape[1]),
            )
            # A batch, and one image more for the smaller batch at the end of an epoch and for a single picture.
            images = np.zeros((batch_size + 1, *facts.shape), np.uint8)
            arrays = Arrays(images, np.zeros(len(images), np.int64))
            for size in trainer.batch_sizes(len(images)):
                trainer.train_step(arrays, size, show_kernel)
                trainer.eval_step(arrays, size, show_kernel)
    if not quiet:
        out.print(f"{', '.join(names)}: all kernels ready after {time.perf_counter() - start:.1f} s")
