"""The table of ready networks: built by name, and able to say how they were built.

What a builder was called with stays with the network, so that a file of weights can say how to build it again.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar

import numpy as np

from numbaconv.nn import Module

P = ParamSpec("P")
M = TypeVar("M", bound=Module)


class Recipe(NamedTuple):
    """How a network was built."""

    name: str
    arguments: dict[str, Any]


_builders: dict[str, Callable[..., Module]] = {}


def register(builder: Callable[P, M]) -> Callable[P, M]:
    """Add a function that builds a network to the table, under its own name; to be used as a decorator.

    Its arguments must be numbers, strings, booleans, dtypes or lists of them, so that they can be written to a file.
    """
    signature = inspect.signature(builder)
    name = builder.__name__

    @functools.wraps(builder)
    def build_and_remember(*args: P.args, **kwargs: P.kwargs) -> M:
        model = builder(*args, **kwargs)
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        model.recipe = Recipe(name, {key: _plain(value) for key, value in bound.arguments.items()})
        return model

    _builders[name] = build_and_remember
    return build_and_remember


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted(_builders)


def build(name: str, **arguments: Any) -> Module:
    """Build a network by name.

    Raises:
        ValueError: if there is no such network, or it does not take such an argument.
    """
    if name not in _builders:
        close = difflib.get_close_matches(str(name).lower(), _builders, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
        raise ValueError(f"there is no model {name!r}: {hint}")
    known = inspect.signature(_builders[name]).parameters
    unknown = [argument for argument in arguments if argument not in known]
    if unknown:
        raise ValueError(f"model {name!r} takes no argument {unknown[0]!r}, only {', '.join(known)}")
    return _builders[name](**arguments)


def recipe_of(model: Module) -> Recipe | None:
    """Return how a network was built, or ``None`` for one that did not come from the table."""
    return getattr(model, "recipe", None)


def _plain(value: Any) -> Any:
    """Return an argument in the form it takes in a file."""
    if isinstance(value, np.generic):
        return value.item()
    return np.dtype(value).name if isinstance(value, (type, np.dtype)) else value
