"""``nc.compile``: a function or a model traced once for each set of shapes, then replayed."""

from collections.abc import Callable
from typing import Any

import numpy as np

from .graph import Executable, Graph, compile_graph
from .graph.autodiff import flatten_tree


def compile(f: Callable, freeze: bool = False) -> Callable:
    """``f`` without tracing at every call: for each set of shapes and dtypes it is traced and planned once.

    What ``f`` reads besides its arguments (parameters, as arrays, by reference) may change in value; Python's control
    flow in it is fixed at the first call.  With ``freeze`` these values, too, are those of the first call with the
    shapes at hand: for inference, where filters are then packed and transformed only once.
    """
    known: dict[tuple, tuple[Executable, Callable]] = {}

    def replay(*args: Any) -> Any:
        leaves, rebuild = flatten_tree(args)
        arrays = [np.asarray(leaf) for leaf in leaves]
        key = tuple((a.shape, a.dtype) for a in arrays)
        found = known.get(key)
        if found is None:
            graph = Graph()
            results, rebuild_results = flatten_tree(f(*rebuild([graph.input(a.shape, a.dtype) for a in arrays])))
            graph.output(*results)
            found = known[key] = compile_graph(graph, freeze=freeze), rebuild_results
        executable, rebuild_results = found
        return rebuild_results(executable.run(arrays))

    return replay
