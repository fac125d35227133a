"""The FMA peak: how many multiply-adds this machine does in a second, measured by the engine's own register tile.

The tile reads a few hundred bytes again and again, on all threads: nothing but the multiply-adds can be its limit.
"""

from collections.abc import Callable

import numpy as np

from numbaconv.kernels.cpu import runner
from numbaconv.kernels.cpu.native import Pointer, kernel, word
from numbaconv.kernels.cpu.target import LANES
from numbaconv.kernels.cpu.tile import product, tiles_for

from .measure import interleaved

_DEPTH = 256  # multiply-adds of one accumulator between two stores
_UNITS = 1024  # tiles a thread computes in one call, about a millisecond
_CANDIDATES = 3  # tiles that are tried; which one the CPU likes best is not known beforehand


@kernel
def multiply_add(T, rows, vectors):  # type: ignore[no-untyped-def]  # noqa: N803
    """The same tile again and again; a unit is one tile of ``rows`` x ``vectors`` accumulators."""
    tile = product(rows, vectors)

    def loop(begin, end, block: int, first: int, x: Pointer, y: Pointer, depth: int):  # type: ignore[no-untyped-def]
        counts, still = (1, 1, 1, depth), (0, 0, 0, 0)
        for _ in range(begin, end):
            tile(x, x, y, counts, still, still, 1, LANES, vectors * LANES, LANES, 0)

    return loop


class Peak:
    """The best rate seen so far; measured at first with ``rounds``, and again whenever the caller likes.

    Attributes:
        call: one measurement to be timed, on all threads.
        rate: multiply-adds of all threads in use, in FLOP/s (a multiply-add counts two).
    """

    def __init__(self, rounds: int = 7, dtype: str = "float32") -> None:
        # The fewer loads a multiply-add, the less can come between.
        tiles = sorted(tiles_for(np.dtype(dtype).itemsize), key=lambda tile: (tile[0] + tile[1]) / (tile[0] * tile[1]))
        calls = {f"{rows}x{vectors}": _program(dtype, rows, vectors) for rows, vectors in tiles[:_CANDIDATES]}
        flops = {f"{rows}x{vectors}": _UNITS * 2.0 * rows * vectors * LANES * _DEPTH for rows, vectors in tiles}
        seconds = interleaved(calls, rounds)
        best = max(calls, key=lambda name: flops[name] / seconds[name])
        self.call = calls[best]
        self.rate = 0.0
        self._flops = flops[best] * runner.get_threads()
        self.saw(seconds[best])

    def saw(self, seconds: float) -> None:
        """Take note of how long a ``call`` took."""
        self.rate = max(self.rate, self._flops / seconds)


def _program(dtype: str, rows: int, vectors: int) -> Callable[[], None]:
    """A program of the runner (see there for the tables): one task a thread, each with numbers of its own."""
    threads, most = runner.get_threads(), runner.max_threads()
    entry = multiply_add(dtype, rows=rows, vectors=vectors)
    x = np.zeros(2 * LANES * (rows + vectors), dtype)
    y = np.zeros((most, rows * vectors * LANES + 2 * LANES), dtype)
    phases = np.array([[0, 1, 1, 1, threads, 1]], np.int64)
    steps = np.array([[entry.address(), 0, 2, 0, 1, _UNITS * threads]], np.int64)
    operands = np.array([[x.ctypes.data, 0, 0, 0], [y.ctypes.data, 0, 0, y.strides[0]]], np.int64)
    constants = np.array([word(_DEPTH)], np.int64)
    call = runner.prepare(phases, steps, operands, constants, np.zeros(most * runner.WORDS, np.int64))

    def run(held: tuple[np.ndarray, np.ndarray] = (x, y)) -> None:  # the operands are addresses only
        call()

    return run
