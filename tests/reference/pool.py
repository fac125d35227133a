"""Pooling straight from its definition."""

import itertools
import math
from typing import Any

import numpy as np

from .common import Array, each, reference, unbatched, wide


def pool_size(n: int, k: int, s: int, p: int, d: int, ceil_mode: bool) -> int:
    """Windows along one dimension; ``ceil_mode``: also one that hangs over, if it starts in the input or before it."""
    places = (n + 2 * p - d * (k - 1) - 1) / s + 1
    if not ceil_mode:
        return math.floor(places)
    found = math.ceil(places)
    return found - 1 if (found - 1) * s >= n + p else found


def pool_windows(size, kernel, stride, padding, dilation, ceil_mode) -> tuple[tuple[int, ...], list[tuple]]:
    """Output size; for each output position the input positions in the window, and how many with padding."""
    count = len(size)
    kernel, padding, dilation = each(kernel, count), each(padding, count), each(dilation, count)
    stride = kernel if stride is None else each(stride, count)
    out = tuple(pool_size(*a, ceil_mode) for a in zip(size, kernel, stride, padding, dilation, strict=True))
    found = []
    for position in itertools.product(*(range(n) for n in out)):
        starts = [o * s - p for o, s, p in zip(position, stride, padding, strict=True)]
        axes = [
            [a + t * d for t in range(k) if 0 <= a + t * d < n]
            for a, k, d, n in zip(starts, kernel, dilation, size, strict=True)
        ]
        padded = math.prod(
            min(a + k, n + p) - a for a, k, n, p in zip(starts, kernel, size, padding, strict=True)
        )  # places that lie in the input or its padding, those hanging over do not count
        found.append((position, list(itertools.product(*axes)), padded))
    return out, found


def largest(values: list[Array]) -> tuple[Array, Array]:
    """The largest of several arrays place by place, and which it is: the first of equals, NaN above all."""
    stack = np.stack(values)
    which = np.argmax(stack, axis=0)  # NumPy: the first maximum, NaN wins
    return np.take_along_axis(stack, which[None], 0)[0], which


def pool_largest(x: Array, out: tuple[int, ...], places: list[tuple], return_indices: bool) -> Any:
    """The largest number of each window and where in the plane it stands, counted in C order."""
    y, indices = np.full((*x.shape[:2], *out), -np.inf), np.zeros((*x.shape[:2], *out), np.int64)
    for position, inside, _ in places:
        if inside:
            at = (slice(None), slice(None), *position)
            y[at], which = largest([x[(slice(None), slice(None), *i)] for i in inside])
            indices[at] = np.ravel_multi_index(np.array(inside).T, x.shape[2:])[which]
    return (y, indices) if return_indices else y


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    x = wide(x)
    out, places = pool_windows(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    return pool_largest(x, out, places, return_indices)


def max_pool_grad(grad, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False, return_indices=False):
    """Each gradient goes to the first largest place of its window."""
    grad, x = wide(grad), wide(x)
    by_x = np.zeros_like(x)
    _, places = pool_windows(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    for position, inside, _ in places:
        if not inside:
            continue
        _, which = largest([x[(slice(None), slice(None), *i)] for i in inside])
        for number, i in enumerate(inside):
            g = grad[(slice(None), slice(None), *position)]
            by_x[(slice(None), slice(None), *i)] += np.where(which == number, g, 0.0)
    return by_x


def avg_pool(x, kernel_size, stride=None, padding=0, ceil_mode=False, count_include_pad=True, divisor_override=None):
    x = wide(x)
    out, places = pool_windows(x.shape[2:], kernel_size, stride, padding, 1, ceil_mode)
    y = np.zeros((*x.shape[:2], *out))
    for position, inside, padded in places:
        divisor = divisor_override or (padded if count_include_pad else max(1, len(inside)))
        y[(slice(None), slice(None), *position)] = pool_sum(x, inside) / divisor
    return y


def pool_sum(x: Array, inside: list[tuple]) -> Array:
    return sum((x[(slice(None), slice(None), *i)] for i in inside), np.zeros(x.shape[:2]))


def adaptive_windows(size: tuple[int, ...], output_size: Any) -> tuple[tuple[int, ...], list[tuple]]:
    """As ``pool_windows`` for windows from floor(o n / m) to ceil((o + 1) n / m)."""
    given = output_size if np.ndim(output_size) or isinstance(output_size, tuple) else (output_size,) * len(size)
    out = tuple(n if m is None else m for n, m in zip(size, given, strict=True))
    found = []
    for position in itertools.product(*(range(m) for m in out)):
        axes = [
            range(math.floor(o * n / m), math.ceil((o + 1) * n / m))
            for o, n, m in zip(position, size, out, strict=True)
        ]
        found.append((position, list(itertools.product(*axes)), math.prod(map(len, axes))))
    return out, found


def adaptive_max_pool(x, output_size, return_indices=False):
    x = wide(x)
    return pool_largest(x, *adaptive_windows(x.shape[2:], output_size), return_indices)


def adaptive_avg_pool(x, output_size):
    x = wide(x)
    out, places = adaptive_windows(x.shape[2:], output_size)
    y = np.zeros((*x.shape[:2], *out))
    for position, inside, count in places:
        y[(slice(None), slice(None), *position)] = pool_sum(x, inside) / count
    return y


def window(arguments: dict[str, Any]) -> int:
    """Numbers in a window."""
    return math.prod(each(arguments["kernel_size"], np.ndim(arguments["x"]) - 2))


def plane(arguments: dict[str, Any]) -> int:
    """Numbers in a plane: as many as a window can hold."""
    return math.prod(np.shape(arguments["x"])[2:])


for dimensions in (1, 2, 3):
    reference(f"max_pool{dimensions}d", terms=window)(unbatched(max_pool, dimensions))
    reference(f"avg_pool{dimensions}d", terms=window)(unbatched(avg_pool, dimensions))
    reference(f"adaptive_max_pool{dimensions}d")(unbatched(adaptive_max_pool, dimensions))
    reference(f"adaptive_avg_pool{dimensions}d", terms=plane)(unbatched(adaptive_avg_pool, dimensions))
