"""numbaconv: a convolution engine whose every kernel is Python, compiled by Numba.

    import numbaconv as nc
    import numbaconv.functional as F

Rooms are imported when first used, so that ``import numbaconv`` costs nothing.
"""

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: public name -> module that has it
_HOMES = {
    "Graph": "graph",
    "Tensor": "graph",
    "Variable": "graph",
    "compile": "compiled",
    "get_threads": "kernels.cpu.runner",
    "grad": "graph",
    "load": "training",
    "manual_seed": "random",
    "save": "training",
    "set_threads": "kernels.cpu.runner",
    "Trainer": "training",
    "value_and_grad": "graph",
    "vjp": "graph",
}
_ROOMS = ("bench", "data", "functional", "graph", "models", "nn", "ops", "optim", "random", "training", "visual")

__all__ = ["__version__", *_HOMES, *_ROOMS]  # noqa: PLE0604

if TYPE_CHECKING:
    from . import bench, data, functional, graph, models, nn, ops, optim, random, training, visual
    from .compiled import compile
    from .graph import Graph, Tensor, Variable, grad, value_and_grad, vjp
    from .kernels.cpu.runner import get_threads, set_threads
    from .random import manual_seed
    from .training import Trainer, load, save


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f".{name}", __name__)
    if name in _HOMES:
        value = getattr(importlib.import_module(f".{_HOMES[name]}", __name__), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'numbaconv' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
