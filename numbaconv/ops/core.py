"""What an operator is: a row with a shape rule, a gradient rule, a cost and example cases.

    class Tanh(Operator):
        def shape(self, x): return x
        def gradient(self, grads, outputs, x): return (tanh_grad(grads[0], outputs[0]),)

    tanh_row = operator(Tanh)

Rows know nothing of backends.  Public functions (``conv2d`` ...) put their arguments into a normal form and call
``apply``; with at least one traced tensor among the inputs that appends a node to its graph, else a graph of one node
is planned and run at once.  There is no other way to run anything.
"""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np

from .draw import Draw, normal


class Spec(NamedTuple):
    """Shape and dtype of a value."""

    shape: tuple[int, ...]
    dtype: np.dtype

    @property
    def size(self) -> int:
        return math.prod(self.shape)


Shape = tuple[int, ...]
#: of an argument: an array, or a list of arrays
Shapes = Shape | list[Shape]


@dataclass(frozen=True)
class Case:
    """One example call of a public function, for tests, gradient checks and benchmarks.

    Attributes:
        shapes: of the array arguments, by name in order; a list of shapes for an argument that is a list of arrays.
        arguments: the others.
        draw: how arrays are drawn that are not normally distributed; see ``draw.py``.  A list for a list of arrays.
        batched: the arrays whose first dimension is the batch; none if the batch cannot be another.
    """

    shapes: Mapping[str, Shapes]
    arguments: Mapping[str, Any] = field(default_factory=dict)
    draw: Mapping[str, Draw | list[Draw]] = field(default_factory=dict)
    batched: tuple[str, ...] = ("x", "y", "target")

    def arrays(self, rng: np.random.Generator, dtype: Any, batch: int | None = None) -> dict[str, Any]:
        """Arrays, and lists of them, for the call, with another batch size if one is given."""
        case = self if batch is None else self.with_batch(batch)

        def drawn(draw: Draw, shape: Shape) -> np.ndarray:
            return draw(rng, shape, np.dtype(dtype))

        found: dict[str, Any] = {}
        for name, shapes in case.shapes.items():
            draw = self.draw.get(name, normal)
            if isinstance(draw, list):
                assert isinstance(shapes, list), f"{name}: a list of draws is for a list of arrays"
                found[name] = [drawn(*pair) for pair in zip(draw, shapes, strict=True)]
            else:
                found[name] = each(shapes, functools.partial(drawn, draw))
        return found

    def with_batch(self, batch: int) -> "Case":
        """The case with another batch size."""

        def resized(shape: Shape) -> Shape:
            return (batch, *shape[1:])

        shapes = {k: each(shapes, resized) if k in self.batched else shapes for k, shapes in self.shapes.items()}
        return replace(self, shapes=shapes)

    @property
    def first_shape(self) -> tuple[int, ...]:
        """The shape of the first array."""
        first = next(iter(self.shapes.values()))
        return first[0] if isinstance(first, list) else first


def each(shapes: "Shapes", f: Callable[["Shape"], Any]) -> Any:
    """``f`` of a shape, or a list of ``f`` of all shapes in a list."""
    return [f(shape) for shape in shapes] if isinstance(shapes, list) else f(shapes)


def image_sizes(*names: str, **arguments: Any) -> tuple[Case, ...]:
    """The sizes at which functions of images are measured: 64 of 32x32 pixels, 16 of 56x56.

    ``names`` are the arrays of that shape, ``x`` alone by default.
    """
    shapes = ((64, 32, 32, 32), (16, 64, 56, 56))
    return tuple(Case(dict.fromkeys(names or ("x",), shape), arguments) for shape in shapes)


class Public(NamedTuple):
    """A public function, example cases for its tests, and the sizes at which ``bench layers`` measures it."""

    function: Callable
    cases: tuple[Case, ...]
    sizes: tuple[Case, ...]


