"""``numbaconv predict``: name what is in pictures."""

from __future__ import annotations

import csv
import sys
from pathlib import Path

import click

from . import console, options
from .loading import open_weights, picture_of

_TOP = 5


@click.command("predict")
@click.argument("weights", metavar="RUN|WEIGHTS", type=click.Path(path_type=Path))
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--invert", is_flag=True, help="Swap dark and light, as for a dark digit on white paper.")
@click.option("--dataset", metavar="NAME", help="Data set it was trained on, where WEIGHTS does not say.")
@options.DATA_DIR
@options.DEVICE
@options.THREADS
@click.option("--csv", "as_csv", is_flag=True, help="Print a line an answer: image, rank, class, probability.")
@options.JSON
def command(
    weights: Path,
    images: tuple[Path, ...],
    invert: bool,
    dataset: str | None,
    data_dir: Path | None,
    device: str,
    threads: int | None,
    as_csv: bool,
    as_json: bool,
) -> None:
    """Print the five likeliest classes of each IMAGE: PNG or JPEG (which need pillow), or a NumPy array (.npy).

    Images are brought to the size and the colours of the training images.
    """
    import numpy as np

    import numbaconv.functional as F

    if as_csv and as_json:
        raise click.UsageError("--csv and --json exclude each other")
    opened = open_weights(weights, dataset, data_dir, threads, as_json or as_csv, device)
    pixels = np.stack([picture_of(path, opened.shape, invert) for path in images])
    probabilities = F.softmax(opened.trainer.predict(pixels), dim=1)
    answers = [
        [
            {"class": opened.classes[index], "index": int(index), "probability": float(row[index])}
            for index in row.argsort()[::-1][:_TOP]
        ]
        for row in probabilities
    ]
    if as_json:
        console.print_json([{"image": path, "top": top} for path, top in zip(images, answers, strict=True)])
        return
    if as_csv:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("image", "rank", "class", "index", "probability"))
        writer.writerows(
            (path, rank, *answer.values())
            for path, top in zip(images, answers, strict=True)
            for rank, answer in enumerate(top, 1)
        )
        return
    for path, top in zip(images, answers, strict=True):
        click.echo(path)
        for answer in top:
            click.echo(f"  {answer['probability']:7.2%}  {answer['class']}")
