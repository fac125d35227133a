"""The operator reference: what the table says about every public function, for people.

    from numbaconv import operators

    print(operators.find("max_pool2d").text())
    operators.markdown()                 # docs/operators.md

A public function's docstring begins with one line that says what it is, as a formula where that is short, and ends
with its source: "Source: paper, equation." or "Source: PyTorch."  The rest of an entry is read off the table.
"""

from __future__ import annotations

import ast
import difflib
import functools
import inspect
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .graph import Graph, gradients
from .graph.autodiff import flatten_tree
from .graph.cluster import STATISTICS
from .graph.fuse import split
from .kernels import elementwise
from .kernels.cpu.backend import CPU
from .ops import FUNCTIONS, OPERATORS, Operator, Public
from .ops.conv import ALGORITHMS

BACKENDS = {"CPU": "cpu", "CUDA": "cuda"}


@dataclass(frozen=True)
class Entry:
    """What there is to know about one public function.

    Attributes:
        name: in ``numbaconv.functional``.
        family: the file of ``numbaconv/ops/`` that it stands in.
        summary: what it is, the first line of its docstring.
        source: where it comes from.
        signature: its arguments.
        doc: its docstring.
        shapes: of arguments and results in an example; "" if there is none.
        differentiable: whether it has a gradient.
        algorithms: what its argument ``algo`` can be.
        backends: the names of ``BACKENDS`` that have kernels for all it is made of, gradient included.
    """

    name: str
    family: str
    summary: str
    source: str
    signature: str
    doc: str
    shapes: str
    differentiable: bool
    algorithms: tuple[str, ...]
    backends: tuple[str, ...]

    def text(self) -> str:
        """Everything, as ``numbaconv operators NAME`` prints it."""
        facts = {
            "example": self.shapes or "none",
            "gradient": _yes(self.differentiable),
            "algorithms": ", ".join(self.algorithms) or "one",
            "kernels": ", ".join(self.backends) or "none",
            "family": self.family,
        }
        lines = [f"{name:<10}  {value}" for name, value in facts.items()]
        return "\n".join([f"{self.name}{self.signature}", "", self.doc, "", *lines])


def entries() -> list[Entry]:
    """An entry for every public function, by family and in the order of the families' files."""
    found = [_entry(name, row) for name, row in FUNCTIONS.items()]
    return sorted(found, key=lambda entry: entry.family)  # a stable sort


def find(name: str) -> Entry:
    """The entry of one public function.

    Raises:
        ValueError: if there is none of this name, with the nearest one there is.
    """
    if name not in FUNCTIONS:
        close = difflib.get_close_matches(name.lower(), FUNCTIONS, n=1)
        hint = f"did you mean {close[0]!r}?" if close else "numbaconv operators lists all"
        raise ValueError(f"there is no operator {name!r}: {hint}")
    return _entry(name, FUNCTIONS[name])


# ------------------------------------------------------------------------------------------------ reading the table


def _entry(name: str, row: Public) -> Entry:
    doc = inspect.getdoc(row.function) or ""
    used, differentiable, shapes = _traced(row) or _named(row.function)
    algorithms: tuple[str, ...] = ()
    if "algo" in inspect.signature(row.function).parameters:
        algorithms = tuple(ALGORITHMS)
    return Entry(
        name=name,
        family=row.function.__module__.rpartition(".")[2],
        summary=doc.partition("\n")[0],
        source=" ".join(doc.rpartition("Source:")[2].split()).rstrip(".") if "Source:" in doc else "",
        signature=str(inspect.signature(row.function)),
        doc=doc,
        shapes=shapes,
        differentiable=differentiable,
        algorithms=algorithms,
        backends=tuple(label for label, folder in BACKENDS.items() if used <= _kernels(folder)),
    )


def _traced(row: Public) -> tuple[set[str], bool, str] | None:
    """Names of the operators that the first example is made of, whether it has a gradient, and its shapes."""
    if not row.cases and not row.sizes:
        return None
    case = (*row.cases, *row.sizes)[0]
    arguments = case.arrays(np.random.default_rng(0), np.float32)
    arrays, rebuild = flatten_tree(arguments)
    graph = Graph()
    leaves = [graph.input(array.shape, array.dtype) for array in arrays]
    results = row.function(**rebuild(leaves), **case.arguments)
    results = list(results) if isinstance(results, (tuple, list)) else [results]
    floats = [leaf for leaf in leaves if leaf.dtype.kind == "f"]
    differentiable = bool(floats)
    for y in [y for y in results if y.dtype.kind == "f"]:
        try:
            gradients(y, floats, graph.input(y.shape, y.dtype))
        except ValueError:
            differentiable = False
    given = [f"{name} {_shape(np.shape(value))}" for name, value in arguments.items() if not isinstance(value, list)]
    given += [
        f"{name} {', '.join(_shape(np.shape(v)) for v in value)}"
        for name, value in arguments.items()
        if isinstance(value, list)
    ]
    shapes = f"{', '.join(given)} -> {', '.join(_shape(y.shape) for y in results)}"
    return {node.op.name for node in split(graph.nodes)}, differentiable, shapes


