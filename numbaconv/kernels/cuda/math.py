"""Elementary functions of a float32: what the names of ``kernels/cpu/math.py`` and ``vector.py`` mean on a GPU.

Those of one argument come from libdevice, whose errors are at most 2 units in the last place (tanh, CUDA's
programming guide); the emulator takes NumPy's.
"""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from numba.cuda import libdevice

from .intrinsics import F32, Instruction, maximum, minimum, where


class _Elementary(Instruction):
    """A function of one number: libdevice's in a kernel, ``emulated`` where Python calls it."""

    emulated: Any

    def __call__(self, x: Any) -> Any:
        with np.errstate(all="ignore"):
            return self.emulated(x)


def _elementary(function: Callable, emulated: Callable) -> Any:
    def define(typing, x):
        def codegen(context, builder, sig, args):
            return context.get_function(function, F32(F32))(builder, args)

        return F32(F32), codegen

    made = _Elementary(function.__name__, define, prefer_literal=True, target="cuda")
    made._register()
    made.emulated = emulated
    return made


def _erfc(x: Any) -> Any:
    return np.asarray(np.frompyfunc(math.erfc, 1, 1)(np.asarray(x, np.float64)), np.float32).view(type(x))


exp = _elementary(math.exp, np.exp)
expm1 = _elementary(math.expm1, np.expm1)
log = _elementary(math.log, np.log)
log1p = _elementary(math.log1p, np.log1p)
tanh = _elementary(math.tanh, np.tanh)
sqrt = _elementary(math.sqrt, np.sqrt)
absolute = _elementary(math.fabs, np.abs)
erfc = _elementary(math.erfc, _erfc)
nearest = _elementary(libdevice.rintf, np.rint)
floor = _elementary(libdevice.floorf, np.floor)

_ROOT_HALF = math.sqrt(0.5)
_INVERSE_ROOT_OF_TWO_PI = 1.0 / math.sqrt(2.0 * math.pi)


def sigmoid(x):
    """1 / (1 + exp(-x)), by exp of -|x|: what is large does not overflow."""
    e = exp(-absolute(x))
    return where(x < 0.0, e, 1.0 + e * 0.0) / (1.0 + e)


def normal_cdf(x):
    """The normal distribution's Phi(x)."""
    return 0.5 * erfc(-_ROOT_HALF * x)


def normal_cdf_and_density(x):
    """Phi(x) and its derivative."""
    return normal_cdf(x), _INVERSE_ROOT_OF_TWO_PI * exp(-0.5 * x * x)


__all__ = [
    "absolute", "erfc", "exp", "expm1", "floor", "log", "log1p", "maximum", "minimum", "nearest", "normal_cdf",
    "normal_cdf_and_density", "sigmoid", "sqrt", "tanh", "where",
]  # fmt: skip
