"""Activation functions, softmax and dropout's relatives; gradients are operators of their own."""

from .arithmetic import multiply_row, scale_row, subtract_row
from .core import Case, Elementwise, Operator, Spec, apply, checked, dimension, image_sizes, operator, public, shape_of
from .rectifier import between


class Tanh(Elementwise):
    """Hyperbolic tangent."""

    def gradient(self, grads, outputs, x):
        return (tanh_grad(grads[0], outputs[0]),)


class TanhGrad(Elementwise):
    """grad * (1 - y^2)."""

    def gradient(self, grads, outputs, grad, y):
        return tanh_grad(grads[0], y), scale_row(multiply_row(multiply_row(grads[0], grad), y), factor=-2.0, offset=0.0)


class Relu(Elementwise):
    """max(x, 0)."""

    def gradient(self, grads, outputs, x):
        return (relu_grad(grads[0], outputs[0]),)


class ReluGrad(Elementwise):
    """grad where y > 0."""

    def gradient(self, grads, outputs, grad, y):
        return relu_grad(grads[0], y), None


class Relu6(Elementwise):
    """min(max(x, 0), 6)."""

    def gradient(self, grads, outputs, x):
        return (between(grads[0], outputs[0], low=0.0, high=6.0, at_low=0.0, at_high=0.0),)


class Sigmoid(Elementwise):
    """1 / (1 + exp(-x))."""

    def gradient(self, grads, outputs, x):
        return (sigmoid_grad(grads[0], outputs[0]),)


class SigmoidGrad(Elementwise):
    """grad * y (1 - y)."""

    def gradient(self, grads, outputs, grad, y):
        both = multiply_row(grads[0], grad)
        return sigmoid_grad(grads[0], y), multiply_row(both, scale_row(y, factor=-2.0, offset=1.0))


tanh_row, tanh_grad = operator(Tanh), operator(TanhGrad)
relu_row, relu_grad, relu6_row = operator(Relu), operator(ReluGrad), operator(Relu6)
sigmoid_row, sigmoid_grad = operator(Sigmoid), operator(SigmoidGrad)

#: Activations that convolutions and fully connected layers can apply to their sums.
FUSABLE = (tanh_row, relu_row, relu6_row, sigmoid_row)


class _AlongAxis(Operator):
    def shape(self, x: Spec, *others: Spec, axis) -> Spec:
        return x

    def flops(self, inputs, outputs, **attrs):
        return 4.0 * outputs[0].size


class Softmax(_AlongAxis):
    """exp(x) over its sum along an axis."""

    def gradient(self, grads, outputs, x, *, axis):
        return (softmax_grad(grads[0], outputs[0], axis=axis),)


class SoftmaxGrad(_AlongAxis):
    """y * (grad - sum of grad * y)."""

    def gradient(self, grads, outputs, grad, y, *, axis):
        # d/dgrad is the same symmetric map; d/dy of y_i (g_i - sum g_j y_j), tested with a further incoming gradient h:
        # h_k (g_k - sum g y) - g_k sum h y = h_k g_k - h_k <g,y> - g_k <h,y>, written with axis_sum
        h = grads[0]
        gy = axis_sum(multiply_row(grad, y), axis=axis)
        hy = axis_sum(multiply_row(h, y), axis=axis)
        second = subtract_row(subtract_row(multiply_row(h, grad), multiply_row(h, gy)), multiply_row(grad, hy))
        return softmax_grad(h, y, axis=axis), second


class Softmin(_AlongAxis):
    """exp(-x) over its sum along an axis."""

    def gradient(self, grads, outputs, x, *, axis):
        return (softmin_grad(grads[0], outputs[0], axis=axis),)


class SoftminGrad(_AlongAxis):
    """y * (sum of grad * y - grad)."""


class LogSoftmax(_AlongAxis):
    """x minus the logarithm of the sum of exp(x) along an axis."""

    def gradient(self, grads, outputs, x, *, axis):
        return (log_softmax_grad(grads[0], outputs[0], axis=axis),)


