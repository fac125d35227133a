"""Start-up: from the start of a process to what the user waits for.

Processes take turns.  The kernel cache is a folder of its own that is empty at first: the first process compiles
(once), all later ones find their kernels there.  Time ends when the process says that it is done, before Python ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numbaconv
from numbaconv import models
from numbaconv.kernels.cpu import runner

from .report import Row, column
from .session import Session

# Linux counts a parent's memory into its child's ru_maxrss, so its own record is asked first.
_DONE = """
import re, sys
try:
    memory = int(re.search(r"VmHWM:\\s*(\\d+)", open("/proc/self/status").read())[1]) * 1024
except (OSError, TypeError):
    try:
        import resource
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)
    except ImportError:
        memory = 0
print("done", memory, flush=True)
"""

_OURS = """
import numpy as np
import numbaconv as nc
rng = np.random.default_rng(0)
images, labels = rng.standard_normal(({batch}, {channels}, {height}, {width}), np.float32), rng.integers(0, 10, {batch})
optimizer = nc.optim.SGD(lr=0.01, momentum=0.9)
nc.Trainer(nc.models.build("{network}"), optimizer=optimizer, batch_size={batch}).step(images, labels)
"""

_TORCH = """
import torch
from collections import OrderedDict
from torch import nn
torch.set_num_threads({threads})
images, labels = torch.randn({batch}, {channels}, {height}, {width}), torch.randint(0, 10, ({batch},))
model = nn.Sequential(
    nn.Conv2d(1, 6, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Conv2d(6, 16, 5), nn.Tanh(), nn.AvgPool2d(2), nn.Flatten(),
    nn.Linear(400, 120), nn.Tanh(), nn.Linear(120, 84), nn.Tanh(), nn.Linear(84, 10))
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
optimizer.zero_grad(set_to_none=True)
loss = nn.functional.cross_entropy(model(images), labels)
loss.backward()
optimizer.step()
loss.item()
"""

_STEP = "{network}, batch {batch}: first step"


@dataclass(kw_only=True)
class StartupRow(Row):
    """One program; ``ratio`` says how many times as long it takes as the program it is measured against."""

    seconds: float = column("seconds", ".3f", 0.0)
    ratio: float | None = column("theirs / ours", ".2f")
    peak_memory_mib: float = column("peak MiB", ",.0f", 0.0)
    runs: int = column("runs", "d", 0)


def measure(session: Session, network: str = "lenet5", batch: int = 64) -> Sequence[Row]:
    """Rows for the first training step of LeNet-5 and for importing; best of the session's rounds.

    Args:
        session: rounds and other libraries.
        network: a name of ``numbaconv.models``; PyTorch has a program here for LeNet-5 only.
        batch: images of the step.
    """
    channels, height, width = models.image_shape(network)
    values = {
        "network": network, "batch": batch, "channels": channels, "height": height, "width": width,
        "threads": runner.get_threads(),
    }  # fmt: skip
    step = _STEP.format(**values)
    warm, cold, torch = (f"{step}, {how}" for how in ("warm cache", "empty cache", "torch"))
    programs = {warm: _OURS.format(**values)}
    ratios = {"import numbaconv": "import numba"}
    imports = ["numbaconv", "numba"]
    if "torch" in session.against:
        imports.append("torch")
        if network == "lenet5":
            programs[torch] = _TORCH.format(**values)
            ratios[warm] = torch
        else:
            session.notes.append(f"torch: there is no program of the first step of {network}")
    programs |= {f"import {package}": f"import {package}" for package in imports}
    total = 1 + session.rounds * len(programs)
    best: dict[str, _Run] = {}
    with tempfile.TemporaryDirectory(prefix="numbaconv-bench-") as cache:
        session.progress(0, total, cold)
        first = _run(programs[warm], cache)
        for turn in range(session.rounds):
            for position, (name, program) in enumerate(programs.items()):
                session.progress(1 + turn * len(programs) + position, total, name)
                run = _run(program, cache)
                best[name] = min(best.get(name, run), run)
    session.progress(total, total)
    rows: list[Row] = []
    for name, run in best.items():
        other = best.get(ratios.get(name, ""))
        rows.append(_row(name, run, session.rounds, other.seconds / run.seconds if other else None))
    rows.insert(1, _row(cold, first, 1))
    return rows


@dataclass(frozen=True, order=True)
class _Run:
    seconds: float
    memory: int


def _row(name: str, run: _Run, runs: int, ratio: float | None = None) -> StartupRow:
    return StartupRow(name=name, seconds=run.seconds, ratio=ratio, peak_memory_mib=run.memory / 2**20, runs=runs)


def _run(program: str, cache: str) -> _Run:
    """Seconds from the start of a process to the end of its program, and the most memory it had, in bytes.

    Raises:
        RuntimeError: if the program fails, with the last line it complained with.
    """
    here = str(Path(numbaconv.__file__).resolve().parents[1])
    environment = os.environ | {
        "NUMBACONV_CACHE_DIR": cache,
        "NUMBA_NUM_THREADS": str(runner.get_threads()),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
    }
    start = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-c", program + _DONE],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        line = process.stdout.readline()
        seconds = time.perf_counter() - start
        _, complaint = process.communicate()
    if not line.startswith("done"):
        raise RuntimeError(f"bench startup: a measured process failed: {(complaint.strip() or line).splitlines()[-1:]}")
    return _Run(seconds, int(line.split()[1]))
