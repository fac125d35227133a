"""What an operator from outside the package is written with; docs/adding-an-operator.md shows how.

The operator, what its callers see, and its examples:  ``Operator``, ``Spec``, ``operator``, ``apply``, ``public``,
``Case``, ``normal`` and the other draws, ``as_input``, ``check_floats``, ``shape_of``, ``dtype_of``, ``integers``.

Its loop: ``kernel`` with the annotations ``Pointer``, ``Pointers``, ``Ints``, ``INT64`` of its arguments, ``lowering``
with the layouts ``PLAIN``, ``BATCH``, ``SAME``, or ``elementwise`` for a function of vectors alone.

On vectors of ``LANES`` numbers: ``load``, ``load_first``, ``store``, ``store_first``, ``splat``, ``where``,
``maximum``, ``minimum``, ``absolute``, ``sqrt``, ``fma``, ``reduce_add``, ``reduce_max``, ``exp``, ``log``, ``tanh``,
and ``at`` for a pointer some elements further.
"""

from . import graph as _graph  # noqa: F401  (tells operators how arrays are run)
from .kernels.cpu.elementwise import elementwise
from .kernels.cpu.lowering import BATCH, PLAIN, SAME, Buffer, Program, ceil_div, lowering
from .kernels.cpu.math import exp, log, tanh
from .kernels.cpu.native import INT64, Ints, Pointer, Pointers, kernel
from .kernels.cpu.target import LANES
from .kernels.cpu.vector import (
    absolute,
    at,
    fma,
    load,
    load_first,
    maximum,
    minimum,
    reduce_add,
    reduce_max,
    splat,
    sqrt,
    store,
    store_first,
    where,
)
from .ops.core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    dtype_of,
    integers,
    operator,
    public,
    shape_of,
)
from .ops.draw import below, nonzero, normal, positive

__all__ = [
    "BATCH", "Buffer", "Case", "INT64", "Ints", "LANES", "Operator", "PLAIN", "Pointer", "Pointers", "Program", "SAME",
    "Spec", "absolute", "apply", "as_input", "at", "below", "ceil_div", "check_floats", "dtype_of", "elementwise",
    "exp", "fma", "integers", "kernel", "load", "load_first", "log", "lowering", "maximum", "minimum", "nonzero",
    "normal", "operator", "positive", "public", "reduce_add", "reduce_max", "shape_of", "splat", "sqrt", "store",
    "store_first", "tanh", "where",
]  # fmt: skip
