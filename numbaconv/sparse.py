"""Sparse arrays and the rulebooks of their convolutions, in the manner of spconv.

A sparse array is a list of active sites: ``features`` (N, C), and ``indices`` (N, 1 + D), the number of the image and
the place in it.  A rulebook is made of coordinates alone, once for each set of sites and geometry; everything that has
gradients is in ``functional.sparse_conv`` and the layers ``nn.SubMConv2d`` and so on.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import Any, NamedTuple

import numpy as np

from . import functional as F
from .kernels.cpu import native
from .kernels.cpu import rulebook as kernels
from .kernels.cpu.geometry import three
from .ops.conv import output_size
from .ops.core import integers


class Rulebook(NamedTuple):
    """Which site meets which tap; see ``ops.sparse``.

    It holds arrays only: ``compile`` and ``vjp`` take it as an argument, and rulebooks of the same shapes share a plan.

    Attributes:
        indices: (M, 1 + D) int64, the sites of the result.
        gather: (taps, M) int32, the input row that each output row reads through each tap, or -1.
        scatter: (taps, N) int32, the output row that each input row goes to through each tap, or -1.
    """

    indices: Any
    gather: Any
    scatter: Any


def output_shape(
    spatial_shape: Sequence[int], kernel_size: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1
) -> tuple[int, ...]:
    """The grid that a regular sparse convolution results in; that of the dense convolution.

    Raises:
        ValueError: if the kernel does not fit.
    """
    spatial, *rest = _geometry(spatial_shape, kernel_size, stride, padding, dilation)
    sizes = zip(spatial, *rest[:2], ((p, p) for p in rest[2]), rest[3], strict=True)
    found = tuple(output_size(*size) for size in sizes)
    if min(found) < 1:
        raise ValueError(f"output_shape: a kernel of {rest[0]} does not fit into {spatial} with padding {rest[2]}")
    return found


def rulebook(
    indices: Any,
    spatial_shape: Sequence[int],
    kernel_size: Any,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    subm: bool = False,
) -> Rulebook:
    """The rulebook of a sparse convolution in two or three dimensions.

    The sites of a regular convolution's result are all places that a site reaches, in C order.  Those of a submanifold
    convolution (``subm``) are the sites themselves, in their order; its filter is centred on them, whatever ``padding``
    says, and has odd sizes and stride 1 (Graham et al., arXiv 1711.10275).

    Args:
        indices: (N, 1 + D) integers, for each active site the image's number and its place.
        spatial_shape: of the grid, D sizes; kernel_size, stride, padding and dilation are one integer or D of them.

    Raises:
        ValueError: for sites outside the grid or twice the same, and for a geometry that cannot be.
        TypeError: if ``indices`` are no integers.
    """
    spatial, kernel, strides, pads, dilations = _geometry(spatial_shape, kernel_size, stride, padding, dilation)
    indices = _checked(indices, spatial)
    if subm:
        if any(k % 2 == 0 for k in kernel) or set(strides) != {1}:
            found = f"not sizes {kernel} and stride {strides}"
            raise ValueError(f"rulebook: a submanifold convolution needs odd sizes and stride 1, {found}")
        pads = tuple(d * (k - 1) // 2 for k, d in zip(kernel, dilations, strict=True))
    triples = [three(kernel, 1), three(strides, 1), three(pads, 0), three(dilations, 1)]
    places, size, taps = _four(indices), three(spatial, 1), math.prod(kernel)
    table, slots = _table(len(places))
    twice = np.empty(1, np.int64)
    _run(kernels.enter, len(places), places, table, twice, slots, *size)
    if twice[0] >= 0:
        raise ValueError(f"rulebook: two sites have the same place {tuple(int(i) for i in indices[twice[0]])}")
    sites = indices
    if not subm:
        sites = _reached(places, output_shape(spatial_shape, kernel, strides, pads, dilations), triples)
    gather = np.full((taps, len(sites)), -1, np.int32)
    scatter = np.full((taps, len(indices)), -1, np.int32)
    numbers = (slots, len(sites), len(indices), *size, *(v for t in triples for v in t))
    _run(kernels.match, len(sites), _four(sites), table, gather, scatter, *numbers)
    return Rulebook(sites, gather, scatter)


def _reached(places: np.ndarray, shape: tuple[int, ...], triples: Sequence[tuple[int, ...]]) -> np.ndarray:
    """The sites of a regular convolution's result."""
    size = three(shape, 1)
    most = len(places) * math.prod(triples[0])
    table, slots = _table(most)
    keys, count = np.empty(most, np.int64), np.zeros(1, np.int64)
    _run(kernels.reached, len(places), places, table, keys, count, slots, *size, *(v for t in triples for v in t))
    found = np.sort(keys[: count[0]])
    columns = []
    for n in reversed(shape):
        found, place = np.divmod(found, n)
        columns.append(place)
    return np.ascontiguousarray(np.stack([found, *reversed(columns)], axis=1))


