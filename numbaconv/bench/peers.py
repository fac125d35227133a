"""PyTorch's twin of a network: the same layers with the same weights."""

from __future__ import annotations

import inspect
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np

from numbaconv.nn import Module, Sequential


def torch_twin(torch: Any, model: Module) -> Any:
    """The ``torch.nn.Module`` of the same layers, arguments and weights, in the same mode.

    Our layers have PyTorch's names and arguments, and so nothing needs to be listed here.

    Raises:
        ValueError: if the network holds a module that PyTorch has not.
    """
    twin = _twin(torch, model)
    twin.load_state_dict({name: torch.from_numpy(array) for name, array in model.state_dict().items()})
    return twin.train(model.training)


def _twin(torch: Any, module: Module) -> Any:
    name = type(module).__name__
    if isinstance(module, Sequential):
        return torch.nn.Sequential(OrderedDict((key, _twin(torch, child)) for key, child in module.named_children()))
    theirs = getattr(torch.nn, name, None)
    if theirs is None or any(True for _ in module.named_children()):
        raise ValueError(f"bench: PyTorch has no layer {name}, so the network has no twin there")
    arguments = {}
    for argument in inspect.signature(theirs.__init__).parameters:
        if argument not in ("self", "args", "kwargs", "dtype", "device") and hasattr(module, argument):
            value = getattr(module, argument)
            arguments[argument] = value is not None if argument == "bias" else value
    return theirs(**arguments)


def layouts(torch: Any) -> dict[str, Any]:
    """PyTorch's two layouts of images, by the names that reports use."""
    return {"nchw": torch.contiguous_format, "channels_last": torch.channels_last}


def laid_out(torch: Any, array: np.ndarray, form: Any) -> Any:
    """An array as a tensor in a layout; only images have more than one."""
    tensor = torch.from_numpy(array)
    return tensor.contiguous(memory_format=form) if tensor.ndim == 4 else tensor


def in_all_layouts(torch: Any, make: Callable[[Any], Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    """What ``make`` makes for each layout, by name."""
    return {name: make(form) for name, form in layouts(torch).items()}
