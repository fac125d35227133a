"""Sparse convolution, pair by pair."""

from typing import Any

import numpy as np

from .common import Array, reference, wide


def _terms(arguments: dict[str, Any]) -> int:
    return int(np.prod(np.shape(arguments["weight"])[1:]))


@reference("sparse_conv", terms=_terms)
def sparse_conv(features, weight, rules, bias=None) -> Array:
    features, weight = wide(features), wide(weight)
    gather = np.asarray(rules[0])
    flat = weight.reshape(len(weight), -1, weight.shape[-1])
    y = np.zeros((gather.shape[1], len(weight)))
    for tap, m in np.argwhere(gather >= 0):
        y[m] += flat[:, tap] @ features[gather[tap, m]]
    return y if bias is None else y + wide(bias)


@reference("sparse_to_dense")
def sparse_to_dense(features, indices, spatial_shape, batch_size) -> Array:
    y = np.zeros((batch_size, np.shape(features)[1], *spatial_shape))
    for values, (n, *place) in zip(wide(features), np.asarray(indices), strict=True):
        y[(n, slice(None), *place)] = values
    return y


@reference("sparse_from_dense")
def sparse_from_dense(x, indices) -> Array:
    return np.array([wide(x)[(n, slice(None), *place)] for n, *place in np.asarray(indices)])
