"""Smooth activations and their gradients as functions of vectors.

Where a function tends to 0 times infinity, x is bounded first, to where the function has reached its limit.
"""

import math

from .elementwise import elementwise
from .math import exp, expm1, log1p, normal_cdf, normal_cdf_and_density, sigmoid
from .vector import absolute, maximum, minimum, where

#: exp, and any number of float32 or float64 times it, is 0 here.
FAR = 1000.0
#: exp(-x) is nothing beside 1 here, and squares of exp(x) are far from overflow.
HIGH = 40.0

_ROOT_TWO_OVER_PI = math.sqrt(2.0 / math.pi)


@elementwise("elu", costly=True)
def elu(x, alpha, scale, rate):
    return scale * where(x > 0.0, x, alpha * expm1(x * rate))


@elementwise("elu_grad", costly=True)
def elu_grad(g, x, alpha, scale, rate):
    return g * scale * where(x > 0.0, 1.0, alpha * rate * exp(x * rate))


@elementwise("gelu", costly=True)
def gelu(x):
    return maximum(-FAR, x) * normal_cdf(x)


@elementwise("gelu_grad", costly=True)
def gelu_grad(g, x):
    cdf, density = normal_cdf_and_density(x)
    return g * (cdf + minimum(FAR, maximum(-FAR, x)) * density)


@elementwise("gelu_tanh", costly=True)
def gelu_tanh(x):
    bounded = maximum(-FAR, x)
    inner = minimum(FAR, bounded)
    return bounded * sigmoid(2.0 * _ROOT_TWO_OVER_PI * (inner + 0.044715 * inner * inner * inner))


@elementwise("gelu_tanh_grad", costly=True)
def gelu_tanh_grad(g, x):
    inner = minimum(FAR, maximum(-FAR, x))
    square = inner * inner
    s = sigmoid(2.0 * _ROOT_TWO_OVER_PI * inner * (1.0 + 0.044715 * square))
    slope = 2.0 * _ROOT_TWO_OVER_PI * (1.0 + 3.0 * 0.044715 * square)
    return g * (s + inner * slope * s * (1.0 - s))


@elementwise("silu", costly=True)
def silu(x):
    return maximum(-FAR, x) * sigmoid(x)


@elementwise("silu_grad", costly=True)
def silu_grad(g, x):
    bounded = minimum(FAR, maximum(-FAR, x))
    s = sigmoid(bounded)
    return g * (s + bounded * s * (1.0 - s))


@elementwise("mish", costly=True)
def mish(x):
    """tanh(log(1 + e)) = n / (n + 2) with e = exp(x) and n = e (e + 2)."""
    e = exp(minimum(HIGH, x))
    n = e * (e + 2.0)
    return maximum(-FAR, x) * (n / (n + 2.0))


@elementwise("mish_grad", costly=True)
def mish_grad(g, x):
    bounded = minimum(HIGH, maximum(-FAR, x))
    e = exp(bounded)
    n = e * (e + 2.0)
    inverse = 1.0 / (n + 2.0)
    return g * (n * inverse + bounded * (4.0 * e * (e + 1.0) * inverse * inverse))


@elementwise("softplus", costly=True)
def softplus(x, beta, threshold):
    scaled = x * beta
    y = (maximum(0.0, scaled) + log1p(exp(-absolute(scaled)))) / beta
    return where(scaled > threshold, x, y)


@elementwise("softplus_grad", costly=True)
def softplus_grad(g, x, beta, threshold):
    scaled = x * beta
    return where(scaled > threshold, g, g * sigmoid(scaled))


@elementwise("softsign")
def softsign(x):
    bounded = minimum(1e30, maximum(-1e30, x))
    return bounded / (1.0 + absolute(bounded))


@elementwise("softsign_grad")
def softsign_grad(g, x):
    inverse = 1.0 / (1.0 + absolute(x))
    return g * inverse * inverse
