"""Smooth activations.  Gradients are rows of their own, calculated from x."""

import math

from .activation import tanh_row
from .arithmetic import scale_row, subtract_row
from .core import Case, Elementwise, Operator, checked, image_sizes, number, operator, public


class _Smooth(Elementwise):
    """A function of x, whose gradient is the row ``grad`` of (grad, x) with the same attributes."""

    grad: Operator

    def gradient(self, grads, outputs, x, **attrs):
        return (self.grad(grads[0], x, **attrs),)


class _Gradient(Elementwise):
    """Is not differentiated again."""


class EluGrad(_Gradient):
    """grad * scale where x > 0, else grad * scale alpha rate exp(rate x)."""


class Elu(_Smooth):
    """scale * x where x > 0, else scale * alpha * (exp(rate x) - 1)."""

    grad = operator(EluGrad)


class GeluGrad(_Gradient):
    """grad * (Phi(x) + x times the normal density)."""


class Gelu(_Smooth):
    """x Phi(x)."""

    grad = operator(GeluGrad)


class GeluTanhGrad(_Gradient):
    """grad times the derivative of ``gelu_tanh``."""


class GeluTanh(_Smooth):
    """x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2."""

    grad = operator(GeluTanhGrad)


class SiluGrad(_Gradient):
    """grad * s (1 + x (1 - s)) with s = sigmoid(x)."""


class Silu(_Smooth):
    """x sigmoid(x)."""

    grad = operator(SiluGrad)


class MishGrad(_Gradient):
    """grad times the derivative of ``mish``."""


class Mish(_Smooth):
    """x tanh(log(1 + exp(x)))."""

    grad = operator(MishGrad)


class SoftplusGrad(_Gradient):
    """grad * sigmoid(beta x), or grad where beta x > threshold."""


class Softplus(_Smooth):
    """log(1 + exp(beta x)) / beta, or x where beta x > threshold."""

    grad = operator(SoftplusGrad)


class SoftsignGrad(_Gradient):
    """grad / (1 + |x|)^2."""


class Softsign(_Smooth):
    """x / (1 + |x|)."""

    grad = operator(SoftsignGrad)


elu_row, gelu_row, gelu_tanh_row = operator(Elu), operator(Gelu), operator(GeluTanh)
silu_row, mish_row = operator(Silu), operator(Mish)
softplus_row, softsign_row = operator(Softplus), operator(Softsign)


@public(Case({"x": (17, 3, 5)}, {"alpha": 1.5}), sizes=image_sizes())
def elu(x, alpha=1.0):
    """x where x > 0, else alpha * (exp(x) - 1), of every element.

    Source: Clevert et al., Fast and Accurate Deep Network Learning by Exponential Linear Units, arXiv 1511.07289.
    """
    return elu_row(checked("elu", x), alpha=number("elu", "alpha", alpha), scale=1.0, rate=1.0)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def selu(x):
    """1.0507 * elu(x, alpha=1.6733) of every element: keeps mean 0 and variance 1 through layers.

    Source: Klambauer et al., Self-Normalizing Neural Networks, arXiv 1706.02515, equation 2.
    """
    return elu_row(checked("selu", x), alpha=1.6732632423543772, scale=1.0507009873554805, rate=1.0)


@public(Case({"x": (17, 3, 5)}, {"alpha": 0.5}), sizes=image_sizes(alpha=0.5))
def celu(x, alpha=1.0):
    """max(0, x) + min(0, alpha * (exp(x / alpha) - 1)) of every element.  ValueError for alpha = 0.

    Source: Barron, Continuously Differentiable Exponential Linear Units, arXiv 1704.07483.
    """
    alpha = number("celu", "alpha", alpha)
    if alpha == 0.0:
        raise ValueError("celu: alpha must not be 0")
    return elu_row(checked("celu", x), alpha=alpha, scale=1.0, rate=1.0 / alpha)


@public(Case({"x": (17, 3, 5)}), Case({"x": (17, 3, 5)}, {"approximate": "tanh"}),
        sizes=(*image_sizes(), *image_sizes(approximate="tanh")))  # fmt: skip
def gelu(x, approximate="none"):
    """x Phi(x) of every element, Phi being the normal distribution's; 0 at -infinity.

    ``approximate="tanh"``: x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))) / 2 instead.  ValueError for another word.
    Source: Hendrycks & Gimpel, Gaussian Error Linear Units, arXiv 1606.08415.
    """
    rows = {"none": gelu_row, "tanh": gelu_tanh_row}
    if approximate not in rows:
        raise ValueError(f'gelu: approximate must be "none" or "tanh", not {approximate!r}')
    return rows[approximate](checked("gelu", x))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def silu(x):
    """x sigmoid(x) of every element (swish); 0 at -infinity.

    Source: Hendrycks & Gimpel, arXiv 1606.08415; Ramachandran et al., arXiv 1710.05941.
    """
    return silu_row(checked("silu", x))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def mish(x):
    """x tanh(softplus(x)) of every element; 0 at -infinity.

    Source: Misra, Mish: A Self Regularized Non-Monotonic Activation Function, arXiv 1908.08681.
    """
    return mish_row(checked("mish", x))


@public(Case({"x": (17, 3, 5)}, {"beta": 2.0, "threshold": 3.0}), sizes=image_sizes())
def softplus(x, beta=1.0, threshold=20.0):
    """log(1 + exp(beta x)) / beta of every element; x itself where beta x > threshold.  ValueError for beta = 0.

    Source: Dugas et al., Incorporating Second-Order Functional Knowledge for Better Option Pricing, NIPS 2000.
    """
    beta = number("softplus", "beta", beta)
    if beta == 0.0:
        raise ValueError("softplus: beta must not be 0")
    return softplus_row(checked("softplus", x), beta=beta, threshold=number("softplus", "threshold", threshold))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def logsigmoid(x):
    """log(1 / (1 + exp(-x))) of every element, without cancellation for large x.

    Source: PyTorch.
    """
    turned = softplus_row(_negative(checked("logsigmoid", x)), beta=1.0, threshold=math.inf)
    return _negative(turned)


def _negative(x):
    return scale_row(x, factor=-1.0, offset=0.0)


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def softsign(x):
    """x / (1 + |x|) of every element; 1 and -1 at the infinities.

    Source: Turian et al., Quadratic Features and Deep Architectures for Chunking, NAACL 2009.
    """
    return softsign_row(checked("softsign", x))


@public(Case({"x": (17, 3, 5)}), sizes=image_sizes())
def tanhshrink(x):
    """x - tanh(x) of every element.

    Source: PyTorch.
    """
    x = checked("tanhshrink", x)
    return subtract_row(x, tanh_row(x))
