"""CIFAR-10 and CIFAR-100 in their binary version.

A file is a row of records: one label byte (CIFAR-100: coarse label, then fine label), then 1,024 bytes each of red,
green and blue, a 32 x 32 plane row by row. Format: https://www.cs.toronto.edu/~kriz/cifar.html . The Python version,
which is made of pickles, is not read.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from .archive import read_file, tar_members
from .catalog import DatasetInfo
from .dataset import Split
from .errors import DataError


@dataclass(frozen=True)
class Layout:
    """How a set is spread over files.

    Attributes:
        folder: the folder inside the archive.
        train, test: file names of the splits, in order.
        label_classes: number of classes of each label byte of a record; the last one is the label delivered.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    label_classes: tuple[int, ...]


LAYOUTS = {
    "cifar10": Layout(
        "cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in range(1, 6)), ("test_batch.bin",), (10,)
    ),
    "cifar100": Layout("cifar-100-binary", ("train.bin",), ("test.bin",), (20, 100)),
}


def locate(folder: Path, facts: DatasetInfo) -> tuple[dict[str, Path], list[str]]:
    """Look in a folder for the unpacked files, in their own folder or directly, and then for the archive.

    Returns:
        ``(found, missing)``: file name to path of those that are there, and the names of the others.
    """
    layout = LAYOUTS[facts.name]
    needed = layout.train + layout.test
    partial: dict[str, Path] = {}
    for place in (folder / layout.folder, folder):
        found = {name: place / name for name in needed if (place / name).exists()}
        if len(found) == len(needed):
            return found, []
        partial = partial or found
    archive = facts.files[0].name
    stem = archive[: -len(".tar.gz")]
    for name in (archive, f"{stem}.tgz", f"{stem}.tar"):
        if (folder / name).exists():
            return {archive: folder / name}, []
    if partial:
        return partial, [name for name in needed if name not in partial]
    return {}, [archive]


def load(found: Mapping[str, Path], facts: DatasetInfo) -> tuple[Split, Split]:
    """Read the training and the test split from the files that ``locate`` found.

    Raises:
        DataError: if a file is damaged or has not the form it must have.
    """
    layout = LAYOUTS[facts.name]
    record = len(layout.label_classes) + math.prod(facts.shape)
    splits = []
    places: dict[str, tuple[Split, slice]] = {}
    for files, count in ((layout.train, facts.train_size), (layout.test, facts.test_size)):
        split = Split(np.empty((count, *facts.shape), np.uint8), np.empty(count, np.int64))
        splits.append(split)
        each = count // len(files)
        places.update((name, (split, slice(i * each, (i + 1) * each))) for i, name in enumerate(files))
    sizes = {name: record * (part.stop - part.start) for name, (_, part) in places.items()}
    for path, name, data in _contents(found, facts, sizes):
        split, part = places[name]
        rows = np.frombuffer(data, np.uint8).reshape(-1, record)
        labels = _labels(f"{path}: {name}" if path.name != name else str(path), rows, layout)
        split.labels[part] = labels
        split.images[part] = rows[:, len(layout.label_classes) :].reshape(-1, *facts.shape)
    train, test = splits
    return train, test


def _contents(
    found: Mapping[str, Path], facts: DatasetInfo, sizes: Mapping[str, int]
) -> Iterator[tuple[Path, str, bytes]]:
    """Yield ``(path, file name, content)`` of every data file, from the archive or from the unpacked files."""
    archive = found.get(facts.files[0].name)
    if archive is not None:
        for name, data in tar_members(archive, sizes):
            yield archive, name, data
    else:
        for name, size in sizes.items():
            yield found[name], name, read_file(found[name], size)


def _labels(where: str, rows: np.ndarray, layout: Layout) -> np.ndarray:
    """Return the labels of the records after checking every label byte."""
    for column, classes in enumerate(layout.label_classes):
        too_large = np.flatnonzero(rows[:, column] >= classes)
        if too_large.size:
            first = int(too_large[0])
            value = rows[first, column]
            raise DataError(f"{where}: label byte of record {first} is {value}, it must be 0 to {classes - 1}")
    return rows[:, len(layout.label_classes) - 1]
