"""Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167)."""

import math

import numpy as np

from .arithmetic import add_row, multiply_row, scale_row, subtract_row
from .conv import channel_sum, scale_filters
from .core import Case, Operator, Spec, apply, as_input, check_floats, is_traced, operator, public, shape_of
from .draw import positive
from .shape import channel_broadcast


class ChannelMoments(Operator):
    """Mean (C,) and variance (C,) of each channel over batch and pixels, the variance divided by their number."""

    def shape(self, x: Spec) -> tuple[Spec, ...]:
        return Spec((x.shape[1],), x.dtype), Spec((x.shape[1],), x.dtype)

    def flops(self, inputs, outputs, **attrs):
        return 4.0 * inputs[0].size


class InverseDeviation(Operator):
    """1 / sqrt(variance + eps)."""

    def shape(self, variance: Spec, *, eps) -> Spec:
        return variance

    def gradient(self, grads, outputs, variance, *, eps):
        return (_scaled(multiply_row(grads[0], _cube(outputs[0])), -0.5),)


channel_moments, inverse_deviation = operator(ChannelMoments), operator(InverseDeviation)


class BatchNorm(Operator):
    """(x - mean) / sqrt(var + eps) * weight + bias with the batch's own statistics, which are further outputs.

    Outputs: y, mean (C,), variance (C,) over batch and pixels, divided by their number.
    """

    def shape(self, x: Spec, weight: Spec, bias: Spec, *, eps) -> tuple[Spec, ...]:
        return x, Spec((x.shape[1],), x.dtype), Spec((x.shape[1],), x.dtype)

    def gradient(self, grads, outputs, x, weight, bias, *, eps):
        (by_y, by_mean, by_var), (_, mean, var) = grads, outputs
        by_x, by_weight, by_bias = (None, None, None)
        if by_y is not None:
            by_x, by_weight, by_bias = batch_norm_grad(by_y, x, mean, var, weight, eps=eps)
        count = x.size // x.shape[1]
        if by_mean is not None:
            by_x = _sum(by_x, _scaled(_over(by_mean, x), 1.0 / count))
        if by_var is not None:
            deviation = _less_mean(x, mean)
            by_x = _sum(by_x, _scaled(multiply_row(_over(by_var, x), deviation), 2.0 / count))
        return by_x, by_weight, by_bias

    def parts(self, x, weight, bias, *, eps):
        mean, var = channel_moments(x)
        return normalize(x, mean, var, weight, bias, eps=eps), mean, var

    def flops(self, inputs, outputs, **attrs):
        return 7.0 * inputs[0].size


class BatchNormGrad(Operator):
    """Gradients of x, weight and bias; the statistics are part of the function of x (arXiv 1502.03167, section 3)."""

    def shape(self, grad: Spec, x: Spec, mean: Spec, var: Spec, weight: Spec, *, eps) -> tuple[Spec, ...]:
        return x, mean, mean

    def gradient(self, grads, outputs, grad, x, mean, var, weight, *, eps):
        # With u = h w / sd, xhat the normalised x, n values a channel and S the sum over a channel, the gradient's own
        # gradient follows from  gx = w / sd (g - gb / n - xhat gw / n),  gw = S(g xhat),  gb = S(g).
        h, h_weight, h_bias = grads
        n = x.size // x.shape[1]
        inverse = inverse_deviation(var, eps=eps)
        deviation = _less_mean(x, mean)
        xhat = multiply_row(deviation, _over(inverse, x))
        by_weight, by_bias = channel_sum(multiply_row(grad, xhat)), channel_sum(grad)
        h = _scaled(x, 0.0) if h is None else h
        u = multiply_row(h, _over(multiply_row(weight, inverse), x))
        at_bias = _sum(h_bias, _scaled(channel_sum(u), -1.0 / n))
        at_weight = _sum(h_weight, _scaled(channel_sum(multiply_row(u, xhat)), -1.0 / n))
        by_grad = add_row(add_row(u, _over(at_bias, x)), multiply_row(xhat, _over(at_weight, x)))
        by_xhat = add_row(
            _scaled(multiply_row(u, _over(by_weight, x)), -1.0 / n), multiply_row(grad, _over(at_weight, x))
        )
        at_scale = _sum(
            channel_sum(multiply_row(h, grad)),
            _scaled(
                add_row(
                    multiply_row(channel_sum(h), by_bias), multiply_row(channel_sum(multiply_row(h, xhat)), by_weight)
                ),
                -1.0 / n,
            ),
        )
        at_inverse = add_row(multiply_row(at_scale, weight), channel_sum(multiply_row(by_xhat, deviation)))
        return (
            by_grad,
            multiply_row(by_xhat, _over(inverse, x)),
            _scaled(multiply_row(channel_sum(by_xhat), inverse), -1.0),
            _scaled(multiply_row(at_inverse, _cube(inverse)), -0.5),
            multiply_row(at_scale, inverse),
        )

    def parts(self, grad, x, mean, var, weight, *, eps):
        n = x.size // x.shape[1]
        inverse = inverse_deviation(var, eps=eps)
        scale = multiply_row(weight, inverse)
        by_bias = channel_sum(grad)
        by_weight = multiply_row(channel_sum(multiply_row(grad, _less_mean(x, mean))), inverse)
        slope = _scaled(multiply_row(multiply_row(by_weight, inverse), scale), -1.0 / n)
        offset = _scaled(multiply_row(by_bias, scale), -1.0 / n)
        by_x = _sum(_times(grad, scale), _plus(_times(_less_mean(x, mean), slope), offset))
        return by_x, by_weight, by_bias

    def flops(self, inputs, outputs, **attrs):
        return 9.0 * inputs[0].size


