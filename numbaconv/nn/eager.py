"""Running a module on NumPy arrays: trace it once for their shapes, then replay the plan.

It is the path every graph takes; only the finished plan is remembered here, so that a call need not trace again. A plan
counts as long as no attribute of any module was set since. What ``forward`` reads from elsewhere (globals, list
elements) is read when it is traced.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple
from weakref import WeakKeyDictionary

import numpy as np

from numbaconv import random
from numbaconv.graph import Executable, Graph, Tensor, compile_graph

if TYPE_CHECKING:
    from .module import Module

# Plans a module keeps; a caller with ever new shapes must not fill the memory.
_PLANS_PER_MODULE = 8


class _Plan(NamedTuple):
    """A traced module.

    Attributes:
        executable: the plan.
        container: the type that holds its outputs; ``None`` for a single one.
        key: what its random nodes (dropout) read, to be renewed for every call; ``None`` if it has none.
    """

    executable: Executable
    container: type | None
    key: np.ndarray | None


_plans: WeakKeyDictionary[Module, dict[Any, _Plan]] = WeakKeyDictionary()
_structure = 0  # Counts the changes to modules.


def forget_plans() -> None:
    """Make all plans traced so far stale; called when an attribute of a module changes."""
    global _structure
    _structure += 1


def structure() -> int:
    """Return a number that is another one whenever a module was changed: what was traced from modules is stale then."""
    return _structure


def run(module: Module, args: Sequence[Any], options: Mapping[str, Any]) -> Any:
    """Run a module on arrays and return the array, or the tuple or list of arrays, that ``forward`` returns.

    Raises:
        TypeError: if an argument is not an array, or ``forward`` returns something else than tensors.
    """
    arrays = [_as_array(module, argument) for argument in args]
    key = (_structure, tuple((array.shape, array.dtype) for array in arrays), repr(sorted(options.items())))
    plans = _plans.setdefault(module, {})
    if key not in plans:
        while len(plans) >= _PLANS_PER_MODULE:
            del plans[next(iter(plans))]
        plans[key] = _trace(module, arrays, options)
    plan = plans[key]
    if plan.key is not None:
        plan.key[...] = random.next_key()
    outputs = plan.executable.run(arrays)
    return outputs[0] if plan.container is None else plan.container(outputs)


def _trace(module: Module, arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> _Plan:
    graph = Graph()
    key = np.zeros(2, np.int64)
    graph.set_random_key(graph.leaf(key))
    result = module.forward(*(graph.input(array.shape, array.dtype) for array in arrays), **options)
    container = type(result) if isinstance(result, (tuple, list)) else None
    tensors = [result] if container is None else list(result)
    if not tensors or not all(isinstance(tensor, Tensor) for tensor in tensors):
        raise TypeError(
            f"{type(module).__name__}: forward() must return tensors made from its inputs, "
            f"got {', '.join(type(tensor).__name__ for tensor in tensors) or 'nothing'}"
        )
    graph.output(*tensors)
    is_random = any(graph.leaf(key) in node.inputs for node in graph.nodes)
    return _Plan(compile_graph(graph), container, key if is_random else None)


def _as_array(module: Module, argument: Any) -> np.ndarray:
    if not hasattr(argument, "__array__"):
        raise TypeError(f"{type(module).__name__}: expected NumPy arrays, got {type(argument).__name__}")
    return np.asarray(argument)
