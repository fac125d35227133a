"""Data sets of one's own: a folder of images, one folder a class."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np

from .dataset import Dataset, Split, channel_statistics
from .errors import DataError
from .image import fit_image, read_image

PREFIX = "folder:"
"""Stands before the path in the name of such a data set."""

_SUFFIXES = (".png", ".jpg", ".jpeg", ".npy")
_TEST_FOLDERS = ("test", "val", "validation")
_TEST_EVERY = 5  # without a folder of test images, every fifth of each class is one


def load_folder(path: str | os.PathLike[str], size: int | None = None) -> Dataset:
    """Load the images below a folder.

    The folder holds a folder for each class, named as it, or ``train`` and ``test`` (or ``val``) which hold such
    folders. Without the latter, every fifth image of each class, in the order of their names, is a test image.

    Args:
        path: the folder. Images are PNG, JPEG (which need pillow) or NumPy files, see ``image.read_image``.
        size: pixels in each direction that images are stretched to; needed where they differ in size.

    Returns:
        The data set, its classes in the order of their names; grey if all images are.

    Raises:
        DataError: if the folder is not there or holds no such images, or they differ in size and ``size`` is not given.
    """
    path = Path(path).expanduser()
    if not path.is_dir():
        raise DataError(f"{path}: {'is not a folder' if path.exists() else 'there is no such folder'}")
    train, test = path / "train", next((path / name for name in _TEST_FOLDERS if (path / name).is_dir()), None)
    if train.is_dir() and test is not None:
        files, test_files = _files(train), _files(test)
        unknown = sorted(set(test_files) - set(files))
        if unknown:
            raise DataError(f"{test}: has a class {unknown[0]!r} that {train} has not")
    else:
        found = _files(path)
        files = {name: [f for i, f in enumerate(of) if i % _TEST_EVERY] for name, of in found.items()}
        test_files = {name: of[::_TEST_EVERY] for name, of in found.items()}
    classes = sorted(files)
    if len(classes) < 2:
        raise DataError(f"{path}: holds {len(classes)} folder(s) of images; there must be one for each of two classes")
    images = [
        [(read_image(file), classes.index(name)) for name, of in part.items() for file in of]
        for part in (files, test_files)
    ]
    if not all(images):
        raise DataError(f"{path}: holds too few images, there are none to {'train' if images[1] else 'test'} on")
    channels = max(len(image) for part in images for image, _ in part)
    sizes = {image.shape[1:] for part in images for image, _ in part}
    if size is None and len(sizes) > 1:
        raise DataError(f"{path}: its images differ in size; say what size to stretch them to")
    height, width = (size, size) if size is not None else next(iter(sizes))
    shape = channels, height, width
    train_split, test_split = (
        Split(
            np.stack([fit_image(image, shape) for image, _ in part]),
            np.array([label for _, label in part], np.int64),
        )
        for part in images
    )
    mean, std = channel_statistics(train_split.images)
    std = tuple(value or 1.0 for value in std)  # A channel of one value is not to be divided by zero.
    return Dataset(f"{PREFIX}{path}", train_split, test_split, tuple(classes), mean, std)


def _files(folder: Path) -> dict[str, list[Path]]:
    """Return the images of each class, both in the order of their names; folders without any are none."""
    found = {
        child.name: sorted(file for file in child.iterdir() if file.suffix.lower() in _SUFFIXES)
        for child in sorted(folder.iterdir())
        if child.is_dir()
    }
    return {name: files for name, files in found.items() if files}
