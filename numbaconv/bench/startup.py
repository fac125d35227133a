"""Start-up: from the start of a process to what the user waits for.

Kernel caches (ours, and that of ``torch.compile``) are folders of their own that are empty at first: the first process
compiles (once), all later ones find their kernels there.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass

from .process import Run, our_training, run, torch_training
from .report import Row, column
from .session import Session


@dataclass(kw_only=True)
class StartupRow(Row):
    """One program; ``ratio`` says how many times as long it takes as the program it is measured against."""

    seconds: float = column("seconds", ".3f", 0.0)
    ratio: float | None = column("theirs / ours", ".2f")
    peak_memory_mib: float = column("peak MiB", ",.0f", 0.0)
    runs: int = column("runs", "d", 0)


def measure(session: Session, network: str = "lenet5", batch: int = 64, compile: bool = False) -> Sequence[Row]:
    """Rows for the first training step of a network and for importing; best of the session's rounds.

    Args:
        session: rounds and other libraries.
        network: a name of ``numbaconv.models``.
        batch: images of the step.
        compile: let ``torch.compile`` take part too; it needs a C++ compiler and its time.
    """
    step = f"{network}, batch {batch}: first step"
    ours, torch, compiled = f"{step}, ", f"{step}, torch", f"{step}, torch.compile, "
    warm, cold = "warm cache", "empty cache"
    programs = {ours + warm: our_training(network, batch, steps=1)}
    ratios = {"import numbaconv": "import numba"}
    imports = ["numbaconv", "numba"]
    to_compile = [ours]
    if "torch" in session.against:
        imports.append("torch")
        programs[torch] = torch_training(session, network, batch, steps=1)
        ratios[ours + warm] = torch
        if compile:
            to_compile.append(compiled)
            programs[compiled + warm] = torch_training(session, network, batch, steps=1, compile=True)
            ratios[ours + cold] = compiled + cold
    programs |= {f"import {package}": f"import {package}" for package in imports}
    total = len(to_compile) + session.rounds * len(programs)
    best: dict[str, Run] = {}
    with tempfile.TemporaryDirectory(prefix="numbaconv-bench-") as cache:
        environment = {"NUMBACONV_CACHE_DIR": f"{cache}/numbaconv", "TORCHINDUCTOR_CACHE_DIR": f"{cache}/torch"}
        for position, name in enumerate(to_compile):
            session.progress(position, total, name + cold)
            best[name + cold] = run(programs[name + warm], environment)
        for turn in range(session.rounds):
            for position, (name, program) in enumerate(programs.items()):
                session.progress(len(to_compile) + turn * len(programs) + position, total, name)
                found = run(program, environment)
                best[name] = min(best.get(name, found), found)
    session.progress(total, total)
    once = {name + cold for name in to_compile}
    rows = []
    for name, found in best.items():
        other = best.get(ratios.get(name, ""))
        rows.append(
            StartupRow(
                name=name,
                seconds=found.seconds,
                ratio=other.seconds / found.seconds if other else None,
                peak_memory_mib=found.memory / 2**20,
                runs=1 if name in once else session.rounds,
            )
        )
    return rows
