"""PyTorch beside us: the same call and the same gradients, where it is installed."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from reference import assert_close, terms

import numbaconv as nc
from numbaconv.ops import FUNCTIONS


def torch_function(name: str) -> Callable:
    """PyTorch's function of a public function's name; the test is skipped without PyTorch."""
    torch = pytest.importorskip("torch")
    found = getattr(torch.nn.functional, name, None) or getattr(torch, name, None)
    assert found is not None, f"PyTorch has no {name}"
    return found


def assert_agrees(name: str, arguments: dict[str, Any], theirs: Callable | None = None) -> None:
    """Results and gradients of a public function are PyTorch's, up to rounding.

    Args:
        name: of the function.
        arguments: arrays and others by name; floating-point arrays are differentiated.
        theirs: PyTorch's function of the arguments as tensors, where names or order are others.
    """
    torch = pytest.importorskip("torch")
    theirs = theirs or torch_function(name)
    arrays = {k: v for k, v in arguments.items() if isinstance(v, np.ndarray)}
    floats = [k for k, v in arrays.items() if v.dtype.kind == "f"]
    tensors = {k: torch.tensor(v, requires_grad=k in floats) for k, v in arrays.items()}
    expected = _as_tuple(theirs(**{**arguments, **tensors}))

    def ours(*values: Any) -> Any:
        return FUNCTIONS[name].function(**{**arguments, **dict(zip(floats, values, strict=True))})

    results = _as_tuple(ours(*(arrays[k] for k in floats)))
    assert len(results) == len(expected)
    count = terms(name, arguments)
    for found, wanted in zip(results, expected, strict=True):
        assert_close(found, wanted.detach().numpy(), count)

    differentiable = [i for i, wanted in enumerate(expected) if wanted.requires_grad]
    if not differentiable or any(results[i].size == 0 for i in differentiable):
        return
    ys, pullback = nc.vjp(lambda *values: tuple(_as_tuple(ours(*values))[i] for i in differentiable),
                          *(arrays[k] for k in floats))  # fmt: skip
    rng = np.random.default_rng(0)
    grads = [rng.standard_normal(y.shape).astype(y.dtype) for y in ys]
    found = pullback(tuple(grads))
    wanted = torch.autograd.grad(
        [expected[i] for i in differentiable], [tensors[k] for k in floats], [torch.tensor(g) for g in grads],
        allow_unused=True,
    )  # fmt: skip
    for ours_, theirs_ in zip(found, wanted, strict=True):
        # a gradient adds up what every use of a number gives: at most all outputs
        assert_close(ours_, np.zeros_like(ours_) if theirs_ is None else theirs_.numpy(), max(count, grads[0].size))


def _as_tuple(results: Any) -> tuple:
    return tuple(results) if isinstance(results, (tuple, list)) else (results,)
