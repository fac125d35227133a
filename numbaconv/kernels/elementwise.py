"""Functions applied element by element, and chains of them: what they mean, for every backend.

A function is written once, in ``kernels/cpu``, on a vocabulary of operators and a few names (``where``, ``maximum``,
``exp`` ...).  A backend gives these names their meaning: vectors of lanes on the CPU, one number a thread on a GPU.

A chain is data, so that passes over graphs can build it: values are numbered, first the operands, then what each
instruction ``(function, numbers of its arguments)`` gives.  y = relu(x * w + x) is

    operands "ee", program (("multiply", (0, 1)), ("add", (2, 0)), ("relu", (3,))), stores (4,)

and costs one pass over memory, however long it is.  An operand is of one of three kinds: ``ELEMENTS``, ``CHANNELS``
(one number for each channel) and ``NUMBER`` (one for all).
"""

import inspect
from collections.abc import Callable
from typing import Any

from .lowering import BATCH, PLAIN, SAME

ELEMENTS, CHANNELS, NUMBER = "e", "c", "n"

#: operator -> Python function
FUNCTIONS: dict[str, Callable] = {}
#: operators that take longer than reading their argument from memory: no result of theirs is calculated twice
COSTLY: set[str] = set()


def attributes_of(name: str, inputs: int) -> list[str]:
    """The attributes that the function ``name`` takes behind its ``inputs`` values."""
    return list(inspect.signature(FUNCTIONS[name]).parameters)[inputs:]


def homes_of(program) -> tuple[str, ...]:
    """The modules whose functions a program calls: its kernel is compiled anew when one of them changes."""
    return tuple(sorted({FUNCTIONS[name].__module__ for name, _ in program}))


def has_channels(node: Any) -> bool:
    """Whether a chain asks which channel an element is of."""
    return bool(node.attrs["statistics"]) or CHANNELS in node.attrs["operands"]


def input_layouts(node: Any) -> tuple[str, ...]:
    """Of a chain's operands."""
    elements = BATCH if has_channels(node) else SAME
    return tuple(elements if kind == ELEMENTS else PLAIN for kind in node.attrs["operands"])


def output_layouts(node: Any) -> tuple[str, ...]:
    """Of a chain's stored values, and of its sums and moments."""
    stored = len(node.attrs["stores"])
    return (BATCH if has_channels(node) else SAME,) * stored + (PLAIN,) * (len(node.outputs) - stored)
