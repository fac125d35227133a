"""``numbaconv eval``: how well a trained network does."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import click

from . import console, options
from .loading import load_dataset, open_weights


@click.command("eval")
@click.argument("weights", metavar="RUN|WEIGHTS", type=click.Path(path_type=Path))
@click.option("--dataset", metavar="NAME", help="Data set.  [default: the one it was trained on]")
@options.DATA_DIR
@options.DEVICE
@options.THREADS
@options.JSON
def command(
    weights: Path, dataset: str | None, data_dir: Path | None, device: str, threads: int | None, as_json: bool
) -> None:
    """Measure the accuracy of a run, a checkpoint or a file of weights on the test images, class by class."""
    from numbaconv.training import per_class

    opened = open_weights(weights, dataset, data_dir, threads, as_json, device)
    loaded = load_dataset(opened.dataset_name, data_dir or opened.folder, as_json, opened.shape[1])
    result = opened.trainer.evaluate(loaded.test)
    rows = list(zip(opened.classes, per_class(result["confusion"]), strict=True))
    if as_json:
        console.print_json(
            {
                "weights": weights,
                "dataset": loaded.name,
                "images": len(loaded.test),
                **result,
                "classes": [{"class": name, **asdict(metrics)} for name, metrics in rows],
            }
        )
        return
    out = console.stdout()
    out.print(
        console.table(
            ("class", "precision", "recall", "F1", "images"),
            ((name, f"{m.precision:.2%}", f"{m.recall:.2%}", f"{m.f1:.2%}", m.support) for name, m in rows),
        )
    )
    right = int(result["confusion"].trace())
    out.print(
        f"\nTest accuracy {result['accuracy']:.2%} ({right:,} of {console.plural(len(loaded.test), 'image')} of "
        f"{loaded.name}), loss {result['loss']:.4f}, {result['seconds']:.2f} s"
    )
