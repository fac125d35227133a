"""PyTorch's two layouts of images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np


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