def _geometry(spatial_shape: Sequence[int], *options: Any) -> tuple[tuple[int, ...], ...]:
    """Sizes of the grid, kernel, stride, padding and dilation."""
    rank = len(tuple(spatial_shape))
    if rank not in (2, 3):
        raise ValueError(f"rulebook: spatial_shape must have 2 or 3 sizes, not {spatial_shape!r}")
    names = ("spatial_shape", "kernel_size", "stride", "padding", "dilation")
    values = zip(names, (spatial_shape, *options), (1, 1, 1, 0, 1), strict=True)
    return tuple(integers("rulebook", name, value, rank, low) for name, value, low in values)


def _checked(indices: Any, spatial: tuple[int, ...]) -> np.ndarray:
    found = np.asarray(indices)
    if found.dtype.kind not in "iu":
        raise TypeError(f"rulebook: indices must be integers, not {found.dtype}")
    if found.ndim != 2 or found.shape[1] != len(spatial) + 1:
        raise ValueError(f"rulebook: indices must have shape (sites, {len(spatial) + 1}), their shape is {found.shape}")
    outside = (found < 0).any(axis=1) | (found[:, 1:] >= spatial).any(axis=1)
    if outside.any():
        raise ValueError(f"rulebook: the site {tuple(found[outside][0].tolist())} lies outside the grid {spatial}")
    return np.ascontiguousarray(found, np.int64)


def _four(indices: np.ndarray) -> np.ndarray:
    """Coordinates as (image, plane, row, column)."""
    missing = np.zeros((len(indices), 4 - indices.shape[1]), np.int64)
    return np.ascontiguousarray(np.concatenate([indices[:, :1], missing, indices[:, 1:]], axis=1))


def _table(entries: int) -> tuple[np.ndarray, int]:
    """An empty hash table that will be at most half full, and its slots."""
    slots = 1 << max(2 * entries, 1).bit_length()
    return np.full(2 * slots, -1, np.int64), slots


def _run(kernel: native.Kernel, units: int, *arguments: Any) -> None:
    """Call a kernel on arrays and numbers."""
    words = [a.ctypes.data if isinstance(a, np.ndarray) else a for a in arguments]
    native.call(kernel("int64").address(), words, 0, units)


class SparseConvTensor:
    """Features at active sites, as spconv's.

    Args:
        features: (N, C), an array or a traced tensor.
        indices: (N, 1 + D) integers, the number of the image first.
        spatial_shape: sizes of the grid.
        batch_size: number of images.
    """

    def __init__(self, features: Any, indices: Any, spatial_shape: Sequence[int], batch_size: int) -> None:
        self.features = features
        self.spatial_shape = tuple(int(n) for n in spatial_shape)
        self.indices = _checked(indices, self.spatial_shape)
        self.batch_size = int(batch_size)
        if len(features.shape) != 2 or features.shape[0] != len(self.indices):
            raise ValueError(
                f"SparseConvTensor: features must have shape ({len(self.indices)}, channels), not {features.shape}"
            )
        if len(self.indices) and self.indices[:, 0].max() >= self.batch_size:
            raise ValueError(f"SparseConvTensor: a site belongs to image {self.indices[:, 0].max()} of {batch_size}")
        self._rulebooks: dict[Hashable, Rulebook] = {}

    @classmethod
    def from_dense(cls, x: Any) -> SparseConvTensor:
        """The places of x (N, C, *spatial) where some channel is not zero (spconv's takes channels last)."""
        x = np.asarray(x)
        indices = np.argwhere((x != 0).any(axis=1))
        return cls(F.sparse_from_dense(x, indices), indices, x.shape[2:], x.shape[0])

    def replace_feature(self, features: Any) -> SparseConvTensor:
        """The same sites with other features, sharing their rulebooks."""
        found = SparseConvTensor.__new__(SparseConvTensor)
        found.__dict__.update(self.__dict__, features=features)
        return found

    def dense(self) -> Any:
        """(batch_size, C, *spatial_shape), zeros where there is no site."""
        return F.sparse_to_dense(self.features, self.indices, self.spatial_shape, self.batch_size)

    def rulebook(self, *geometry: Any) -> Rulebook:
        """The rulebook of these sites for (kernel_size, stride, padding, dilation, subm), made once."""
        if geometry not in self._rulebooks:
            self._rulebooks[geometry] = rulebook(self.indices, self.spatial_shape, *geometry)
        return self._rulebooks[geometry]

    def __repr__(self) -> str:
        sites, grid = len(self.indices), " x ".join(map(str, (self.batch_size, *self.spatial_shape)))
        return f"SparseConvTensor({sites} sites of {grid}, {self.features.shape[1]} channels)"
