"""How a reference is written down, and what they share."""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

Array = np.ndarray


class Reference(NamedTuple):
    """A public function once more.

    Attributes:
        function: the same arguments; float64 results.
        terms: of the arguments: numbers that are added up for one result; rounding errors grow with their square root.
        orders: how often it can be differentiated; 0 for counts, choices and updates.
    """

    function: Callable
    terms: Callable[[dict[str, Any]], int]
    orders: int


REFERENCES: dict[str, Reference] = {}


def one_term(arguments: dict[str, Any]) -> int:
    """Elementwise."""
    return 1


def all_terms(arguments: dict[str, Any]) -> int:
    """Everything is added up."""
    return int(np.prod(np.shape(arguments["x"])))


def reference(*names: str, terms: Callable[[dict[str, Any]], int] = one_term, orders: int = 3) -> Callable:
    """The decorated function is the reference of the public functions ``names``."""

    def register(function: Callable) -> Callable:
        REFERENCES.update({name: Reference(function, terms, orders) for name in names})
        return function

    return register


def wide(x: Any) -> Array:
    return np.asarray(x, np.float64)


def each(value: Any, count: int) -> tuple[int, ...]:
    """One integer stands for ``count`` of them."""
    return (int(value),) * count if np.ndim(value) == 0 else tuple(int(v) for v in value)


def unbatched(function: Callable, dimensions: int) -> Callable:
    """A function of batches that also takes one item, without the first dimension."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Any:
        x = wide(x)
        if x.ndim == dimensions + 2:
            return function(x, *args, **kwargs)
        results = function(x[None], *args, **kwargs)
        return tuple(y[0] for y in results) if isinstance(results, tuple) else results[0]

    return call
