"""A lock between processes that the operating system lets go of when its holder dies, however it dies."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

_POLL_S = 0.05

if sys.platform == "win32":
    import msvcrt

    _HELD: type[OSError] = PermissionError

    def _try_lock(file: BinaryIO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    _HELD: type[OSError] = BlockingIOError

    def _try_lock(file: BinaryIO) -> None:
        fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Wait until this process alone holds the lock file ``path``, and hold it during the ``with`` block.

    The file stays behind, empty: removing it would let two processes lock two files of the same name.

    Yields:
        ``True``, or ``False`` where the file system cannot lock.
    """
    with path.open("ab") as file:
        yield _wait(file)


def _wait(file: BinaryIO) -> bool:
    while True:
        try:
            _try_lock(file)
        except _HELD:
            time.sleep(_POLL_S)
        except OSError:
            return False
        else:
            return True
