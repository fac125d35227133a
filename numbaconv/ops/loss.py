"""Losses of class scores."""

import numpy as np

from .activation import log_softmax, softmax_grad, softmax_row
from .arithmetic import add_row, check_reduction, divide_row, multiply_row, reduced, scale_row, sum, total
from .core import (
    Case,
    Operator,
    Spec,
    apply,
    as_input,
    check_floats,
    dtype_of,
    fraction,
    integers,
    is_traced,
    operator,
    outside,
    public,
    shape_of,
)
from .draw import below
from .shape import channel_broadcast, channel_repeat, channel_total, reshape

#: PyTorch's default of ``ignore_index``.
IGNORED = -100


class SoftmaxCrossEntropy(Operator):
    """- sum over classes of t log softmax(x), for every sample (and pixel); t is one-hot, smoothed.

    0 where the label is ``ignored`` or no class.
    """

    def shape(self, x: Spec, target: Spec, **attrs) -> Spec:
        return Spec((x.shape[0], *x.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x, target, **attrs):
        return softmax_cross_entropy_grad(grads[0], x, target, **attrs), None

    def flops(self, inputs, outputs, **attrs):
        return 5.0 * inputs[0].size


class SoftmaxCrossEntropyGrad(Operator):
    """grad * (softmax(x) - t)."""

    def shape(self, grad: Spec, x: Spec, target: Spec, **attrs) -> Spec:
        return x

    def gradient(self, grads, outputs, grad, x, target, **attrs):
        h = grads[0]
        ones = scale_row(grad, factor=0.0, offset=1.0)
        first = channel_total(multiply_row(h, softmax_cross_entropy_grad(ones, x, target, **attrs)))
        counted = label_weight(np.ones(x.shape[1], x.dtype), target, ignored=attrs["ignored"])
        by_softmax = multiply_row(h, channel_repeat(multiply_row(grad, counted), channels=x.shape[1]))
        return first, softmax_grad(by_softmax, softmax_row(x, axis=1), axis=1), None

    def flops(self, inputs, outputs, **attrs):
        return 6.0 * outputs[0].size


class LabelWeight(Operator):
    """weight[target], 0 where the label is ``ignored`` or no class; weights are not differentiated."""

    def shape(self, weight: Spec, target: Spec, *, ignored) -> Spec:
        return Spec(target.shape, weight.dtype)


class Pick(Operator):
    """The score of each sample's class: (N, classes, ...) to (N, ...), 0 where the label is ``ignored`` or no class."""

    def shape(self, x: Spec, target: Spec, *, ignored) -> Spec:
        return Spec((x.shape[0], *x.shape[2:]), x.dtype)

    def gradient(self, grads, outputs, x, target, *, ignored):
        return pick_grad(grads[0], target, classes=x.shape[1], ignored=ignored), None


class PickGrad(Operator):
    """grad at each sample's class, 0 elsewhere."""

    def shape(self, grad: Spec, target: Spec, *, classes, ignored) -> Spec:
        return Spec((grad.shape[0], classes, *grad.shape[1:]), grad.dtype)

    def gradient(self, grads, outputs, grad, target, *, classes, ignored):
        return pick(grads[0], target, ignored=ignored), None


class Correct(Operator):
    """1 where the largest of the scores (the first of equals) is the target's, else 0."""

    def shape(self, x: Spec, target: Spec) -> Spec:
        return Spec((x.shape[0],), x.dtype)


cross_entropy_row = operator(SoftmaxCrossEntropy)
softmax_cross_entropy_grad = operator(SoftmaxCrossEntropyGrad)
label_weight, pick, pick_grad = operator(LabelWeight), operator(Pick), operator(PickGrad)
correct = operator(Correct)


def _check_target(function: str, x, target, ignored: int | None = None) -> bool:
    """Whether all labels are known to count."""
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"{function}: x must have shape (N, classes, ...), its shape is {shape}")
    if dtype_of(target) != np.int64:
        raise TypeError(f"{function}: target must hold class indices as int64, not {dtype_of(target)}")
    expected = (shape[0], *shape[2:])
    if shape_of(target) != expected:
        raise ValueError(f"{function}: target must have shape {expected}, its shape is {shape_of(target)}")
    if is_traced(target):
        return False
    values = np.asarray(target)
    counted = values[values != ignored] if ignored is not None else values
    if (wrong := outside(counted, shape[1])) is not None:
        raise ValueError(f"{function}: target {wrong} is not one of the {shape[1]} classes 0 to {shape[1] - 1}")
    return counted.size == values.size


