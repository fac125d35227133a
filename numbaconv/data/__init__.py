"""Image data sets for training: found on this machine or downloaded, checked, and delivered as NumPy arrays.

>>> from numbaconv import data
>>> digits = data.load("digits")        # ships inside the package
>>> digits.train.images.shape
(1437, 1, 32, 32)

``digits`` is Optical Recognition of Handwritten Digits by E. Alpaydin and C. Kaynak (UCI, CC BY 4.0). The others,
``mnist``, ``fashion-mnist``, ``cifar10`` and ``cifar100``, are looked for in ``data_dir`` (by default the folder that
the environment variable ``NUMBACONV_DATA_DIR`` names), then in the user's cache folder, and then downloaded. No pickle
is ever loaded.
"""

from __future__ import annotations

import os
from pathlib import Path

from . import digits as _digits
from . import fetch as _fetch
from . import locate as _locate
from .catalog import DatasetInfo, RemoteFile, info, names
from .dataset import Dataset, Split, channel_statistics
from .errors import DataError
from .fetch import Progress
from .folder import PREFIX, load_folder

__all__ = [
    "DataError",
    "Dataset",
    "DatasetInfo",
    "PREFIX",
    "Progress",
    "RemoteFile",
    "Split",
    "download",
    "find",
    "info",
    "load",
    "load_folder",
    "names",
]


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    download: bool = True,
    progress: Progress | None = None,
    size: int | None = None,
) -> Dataset:
    """Load a data set.

    Args:
        name: one of ``names()``, or ``folder:`` and the path of a folder of one's own images, see ``load_folder``.
        data_dir: folder that holds the files, in itself or in a folder named after the data set (``mnist``,
            ``cifar10`` ..., or ``MNIST/raw``, ``FashionMNIST/raw``). It is only read, never written. By default the
            environment variable ``NUMBACONV_DATA_DIR``.
        download: whether to download what is neither in ``data_dir`` nor in the cache folder, into the latter.
        progress: optional callback ``(file name, bytes done, bytes total)`` for downloads.
        size: pixels that the images of a folder are stretched to.

    Returns:
        The data set; images are ``uint8`` in the shape ``info(name).shape``.

    Raises:
        DataError: if there is no such data set, a file is damaged or has not the form it must have, or the files
            cannot be had. The message is one sentence for the user.
    """
    if name.startswith(PREFIX):
        return load_folder(name.removeprefix(PREFIX), size)
    facts = info(name)
    if not facts.files:
        train, test = _digits.load(facts)
    else:
        train, test = _load_files(facts, data_dir, download, progress)
    mean, std = channel_statistics(train.images)
    return Dataset(name, train, test, facts.classes, mean, std)


def download(name: str, data_dir: str | os.PathLike[str] | None = None, progress: Progress | None = None) -> Path:
    """Download a data set and return the folder that its files are in.

    Args:
        name: one of ``names()``.
        data_dir: folder to keep it in: what it holds already is taken as it is, else the files go to a folder in it
            named after the data set. By default the user's cache folder.
        progress: optional callback ``(file name, bytes done, bytes total)``.

    Raises:
        DataError: as ``load``.
    """
    facts = info(name)
    if not facts.files:
        return _digits.FOLDER
    if data_dir is None:
        folder = _locate.cache_folder(facts)
    else:
        root = Path(data_dir).expanduser()
        found = _locate.search(facts, root)
        if found:
            return _folder_of(found)
        folder = root / facts.name
    _fetch.fetch(facts, folder, progress)
    return folder


def find(name: str, data_dir: str | os.PathLike[str] | None = None) -> Path | None:
    """Return the folder that ``load`` would read a data set from, ``None`` if it would have to download.

    Raises:
        DataError: if there is no such data set, or ``data_dir`` is not a folder or holds only a part of it.
    """
    facts = info(name)
    if not facts.files:
        return _digits.FOLDER
    found = _find_local(facts, data_dir)
    return _folder_of(found) if found else None


def _load_files(
    facts: DatasetInfo, data_dir: str | os.PathLike[str] | None, download: bool, progress: Progress | None
) -> tuple[Split, Split]:
    reader = _locate.FORMATS[facts.name]
    found = _find_local(facts, data_dir)
    if not found:
        if not download:
            raise DataError(
                f"{facts.name} is not on this machine: {_fetch.how_to_get(facts, _locate.cache_folder(facts))}"
            )
        _fetch.fetch(facts, _locate.cache_folder(facts), progress)
        found = _locate.cached(facts)
    return reader.load(found, facts)


def _find_local(facts: DatasetInfo, data_dir: str | os.PathLike[str] | None) -> dict[str, Path]:
    """Return the files of a data set from ``data_dir`` or else from the cache folder; empty if they are in neither."""
    root = _locate.data_folder(data_dir)
    if root is not None:
        found = _locate.search(facts, root)
        if found:
            return found
        _locate.refuse_partial(facts, root)
    return _locate.cached(facts)


def _folder_of(found: dict[str, Path]) -> Path:
    return next(iter(found.values())).parent
