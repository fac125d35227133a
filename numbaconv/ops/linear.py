"""The fully connected layer: a convolution without pixels."""

import math

from .conv import channel_sum
from .core import Case, Operator, Spec, apply, as_input, check_floats, operator, public, shape_of
from .shape import reshape


class Linear(Operator):
    """x (N, C) times weight (K, C) transposed, plus bias (K,)."""

    def shape(self, x: Spec, weight: Spec, *bias: Spec, activation=None) -> Spec:
        return Spec((x.shape[0], weight.shape[0]), x.dtype)

    def gradient(self, grads, outputs, x, weight, *bias):
        return (
            linear_input_grad(grads[0], weight),
            linear_weight_grad(grads[0], x),
            *(channel_sum(grads[0]) for _ in bias),
        )

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * inputs[1].shape[1]


class LinearInputGrad(Operator):
    """grad (N, K) times weight (K, C)."""

    def shape(self, grad: Spec, weight: Spec) -> Spec:
        return Spec((grad.shape[0], weight.shape[1]), grad.dtype)

    def gradient(self, grads, outputs, grad, weight):
        return linear_op(grads[0], weight), linear_weight_grad(grad, grads[0])

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * inputs[1].shape[0]


class LinearWeightGrad(Operator):
    """grad (N, K) transposed times x (N, C)."""

    def shape(self, grad: Spec, x: Spec) -> Spec:
        return Spec((grad.shape[1], x.shape[1]), grad.dtype)

    def gradient(self, grads, outputs, grad, x):
        return linear_op(x, grads[0]), linear_input_grad(grad, grads[0])

    def flops(self, inputs, outputs, **attrs):
        return 2.0 * outputs[0].size * inputs[0].shape[0]


linear_op = operator(Linear)  # the row; the name ``linear`` belongs to the public function
linear_input_grad = operator(LinearInputGrad)
linear_weight_grad = operator(LinearWeightGrad)


@public(
    Case({"x": (3, 5), "weight": (4, 5), "bias": (4,)}),
    Case({"x": (33, 37), "weight": (10, 37), "bias": (10,)}),
    Case({"x": (16, 64), "weight": (120, 64)}),
    sizes=(
        Case({"x": (64, 512), "weight": (512, 512), "bias": (512,)}),
        Case({"x": (16, 2048), "weight": (1000, 2048), "bias": (1000,)}),
    ),
)
def linear(x, weight, bias=None):
    """Fully connected layer: x (..., C), weight (K, C), bias (K,) -> (..., K), y = x weight^T + bias.

    Raises ValueError for shapes that do not fit, TypeError for dtypes other than float32 and float64 or mixed ones.

    Source: PyTorch; Goodfellow et al., Deep Learning, section 6.1.
    """
    x, weight, bias = as_input(x), as_input(weight), as_input(bias)
    check_floats("linear", x=x, weight=weight, **({} if bias is None else {"bias": bias}))
    x_shape, w_shape = shape_of(x), shape_of(weight)
    if len(w_shape) != 2 or min(w_shape) < 1:
        raise ValueError(f"linear: weight must have shape (out_features, in_features), its shape is {w_shape}")
    if not x_shape or x_shape[-1] != w_shape[1]:
        raise ValueError(f"linear: weight expects {w_shape[1]} input features, x has shape {x_shape}")
    if bias is not None and shape_of(bias) != (w_shape[0],):
        raise ValueError(f"linear: bias must have shape ({w_shape[0]},), its shape is {shape_of(bias)}")
    if len(x_shape) != 2:
        flat = linear(reshape(x, (math.prod(x_shape[:-1]), w_shape[1])), weight, bias)
        return reshape(flat, (*x_shape[:-1], w_shape[0]))
    return apply(linear_op, (x, weight) if bias is None else (x, weight, bias), {})
