"""Files that are either whole or not there, whatever moment the process is killed at."""

from __future__ import annotations

import os
from pathlib import Path

_TEMPORARY = ".partial"


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a file (text as UTF-8) so that, at any moment, its name stands for the old content or the new.

    Its folder is made if need be.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: a rename is atomic only within a file system.
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_TEMPORARY}")
    try:
        with temporary.open("wb") as file:
            file.write(data.encode() if isinstance(data, str) else data)
            file.flush()
            os.fsync(file.fileno())  # Before the rename, or a power cut may leave the new name on an empty file.
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def remove_leftovers(folder: Path) -> None:
    """Delete what killed writers left in a folder."""
    for leftover in folder.glob(f".*{_TEMPORARY}"):
        leftover.unlink(missing_ok=True)


def _sync_folder(folder: Path) -> None:
    """Make a rename durable, where the system can."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
