"""The machine's limits, measured by the engine's own kernels on all threads.

The FMA peak is how many multiply-adds it does in a second: a register tile reads a few hundred bytes again and again,
so that nothing but the multiply-adds can be its limit.  The bandwidth is how many bytes a sum of two arrays moves that
no cache can hold (the "add" of STREAM: McCalpin, Memory Bandwidth and Machine Balance in Current High Performance
Computers, 1995; what a store reads first is not counted).
"""

from collections.abc import Callable

import numpy as np

from numbaconv.graph import Graph, compile_graph
from numbaconv.kernels.cpu import runner
from numbaconv.kernels.cpu.native import Pointer, kernel, word
from numbaconv.kernels.cpu.target import LANES
from numbaconv.kernels.cpu.tile import product, tiles_for

from .measure import interleaved
from .replay import Replay

_DEPTH = 256  # multiply-adds of one accumulator between two stores
_UNITS = 1024  # tiles a thread computes in one call, about a millisecond
_FLOATS = 1 << 25  # of each of the three arrays: 128 MiB
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


class _Limit:
    """The best rate seen so far.

    Attributes:
        call: one measurement to be timed, on all threads.
        rate: so much in a second.
    """

    def __init__(self, call: Callable[[], None], amount: float, seconds: float) -> None:
        self.call = call
        self.rate = 0.0
        self._amount = amount
        self.saw(seconds)

    def saw(self, seconds: float) -> None:
        """Take note of how long a ``call`` took."""
        self.rate = max(self.rate, self._amount / seconds)


class Peak(_Limit):
    """Multiply-adds of all threads in use, in FLOP/s (a multiply-add counts two)."""

    def __init__(self, rounds: int = 7, dtype: str = "float32") -> None:
        # The fewer loads a multiply-add, the less can come between.
        tiles = sorted(tiles_for(np.dtype(dtype).itemsize), key=lambda tile: (tile[0] + tile[1]) / (tile[0] * tile[1]))
        calls = {f"{rows}x{vectors}": _program(dtype, rows, vectors) for rows, vectors in tiles[:_CANDIDATES]}
        flops = {f"{rows}x{vectors}": _UNITS * 2.0 * rows * vectors * LANES * _DEPTH for rows, vectors in tiles}
        seconds = interleaved(calls, rounds)
        best = max(calls, key=lambda name: flops[name] / seconds[name])
        super().__init__(calls[best], flops[best] * runner.get_threads(), seconds[best])


class Bandwidth(_Limit):
    """Bytes that all threads in use read from memory and write to it, in byte/s."""

    def __init__(self, rounds: int = 7) -> None:
        graph = Graph()
        graph.output(graph.leaf(np.ones(_FLOATS, np.float32)) + graph.leaf(np.ones(_FLOATS, np.float32)))
        run = Replay(compile_graph(graph)).only(lambda step: step.label == "add")
        super().__init__(run, 3.0 * 4 * _FLOATS, interleaved({"add": run}, rounds)["add"])


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
