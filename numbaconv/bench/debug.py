"""``NUMBACONV_DEBUG=2``: where the time of every plan goes, printed once, when it has run for the first time."""

from __future__ import annotations

import functools
import sys
from collections.abc import Sequence
from typing import TextIO

import numpy as np

from numbaconv.graph import Executable, runner

from . import table
from .profile import profile
from .report import Report
from .session import Session

_ROUNDS = 3


def install() -> None:
    """From now on print the steps of every plan that is new; ``numbaconv`` calls it where the variable is set."""
    runner.after_first_run = print_steps


def print_steps(executable: Executable, inputs: Sequence[np.ndarray] = (), file: TextIO | None = None) -> None:
    """Time each step of a plan and print a table, on standard error by default; what a run updates is put back."""
    rows = profile(_session(), executable, inputs)
    shapes = ", ".join(f"{array.dtype} {'x'.join(map(str, array.shape))}" for array in inputs)
    file = sys.stderr if file is None else file
    print(f"numbaconv: {len(rows) - 1} steps on {shapes or 'its own arrays'}", file=file)
    print(table.lines(Report("profile", rows, {})), file=file, flush=True)


@functools.cache
def _session() -> Session:
    """One for all plans: the peak is measured once."""
    return Session(rounds=_ROUNDS)
