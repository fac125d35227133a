"""Elementary functions of vectors, written out as polynomials.

Numba calls the C library for ``math.exp`` and its kin, one number at a time; these work on whole vectors.  Errors are
bounded by tests, in units of the last place: exp 1, log 1, tanh 5, sigmoid 3, expm1 3 (float32 and float64; one more
on CPUs without fused multiply-adds).

Method: Cody & Waite, Software Manual for the Elementary Functions (1980): exp by reduction to |r| <= ln(2)/2, log by
reduction to [sqrt(1/2), sqrt(2)).
"""

import numpy as np
from numba import njit, types
from numba.extending import overload

from .vector import (
    Vector,
    absolute,
    arithmetic_shift,
    bits,
    fma,
    from_bits,
    maximum,
    minimum,
    nearest,
    splat,
    to_float,
    to_integer,
    where,
)

_LN2 = np.longdouble("0.693147180559945309417232121458176568")


def _split_ln2(dtype, low_bits: int):
    """ln 2 as high + low, the high part with trailing zeros so that its product with a small integer is exact."""
    scale = dtype(2.0) ** (np.finfo(dtype).nmant - low_bits)
    high = dtype(np.floor(np.float64(_LN2) * scale) / scale)
    return float(high), float(dtype(_LN2 - np.longdouble(high)))


def _exp_coefficients(degree: int):
    """Taylor coefficients 1/k! for |r| <= ln(2)/2, from the highest power down."""
    factorials = np.cumprod([1.0, *range(1, degree + 1)])
    return tuple(float(1.0 / f) for f in factorials[::-1])


def _constants(kind):
    """What depends on the dtype: mantissa bits, exponent bias, ln2 high and low, exp's coefficients and limits."""
    if kind == types.float32:
        return 23, 127, *_split_ln2(np.float32, 10), _exp_coefficients(7), -104.0, 89.0
    return 52, 1023, *_split_ln2(np.float64, 12), _exp_coefficients(13), -746.0, 710.0


def exp(x):
    """e to the power of each lane; 0 and infinity beyond the range, NaN stays."""
    raise NotImplementedError("for use inside kernels")


def expm1(x):
    """exp(x) - 1 without cancellation for small x; x up to 88 (float32) or 709 (float64)."""
    raise NotImplementedError("for use inside kernels")


def log(x):
    """Natural logarithm; -infinity at 0, NaN below."""
    raise NotImplementedError("for use inside kernels")


def tanh(x):
    """Hyperbolic tangent."""
    raise NotImplementedError("for use inside kernels")


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    raise NotImplementedError("for use inside kernels")


def _reduction(kind, coefficients):
    """The common part of exp and expm1: (p(r), r, 2^k in two factors) with x = k ln 2 + r, p given from above."""
    mantissa, bias, high, low, _, lowest, highest = _constants(kind)
    log2e = float(1 / _LN2)

    @njit(error_model="numpy")
    def reduce(x):
        # maximum and minimum return their second argument for NaN, which therefore passes through.
        bounded = minimum(highest, maximum(lowest, x))
        k = nearest(bounded * log2e)
        r = fma(k, -low, fma(k, -high, bounded))
        p = splat(x, coefficients[0])
        for c in coefficients[1:]:
            p = fma(p, r, c)
        # 2^k in two factors: k itself may leave the range of exponents where the result is still a number.
        whole = to_integer(k)
        half = to_integer(k * 0.5)
        return p, r, from_bits((half + bias) << mantissa), from_bits((whole - half + bias) << mantissa)

    return reduce


@overload(exp)
def _exp(x):
    if not isinstance(x, Vector):
        return None
    reduce = _reduction(x.dtype, _constants(x.dtype)[4])

    def implementation(x):
        p, _, first, second = reduce(x)
        return p * first * second

    return implementation


def _expm1_coefficients(kind):
    """1/k! for k = 1 ..., from the highest power down, enough for |x| <= ln(2)/2."""
    degree = 8 if kind == types.float32 else 14
    return _exp_coefficients(degree)[:-1]