class Operator:
    """A row of the operator table.  Subclasses give ``shape`` and, where there is one, ``gradient``."""

    name: str = ""
    #: output position -> input position whose memory it may take over (parameter updates)
    in_place: dict[int, int] = {}
    #: the operator that gives the first output alone, run where nothing reads the others
    alone: "Operator | None" = None
    #: finite at an input of zero: lanes without an image hold zeros
    finite_at_zero: bool = True

    def shape(self, *inputs: Spec, **attrs: Any) -> Spec | tuple[Spec, ...]:
        """Specs of the outputs; raises ValueError or TypeError in the caller's terms."""
        raise NotImplementedError

    def gradient(self, grads: Sequence[Any], outputs: Sequence[Any], *inputs: Any, **attrs: Any) -> Sequence[Any]:
        """Gradients of the inputs, None where there is none, made of operators.

        ``grads`` holds one for each output, None where nothing depends on it (never for all of them).
        """
        raise NotImplementedError(f"{self.name} has no gradient")

    def parts(self, *inputs: Any, **attrs: Any) -> Sequence[Any]:
        """The outputs, made of simpler operators, which are what is run; without it backends know the operator."""
        raise NotImplementedError(f"{self.name} has no parts")

    @property
    def has_parts(self) -> bool:
        return type(self).parts is not Operator.parts

    def flops(self, inputs: Sequence[Spec], outputs: Sequence[Spec], **attrs: Any) -> float:
        """Floating-point operations, a multiply-add counting two."""
        return float(sum(o.size for o in outputs))

    @property
    def label(self) -> str:
        """What profiles call it."""
        return self.name

    @property
    def differentiable(self) -> bool:
        return type(self).gradient is not Operator.gradient

    def __call__(self, *inputs: Any, **attrs: Any) -> Any:
        return apply(self, inputs, attrs)

    def __repr__(self) -> str:
        return f"<operator {self.name}>"


class Elementwise(Operator):
    """A row whose result is like its first input."""

    def shape(self, x: Spec, *others: Spec, **attrs: Any) -> Spec:
        return x


OPERATORS: dict[str, Operator] = {}
#: public functions by name
FUNCTIONS: dict[str, Public] = {}


