"""Every operator that the CUDA engine has against float64, which the CPU engine calculates."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from numbaconv.graph import Graph, compile_graph
from numbaconv.graph.autodiff import flatten_tree
from numbaconv.kernels.device import to_host
from numbaconv.ops import FUNCTIONS, Case

from ..session import Session
from .item import Collector, Item
from .row import BOUNDS, GpuRow


def items(precisions: Sequence[str]) -> list[Item]:
    """Every example case of every function in fp32, the first ones at the other precisions, too."""
    return [
        _item(name, number, case, precision)
        for name, row in FUNCTIONS.items()
        for precision in precisions
        for number, case in enumerate(row.cases[: None if precision == "fp32" else 1])
    ]


def _item(function: str, number: int, case: Case, precision: str) -> Item:
    name = f"{function}, case {number + 1}"
    arguments = {**case.arrays(np.random.default_rng(0), np.float32), **case.arguments}

    def on_gpu() -> Any:
        return compile_graph(_graph(function, arguments), device="cuda", precision=precision)

    def prepare(collector: Collector) -> None:
        if _offered(on_gpu):
            collector.on_cpu(_graph(function, _wide(arguments)))

    def measure(session: Session) -> list[GpuRow]:
        ours = _offered(on_gpu)
        if ours is None:
            return []
        found = [to_host(value) for value in ours.run()]
        exact = compile_graph(_graph(function, _wide(arguments))).run()
        errors = [_error(*pair, precision) for pair in zip(found, exact, strict=True)]
        error, bound = float(np.max(errors, initial=0.0)), BOUNDS[precision]
        return [GpuRow(name=f"right: {name}", direction=f"operator, {precision}", error=error, bound=bound)]

    return Item(f"right: {name}, {precision}", prepare, measure)


def _offered(make: Callable[[], Any]) -> Any:
    """What is made, or None of an operator that has no CUDA kernel; docs/operators.md has a column for that."""
    try:
        return make()
    except NotImplementedError:
        return None


def _wide(arguments: dict[str, Any]) -> dict[str, Any]:
    """The same arguments with arrays of float32 as float64."""

    def wide(value: Any) -> Any:
        if isinstance(value, list):
            return [wide(v) for v in value]
        is_narrow = isinstance(value, np.ndarray) and value.dtype == np.float32
        return value.astype(np.float64) if is_narrow else value

    return {name: wide(value) for name, value in arguments.items()}


def _graph(function: str, arguments: dict[str, Any]) -> Graph:
    """A function of bound arrays."""
    graph = Graph()

    def leaf(value: Any) -> Any:
        if isinstance(value, list) and value and isinstance(value[0], np.ndarray):
            return [graph.leaf(v) for v in value]
        return graph.leaf(value) if isinstance(value, np.ndarray) else value

    result = FUNCTIONS[function].function(**{name: leaf(value) for name, value in arguments.items()})
    graph.output(*flatten_tree(result)[0])
    return graph


def _error(found: np.ndarray, exact: np.ndarray, precision: str) -> float:
    """Largest difference over the largest exact value; places and counts are right or wrong.

    With operands of 2 bytes two numbers may be rounded to one, so that another place is the largest one's.
    """
    if found.shape != exact.shape:
        return float("nan")
    if exact.dtype.kind != "f":
        return 0.0 if np.array_equal(found, exact) or precision in ("bf16", "fp16") else float("nan")
    finite = np.isfinite(exact)
    if not np.array_equal(found[~finite], exact[~finite].astype(found.dtype), equal_nan=True):
        return float("nan")
    scale = max(float(np.abs(exact[finite]).max(initial=0.0)), 1e-3)
    return float(np.abs(found[finite] - exact[finite]).max(initial=0.0)) / scale
