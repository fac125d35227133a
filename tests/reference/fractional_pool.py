"""Fractional max pooling straight from its paper, with PyTorch's rounding of pseudo-random sequences."""

import itertools
from typing import Any

import numpy as np

from .common import each, reference, wide
from .pool import largest
from .random import random_word


def pseudo_random(u: Any, span: int, count: int) -> list[int]:
    """floor(alpha (i + u)) - floor(alpha u), calculated in the precision of u."""
    real = type(u)
    if not count:
        return []
    alpha = real(span) / real(count)
    return [int((real(i) + u) * alpha) - int(u * alpha) for i in range(count)]


def shuffled_steps(key: Any, position: int, span: int, count: int) -> list[int]:
    """Steps of two neighbouring lengths, drawn without putting back."""
    places, place, longer = [], 0, span - span // max(count, 1) * count
    for i in range(count):
        places.append(place)
        take = random_word(key, position + i) * (count - i) >> 32 < longer
        place, longer = place + span // count + take, longer - take
    return places


def fractional_max_pool(dimensions: int) -> Any:
    def call(
        x, kernel_size, output_size=None, output_ratio=None, return_indices=False, _random_samples=None,
        *, shuffled=False, disjoint=False, key=None,
    ):  # fmt: skip
        real = np.asarray(x).dtype.type
        single = np.ndim(x) == dimensions + 1
        x = wide(x)[None] if single else wide(x)
        pixels = x.shape[2:]
        if output_size is None:
            ratios = output_ratio if np.ndim(output_ratio) else (output_ratio,) * dimensions
            output_size = [int(n * r) for n, r in zip(pixels, ratios, strict=True)]
        size = each(output_size, dimensions)
        kernel = (0,) * dimensions if disjoint else each(kernel_size, dimensions)
        y, indices = np.zeros((*x.shape[:2], *size)), np.zeros((*x.shape[:2], *size), np.int64)
        position = 0
        for n, c in np.ndindex(x.shape[:2]):
            axes = []
            for d in range(dimensions):
                span, count = pixels[d] - kernel[d], size[d] if disjoint else size[d] - 1
                if shuffled:
                    begins = shuffled_steps(key, position, span, count)
                else:
                    at = [[0], [1, 0], [0, 1, 2]][dimensions - 1][d]
                    u = _random_samples[n, c, at] if key is None else real((random_word(key, position) >> 8) / 2**24)
                    begins = pseudo_random(u, span, count)
                begins += [span]
                ends = begins[1:] if disjoint else [a + kernel[d] for a in begins]
                axes.append([range(a, b) for a, b in zip(begins, ends, strict=False)])
                position += size[d] + 1
            for place in np.ndindex(*size):
                inside = list(itertools.product(*(axis[i] for axis, i in zip(axes, place, strict=True))))
                value, which = largest([x[(n, c, *i)] for i in inside])
                y[(n, c, *place)] = value
                indices[(n, c, *place)] = np.ravel_multi_index(inside[int(which)], pixels)
        y, indices = (y[0], indices[0]) if single else (y, indices)
        return (y, indices) if return_indices else y

    return call


for dimensions in (2, 3):
    reference(f"fractional_max_pool{dimensions}d")(fractional_max_pool(dimensions))
