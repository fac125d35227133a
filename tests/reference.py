"""Every operator once more, in float64 and straight from its definition: slow, short, and independent of the engine.

``REFERENCES`` maps the public functions' names to functions with the same arguments.  The gradients of convolutions and
pools are written out too; all other gradients are checked by finite differences.
"""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

Array = np.ndarray


def wide(x: Any) -> Array:
    return np.asarray(x, np.float64)


def each(value: Any, count: int) -> tuple[int, ...]:
    """One integer stands for ``count`` of them."""
    return (int(value),) * count if np.ndim(value) == 0 else tuple(int(v) for v in value)


def logistic(x: Array) -> Array:
    return np.exp(-np.logaddexp(0.0, -x))


# ------------------------------------------------------------------------------------------------ convolution


def pad_pairs(padding: Any, kernel: tuple[int, ...], dilation: tuple[int, ...]) -> tuple[tuple[int, int], ...]:
    """(before, after) of every dimension; "same" puts the odd one behind."""
    count = len(kernel)
    if padding == "valid":
        return ((0, 0),) * count
    if padding == "same":
        reach = [d * (k - 1) for k, d in zip(kernel, dilation, strict=True)]
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


def unbatched(function: Callable, dimensions: int) -> Callable:
    """A function of batches that also takes one item, without the first dimension."""

    def call(x: Any, *args: Any, **kwargs: Any) -> Array:
        x = wide(x)
        return function(x, *args, **kwargs) if x.ndim == dimensions + 2 else function(x[None], *args, **kwargs)[0]

    return call


# ------------------------------------------------------------------------------------------------ pooling


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


def max_pool(x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
    x = wide(x)
    out, places = pool_windows(x.shape[2:], kernel_size, stride, padding, dilation, ceil_mode)
    y = np.full((*x.shape[:2], *out), -np.inf)
    for position, inside, _ in places:
        if inside:
            y[(slice(None), slice(None), *position)] = largest([x[(slice(None), slice(None), *i)] for i in inside])[0]
    return y


def max_pool_grad(grad, x, kernel_size, stride=None, padding=0, dilation=1, ceil_mode=False):
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
        y[(slice(None), slice(None), *position)] = (
            sum((x[(slice(None), slice(None), *i)] for i in inside), np.zeros(x.shape[:2])) / divisor
        )
    return y


# ------------------------------------------------------------------------------------------------ the rest


def linear(x: Any, weight: Any, bias: Any = None) -> Array:
    x, weight = wide(x), wide(weight)
    y = np.empty((*x.shape[:-1], len(weight)))
    for k, row in enumerate(weight):
        y[..., k] = (x * row).sum(axis=-1)
    return y if bias is None else y + wide(bias)


def softmax(x: Any, dim: int) -> Array:
    e = np.exp(wide(x) - wide(x).max(axis=dim, keepdims=True))
    return e / e.sum(axis=dim, keepdims=True)


def log_softmax(x: Any, dim: int) -> Array:
    shifted = wide(x) - wide(x).max(axis=dim, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=dim, keepdims=True))


def cross_entropy(x: Any, target: Any, reduction: str = "mean", label_smoothing: float = 0.0) -> Array:
    """- sum over classes of t log softmax(x), with t = (1 - e) one-hot + e / classes."""
    logs = log_softmax(x, 1)
    classes = logs.shape[1]
    losses = np.empty(np.shape(target))
    for place in np.ndindex(losses.shape):
        n, *rest = place
        row = logs[(n, slice(None), *rest)]
        wanted = np.full(classes, label_smoothing / classes)
        wanted[target[place]] += 1.0 - label_smoothing
        losses[place] = -(wanted * row).sum()
    return {"mean": np.mean, "sum": np.sum, "none": np.asarray}[reduction](losses)


