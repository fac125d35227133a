"""The table of ready networks: built by name, and able to say how they were built.

What a builder was called with stays with the network, so that a file of weights can say how to build it again.
"""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple, ParamSpec, TypeVar, overload

import numpy as np

from numbaconv.nn import Module

P = ParamSpec("P")
M = TypeVar("M", bound=Module)


class Recipe(NamedTuple):
    """How a network was built."""

    name: str
    arguments: dict[str, Any]


_builders: dict[str, Callable[..., Module]] = {}
_image_sizes: dict[str, int] = {}


@overload
def register(builder: Callable[P, M]) -> Callable[P, M]: ...


@overload
def register(*, image_size: int) -> Callable[[Callable[P, M]], Callable[P, M]]: ...


def register(builder: Callable[..., Any] | None = None, *, image_size: int = 32) -> Any:
    """Add a function that builds a network to the table, under its own name; to be used as a decorator.

    Its arguments must be numbers, strings, booleans, dtypes or lists of them, so that they can be written to a file.

    Args:
        builder: the function; without it, a decorator is returned.
        image_size: pixels in each direction of the images that the network is made for by default.
    """
    if builder is None:
        return lambda function: _register(function, image_size)
    return _register(builder, image_size)


def _register(builder: Callable[P, M], image_size: int) -> Callable[P, M]:
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
    _image_sizes[name] = image_size
    return build_and_remember


def names() -> list[str]:
    """Return the names of all networks, sorted."""
    return sorted(_builders)


def build(name: str, **arguments: Any) -> Module:
    """Build a network by name.

    Raises:
        ValueError: if there is no such network, or it does not take such an argument.
    """
    builder = _builder(name)
    known = inspect.signature(builder).parameters
    unknown = [argument for argument in arguments if argument not in known]
    if unknown:
        raise ValueError(f"model {name!r} takes no argument {unknown[0]!r}, only {', '.join(known)}")
    return builder(**arguments)


def image_shape(name: str) -> tuple[int, int, int]:
    """Return channels, height and width of the images that a network built without arguments is made for.

    Raises:
        ValueError: if there is no such network.
    """
    in_channels = inspect.signature(_builder(name)).parameters.get("in_channels")
    size = _image_sizes[name]
    return 3 if in_channels is None else in_channels.default, size, size


def _builder(name: str) -> Callable[..., Module]:
    if name not in _builders:
        close = difflib.get_close_matches(str(name).lower(), _builders, n=1)
        hint = f"did you mean {close[0]!r}?" if close else f"there are {', '.join(names())}"
        raise ValueError(f"there is no model {name!r}: {hint}")
    return _builders[name]


def recipe_of(model: Module) -> Recipe | None:
    """Return how a network was built, or ``None`` for one that did not come from the table."""
    return getattr(model, "recipe", None)


def _plain(value: Any) -> Any:
    """Return an argument in the form it takes in a file."""
    if isinstance(value, np.generic):
        return value.item()
    return np.dtype(value).name if isinstance(value, (type, np.dtype)) else value
