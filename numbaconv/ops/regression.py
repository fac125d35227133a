"""Losses of numbers and of probabilities, element by element, and penalties.

Those that are short compositions run as one pass over memory that adds up what it calculates.
"""

from .arithmetic import (
    add_row,
    binary,
    check_reduction,
    multiply_row,
    reduced,
    scale_row,
    subtract_row,
    sum,
    sum_of_squares,
)
from .core import Case, Operator, Spec, apply, as_input, check_floats, checked, number, operator, public, shape_of
from .draw import positive
from .math import exp_row, log_row, signed
from .rectifier import within
from .smooth import softplus_row


class XLogX(Operator):
    """x log x, 0 at 0."""

    finite_at_zero = False  # its gradient is not

    def shape(self, x: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x):
        return (multiply_row(grads[0], scale_row(log_row(x), factor=1.0, offset=1.0)),)


class BinaryCrossEntropy(Operator):
    """- t log x - (1 - t) log(1 - x), logarithms being at least -100."""

    def shape(self, x: Spec, target: Spec) -> Spec:
        return x

    def gradient(self, grads, outputs, x, target):
        odds = subtract_row(_bounded_log(scale_row(x, factor=-1.0, offset=1.0)), _bounded_log(x))
        return binary_cross_entropy_grad(grads[0], x, target), multiply_row(grads[0], odds)


class BinaryCrossEntropyGrad(Operator):
    """grad * (x - t) / max(x (1 - x), 1e-12)."""

    def shape(self, grad: Spec, x: Spec, target: Spec) -> Spec:
        return x


x_log_x, binary_cross_entropy_row = operator(XLogX), operator(BinaryCrossEntropy)
binary_cross_entropy_grad = operator(BinaryCrossEntropyGrad)


def _bounded_log(x):
    logarithm = log_row(x)
    return within(logarithm, logarithm, low=-100.0, high=float("inf"), at_low=-100.0, at_high=0.0)


def _apply(row: Operator, *inputs, **attrs):
    return apply(row, inputs, attrs)


def _scaled(x, factor: float, offset: float = 0.0):
    return apply(scale_row, (x,), {"factor": factor, "offset": offset})


def _pair(function: str, x, target, reduction, known=("mean", "sum", "none")):
    """Inputs of one shape and dtype."""
    x, target = as_input(x), as_input(target)
    check_floats(function, x=x, target=target)
    check_reduction(function, reduction, known)
    if shape_of(x) != shape_of(target):
        raise ValueError(f"{function}: x has shape {shape_of(x)}, target {shape_of(target)}")
    return x, target


def _weighted(function: str, losses, weight):
    return losses if weight is None else binary(function, multiply_row, losses, weight)


def _sizes(**arguments) -> tuple[Case, ...]:
    draw = arguments.pop("draw", {})
    shapes = ((64, 32, 32, 32), (16, 64, 56, 56))
    return tuple(Case({"x": shape, "target": shape}, arguments, draw) for shape in shapes)


def probabilities(rng, shape, dtype):
    """Between 0.05 and 0.95."""
    return rng.uniform(0.05, 0.95, shape).astype(dtype)


@public(Case({"x": (17, 3, 5), "target": (17, 3, 5)}), sizes=_sizes())
def mse_loss(x, target, reduction="mean"):
    """(x - target)^2 of every element, reduced: x and target of one shape; "mean", "sum" or "none".

    ValueError for other shapes and reductions.
    Source: PyTorch.
    """
    x, target = _pair("mse_loss", x, target, reduction)
    difference = _apply(subtract_row, x, target)
    return reduced(_apply(multiply_row, difference, difference), reduction)


@public(Case({"x": (17, 3, 5), "target": (17, 3, 5)}), sizes=_sizes())
def l1_loss(x, target, reduction="mean"):
    """|x - target| of every element, reduced as in ``mse_loss``.

    Source: PyTorch.
    """
    x, target = _pair("l1_loss", x, target, reduction)
    difference = _apply(subtract_row, x, target)
    return reduced(_apply(signed, difference, difference), reduction)


def _huber(x, target, delta: float):
    """With c the difference d cut off at -delta and delta: c (d - c / 2)."""
    difference = _apply(subtract_row, x, target)
    cut = _apply(within, difference, difference, low=-delta, high=delta, at_low=-delta, at_high=delta)
    return _apply(multiply_row, cut, _apply(subtract_row, difference, _scaled(cut, 0.5)))


@public(Case({"x": (17, 3, 5), "target": (17, 3, 5)}, {"delta": 0.75}), sizes=_sizes())
def huber_loss(x, target, reduction="mean", delta=1.0):
    """d^2 / 2 where |d| <= delta, else delta (|d| - delta / 2), with d = x - target, reduced as in ``mse_loss``.

    ValueError for delta not above 0.
    Source: Huber, Robust Estimation of a Location Parameter, 1964; PyTorch.
    """
    x, target = _pair("huber_loss", x, target, reduction)
    if not number("huber_loss", "delta", delta) > 0.0:
        raise ValueError(f"huber_loss: delta must be above 0, not {delta}")
    return reduced(_huber(x, target, float(delta)), reduction)