def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    x = wide(x)
    axes, shape = (0, *range(2, x.ndim)), (1, -1, *(1,) * (x.ndim - 2))
    mean, var = (x.mean(axes), x.var(axes)) if training else (wide(running_mean), wide(running_var))
    y = (x - mean.reshape(shape)) / np.sqrt(var.reshape(shape) + eps)
    y = y if weight is None else y * wide(weight).reshape(shape)
    return y if bias is None else y + wide(bias).reshape(shape)


def count_correct(x: Any, target: Any) -> Array:
    return np.sum(np.argmax(wide(x), axis=1) == target)


def splitmix(z: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea & Flood, OOPSLA 2014) on 64 bits."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def random_word(key: Any, position: int, salt: int = 0) -> int:
    """32 bits of a counter."""
    seed, step = (int(k) % 2**64 for k in key)
    stream = splitmix((splitmix((seed + 0x632BE59BD9B4E019) % 2**64) + step * 0x1E3779B97F4A7C15 + salt) % 2**64)
    return splitmix((stream + position * 0x9E3779B97F4A7C15) % 2**64) >> 32


def dropout_keeps(key: Any, count: int, p: float, salt: int = 0) -> Array:
    """Whether each of ``count`` elements, in C order, is kept: 32 bits of a counter against p."""
    return np.array([random_word(key, i, salt) >= round(p * 2**32) for i in range(count)])


