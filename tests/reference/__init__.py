"""Every operator once more, in float64 and straight from its definition: slow, short, and independent of the engine.

Each file of this folder registers references of public functions with ``@reference(name)``; ``REFERENCES`` holds them
by name.  The gradients of convolutions and pools are written out too; all other gradients are checked by finite
differences.
"""

import importlib
import math
import pkgutil
from typing import Any

import numpy as np

from .common import REFERENCES

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")


def make_arguments(name: str, case: Any, dtype: Any, batch: int | None = None, seed: int = 0) -> dict[str, Any] | None:
    """Arrays and options for a case of the table, with another batch size if given; None if it cannot have it."""
    if batch is not None and not case.batched:
        return None
    return {**case.arrays(np.random.default_rng([seed, *name.encode()]), dtype, batch), **case.arguments}


def terms(name: str, arguments: dict[str, Any]) -> int:
    """Numbers that are added up for one result: rounding errors grow with their square root."""
    return REFERENCES[name].terms(arguments)


def assert_close(found: Any, expected: Any, count: int = 1, tolerance: float | None = None) -> None:
    """Equal up to rounding: a relative 1e-12 in float64, 4e-7 times the root of ``count`` sums in float32.

    Relative to the largest number expected: small results of large summands carry the errors of these.
    """
    found = np.asarray(found)
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    if found.size == 0:
        return
    if tolerance is None:
        tolerance = 1e-12 if found.dtype == np.float64 else 4e-7 * math.sqrt(count) + 2e-7
    finite = np.abs(expected[np.isfinite(expected)])
    scale = max(float(finite.max(initial=0.0)), 1e-3)
    np.testing.assert_allclose(found, expected, rtol=0.0, atol=tolerance * scale)