@overload(expm1)
def _expm1(x):
    if not isinstance(x, Vector):
        return None
    reduce = _reduction(x.dtype, _expm1_coefficients(x.dtype))

    def implementation(x):
        p, r, first, second = reduce(x)
        # 2^k exp(r) - 1 = 2^k (r p) + (2^k - 1); 2^k - 1 is exact where it matters.
        return fma(p * r * first, second, fma(first, second, -1.0))

    return implementation


#: tanh(x) = x p(x^2) / q(x^2) for |x| <= 8.5, coefficients from the highest power down; a minimax fit with relative
#: error 1.2e-8, which leaves the roundings of the evaluation as the error.
_TANH_P = (
    1.4269381447399574e-08, 2.1251157420324413e-05, 0.003534033857285034, 0.13413252868890838, 0.9999999881978769,
)  # fmt: skip
_TANH_Q = (8.145186886980994e-07, 0.00033488761569385145, 0.026022778124731923, 0.46746575607997337, 1.0)


@overload(tanh)
def _tanh(x):
    if not isinstance(x, Vector):
        return None

    def single(x):
        # minimum and maximum return their second argument for NaN, which therefore passes through.
        bounded = maximum(-8.5, minimum(8.5, x))
        square = bounded * bounded
        p = splat(x, _TANH_P[0])
        for c in _TANH_P[1:]:
            p = fma(p, square, c)
        q = splat(x, _TANH_Q[0])
        for c in _TANH_Q[1:]:
            q = fma(q, square, c)
        return maximum(-1.0, minimum(1.0, bounded * p / q))

    def double(x):
        # tanh|x| = m / (m + 2) with m = exp(2|x|) - 1, which does not cancel near zero.
        m = expm1(minimum(40.0, absolute(x)) * 2.0)
        t = m / (m + 2.0)
        return where(x < 0.0, -t, where(x > 0.0, t, x))  # -0 and NaN stay

    return single if x.dtype == types.float32 else double


@overload(sigmoid)
def _sigmoid(x):
    if not isinstance(x, Vector):
        return None

    def implementation(x):
        # exp of a non-positive number alone: no overflow on either side.
        e = exp(-absolute(x))
        return where(x < 0.0, e, 1.0 + e * 0.0) / (1.0 + e)

    return implementation


def _log_coefficients(kind):
    """2/(2k+1) of log((1+s)/(1-s)) = 2 s + 2 s^3/3 + ..., from the highest power down, without the leading 2 s."""
    terms = 5 if kind == types.float32 else 11
    return tuple(2.0 / (2 * k + 1) for k in range(terms, 0, -1))


@overload(log)
def _log(x):
    if not isinstance(x, Vector):
        return None
    mantissa, bias, high, low, *_ = _constants(x.dtype)
    coefficients = _log_coefficients(x.dtype)
    smallest = float(np.finfo(str(x.dtype)).tiny)
    lift = 2.0 ** (mantissa + 1)
    root_half = float(np.sqrt(0.5))
    bits_of_root = int(np.asarray(root_half, str(x.dtype)).view(f"i{x.dtype.bitwidth // 8}"))
    infinity = float("inf")
    not_a_number = float("nan")

    def implementation(x):
        denormal = x < smallest
        scaled = where(denormal, x * lift, x)
        # exponent relative to sqrt(1/2), so that the mantissa lies in [sqrt(1/2), sqrt(2))
        shifted = bits(scaled) - bits_of_root
        exponent = to_float(arithmetic_shift(shifted, mantissa))
        m = from_bits(bits(scaled) - (arithmetic_shift(shifted, mantissa) << mantissa))
        exponent = where(denormal, exponent - float(mantissa + 1), exponent)
        f = m - 1.0
        s = f / (2.0 + f)
        z = s * s
        p = splat(x, coefficients[0])
        for c in coefficients[1:]:
            p = fma(p, z, c)
        # log m = 2s + s z p = f - s (f - z p), which keeps f's exact bits
        result = fma(exponent, high, f - (s * (f - z * p) - exponent * low))
        result = where(x == 0.0, -infinity, result)
        result = where(x < 0.0, not_a_number, result)
        return where(x == infinity, infinity, where(x != x, x, result))

    return implementation