def dropout(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    x = wide(x)
    if not training or p == 0.0:
        return x
    return np.where(dropout_keeps(key, x.size, p).reshape(x.shape), x, 0.0) * (1.0 / (1.0 - p) if p < 1.0 else 0.0)


def take_images(images, indices, mean=(0.0,), std=(1.0,), pad=0, shift=0, flip=False, *, key=(0, 0)) -> Array:
    border = pad + shift
    batch = np.pad(np.asarray(images)[indices], ((0, 0), (0, 0), (border, border), (border, border)))
    height, width = np.shape(images)[2] + 2 * pad, np.shape(images)[3] + 2 * pad
    moved = []
    for n, image in enumerate(batch):
        down, right, mirror = (random_word(key, 3 * n + i) for i in range(3))
        down, right = (word % (2 * shift + 1) for word in (down, right))
        image = image[:, down : down + height, right : right + width]
        moved.append(image[:, :, ::-1] if flip and mirror % 2 else image)
    batch = np.stack(moved) if moved else batch[:, :, :height, :width]
    if batch.dtype != np.uint8:
        return wide(batch)
    mean, std = (wide(a).reshape(-1, 1, 1) for a in (mean, std))
    return (batch / 255.0 - mean) / std


def take_labels(labels: Any, indices: Any) -> Array:
    return np.array([labels[i] for i in indices])


def sgd_update(parameter, gradient, momentum_buffer, hyper, nesterov=False):
    """PyTorch's SGD, with a buffer that starts at zero."""
    lr, momentum, dampening, decay = wide(hyper)
    slope = wide(gradient) + decay * wide(parameter)
    velocity = momentum * wide(momentum_buffer) + (1.0 - dampening) * slope
    return wide(parameter) - lr * (slope + momentum * velocity if nesterov else velocity), velocity


def adam_update(parameter, gradient, m, v, hyper, decoupled=False):
    """Kingma & Ba, algorithm 1; decoupled: Loshchilov & Hutter, algorithm 2."""
    lr, beta1, beta2, eps, decay, step = wide(hyper)
    weight, slope = wide(parameter), wide(gradient)
    if decoupled:
        weight = weight - lr * decay * weight
    else:
        slope = slope + decay * weight
    m = beta1 * wide(m) + (1.0 - beta1) * slope
    v = beta2 * wide(v) + (1.0 - beta2) * slope**2
    corrected_m, corrected_v = m / (1.0 - beta1**step), v / (1.0 - beta2**step)
    return weight - lr * corrected_m / (np.sqrt(corrected_v) + eps), m, v


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Array:
    shape = np.shape(x) or (1,)
    end = end_dim % len(shape)
    start = start_dim % len(shape)
    return wide(x).reshape(*shape[:start], -1, *shape[end + 1 :])


REFERENCES: dict[str, Callable] = {
    "reshape": lambda x, shape: wide(x).reshape(shape),
    "flatten": flatten,
    "add": lambda x, y: wide(x) + wide(y),
    "subtract": lambda x, y: wide(x) - wide(y),
    "multiply": lambda x, y: wide(x) * wide(y),
    "divide": lambda x, y: wide(x) / wide(y),
    "sum": lambda x: np.asarray(math.fsum(wide(x).ravel())),
    "mean": lambda x: np.asarray(math.fsum(wide(x).ravel()) / np.size(x)),
    "tanh": lambda x: np.tanh(wide(x)),
    "relu": lambda x: np.maximum(wide(x), 0.0),
    "sigmoid": lambda x: logistic(wide(x)),
    "exp": lambda x: np.exp(wide(x)),
    "log": lambda x: np.log(wide(x)),
    "softmax": softmax,
    "log_softmax": log_softmax,
    "conv1d": unbatched(conv, 1),
    "conv2d": unbatched(conv, 2),
    "conv3d": unbatched(conv, 3),
    "linear": linear,
    "batch_norm": batch_norm,
    "cross_entropy": cross_entropy,
    "count_correct": count_correct,
    "dropout": dropout,
    "max_pool1d": unbatched(max_pool, 1),
    "max_pool2d": unbatched(max_pool, 2),
    "max_pool3d": unbatched(max_pool, 3),
    "avg_pool1d": unbatched(avg_pool, 1),
    "avg_pool2d": unbatched(avg_pool, 2),
    "avg_pool3d": unbatched(avg_pool, 3),
    "take_images": take_images,
    "take_labels": take_labels,
    "sgd_update": sgd_update,
    "adam_update": adam_update,
}


# ------------------------------------------------------------------------------------------------ inputs and tolerances


def make_arguments(name: str, case: Any, dtype: Any, batch: int | None = None, seed: int = 0) -> dict[str, Any] | None:
    """Arrays and options for a case of the table, with another batch size if given; None if it cannot have it."""
    rng = np.random.default_rng([seed, *name.encode()])
    options = dict(case.arguments)
    shapes = dict(case.shapes)
    if batch is not None:
        for array in ("x", "y"):
            if array in shapes:
                shapes[array] = (batch, *shapes[array][1:])
        if name == "reshape":
            first, *rest = options["shape"]
            options["shape"] = (batch if first == case.shapes["x"][0] else first, *rest)
            known = math.prod(d for d in options["shape"] if d != -1)
            if math.prod(shapes["x"]) % known:
                return None
    arrays = {key: rng.standard_normal(shape).astype(dtype) for key, shape in shapes.items()}
    if name == "log":
        arrays["x"] = np.exp(arrays["x"])
    if name == "batch_norm":
        arrays["running_var"] = 0.5 + np.abs(arrays["running_var"])
    if name == "divide":
        arrays["y"] = np.copysign(0.5 + np.abs(arrays["y"]), arrays["y"])
    if name in ("cross_entropy", "count_correct"):
        x = arrays["x"].shape
        arrays["target"] = rng.integers(0, x[1], (x[0], *x[2:]))
    return {**arrays, **options}


def terms(name: str, arguments: dict[str, Any]) -> int:
    """Numbers that are added up for one result: rounding errors grow with their square root."""
    x = np.shape(arguments["x"])
    if name == "batch_norm":
        return math.prod(x) // x[1]
    if "weight" in arguments:
        return math.prod(np.shape(arguments["weight"])[1:]) + 1
    if "pool" in name:
        return math.prod(each(arguments["kernel_size"], len(x) - 2))
    if "softmax" in name:
        return x[arguments["dim"]]
    return math.prod(x) if name in ("sum", "mean", "cross_entropy", "count_correct") else 1


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