def operator(cls: type[Operator]) -> Operator:
    """Put a row into the table, under its class name in snake case, and return it.

    A class that is defined once more (a notebook's cell that is run again) takes the place of its former self; raises
    ValueError for a name that another class has.
    """
    row = cls()
    row.name = row.name or "".join("_" + c.lower() if c.isupper() else c for c in cls.__name__).lstrip("_")
    former = type(OPERATORS[row.name]) if row.name in OPERATORS else cls
    if (former.__module__, former.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ValueError(f"operator {row.name!r} exists already")
    row.__doc__ = cls.__doc__
    OPERATORS[row.name] = row
    return row


def public(*cases: Case, sizes: Sequence[Case] = ()) -> Callable[[Callable], Callable]:
    """Decorator of a public function: it appears in ``numbaconv.functional``, tests and benchmarks with these cases."""

    def register(function: Callable) -> Callable:
        FUNCTIONS[function.__name__] = Public(function, cases, tuple(sizes))
        return function

    return register


_eager: Callable[[Operator, tuple, dict], Any] | None = None


def set_eager(run: Callable[[Operator, tuple, dict], Any]) -> None:
    """The graph room tells here how a single operator on arrays is run."""
    global _eager
    _eager = run


def is_traced(value: Any) -> bool:
    """Whether ``value`` is a tensor of a graph under construction."""
    return hasattr(value, "graph")


def apply(op: Operator, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
    """Append ``op`` to the graph of its traced inputs, or run it on arrays."""
    for value in inputs:
        if is_traced(value):
            return value.graph.append(op, inputs, attrs)
    assert _eager is not None, "numbaconv.graph is imported with numbaconv"
    return _eager(op, tuple(inputs), attrs)


# ------------------------------------------------------------------------------------------------ checking arguments


def check_floats(function: str, **values: Any) -> None:
    """All given arrays must be of one floating-point dtype."""
    first: tuple[str, np.dtype] | None = None
    for name, value in values.items():
        if value is None:
            raise TypeError(f"{function}: {name} must be an array, not None")
        dtype = dtype_of(value)
        if dtype not in (np.float32, np.float64):
            raise TypeError(f"{function}: {name} must be float32 or float64, not {dtype}")
        if first is not None and dtype != first[1]:
            raise TypeError(f"{function}: {first[0]} is {first[1]} but {name} is {dtype}")
        first = first or (name, dtype)


def checked(function: str, x: Any) -> Any:
    """``x`` as an input of floating-point numbers."""
    x = as_input(x)
    check_floats(function, x=x)
    return x


def outside(values: Any, count: int) -> Any:
    """One of the integers ``values`` that is not one of 0 to ``count`` - 1, None if there is none."""
    if not values.size or (values.min() >= 0 and values.max() < count):
        return None
    return values.max() if values.max() >= count else values.min()


def check_indices(function: str, values: np.ndarray, count: int) -> None:
    """All ``values`` must be one of 0 to ``count`` - 1."""
    if (wrong := outside(values, count)) is not None:
        raise ValueError(f"{function}: index {wrong} is not one of 0 to {count - 1}")


def dtype_of(value: Any) -> np.dtype:
    return np.dtype(value.dtype) if hasattr(value, "dtype") else np.asarray(value).dtype


def random_key(function: str, key: Any, graph: Any) -> tuple[Any, int]:
    """A checked key [seed, step] for a random node, and the salt that tells it from its graph's other ones.

    Without a key, ``graph`` (None outside a trace) or the global seed gives one.
    """
    from ..random import next_key

    if key is None:
        return (next_key(), 0) if graph is None else (graph.random_key(), graph.next_salt())
    key = as_input(key)
    if dtype_of(key) != np.int64 or shape_of(key) != (2,):
        found = f"{dtype_of(key)} of shape {shape_of(key)}"
        raise TypeError(f"{function}: key must be an int64 array [seed, step], not {found}")
    return key, 0


def shape_of(value: Any) -> tuple[int, ...]:
    return tuple(value.shape) if hasattr(value, "shape") else np.shape(value)


def as_input(value: Any) -> Any:
    """Lists and numbers become arrays; arrays, variables and traced tensors stay."""
    return value if value is None or hasattr(value, "dtype") else np.asarray(value)


def integers(function: str, name: str, value: Any, count: int, low: int) -> tuple[int, ...]:
    """``value`` as a tuple of ``count`` integers of at least ``low``; one integer stands for all."""
    values = value if isinstance(value, (tuple, list, np.ndarray)) else (value,)
    try:
        found = tuple(_integer(v) for v in values)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer or {count} integers, not {value!r}") from None
    if len(found) == 1:
        found *= count
    if len(found) != count:
        raise ValueError(f"{function}: {name} must be an integer or {count} integers, not {value!r}")
    if min(found, default=low) < low:
        raise ValueError(f"{function}: {name} must be at least {low}, not {value!r}")
    return found


def dimension(function: str, name: str, value: Any, rank: int) -> int:
    """``value`` as one of ``rank`` dimensions; negative ones count from the end."""
    try:
        found = _integer(value)
    except TypeError:
        raise TypeError(f"{function}: {name} must be an integer, not {value!r}") from None
    if not -rank <= found < rank:
        raise ValueError(f"{function}: {name} {found} is out of range for an array of {rank} dimensions")
    return found % rank


def number(function: str, name: str, value: Any) -> float:
    """``value`` as a number."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise TypeError(f"{function}: {name} must be a number, not {value!r}")
    return float(value)


def fraction(function: str, name: str, value: Any) -> float:
    """``value`` as a number between 0 and 1."""
    number(function, name, value)
    if not 0.0 <= value <= 1.0:
        raise ValueError(f"{function}: {name} must lie between 0 and 1, not {value}")
    return float(value)


def _integer(value: Any) -> int:
    if isinstance(value, (bool, np.bool_)) or not hasattr(value, "__index__"):
        raise TypeError
    return value.__index__()
