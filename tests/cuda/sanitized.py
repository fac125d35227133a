"""What compute-sanitizer watches (``test_sanitizer.py``): all operators' cases, or some training steps.

    compute-sanitizer --tool memcheck python tests/cuda/sanitized.py operators|steps|candidates
"""

import sys
from pathlib import Path
from typing import Any

import numpy as np

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parent)]

import test_backend as backend  # noqa: E402
from reference import make_arguments  # noqa: E402

import numbaconv as nc  # noqa: E402
from numbaconv.bench import gpu  # noqa: E402
from numbaconv.bench.conv import DIRECTIONS, Arrays  # noqa: E402
from numbaconv.bench.gpu import passes  # noqa: E402
from numbaconv.kernels.device import PRECISIONS  # noqa: E402
from numbaconv.ops import FUNCTIONS  # noqa: E402


def operators() -> None:
    """Every case of every operator that has a CUDA kernel; the first ones at every precision."""
    for name, row in FUNCTIONS.items():
        for number, case in enumerate(row.cases):
            function, arrays = backend.compiled(name, make_arguments(name, case, np.float32))
            for precision in PRECISIONS if number == 0 else PRECISIONS[:1]:
                try:
                    nc.compile(function, device="cuda", precision=precision)(*arrays)
                except NotImplementedError:
                    break


def steps() -> None:
    """Training steps, launched one by one and as a CUDA graph, of networks with all kinds of layers."""
    networks: list[tuple[Any, dict[str, int]]] = [
        (backend.Residual, {"size": 10, "channels": 3, "pad": 0}),
        (lambda: nc.models.build("lenet5", seed=0), {"size": 28, "channels": 1, "pad": 2}),
    ]
    for precision in PRECISIONS:
        for make, how in networks:
            backend.Trained(make(), "cuda", steps=3, batch=5, precision=precision, **how)


def candidates() -> None:
    """Every pass of some layers by every candidate, among them those for one architecture alone."""
    for layer in gpu.COMPARED:
        arrays = Arrays(layer)
        for direction in DIRECTIONS:
            for precision in PRECISIONS:
                for candidate in passes.candidates(direction, precision):
                    passes.executable(layer, direction, arrays, precision, candidate).run()


if __name__ == "__main__":
    {"operators": operators, "steps": steps, "candidates": candidates}[sys.argv[1]]()
