"""What commands open: data sets, and networks that were trained before."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import console
from .download import progress_bar

if TYPE_CHECKING:
    import numpy as np

    from numbaconv.data import Dataset
    from numbaconv.training import Trainer

_SIDE = 32


def padding(height: int) -> int:
    """Return how many black pixels go around images of a height: small ones are brought to 32 x 32."""
    return max(0, (_SIDE - height) // 2)


def picture_of(path: Path, shape: tuple[int, int, int], invert: bool = False) -> np.ndarray:
    """Read an image file and bring it to the shape of the training images."""
    from numbaconv.data.image import fit_image, read_image

    return fit_image(read_image(path, invert), shape)


def load_dataset(name: str, folder: Path | str | None, quiet: bool, size: int | None = None) -> Dataset:
    """Load a data set, showing the progress of a download on standard error."""
    from numbaconv import data

    with progress_bar(console.stderr(), quiet) as progress:
        return data.load(name, folder, progress=progress, size=size)


@dataclass(frozen=True)
class Weights:
    """A trained network, and what is known of the images it was trained on.

    Attributes:
        path: the run folder or the file it was opened by.
        trainer: holds the network and treats images as in training.
        dataset_name: the data set it was trained on, or the one that the user named.
        folder: where that was found then.
        shape: of an image as the data set delivers it, ``(C, H, W)``.
        classes: class names.
    """

    path: Path
    trainer: Trainer
    dataset_name: str
    folder: str | None
    shape: tuple[int, int, int]
    classes: tuple[str, ...]


def open_weights(
    path: Path, dataset: str | None, data_dir: Path | None, threads: int | None, quiet: bool, device: str
) -> Weights:
    """Open a run folder, a checkpoint or a file of weights.

    Args:
        path: what to open.
        dataset: the data set that the user named. Needed where the run folder does not say.
        data_dir: where it lies.
        threads: threads to use.
        quiet: whether to show no progress of a download.
        device: what to compute on.

    Raises:
        ValueError: if the file is missing, damaged or foreign, or nothing says which data set it belongs to.
    """
    from numbaconv import Trainer, data, load
    from numbaconv.training import read_metadata

    model = load(path)
    said = read_metadata(path)
    source = _configuration(path).get("data", {})
    name = dataset or source.get("name")
    if name is None:
        raise click.UsageError(f"{path} does not say which data set it was trained on: name it by --dataset")
    if name.startswith(data.PREFIX):
        if not {"shape"} <= source.keys() or not said.get("classes"):
            raise click.UsageError(f"{path} does not say what the images of {name} were brought to")
        shape, classes = tuple(source["shape"]), tuple(said["classes"])
    else:
        facts = data.info(name)
        shape, classes = facts.shape, tuple(said.get("classes") or facts.classes)
        if len(classes) != len(facts.classes):
            raise click.UsageError(f"{path} tells {len(classes)} classes apart, {name} has {len(facts.classes)}")
    if "mean" not in said:  # Written by numbaconv.save, outside a run.
        images = load_dataset(name, data_dir, quiet)
        said = {"mean": images.mean, "std": images.std, "pad": padding(images.shape[1])}
    treatment = {name: said[name] for name in ("mean", "std", "pad", "views") if name in said}
    trainer = Trainer(model, threads=threads, device=device, **treatment)
    folder = source.get("folder") if name == source.get("name") else None
    return Weights(path, trainer, name, folder, shape, classes)


def _configuration(path: Path) -> dict[str, Any]:
    """Return the configuration of the run that a path is or lies in; empty if it lies in none."""
    from numbaconv.training import RunFolder

    for folder in (path, path.parent, path.parent.parent):
        run = RunFolder(folder)
        if run.config_path.is_file():
            return run.read_config()
    return {}
