"""The number of threads kernels use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Use so many threads within the block; ``None`` leaves the number as it is.

    Raises:
        ValueError: if Numba has not so many.
    """
    if count is None:
        yield
        return
    import numba

    most = numba.config.NUMBA_NUM_THREADS
    if not 1 <= count <= most:
        raise ValueError(f"threads must lie between 1 and {most} (see NUMBA_NUM_THREADS), got {count}")
    before = numba.get_num_threads()
    numba.set_num_threads(count)
    try:
        yield
    finally:
        numba.set_num_threads(before)