@public(Case({"x": (17, 3, 5), "target": (17, 3, 5)}, {"beta": 0.75}), sizes=_sizes())
def smooth_l1_loss(x, target, reduction="mean", beta=1.0):
    """d^2 / (2 beta) where |d| < beta, else |d| - beta / 2, with d = x - target, reduced as in ``mse_loss``.

    ValueError for a negative beta; beta = 0 is ``l1_loss``.
    Source: Girshick, Fast R-CNN, arXiv 1504.08083, equation 3.
    """
    x, target = _pair("smooth_l1_loss", x, target, reduction)
    beta = number("smooth_l1_loss", "beta", beta)
    if not beta >= 0.0:
        raise ValueError(f"smooth_l1_loss: beta must be at least 0, not {beta}")
    if beta == 0.0:
        return l1_loss(x, target, reduction)
    return reduced(_scaled(_huber(x, target, beta), 1.0 / beta), reduction)


@public(
    Case({"x": (17, 3, 5), "target": (17, 3, 5)}, draw={"x": probabilities, "target": probabilities}),
    sizes=_sizes(draw={"x": probabilities, "target": probabilities}),
)
def binary_cross_entropy(x, target, weight=None, reduction="mean"):
    """- t log x - (1 - t) log(1 - x) of probabilities x and targets t between 0 and 1, reduced as in ``mse_loss``.

    Logarithms are taken to be at least -100.  ``weight``: of every element, or of every channel, or one number.
    Source: PyTorch.
    """
    x, target = _pair("binary_cross_entropy", x, target, reduction)
    losses = _apply(binary_cross_entropy_row, x, target)
    return reduced(_weighted("binary_cross_entropy", losses, weight), reduction)


@public(
    Case({"x": (17, 3, 5), "target": (17, 3, 5)}, draw={"target": probabilities}),
    Case({"x": (17, 3), "target": (17, 3), "pos_weight": (3,)}, draw={"target": probabilities, "pos_weight": positive}),
    sizes=_sizes(draw={"target": probabilities}),
)
def binary_cross_entropy_with_logits(x, target, weight=None, reduction="mean", pos_weight=None):
    """``binary_cross_entropy`` of sigmoid(x), without overflow.

    ``pos_weight`` multiplies t log sigmoid(x): one number, one a channel (as NumPy broadcasts it), or of x's shape.
    Source: PyTorch.
    """
    name = "binary_cross_entropy_with_logits"
    x, target = _pair(name, x, target, reduction)
    missed = _apply(softplus_row, _scaled(x, -1.0), beta=1.0, threshold=float("inf"))  # - log sigmoid(x)
    if pos_weight is not None:
        more = binary(name, multiply_row, target, _scaled(as_input(pos_weight), 1.0, -1.0))
        missed = _apply(multiply_row, missed, _scaled(more, 1.0, 1.0))
    losses = _apply(add_row, _apply(multiply_row, _scaled(target, -1.0, 1.0), x), missed)
    return reduced(_weighted(name, losses, weight), reduction)


@public(
    Case({"x": (17, 3, 5), "target": (17, 3, 5)}, draw={"target": probabilities}),
    Case({"x": (17, 3), "target": (17, 3)}, {"log_target": True, "reduction": "batchmean"}),
    sizes=_sizes(draw={"target": probabilities}),
)
def kl_div(x, target, reduction="mean", log_target=False):
    """target * (log target - x) of log-probabilities x and probabilities ``target``, reduced; 0 where target is 0.

    ``log_target``: ``target`` holds logarithms.  "batchmean" divides the sum by the batch; "mean" by all elements.
    Source: Kullback & Leibler, On Information and Sufficiency, 1951; PyTorch.
    """
    x, target = _pair("kl_div", x, target, reduction, ("mean", "batchmean", "sum", "none"))
    if log_target:
        losses = _apply(multiply_row, _apply(exp_row, target), _apply(subtract_row, target, x))
    else:
        losses = _apply(subtract_row, _apply(x_log_x, target), _apply(multiply_row, target, x))
    if reduction != "batchmean":
        return reduced(losses, reduction)
    if not shape_of(x):
        raise ValueError('kl_div: "batchmean" needs a batch, x is a single number')
    return _scaled(reduced(losses, "sum"), 1.0 / shape_of(x)[0] if shape_of(x)[0] else float("nan"))


@public(Case({"x": (4, 3, 5)}))
def l1_penalty(x):
    """The sum of |x| over all elements, a scalar.

    Source: Goodfellow et al., Deep Learning, equation 7.18.
    """
    x = checked("l1_penalty", x)
    return sum(_apply(signed, x, x))


@public(Case({"x": (4, 3, 5)}))
def l2_penalty(x):
    """Half the sum of x^2 over all elements, a scalar; its gradient is x.

    Source: Goodfellow et al., Deep Learning, section 7.1.1.
    """
    x = checked("l2_penalty", x)
    return _scaled(_apply(sum_of_squares, x), 0.5)
