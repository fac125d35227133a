"""Convolutions straight from their definition, and their gradients written out."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from .common import Array, each, reference, unbatched, wide


def pad_pairs(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(before, after) of every dimension; "same" puts the odd one behind."""
    count = len(kernel)
    if padding == "valid":
        return ((0, 0),) * count
    reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
    if padding == "full":
        return tuple((r, r) for r in reach)
    if padding == "same":
        return tuple((r // 2, r - r // 2) for r in reach)
    if np.ndim(padding) == 2:
        return tuple((int(a), int(b)) for a, b in padding)
    return tuple((p, p) for p in each(padding, count))


def windows(size: tuple[int, ...], kernel: tuple[int, ...], stride, padding, dilation) -> Iterator[tuple]:
    """Every output position, with the slices of the padded input that the kernel sees there."""
    count = len(kernel)
    stride, dilation = each(stride, count), each(dilation, count)
    pairs = pad_pairs(padding, kernel, dilation)
    out = [
        (n + sum(p) - d * (k - 1) - 1) // s + 1
        for n, k, s, p, d in zip(size, kernel, stride, pairs, dilation, strict=True)
    ]
    for position in itertools.product(*(range(n) for n in out)):
        yield position, tuple(
            slice(o * s, o * s + d * (k - 1) + 1, d)
            for o, k, s, d in zip(position, kernel, stride, dilation, strict=True)
        )


def zero_padded(x: Array, pairs: tuple[tuple[int, int], ...]) -> Array:
    return np.pad(x, ((0, 0), (0, 0), *pairs))


def conv(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    algo: str = "",
):  # fmt: skip
    """y[n, k, p] = b[k] + sum over channels c of k's group and taps t of x[n, c, p s + t d - pad] w[k, c, t].

    The result does not depend on the algorithm.
    """
    x, weight = wide(x), wide(weight)
    kernel = weight.shape[2:]
    pairs = pad_pairs(padding, kernel, each(dilation, len(kernel)))
    padded = zero_padded(x, pairs)
    places = list(windows(x.shape[2:], kernel, stride, padding, dilation))
    y = np.zeros((len(x), len(weight), *(n + 1 for n in places[-1][0])))
    depth, per_group = weight.shape[1], len(weight) // groups
    for position, window in places:
        for k in range(len(weight)):
            g = k // per_group
            seen = padded[(slice(None), slice(g * depth, (g + 1) * depth), *window)]
            y[(slice(None), k, *position)] = (seen * weight[k]).reshape(len(x), -1).sum(axis=1)
    return y if bias is None else y + wide(bias).reshape(-1, *[1] * len(kernel))


def conv_grads(
    grad: Any, x: Any, weight: Any, stride: Any = 1, padding: Any = 0, dilation: Any = 1, groups: int = 1,
    algo: str = "",
):  # fmt: skip
    """Gradients of ``conv`` for x, weight and bias: every product of the sum above gives back to its two factors."""
    grad, x, weight = wide(grad), wide(x), wide(weight)
    kernel = weight.shape[2:]
    pairs = pad_pairs(padding, kernel, each(dilation, len(kernel)))
    padded = zero_padded(x, pairs)
    by_x, by_weight = np.zeros_like(padded), np.zeros_like(weight)
    depth, per_group = weight.shape[1], len(weight) // groups
    for position, window in windows(x.shape[2:], kernel, stride, padding, dilation):
        for k in range(len(weight)):
            g = k // per_group
            place = (slice(None), slice(g * depth, (g + 1) * depth), *window)
            h = grad[(slice(None), k, *position)].reshape(-1, *[1] * (x.ndim - 1))
            by_x[place] += h * weight[k]
            by_weight[k] += (h * padded[place]).sum(axis=0)
    inside = tuple(slice(a, a + n) for (a, _), n in zip(pairs, x.shape[2:], strict=True))
    return by_x[(slice(None), slice(None), *inside)], by_weight, grad.sum(axis=(0, *range(2, x.ndim)))


def products(arguments: dict[str, Any]) -> int:
    """Products that are added up for one output, and the bias."""
    return int(np.prod(np.shape(arguments["weight"])[1:])) + 1


def convolve(x: Any, weight: Any, *args: Any, **kwargs: Any) -> Array:
    """``conv`` with the taps in the opposite order."""
    weight = wide(weight)
    return conv(x, np.flip(weight, tuple(range(2, weight.ndim))), *args, **kwargs)


def conv_transpose(
    x: Any, weight: Any, bias: Any = None, stride: Any = 1, padding: Any = 0, output_padding: Any = 0, groups: int = 1,
    dilation: Any = 1, algo: str = "",
) -> Array:  # fmt: skip
    """Every pixel puts its filter, times its number, into the result; the borders are cut off at the end."""
    x, weight = wide(x), wide(weight)
    kernel = weight.shape[2:]
    count = len(kernel)
    stride, padding, further, dilation = (each(v, count) for v in (stride, padding, output_padding, dilation))
    reach = [d * (k - 1) + 1 for k, d in zip(kernel, dilation, strict=True)]
    whole = [(n - 1) * s + r + f for n, s, r, f in zip(x.shape[2:], stride, reach, further, strict=True)]
    per_group = weight.shape[1]
    y = np.zeros((len(x), per_group * groups, *whole))
    for position in itertools.product(*(range(n) for n in x.shape[2:])):
        window = tuple(
            slice(i * s, i * s + r, d) for i, s, r, d in zip(position, stride, reach, dilation, strict=True)
        )
        for c in range(len(weight)):
            g = c // (len(weight) // groups)
            number = x[(slice(None), c, *position)].reshape(-1, *[1] * (count + 1))
            y[(slice(None), slice(g * per_group, (g + 1) * per_group), *window)] += number * weight[c]
    y = y[(slice(None), slice(None), *(slice(p, n - p) for p, n in zip(padding, whole, strict=True)))]
    return y if bias is None else y + wide(bias).reshape(-1, *[1] * count)


def products_back(arguments: dict[str, Any]) -> int:
    """Products that at most meet in one place of a transposed convolution."""
    return int(np.prod(np.shape(arguments["weight"])))


for dimensions in (1, 2, 3):
    reference(f"conv{dimensions}d", terms=products)(unbatched(conv, dimensions))
    reference(f"convolve{dimensions}d", terms=products)(unbatched(convolve, dimensions))
    reference(f"conv_transpose{dimensions}d", terms=products_back)(unbatched(conv_transpose, dimensions))


@reference("linear", terms=products)
def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    x, weight = wide(x), wide(weight)
    y = np.empty((*x.shape[:-1], len(weight)))
    for k, row in enumerate(weight):
        y[..., k] = (x * row).sum(axis=-1)
    return y if bias is None else y + wide(bias)
