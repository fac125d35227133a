"""Every public operator.

Names, argument order and semantics are those of ``torch.nn.functional`` where it has the function.  They
take NumPy arrays and return NumPy arrays; inside a trace they take and return tensors of its graph.
"""

from typing import Any

from . import graph as _graph  # noqa: F401  (tells operators how arrays are run)
from .ops import FUNCTIONS as _FUNCTIONS

globals().update({name: row.function for name, row in _FUNCTIONS.items()})
mul, cat = _FUNCTIONS["multiply"].function, _FUNCTIONS["concat"].function

__all__ = [*_FUNCTIONS, "mul", "cat"]


def __getattr__(name: str) -> Any:
    if name in _FUNCTIONS:  # registered from outside the package, later than this module was imported
        return _FUNCTIONS[name].function
    raise AttributeError(f"numbaconv.functional has no {name!r}")