class Normalize(Operator):
    """(x - mean) / sqrt(var + eps) * weight + bias with given statistics."""

    def shape(self, x: Spec, mean: Spec, var: Spec, weight: Spec, bias: Spec, *, eps) -> Spec:
        return x

    def gradient(self, grads, outputs, x, mean, var, weight, bias, *, eps):
        inverse = inverse_deviation(var, eps=eps)
        scale = multiply_row(weight, inverse)
        by_bias = channel_sum(grads[0])
        by_scale = channel_sum(multiply_row(grads[0], _less_mean(x, mean)))
        return (
            channel_scale(grads[0], var, weight, eps=eps),
            _scaled(multiply_row(by_bias, scale), -1.0),
            _scaled(multiply_row(multiply_row(by_scale, weight), _cube(inverse)), -0.5),
            multiply_row(by_scale, inverse),
            by_bias,
        )

    def parts(self, x, mean, var, weight, bias, *, eps):
        scale = multiply_row(weight, inverse_deviation(var, eps=eps))
        return (_plus(_times(_less_mean(x, mean), scale), bias),)

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * inputs[0].size


class ChannelScale(Operator):
    """x * weight / sqrt(var + eps), channel by channel."""

    def shape(self, x: Spec, var: Spec, weight: Spec, *, eps) -> Spec:
        return x

    def gradient(self, grads, outputs, x, var, weight, *, eps):
        inverse = inverse_deviation(var, eps=eps)
        by_scale = channel_sum(multiply_row(grads[0], x))
        return (
            channel_scale(grads[0], var, weight, eps=eps),
            _scaled(multiply_row(multiply_row(by_scale, weight), _cube(inverse)), -0.5),
            multiply_row(by_scale, inverse),
        )

    def parts(self, x, var, weight, *, eps):
        return (_times(x, multiply_row(weight, inverse_deviation(var, eps=eps))),)


class CountUp(Operator):
    """count + 1, an integer."""

    in_place = {0: 0}

    def shape(self, count: Spec) -> Spec:
        return count


class Reciprocal(Operator):
    """1 / count as a floating-point number of x's dtype; x is not read."""

    def shape(self, count: Spec, x: Spec) -> Spec:
        return Spec((), x.dtype)


count_up, reciprocal = operator(CountUp), operator(Reciprocal)
batch_norm_row, batch_norm_grad = operator(BatchNorm), operator(BatchNormGrad)
normalize, channel_scale = operator(Normalize), operator(ChannelScale)


def fold(host: Operator, attrs: dict, inputs, mean, var, weight, bias, eps: float):
    """``host``, a convolution or fully connected layer of (x, weight[, bias]), with the normalisation behind it.

    A filter times a number gives sums times that number, so the normalisation goes into weight and bias.
    """
    x, filters, *shift = inputs
    scale = multiply_row(weight, inverse_deviation(var, eps=eps))
    by_mean = subtract_row(shift[0], mean) if shift else _scaled(mean, -1.0)
    return host(x, scale_filters(filters, scale), add_row(multiply_row(by_mean, scale), bias), **attrs)


def _over(channels, x):
    """One number for each channel, in all places of x."""
    return channel_broadcast(channels, shape=x.shape)


def _times(x, channels):
    return multiply_row(x, _over(channels, x))


def _plus(x, channels):
    return add_row(x, _over(channels, x))


def _less_mean(x, mean):
    return subtract_row(x, _over(mean, x))


