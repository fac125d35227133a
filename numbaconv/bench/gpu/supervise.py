"""Measuring in a process of its own, which may crash or hang: what it has told by then stays, and the rest goes on.

A fault of one kernel (an illegal address) makes a process's GPU useless, and a deadlock never ends.  So items are
measured by a child, which writes a line of JSON before and after each.  If it dies, or takes too long over an item,
that is noted, and another child goes on with the next item.  When time is up, what is left is noted too.
"""

from __future__ import annotations

import json
import os
import pickle
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TextIO

import numbaconv
from numbaconv.kernels.device import driver_for

from ..session import Session
from .item import Item, compile_all, reason
from .row import GpuRow

#: Seconds that a child may take until it says that it begins: imports, the first contact with the GPU.
STARTING = 120.0

#: What a child is told: the module and function that make the items, their arguments, libraries, rounds.
Making = tuple[Callable[..., list[Item]], dict[str, Any], Sequence[str], int]


def measure_here(items: Sequence[Item], session: Session) -> list[GpuRow]:
    """Measure in this process."""
    compile_all(items, driver_for("cuda"), session.notes.append, session.progress)
    rows: list[GpuRow] = []
    for number, item in enumerate(items):
        session.progress(number, len(items), item.name)
        try:
            rows += item.measure(session)
        except Exception as error:
            session.notes.append(f"{item.name}: {reason(error)}")
    session.progress(len(items), len(items))
    return rows


def measure_apart(
    making: Making, names: Sequence[str], session: Session, seconds: float, save: Callable[[list[GpuRow]], None]
) -> list[GpuRow]:
    """Measure the items that ``making`` makes, called ``names``, in children, for so many seconds at most.

    ``save`` is called with all rows so far after every item.
    """
    end = time.monotonic() + seconds
    rows: list[GpuRow] = []
    first, compiled = 0, False
    while first < len(names) and time.monotonic() < end:
        child = _Child(making, first, compile=not compiled)
        limit, current, began = STARTING, "starting", False
        try:
            while first < len(names):
                line = child.line(min(limit, end - time.monotonic()))
                if line is None:  # it has died, hangs, or time is up
                    break
                kind, value = line
                if kind == "device":
                    session.device = value
                elif kind == "compiling":
                    limit, current = end - time.monotonic(), f"compiling {value[2]}"
                    session.progress(value[0], value[1], current)
                elif kind == "note":
                    session.notes.append(value)
                elif kind == "begin":
                    limit, current, compiled, began = value, names[first], True, True
                    session.progress(first, len(names), current)
                elif kind == "rows":
                    rows += [GpuRow(**row) for row in value]
                    first, limit = first + 1, STARTING
                    save(rows)
        finally:
            complaint = child.end()
        if first < len(names) and time.monotonic() < end:
            in_between = began and current != names[first]  # its last item was done, and noted if that broke the GPU
            if not in_between:
                why = "took too long" if child.hangs else f"ended the process ({complaint})"
                session.notes.append(f"{current}: {why}")
                first += 1
            if not compiled:  # nothing can be measured
                first = len(names)
    if first < len(names):
        session.notes.append(f"left out for want of time: {'; '.join(names[first:])}")
    session.progress(len(names), len(names))
    return rows


class _Child:
    """A process that measures items from the ``first`` on, after compiling the kernels of all."""

    def __init__(self, making: Making, first: int, compile: bool) -> None:
        here = str(Path(numbaconv.__file__).resolve().parents[1])
        path = os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH"))))
        self._process = subprocess.Popen(
            [sys.executable, "-c", f"from {__name__} import serve; serve()"],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
        self._lines: queue.Queue[str | None] = queue.Queue()
        self._complaints: list[str] = []
        self.hangs = False
        for target in (self._read, self._listen):
            threading.Thread(target=target, daemon=True).start()
        assert self._process.stdin is not None
        try:
            pickle.dump((making, first, compile), self._process.stdin)
            self._process.stdin.close()
        except OSError:  # it has died
            pass

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line.decode())
        self._lines.put(None)

    def _listen(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self._complaints = [*self._complaints[-20:], line.decode(errors="replace").strip()]

    def line(self, seconds: float) -> tuple[str, Any] | None:
        """The next thing it tells; None if it has ended, or says nothing for so long."""
        try:
            line = self._lines.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            self.hangs = True
            return None
        return None if line is None else tuple(json.loads(line))

    def end(self) -> str:
        """End it; gives the last line that it complained with."""
        if self.hangs:
            self._process.kill()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        return next((line for line in reversed(self._complaints) if line), f"exit {self._process.returncode}")


def serve() -> None:
    """A child's life; what libraries print goes to standard error."""
    with os.fdopen(os.dup(1), "w") as out:
        os.dup2(2, 1)
        making, first, compile = pickle.load(sys.stdin.buffer)
        _serve(making, first, compile, out)


def _serve(making: Making, first: int, compile: bool, out: TextIO) -> None:
    def tell(kind: str, value: Any) -> None:
        out.write(json.dumps([kind, value]) + "\n")  # at once: several threads tell of what they have compiled
        out.flush()

    make, arguments, against, rounds = making
    driver = driver_for("cuda")
    tell("device", driver.name)
    items = make(**arguments)
    session = Session(against, rounds)
    if compile:
        compile_all(items, driver, lambda text: tell("note", text), lambda *state: tell("compiling", state))
    for item in items[first:]:
        tell("begin", item.seconds)
        try:
            rows = [row.to_dict() for row in item.measure(session)]
        except Exception as error:
            tell("note", f"{item.name}: {reason(error)}")
            rows = []
        tell("rows", rows)
        for note in session.notes:
            tell("note", note)
        session.notes.clear()
        driver.synchronize()  # raises if the GPU is lost: this process ends, and another goes on
