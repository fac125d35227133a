"""Losses."""

import numpy as np

from .activation import softmax_grad, softmax_row
from .arithmetic import mean, multiply_row, scale_row, sum
from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    dtype_of,
    fraction,
    is_traced,
    operator,
    public,
    shape_of,
)
from .draw import below
from .shape import channel_repeat, channel_total


class SoftmaxCrossEntropy(Operator):
    """- sum over classes of t log softmax(x), for every sample (and pixel); t is one-hot, smoothed."""

    def shape(self, x: Spec, target: Spec, *, label_smoothing) -> Spec:
        return Spec((x.shape[0], *x.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x, target, *, label_smoothing):
        return softmax_cross_entropy_grad(grads[0], x, target, label_smoothing=label_smoothing), None

    def flops(self, inputs, outputs, **attrs):
        return 5.0 * inputs[0].size


class SoftmaxCrossEntropyGrad(Operator):
    """grad * (softmax(x) - t)."""

    def shape(self, grad: Spec, x: Spec, target: Spec, *, label_smoothing) -> Spec:
        return x

    def gradient(self, grads, outputs, grad, x, target, *, label_smoothing):
        h = grads[0]
        ones = scale_row(grad, factor=0.0, offset=1.0)
        unit = softmax_cross_entropy_grad(ones, x, target, label_smoothing=label_smoothing)
        first = channel_total(multiply_row(h, unit))
        by_softmax = multiply_row(h, channel_repeat(grad, channels=x.shape[1]))
        return first, softmax_grad(by_softmax, softmax_row(x, axis=1), axis=1), None

    def flops(self, inputs, outputs, **attrs):
        return 6.0 * outputs[0].size


class Correct(Operator):
    """1 where the largest of the scores (the first of equals) is the target's, else 0."""

    def shape(self, x: Spec, target: Spec) -> Spec:
        return Spec((x.shape[0],), x.dtype)


cross_entropy_row = operator(SoftmaxCrossEntropy)
softmax_cross_entropy_grad = operator(SoftmaxCrossEntropyGrad)
correct = operator(Correct)


def _check_target(function: str, x, target) -> None:
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"{function}: x must have shape (N, classes, ...), its shape is {shape}")
    if dtype_of(target) != np.int64:
        raise TypeError(f"{function}: target must hold class indices as int64, not {dtype_of(target)}")
    expected = (shape[0], *shape[2:])
    if shape_of(target) != expected:
        raise ValueError(f"{function}: target must have shape {expected}, its shape is {shape_of(target)}")
    if not is_traced(target):
        values = np.asarray(target)
        if values.size and (values.min() < 0 or values.max() >= shape[1]):
            wrong = values.max() if values.max() >= shape[1] else values.min()
            raise ValueError(f"{function}: target {wrong} is not one of the {shape[1]} classes 0 to {shape[1] - 1}")


@public(
    Case({"x": (3, 5), "target": (3,)}, draw={"target": below(5)}),
    Case({"x": (17, 10), "target": (17,)}, {"label_smoothing": 0.1}, draw={"target": below(10)}),
    Case({"x": (16, 7), "target": (16,)}, {"reduction": "sum"}, draw={"target": below(7)}),
    sizes=[
        Case({"x": (n, classes), "target": (n,)}, draw={"target": below(classes)})
        for n, classes in ((64, 1000), (1024, 10))
    ],
)
def cross_entropy(x, target, reduction="mean", label_smoothing=0.0):
    """Cross entropy between softmax(x) and class indices: x (N, classes, ...) scores, target (N, ...) int64.

    ``reduction`` is "mean", "sum" or "none".  ``label_smoothing`` e replaces the one-hot target by
    (1 - e) one-hot + e / classes (Szegedy et al., arXiv 1512.00567, section 7).
    """
    x = as_input(x)
    target = as_input(target)
    check_floats("cross_entropy", x=x)
    _check_target("cross_entropy", x, target)
    label_smoothing = fraction("cross_entropy", "label_smoothing", label_smoothing)
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f'cross_entropy: reduction must be "mean", "sum" or "none", not {reduction!r}')
    losses = apply(cross_entropy_row, (x, target), {"label_smoothing": label_smoothing})
    if reduction == "none":
        return losses
    return mean(losses) if reduction == "mean" else sum(losses)


@public()
def count_correct(x, target):
    """How many rows of scores x (N, classes) are largest at their target (N,) int64; a scalar of x's dtype."""
    x, target = as_input(x), as_input(target)
    check_floats("count_correct", x=x)
    _check_target("count_correct", x, target)
    return sum(apply(correct, (x, target), {}))
