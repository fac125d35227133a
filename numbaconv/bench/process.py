"""Programs in processes of their own: how long one takes from its start to its end, and how much memory it has at most.

Processes take turns.  Time ends when the process says that it is done, before Python ends.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numbaconv
from numbaconv import models
from numbaconv.kernels.cpu import runner

from .session import Session
from .train import LR, MOMENTUM
from .twin import torch_program

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
images, labels = rng.standard_normal({shape}, np.float32), rng.integers(0, 10, {batch})
optimizer = nc.optim.SGD(lr={lr}, momentum={momentum})
trainer = nc.Trainer(nc.models.build("{network}"), optimizer=optimizer, batch_size={batch})
for _ in range({steps}):
    trainer.step(images, labels)
"""

_TORCH = """
{model}
torch.set_num_threads({threads})
images, labels = torch.randn({shape}), torch.randint(0, 10, ({batch},))
model, images = (thing.to(memory_format=torch.{layout}) for thing in (model, images))
optimizer = torch.optim.SGD(model.parameters(), lr={lr}, momentum={momentum})
def loss_of(images, labels):
    outputs = model(images)
    if not isinstance(outputs, tuple):
        return torch.nn.functional.cross_entropy(outputs, labels)
    loss, *auxiliary = (torch.nn.functional.cross_entropy(scores, labels) for scores in outputs)
    return loss + {auxiliary_weight} * sum(auxiliary)
if {compile}:
    loss_of = torch.compile(loss_of)
for _ in range({steps}):
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of(images, labels)
    loss.backward()
    optimizer.step()
    loss.item()
"""


def our_training(network: str, batch: int, steps: int) -> str:
    """A program that trains a network for some steps on random images."""
    return _OURS.format(network=network, **_settings(network, batch, steps))


def torch_training(
    session: Session, network: str, batch: int, steps: int, layout: str = "contiguous_format", compile: bool = False
) -> str:
    """The same with PyTorch; nothing of ours is imported there.

    Raises:
        ValueError: if the network has no twin in PyTorch.
    """
    settings = _settings(network, batch, steps)
    ours = models.build(network)
    model = torch_program(session.torch, ours, settings["shape"])
    weight = getattr(ours, "auxiliary_weight", 0.0)
    return _TORCH.format(
        model=model, auxiliary_weight=weight, threads=runner.get_threads(), layout=layout, compile=compile, **settings
    )


def _settings(network: str, batch: int, steps: int) -> dict[str, Any]:
    shape = (batch, *models.image_shape(network))
    return {"shape": shape, "batch": batch, "steps": steps, "lr": LR, "momentum": MOMENTUM}


@dataclass(frozen=True, order=True)
class Run:
    """Seconds from the start of a process to the end of its program, and the most memory it had, in bytes."""

    seconds: float
    memory: int


def run(program: str, environment: Mapping[str, str] | None = None) -> Run:
    """Run a program in a new process, which finds numbaconv where it is found here.

    Args:
        program: its source.
        environment: variables to add.

    Raises:
        RuntimeError: if the program fails, with the last line it complained with.
    """
    here = str(Path(numbaconv.__file__).resolve().parents[1])
    variables = {
        **os.environ,
        "NUMBA_NUM_THREADS": str(runner.get_threads()),
        "PYTHONPATH": os.pathsep.join(filter(None, (here, os.environ.get("PYTHONPATH")))),
        **(environment or {}),
    }
    with tempfile.TemporaryDirectory(prefix="numbaconv-bench-") as folder:
        file = Path(folder) / "program.py"  # a network's source is longer than a command line may be
        file.write_text(program + _DONE, encoding="utf-8")
        start = time.perf_counter()
        with subprocess.Popen(
            [sys.executable, str(file)], env=variables, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        ) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            seconds = time.perf_counter() - start
            _, complaint = process.communicate()
    if not line.startswith("done"):
        raise RuntimeError(f"bench: a measured process failed: {(complaint.strip() or line).splitlines()[-1:]}")
    return Run(seconds, int(line.split()[1]))