def _scaled(x, factor: float):
    return scale_row(x, factor=factor, offset=0.0)


def _sum(x, y):
    """x + y, where either may be missing."""
    return y if x is None else x if y is None else add_row(x, y)


def _cube(x):
    return multiply_row(multiply_row(x, x), x)


_STATISTICS = {"running_mean": (5,), "running_var": (5,)}
_AFFINE = {"weight": (5,), "bias": (5,)}
_DRAW = {"running_var": positive}
_OF_THE_BATCH = {"running_mean": None, "running_var": None, "training": True}


@public(
    Case({"x": (6, 5, 4, 5), **_STATISTICS, **_AFFINE}, {"training": True}, _DRAW),
    Case({"x": (17, 5, 3, 3), **_STATISTICS, **_AFFINE}, {"training": True}, _DRAW),
    Case({"x": (17, 5, 3, 3), **_STATISTICS, **_AFFINE}, draw=_DRAW),
    Case({"x": (33, 20, 6), "running_mean": (20,), "running_var": (20,)}, {"training": True}, _DRAW),
    sizes=[
        Case({"x": (n, c, h, h), "weight": (c,), "bias": (c,)}, _OF_THE_BATCH)
        for n, c, h in ((64, 32, 32), (16, 64, 56))
    ],
)
def batch_norm(x, running_mean, running_var, weight=None, bias=None, training=False, momentum=0.1, eps=1e-5):
    """Normalise each channel of x (N, C, ...) to mean 0 and variance 1, then times ``weight`` (C,) plus ``bias`` (C,).

    In training the batch's statistics are used (variance divided by their number), and ``running_mean`` and
    ``running_var``, if given, move by ``momentum`` towards them, the variance divided by one less, as PyTorch counts:
    in place for arrays, at the end of the run for variables in a traced graph.  Else the running statistics are used.
    ``momentum`` may also be a single number that is calculated in the same trace.
    ValueError for shapes that do not fit or a batch with a single value a channel in training.

    Source: PyTorch; Ioffe & Szegedy, arXiv 1502.03167, algorithm 1.
    """
    x, weight, bias = as_input(x), as_input(weight), as_input(bias)
    running_mean, running_var = as_input(running_mean), as_input(running_var)
    arrays = {"running_mean": running_mean, "running_var": running_var, "weight": weight, "bias": bias}
    arrays = {name: value for name, value in arrays.items() if value is not None}
    check_floats("batch_norm", x=x, **arrays)
    shape = shape_of(x)
    if len(shape) < 2:
        raise ValueError(f"batch_norm: x must have at least 2 dimensions, its shape is {shape}")
    for name, value in arrays.items():
        if shape_of(value) != (shape[1],):
            raise ValueError(f"batch_norm: {name} must have shape ({shape[1]},), its shape is {shape_of(value)}")
    if not training and (running_mean is None or running_var is None):
        raise ValueError("batch_norm: running_mean and running_var are needed outside training")
    weight = np.ones(shape[1], x.dtype) if weight is None else weight
    bias = np.zeros(shape[1], x.dtype) if bias is None else bias
    if not training:
        return apply(normalize, (x, running_mean, running_var, weight, bias), {"eps": float(eps)})
    count = math.prod(shape) // max(shape[1], 1)
    if count <= 1:
        raise ValueError(f"batch_norm: training needs more than one value a channel, x has shape {shape}")
    y, mean, var = apply(batch_norm_row, (x, weight, bias), {"eps": float(eps)})
    move_running(running_mean, mean, momentum, 1.0, x)
    move_running(running_var, var, momentum, count / (count - 1), x)
    return y


def move_running(running, new, momentum, factor: float, x) -> None:
    """running <- (1 - momentum) running + momentum * factor * new."""
    if running is None:
        return
    if is_traced(x):
        leaf = x.graph.leaf(running)
        if is_traced(momentum):
            x.graph.update(leaf, leaf + (new * factor - leaf) * momentum)
        else:
            x.graph.update(leaf, leaf * (1.0 - momentum) + new * (momentum * factor))
    else:
        target = running.data if hasattr(running, "trainable") else running
        target *= 1.0 - momentum
        target += (momentum * factor) * new


def count_batch(count, x):
    """Count a batch in ``count`` (), int64: at the end of the run inside a trace, at once else; 1 / the new count."""
    if is_traced(x):
        leaf = x.graph.leaf(count)
        new = count_up(leaf)
        x.graph.update(leaf, new)
        return reciprocal(new, x)
    target = count.data if hasattr(count, "trainable") else count
    target += 1
    return 1.0 / int(target)