def _named(function: Callable) -> tuple[set[str], bool, str]:
    """The operators that the code of a function without examples names, and whether one has a gradient."""
    known = {name: value for name, value in vars(sys.modules[function.__module__]).items() if name in _names(function)}
    rows = [value for value in known.values() if isinstance(value, Operator)]
    return {row.name for row in rows}, bool(rows) and all(row.differentiable for row in rows), ""


def _names(function: Callable) -> tuple[str, ...]:
    return function.__code__.co_names


def _kernels(folder: str) -> set[str]:
    """The operators that a backend can run."""
    parts = {name for name, row in OPERATORS.items() if row.has_parts}
    lowered = CPU.lowerings if folder == CPU.name else _lowered(folder)
    return {*lowered, *elementwise.FUNCTIONS, *parts, *(row.name for row in STATISTICS)}


@functools.cache
def _lowered(folder: str) -> frozenset[str]:
    """The names in the ``@lowering(...)`` of a backend's files, read as text: to import CUDA's takes its packages."""
    found: set[str] = set()
    for file in (Path(__file__).parent / "kernels" / folder).glob("*.py"):
        for node in ast.walk(ast.parse(file.read_bytes())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "lowering":
                found |= {a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)}
    return frozenset(found)


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "()"


def _yes(value: bool) -> str:
    return "yes" if value else "no"


# ------------------------------------------------------------------------------------------------ docs/operators.md

_HEAD = """# Operators

Every public function of `numbaconv.functional`, by family: the file of that name in `numbaconv/ops/` says what its
operators are, the one in `numbaconv/kernels/cpu/` how they are calculated. `numbaconv operators NAME` prints a
function's arguments, shapes, units and errors. This page is written by

    numbaconv operators --markdown > docs/operators.md

with speeds from `--speed FILE`, as `numbaconv bench layers --network operators --against torch --json FILE` writes it:
the least ratio of PyTorch's time to ours over the sizes measured, forward and backward.
"""

#: The speed stands last: a test that the page is up to date leaves it out.
_COLUMNS = ("function", "what it is", "example", "gradient", "algorithms", *BACKENDS, "source", "speed")


def markdown(speed: Mapping[str, Any] | None = None) -> str:
    """The operator reference as one document.

    Args:
        speed: the document of ``numbaconv bench layers --json``, for the last column.
    """
    ratios = _ratios(speed or {})
    lines = [_HEAD]
    family = ""
    for entry in entries():
        if entry.family != family:
            family = entry.family
            title = (sys.modules[FUNCTIONS[entry.name].function.__module__].__doc__ or "").strip().partition("\n")[0]
            lines += ["", f"## {family}", "", title, "", _row(_COLUMNS), _row(["---"] * len(_COLUMNS))]
        backends = [_yes(label in entry.backends) for label in BACKENDS]
        lines.append(_row([
            f"`{entry.name}`", entry.summary, entry.shapes, _yes(entry.differentiable), ", ".join(entry.algorithms),
            *backends, entry.source, ratios.get(entry.name, ""),
        ]))  # fmt: skip
    return "\n".join(lines).replace("\n\n\n", "\n\n") + "\n"


def _ratios(speed: Mapping[str, Any]) -> dict[str, str]:
    """By function: the least ratio of each pass."""
    least: dict[str, dict[str, float]] = {}
    for row in speed.get("rows", ()):
        if row.get("ratio") is not None:
            passes = least.setdefault(row["function"], {})
            passes[row["direction"]] = min(row["ratio"], passes.get(row["direction"], float("inf")))
    return {name: ", ".join(f"{d} {ratio:.2f}" for d, ratio in passes.items()) for name, passes in least.items()}


def _row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


__all__ = ["BACKENDS", "Entry", "entries", "find", "markdown"]