def _check_weight(function: str, x, weight):
    """Class weights as an input, None if there are none."""
    if weight is None:
        return None
    weight = as_input(weight)
    check_floats(function, x=x, weight=weight)
    if shape_of(weight) != (shape_of(x)[1],):
        raise ValueError(f"{function}: weight must have shape ({shape_of(x)[1]},), its shape is {shape_of(weight)}")
    return weight


def _class_losses(function: str, x, target, weight, ignore_index, reduction, losses_of):
    """Losses of labelled samples, weighted by class and reduced.

    ``losses_of``: a function of (x, target, ignored), 0 where a label is ignored.
    """
    (ignored,) = (IGNORED,) if ignore_index is None else integers(function, "ignore_index", ignore_index, 1, -(2**63))
    if len(shape_of(x)) == 1 and not is_traced(target):  # one sample
        x, target = reshape(x, (1, *shape_of(x))), np.reshape(target, (1, *np.shape(target)))
        found = _class_losses(function, x, target, weight, ignore_index, reduction, losses_of)
        return reshape(found, ()) if reduction == "none" else found
    all_count = _check_target(function, x, target, ignored)
    if is_traced(target) and ignore_index is None:
        all_count = True
    weight = _check_weight(function, x, weight)
    shares = None
    if weight is not None or not all_count:
        ones = np.ones(shape_of(x)[1], dtype_of(x))
        shares = apply(label_weight, (ones if weight is None else weight, target), {"ignored": ignored})
    losses = losses_of(x, target, weight, shares, ignored)
    if reduction == "none":
        return losses
    if reduction == "mean" and shares is not None:
        return apply(divide_row, (total(losses), sum(shares)), {})
    return reduced(losses, reduction)


def _multiply(x, y):
    return apply(multiply_row, (x, y), {})


def _scaled(x, factor: float):
    return apply(scale_row, (x,), {"factor": factor, "offset": 0.0})


_TARGET = {"target": below(5)}


@public(
    Case({"x": (3, 5), "target": (3,)}, draw={"target": below(5)}),
    Case({"x": (17, 10), "target": (17,)}, {"label_smoothing": 0.1}, draw={"target": below(10)}),
    Case({"x": (16, 7), "target": (16,)}, {"reduction": "sum"}, draw={"target": below(7)}),
    Case({"x": (17, 5, 3), "target": (17, 3)}, {"ignore_index": 2}, draw=_TARGET),
    sizes=(
        Case({"x": (64, 10), "target": (64,)}, draw={"target": below(10)}),
        Case({"x": (64, 1000), "target": (64,)}, draw={"target": below(1000)}),
        Case({"x": (16, 21, 56, 56), "target": (16, 56, 56)}, draw={"target": below(21)}),
        Case({"x": (16, 21, 56, 56), "target": (16, 56, 56)}, {"ignore_index": 3}, draw={"target": below(21)}),
    ),
)
def cross_entropy(x, target, weight=None, ignore_index=None, reduction="mean", label_smoothing=0.0):
    """Cross entropy between softmax(x) and classes: x (N, classes, ...) or (classes,) scores.

    Args:
        x: scores.
        target: class indices (N, ...) int64, or probabilities of x's shape and dtype.
        weight: of each class, (classes,).
        ignore_index: the index of samples that count nowhere, -100 by default.  Inside a trace, where indices are not
            known, the mean is taken to be over all samples unless it is given.
        reduction: "mean" (weighted by the samples' class weights, if there are indices), "sum" or "none".
        label_smoothing: e replaces the target by (1 - e) target + e / classes.

    ValueError and TypeError for shapes, dtypes, classes and options that do not fit.
    Source: Szegedy et al., arXiv 1512.00567, section 7 (label smoothing); PyTorch.
    """
    x, target = as_input(x), as_input(target)
    check_floats("cross_entropy", x=x)
    smoothing = fraction("cross_entropy", "label_smoothing", label_smoothing)
    check_reduction("cross_entropy", reduction)
    if dtype_of(target).kind == "f" and shape_of(target) == shape_of(x) and len(shape_of(x)):
        if ignore_index is not None:
            raise ValueError("cross_entropy: ignore_index is for targets of class indices")
        return _soft_cross_entropy(x, target, weight, reduction, smoothing)

    def losses_of(x, target, weight, shares, ignored):
        unit = {"label_smoothing": smoothing if weight is None else 0.0, "ignored": ignored}
        losses = apply(cross_entropy_row, (x, target), unit)
        if weight is None:
            return losses
        losses = _multiply(losses, shares)
        if smoothing == 0.0:
            return losses
        counted = apply(label_weight, (np.ones(shape_of(x)[1], dtype_of(x)), target), {"ignored": ignored})
        spread = _multiply(_weighted_total(log_softmax(x, 1), weight), counted)
        spread = _scaled(spread, -smoothing / shape_of(x)[1])
        return apply(add_row, (_scaled(losses, 1.0 - smoothing), spread), {})

    return _class_losses("cross_entropy", x, target, weight, ignore_index, reduction, losses_of)


