"""Saving and loading networks."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar, overload

import numpy as np

from numbaconv import models
from numbaconv.nn import Module

from . import tensorfile
from .errors import CheckpointError
from .run import RunFolder

M = TypeVar("M", bound=Module)

MODEL_PREFIX = "model."
"""Stands before the names of a network's arrays in a checkpoint, where the optimizer's are too."""

AVERAGE_PREFIX = "average."
"""Stands before the names of the averages of a network's arrays in a checkpoint."""


def save(model: Module, path: str | os.PathLike[str], metadata: Mapping[str, Any] | None = None) -> None:
    """Write a network's parameters and buffers to a safetensors file, atomically.

    A network from ``numbaconv.models`` is written with what builds it again; of any other, only the arrays are.

    Args:
        model: the network.
        path: the file.
        metadata: more to write along, anything JSON can say; ``read_metadata`` returns it.
    """
    tensorfile.write(Path(path), model.state_dict(), {**describe(model), **(metadata or {})})


@overload
def load(path: str | os.PathLike[str]) -> Module: ...


@overload
def load(path: str | os.PathLike[str], model: M) -> M: ...


def load(path: str | os.PathLike[str], model: Module | None = None) -> Module:
    """Read a network.

    Args:
        path: a file written by ``save`` or by another program that names the arrays alike, a checkpoint, or a run
            folder.
        model: the network to load into; by default it is built as the file says.

    Returns:
        ``model``, or the network built.

    Raises:
        CheckpointError: if the file is missing, truncated, damaged or foreign, or does not fit the network.
    """
    path = weights_path(path)
    file = tensorfile.read(path)
    if model is None:
        model = _build(path, file.metadata)
    load_into(path, model, model_tensors(file))
    return model


def read_metadata(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return what a file says about its network.

    Files of a ``Trainer`` hold ``model`` (``name`` and ``arguments``), ``mean``, ``std``, ``pad`` and ``classes``.

    Raises:
        CheckpointError: as ``load``.
    """
    return tensorfile.read(weights_path(path)).metadata


def describe(model: Module) -> dict[str, Any]:
    """Return the metadata that ``load`` builds the network from; empty if it is not of ``numbaconv.models``."""
    recipe = models.recipe_of(model)
    return {} if recipe is None else {"model": {"name": recipe.name, "arguments": recipe.arguments}}


def weights_path(path: str | os.PathLike[str]) -> Path:
    """Return the file meant by a path that may be a run folder."""
    path = Path(path)
    return RunFolder(path).weights() if path.is_dir() else path


def model_tensors(file: tensorfile.TensorFile) -> dict[str, np.ndarray]:
    """Return the arrays of the network alone, from a file of weights or a checkpoint; their averages if it has them."""
    if file.metadata.get("kind") != "checkpoint":
        return file.tensors
    return with_prefix(file, AVERAGE_PREFIX) or with_prefix(file, MODEL_PREFIX)


def with_prefix(file: tensorfile.TensorFile, prefix: str) -> dict[str, np.ndarray]:
    """Return the arrays whose names begin with a prefix, by the rest of their names."""
    return {name.removeprefix(prefix): array for name, array in file.tensors.items() if name.startswith(prefix)}


def load_into(path: Path, model: Module, tensors: Mapping[str, np.ndarray]) -> None:
    """Copy arrays into a network.

    Raises:
        CheckpointError: if they do not fit; the network is unchanged then.
    """
    try:
        model.load_state_dict(tensors)
    except ValueError as error:
        first = str(error).split("\n\t")[1]
        raise CheckpointError(f"{path}: does not fit the model {type(model).__name__}: {first}") from error


def _build(path: Path, metadata: Mapping[str, Any]) -> Module:
    if "model" not in metadata:
        raise CheckpointError(f"{path}: does not say which network its arrays belong to; pass that as model=")
    try:
        return models.build(metadata["model"]["name"], **metadata["model"]["arguments"])
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(f"{path}: its network cannot be built: {error}") from error
