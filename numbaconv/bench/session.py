"""What all rows of one measurement share: rounds, threads, the peak, and the other libraries."""

from __future__ import annotations

import functools
import importlib
import importlib.metadata
import importlib.util
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from numbaconv.kernels.cpu import runner, target

from .measure import LEAST_SECONDS, interleaved
from .peak import Bandwidth, Peak

#: Called as on_progress(done, total, name).
OnProgress = Callable[[int, int, str], None]

R = TypeVar("R")

_TITLES = {"torch": "PyTorch", "onnxruntime": "onnxruntime"}


class Session:
    """One measurement.

    Args:
        against: names of the libraries to measure beside ours.
        rounds: rounds to take the best of.
        on_progress: called as ``on_progress(done, total, name)``.

    Attributes:
        notes: sentences about what could not be measured.
        bars: what was to be reached, and whether it was.
        device: name of the GPU that was measured, if any.

    Raises:
        ImportError: if one of ``against`` is not installed.
    """

    def __init__(self, against: Sequence[str] = (), rounds: int = 7, on_progress: OnProgress | None = None) -> None:
        self.against = tuple(against)
        self.rounds = rounds
        self.notes: list[str] = []
        self.bars: list[dict[str, Any]] = []
        self.device: str | None = None
        self._on_progress = on_progress
        for name in self.against:
            if importlib.util.find_spec(name) is None:
                raise ImportError(f"{_TITLES[name]} is not installed: pip install {name}")

    @functools.cached_property
    def torch(self) -> Any:
        """PyTorch with as many threads as ours; ``None`` if it is not to be measured."""
        if "torch" not in self.against:
            return None
        torch = importlib.import_module("torch")
        torch.set_num_threads(runner.get_threads())
        return torch

    @functools.cached_property
    def _peak(self) -> Peak:
        return Peak(self.rounds)

    @property
    def peak(self) -> float:
        """Multiply-add peak in float32 with the threads of this session, FLOP/s: the best that was seen so far."""
        return self._peak.rate

    @functools.cached_property
    def bandwidth(self) -> float:
        """Memory bandwidth with the threads of this session, byte/s."""
        return Bandwidth(self.rounds).rate

    def time(self, calls: Mapping[str, Callable[[], Any]], least_seconds: float = LEAST_SECONDS) -> dict[str, float]:
        """Seconds per call, see ``measure.interleaved``."""
        return interleaved(calls, self.rounds, least_seconds)

    def time_beside_peak(self, calls: Mapping[str, Callable[[], Any]]) -> dict[str, float]:
        """Seconds per call, while the peak takes its turns too: both see the same neighbours."""
        seconds = self.time({**calls, "peak": self._peak.call})
        self._peak.saw(seconds.pop("peak"))
        return seconds

    def each(self, work: Sequence[tuple], name: Callable[..., str], measure: Callable[..., R]) -> list[R]:
        """``measure(session, *item)`` for every item of the work, saying on the way which, by ``name(*item)``."""
        rows: list[R] = []
        for item in work:
            self.progress(len(rows), len(work), name(*item))
            rows.append(measure(self, *item))
        self.progress(len(work), len(work))
        return rows

    def progress(self, done: int, total: int, name: str = "") -> None:
        """Say how far measuring has come."""
        if self._on_progress is not None:
            self._on_progress(done, total, name)

    def facts(self) -> dict[str, Any]:
        """What the numbers hold under; peak and bandwidth only if they were measured."""
        packages = ("numbaconv", "numba", "numpy", *self.against)
        found: dict[str, Any] = {"python": platform.python_version()}
        found |= {name: _version(name) for name in packages}
        found |= {
            "cpu": target.cpu()[0],
            "instruction set": target.instruction_set(),
            "threads": runner.get_threads(),
            "rounds": self.rounds,
        }
        if self.device is not None:
            found |= {"gpu": self.device, "numba-cuda": _version("numba-cuda")}
        if "_peak" in self.__dict__:
            found["peak, GFLOP/s"] = self.peak / 1e9
        if "bandwidth" in self.__dict__:
            found["bandwidth, GB/s"] = self.bandwidth / 1e9
        return found


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:  # imported from a folder that is not installed
        return getattr(importlib.import_module(package), "__version__", None)
