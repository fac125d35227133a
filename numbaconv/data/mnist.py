"""MNIST and the sets that share its form: four IDX files, two of images and two of labels."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from . import catalog, checksum, idx
from .catalog import DatasetInfo
from .dataset import Split
from .errors import DataError


def locate(folder: Path, facts: DatasetInfo) -> tuple[dict[str, Path], list[str]]:
    """Look for the four files in a folder, plain or gzip.

    Returns:
        ``(found, missing)``: published file name to path of those that are there, and the names of the others.
    """
    found = {}
    for file in facts.files:
        stem = file.name[: -len(".gz")]
        # The second spelling is what some programs unpack to.
        spellings = (file.name, stem, stem.replace("-idx", ".idx"))
        path = next((folder / name for name in spellings if (folder / name).exists()), None)
        if path is not None:
            found[file.name] = path
    return found, [file.name for file in facts.files if file.name not in found]


def load(found: Mapping[str, Path], facts: DatasetInfo) -> tuple[Split, Split]:
    """Read the training and the test split from the files that ``locate`` found.

    Raises:
        DataError: if a file is damaged or has not the form it must have, or belongs to another data set.
    """
    train_images, train_labels, test_images, test_labels = (found[file.name] for file in facts.files)
    return (
        _split(train_images, train_labels, facts, facts.train_size),
        _split(test_images, test_labels, facts, facts.test_size),
    )


def _split(images_path: Path, labels_path: Path, facts: DatasetInfo, most: int) -> Split:
    labels = idx.read(labels_path, (), most)
    _refuse_other_set(labels_path, labels, facts)
    too_large = np.flatnonzero(labels >= len(facts.classes))
    if too_large.size:
        where = int(too_large[0])
        last = len(facts.classes) - 1
        raise DataError(f"{labels_path}: label {where} is {labels[where]}, labels of {facts.name} are 0 to {last}")
    images = idx.read(images_path, facts.shape[1:], most)
    if len(images) != len(labels):
        raise DataError(f"{images_path}: holds {len(images):,} images, but {labels_path} {len(labels):,} labels")
    return Split(images[:, None], labels.astype(np.int64))


def _refuse_other_set(path: Path, labels: np.ndarray, facts: DatasetInfo) -> None:
    """Refuse the files of a data set that uses the same file names, told apart by the label file."""
    for digest in (checksum.of_file(path), checksum.of_bytes(idx.encode(labels))):
        owner = catalog.owner(digest)
        if owner not in (None, facts.name):
            raise DataError(f"{path}: belongs to {owner}, not to {facts.name}; keep the files of {facts.name} apart")