def _weighted_total(x, weight):
    """The sum over classes of weight * x, (N, ...)."""
    if weight is not None:
        x = _multiply(x, apply(channel_broadcast, (weight,), {"shape": shape_of(x)}))
    return apply(channel_total, (x,), {})


def _soft_cross_entropy(x, target, weight, reduction, smoothing: float):
    """Cross entropy against probabilities; the mean is over samples, whatever the weights."""
    check_floats("cross_entropy", x=x, target=target)
    if len(shape_of(x)) == 1:
        one = (1, *shape_of(x))
        found = _soft_cross_entropy(reshape(x, one), reshape(target, one), weight, reduction, smoothing)
        return reshape(found, ()) if reduction == "none" else found
    weight = _check_weight("cross_entropy", x, weight)
    if smoothing:
        target = apply(scale_row, (target,), {"factor": 1.0 - smoothing, "offset": smoothing / shape_of(x)[1]})
    losses = _scaled(_weighted_total(_multiply(log_softmax(x, 1), target), weight), -1.0)
    return reduced(losses, reduction)


@public(
    Case({"x": (17, 5, 3), "target": (17, 3)}, {"ignore_index": 2}, draw=_TARGET),
    Case({"x": (3, 5), "target": (3,)}, {"reduction": "none"}, draw=_TARGET),
    sizes=(
        Case({"x": (64, 1000), "target": (64,)}, draw={"target": below(1000)}),
        Case({"x": (16, 21, 56, 56), "target": (16, 56, 56)}, draw={"target": below(21)}),
    ),
)
def nll_loss(x, target, weight=None, ignore_index=None, reduction="mean"):
    """Minus the log-probability of each sample's class: x (N, classes, ...) or (classes,), as log_softmax gives it.

    Arguments and errors as of ``cross_entropy``, the targets being class indices (N, ...) int64.
    Source: PyTorch.
    """
    x, target = as_input(x), as_input(target)
    check_floats("nll_loss", x=x)
    check_reduction("nll_loss", reduction)

    def losses_of(x, target, weight, shares, ignored):
        losses = _scaled(apply(pick, (x, target), {"ignored": ignored}), -1.0)
        return losses if weight is None else _multiply(losses, shares)

    return _class_losses("nll_loss", x, target, weight, ignore_index, reduction, losses_of)


@public()
def count_correct(x, target):
    """How many rows of scores x (N, classes) are largest at their target (N,) int64; a scalar of x's dtype.

    Source: accuracy, Goodfellow et al., Deep Learning, section 5.1.2.
    """
    x, target = as_input(x), as_input(target)
    check_floats("count_correct", x=x)
    _check_target("count_correct", x, target)
    return sum(apply(correct, (x, target), {}))
