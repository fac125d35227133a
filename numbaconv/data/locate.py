"""Where data sets are looked for: the folder that the user names, and the cache folder."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Protocol

import platformdirs

from . import cifar, mnist
from .catalog import DatasetInfo
from .dataset import Split
from .errors import DataError

ENVIRONMENT = "NUMBACONV_DATA_DIR"


class Format(Protocol):
    """What a module that reads one form of files offers."""

    def locate(self, folder: Path, facts: DatasetInfo) -> tuple[dict[str, Path], list[str]]: ...

    def load(self, found: Mapping[str, Path], facts: DatasetInfo) -> tuple[Split, Split]: ...


FORMATS: dict[str, Format] = {"mnist": mnist, "fashion-mnist": mnist, "cifar10": cifar, "cifar100": cifar}


def cache_folder(facts: DatasetInfo) -> Path:
    """Return the folder that downloads of a data set are kept in; it need not exist."""
    return Path(platformdirs.user_cache_dir("numbaconv")) / "data" / facts.name


def data_folder(data_dir: str | os.PathLike[str] | None) -> Path | None:
    """Return the folder that the user named, by argument or else by environment, or ``None``.

    Raises:
        DataError: if there is no such folder.
    """
    named = data_dir if data_dir is not None else os.environ.get(ENVIRONMENT) or None
    if named is None:
        return None
    folder = Path(named).expanduser()
    if not os.path.isdir(folder):  # Unlike Path.is_dir, never raises.
        origin = "--data-dir (data_dir)" if data_dir is not None else ENVIRONMENT
        raise DataError(f"{origin} names {folder}, which is not a folder")
    return folder


def search(facts: DatasetInfo, root: Path) -> dict[str, Path]:
    """Return the files of a data set below the folder that the user named; empty unless all are there.

    The data set's own folders come first, then ``root`` itself. Nothing is written.
    """
    for folder in _places(facts, root):
        found, missing = _look(folder, facts)
        if not missing:
            return found
    return {}


def refuse_partial(facts: DatasetInfo, root: Path) -> None:
    """Raise ``DataError`` if a folder below ``root`` holds some of the files of a data set, but not all.

    To pass over them in silence and use other files would not be what the user meant.
    """
    for folder in _places(facts, root):
        found, missing = _look(folder, facts)
        if found and missing:
            raise DataError(f"{folder}: holds only a part of {facts.name}, it lacks {', '.join(missing)}")


def cached(facts: DatasetInfo) -> dict[str, Path]:
    """Return the files of a data set in the cache folder; empty unless all are there."""
    found, missing = _look(cache_folder(facts), facts)
    return {} if missing else found


def _look(folder: Path, facts: DatasetInfo) -> tuple[dict[str, Path], list[str]]:
    try:
        return FORMATS[facts.name].locate(folder, facts)
    except OSError as error:
        raise DataError(f"{folder}: cannot be read ({error.strerror or error})") from error


def _places(facts: DatasetInfo, root: Path) -> Iterator[Path]:
    yield from (root / name for name in facts.folders)
    yield root