class LogSoftmaxGrad(_AlongAxis):
    """grad - exp(y) * sum of grad."""

    def gradient(self, grads, outputs, grad, y, *, axis):
        # the map grad -> grad - exp(y) sum(grad) transposed: h - sum(exp(y) h)
        from .math import exp_row

        h, p = grads[0], exp_row(y)
        hp = multiply_row(h, p)
        first = subtract_row(h, axis_sum(hp, axis=axis))
        second = scale_row(multiply_row(hp, axis_sum(grad, axis=axis)), factor=-1.0, offset=0.0)
        return first, second


class AxisSum(_AlongAxis):
    """The sum along an axis, in every place along it."""

    def gradient(self, grads, outputs, x, *, axis):
        return (axis_sum(grads[0], axis=axis),)


softmax_row, softmax_grad = operator(Softmax), operator(SoftmaxGrad)
softmin_row, softmin_grad = operator(Softmin), operator(SoftminGrad)
log_softmax_row, log_softmax_grad = operator(LogSoftmax), operator(LogSoftmaxGrad)
axis_sum = operator(AxisSum)


def _elementwise(function: str, row: Operator, x):
    return apply(row, (checked(function, x),), {})


@public(Case({"x": (3, 5)}), Case({"x": (17, 3, 4, 5)}), Case({"x": (7,)}), sizes=image_sizes())
def tanh(x):
    """Hyperbolic tangent of every element; error at most 3 units in the last place.

    Source: PyTorch; LeCun et al., Efficient BackProp, 1998, section 4.4.
    """
    return _elementwise("tanh", tanh_row, x)


@public(Case({"x": (3, 5)}), Case({"x": (17, 3, 4, 5)}), sizes=image_sizes())
def relu(x):
    """max(x, 0) of every element; NaN stays NaN (Nair & Hinton 2010).

    Source: PyTorch; Nair & Hinton, ICML 2010.
    """
    return _elementwise("relu", relu_row, x)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def relu6(x):
    """min(max(x, 0), 6) of every element; the gradient is zero at both ends and beyond.

    Source: Krizhevsky, Convolutional Deep Belief Networks on CIFAR-10, 2010; PyTorch.
    """
    return _elementwise("relu6", relu6_row, x)


@public(Case({"x": (3, 5)}), Case({"x": (17, 3, 4, 5)}), sizes=image_sizes())
def sigmoid(x):
    """1 / (1 + exp(-x)) of every element; error at most 3 units in the last place.

    Source: PyTorch.
    """
    return _elementwise("sigmoid", sigmoid_row, x)


def _along_axis(function: str, row: Operator, x, dim):
    x = checked(function, x)
    if dim is None:
        raise ValueError(f"{function}: dim, the dimension along which to normalise, is missing")
    return apply(row, (x,), {"axis": dimension(function, "dim", dim, len(shape_of(x)))})


@public(
    Case({"x": (3, 5)}, {"dim": 1}), Case({"x": (17, 10)}, {"dim": -1}), Case({"x": (16, 3, 4, 5)}, {"dim": 1}),
    Case({"x": (2, 3, 19)}, {"dim": 2}), Case({"x": (5, 20)}, {"dim": 0}),
    sizes=image_sizes(dim=1),
)  # fmt: skip
def softmax(x, dim=None):
    """exp(x) / sum(exp(x)) along ``dim``; the maximum is subtracted first, so nothing overflows.

    Source: PyTorch; Goodfellow et al., Deep Learning, equation 6.29.
    """
    return _along_axis("softmax", softmax_row, x, dim)


@public(
    Case({"x": (3, 5)}, {"dim": 1}), Case({"x": (17, 10)}, {"dim": -1}), Case({"x": (16, 3, 4, 5)}, {"dim": 1}),
    Case({"x": (5, 20)}, {"dim": 0}),
    sizes=image_sizes(dim=1),
)  # fmt: skip
def log_softmax(x, dim=None):
    """x - log(sum(exp(x))) along ``dim``.

    Source: PyTorch.
    """
    return _along_axis("log_softmax", log_softmax_row, x, dim)


@public(Case({"x": (17, 10)}, {"dim": -1}), sizes=image_sizes(dim=1))
def softmin(x, dim=None):
    """exp(-x) / sum(exp(-x)) along ``dim``.

    Source: PyTorch.
    """
    return _along_axis("softmin", softmin_row, x, dim)
