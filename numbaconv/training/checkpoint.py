"""Checkpoints: all that decides how a run goes on, in one file.

A run resumed from a checkpoint comes to the same bits as one that never stopped: weights, optimizer state, the place in
the epoch and the sums so far are kept; the order of images and all other random draws follow from seed, epoch and step.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from numbaconv.graph import Variable
from numbaconv.nn import Module
from numbaconv.optim import Optimizer

from . import tensorfile
from .average import WeightAverage
from .errors import CheckpointError
from .metrics import EpochMetrics
from .scaling import LossScale
from .weights import AVERAGE_PREFIX, MODEL_PREFIX, describe, load_into, with_prefix

_OPTIMIZER_PREFIX = "optimizer."
_SCALE_PREFIX = "loss_scale."


@dataclass
class RunState:
    """Where a run is.

    Attributes:
        epoch: epochs finished.
        position: images of the epoch in progress that were trained on.
        loss_sum, correct_sum: over those images.
        seconds: spent on them.
        history: what the finished epochs came to.
    """

    epoch: int = 0
    position: int = 0
    loss_sum: float = 0.0
    correct_sum: float = 0.0
    seconds: float = 0.0
    history: list[EpochMetrics] = field(default_factory=list)


def save_checkpoint(
    path: Path,
    model: Module,
    optimizer: Optimizer,
    state: RunState,
    identity: Mapping[str, Any],
    metadata: Mapping[str, Any],
    average: WeightAverage | None = None,
    scale: LossScale | None = None,
) -> None:
    """Write a checkpoint, atomically.

    Args:
        identity: what a trainer must have in common to go on with the run, by name.
        metadata: more to write along.
        average: of the model's weights.
        scale: of the loss.
    """
    tensors = {MODEL_PREFIX + name: array for name, array in model.state_dict().items()}
    if average is not None:
        tensors.update((AVERAGE_PREFIX + name, array) for name, array in average.arrays.items())
    if scale is not None:
        tensors.update((_SCALE_PREFIX + name, array) for name, array in scale.arrays.items())
    tensors.update((name, slot.data) for name, slot in _slots(model, optimizer).items())
    about = {
        **metadata,
        **describe(model),
        "kind": "checkpoint",
        "optimizer": {"name": type(optimizer).__name__, "step": optimizer.step_count, **optimizer.settings()},
        "identity": dict(identity),
        "state": asdict(state),
    }
    tensorfile.write(path, tensors, about)


def restore_checkpoint(
    path: Path,
    file: tensorfile.TensorFile,
    model: Module,
    optimizer: Optimizer,
    identity: Mapping[str, Any],
    average: WeightAverage | None = None,
    scale: LossScale | None = None,
) -> RunState:
    """Put a model, an optimizer, an average and a scale of the loss into the state of a checkpoint read from ``path``.

    Returns:
        Where the run was.

    Raises:
        CheckpointError: if it is no checkpoint, or not one of such a model, optimizer and ``identity``. Nothing is
            changed then.
    """
    if file.metadata.get("kind") != "checkpoint":
        raise CheckpointError(f"{path}: is not a checkpoint of a training run")
    try:
        state = _state_from(file.metadata["state"])
        kept = file.metadata["optimizer"]
        name, step = str(kept["name"]), int(kept["step"])
        theirs = dict(file.metadata["identity"])
    except (KeyError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path}: its metadata lacks what a checkpoint must have ({error})") from error
    for key, value in identity.items():
        if theirs.get(key) != value:
            raise CheckpointError(f"{path}: the run has {key} {theirs.get(key)}, this trainer {value}")
    if name != type(optimizer).__name__:
        raise CheckpointError(f"{path}: the run's optimizer is {name}, this trainer's {type(optimizer).__name__}")
    slots = _slots(model, optimizer)
    arrays = {key: array for key, array in file.tensors.items() if key.startswith(_OPTIMIZER_PREFIX)}
    if {key: array.shape for key, array in arrays.items()} != {key: slot.shape for key, slot in slots.items()}:
        raise CheckpointError(f"{path}: its optimizer state does not fit the model {type(model).__name__}")
    averages = with_prefix(file, AVERAGE_PREFIX)
    if average is not None and {name: array.shape for name, array in averages.items()} != {
        name: array.shape for name, array in average.arrays.items()
    }:
        raise CheckpointError(f"{path}: its averaged weights do not fit the model {type(model).__name__}")
    scales = with_prefix(file, _SCALE_PREFIX)
    if scale is not None and scales and scales.keys() != scale.arrays.keys():
        raise CheckpointError(f"{path}: its scale of the loss does not fit")
    load_into(path, model, with_prefix(file, MODEL_PREFIX))
    if average is not None:
        for name, array in average.arrays.items():
            array[...] = averages[name]
    if scale is not None and scales:  # a run in another precision has none
        for name, array in scale.arrays.items():
            array[...] = scales[name]
    for key, slot in slots.items():
        slot.data[...] = arrays[key]
    optimizer.step_count = step
    return state


def has_finite_weights(model: Module) -> bool:
    """Tell whether all parameters and buffers are finite."""
    return all(bool(np.isfinite(variable.data).all()) for variable in (*model.parameters(), *model.buffers()))


def _slots(model: Module, optimizer: Optimizer) -> dict[str, Variable]:
    """Return the optimizer's arrays for a model by their names in a checkpoint."""
    return {
        f"{_OPTIMIZER_PREFIX}{slot}.{name}": array
        for name, parameter in model.named_parameters()
        for slot, array in zip(optimizer.slots, optimizer.slots_of(parameter), strict=True)
    }


def _state_from(values: Mapping[str, Any]) -> RunState:
    state = RunState(**values)
    return replace(state, history=[EpochMetrics(**row) for row in values["history"]])
