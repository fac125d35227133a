"""Numbers moved between dimensions, as kernels of every backend read it: sizes of the result, strides in the source."""

import math
from collections.abc import Mapping, Sequence

from ..ops.rearrange import runs_of


def permutation(dims: Sequence[int], shape: Sequence[int]) -> tuple[list[int], list[int]]:
    """Of NumPy's ``transpose(dims)``; dimensions that stay beside each other count as one."""
    runs, strides = runs_of(dims, shape), strides_of(shape)
    return [math.prod(shape[d] for d in run) for run in runs], [strides[run[-1]] for run in runs]


def reordered(sizes: Mapping[str, int], names: str, order: str) -> tuple[list[int], list[int]]:
    """Of a value whose dimensions ``names``, a letter each, come into another ``order``."""
    strides = dict(zip(names, strides_of([sizes[name] for name in names]), strict=True))
    return [sizes[name] for name in order], [strides[name] for name in order]


def strides_of(sizes: Sequence[int]) -> list[int]:
    """Of an array in C order."""
    return [math.prod(sizes[i + 1 :]) for i in range(len(sizes))]
