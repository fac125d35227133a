"""Arrays joined and cut."""

from typing import Any

import numpy as np

from .common import Array, reference, wide


@reference("concat")
def concat(tensors: Any, dim: int = 0) -> Array:
    return np.concatenate([wide(t) for t in tensors], axis=dim)


@reference("split")
def split(x: Any, split_size_or_sections: Any, dim: int = 0) -> tuple[Array, ...]:
    x = wide(x)
    size, sizes = x.shape[dim], split_size_or_sections
    ends = np.cumsum(sizes)[:-1] if np.ndim(sizes) else np.arange(sizes, size, sizes)
    return tuple(np.split(x, ends, axis=dim))


@reference("chunk")
def chunk(x: Any, chunks: int, dim: int = 0) -> tuple[Array, ...]:
    return split(x, -(-np.shape(x)[dim] // chunks), dim)
