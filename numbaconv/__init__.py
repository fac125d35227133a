"""numbaconv: a convolution engine whose every kernel is Python, compiled by Numba.

    import numbaconv as nc
    import numbaconv.functional as F

Rooms are imported when first used, so that ``import numbaconv`` costs nothing.
"""

import importlib
import os
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

#: public name -> module that has it
_HOMES = {
    "Graph": "graph",
    "Tensor": "graph",
    "Variable": "graph",
    "check_gradients": "graph",
    "compile": "compiled",
    "DeviceArray": "kernels.device",
    "get_threads": "kernels.cpu.runner",
    "grad": "graph",
    "load": "training",
    "manual_seed": "random",
    "save": "training",
    "set_threads": "kernels.cpu.runner",
    "to_device": "kernels.device",
    "to_host": "kernels.device",
    "Trainer": "training",
    "value_and_grad": "graph",
    "vjp": "graph",
}
_ROOMS = (
    "bench", "data", "extend", "filters", "functional", "graph", "models", "nn", "ops", "optim", "random", "recipes",
    "sparse", "training", "visual",
)  # fmt: skip

__all__ = ["__version__", *_HOMES, *_ROOMS]

if TYPE_CHECKING:
    # "as" of the same name tells type checkers that a name is public
    from . import bench as bench
    from . import data as data
    from . import extend as extend
    from . import filters as filters
    from . import functional as functional
    from . import graph as graph
    from . import models as models
    from . import nn as nn
    from . import ops as ops
    from . import optim as optim
    from . import random as random
    from . import recipes as recipes
    from . import sparse as sparse
    from . import training as training
    from . import visual as visual
    from .compiled import compile as compile
    from .graph import Graph as Graph
    from .graph import Tensor as Tensor
    from .graph import Variable as Variable
    from .graph import check_gradients as check_gradients
    from .graph import grad as grad
    from .graph import value_and_grad as value_and_grad
    from .graph import vjp as vjp
    from .kernels.cpu.runner import get_threads as get_threads
    from .kernels.cpu.runner import set_threads as set_threads
    from .kernels.device import DeviceArray as DeviceArray
    from .kernels.device import to_device as to_device
    from .kernels.device import to_host as to_host
    from .random import manual_seed as manual_seed
    from .training import Trainer as Trainer
    from .training import load as load
    from .training import save as save


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


if os.environ.get("NUMBACONV_DEBUG") == "2":
    from .bench import debug

    debug.install()
