"""The number of threads kernels use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from numbaconv.kernels.cpu import runner


@contextmanager
def use_threads(count: int | None) -> Iterator[None]:
    """Use so many threads within the block; ``None`` leaves the number as it is.

    Raises:
        ValueError: if there are not so many.
    """
    if count is None:
        yield
        return
    before = runner.get_threads()
    runner.set_threads(count)
    try:
        yield
    finally:
        runner.set_threads(before)
