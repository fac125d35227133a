"""Elementary functions of vectors, written out as polynomials.

Numba calls the C library for ``math.exp`` and its kin, one number at a time; these work on whole vectors.  Errors are
bounded by tests, in units of the last place: exp 1, log 1, tanh 5, sigmoid 3, expm1 3, log1p 2,
normal_cdf_and_density 5 (float32 and float64; one more on CPUs without fused multiply-adds).

Method: Cody & Waite, Software Manual for the Elementary Functions (1980): exp by reduction to |r| <= ln(2)/2, log by
reduction to [sqrt(1/2), sqrt(2)).
"""

import numpy as np
from numba import types
from numba.extending import overload

from .compiler import OVERLOAD, inline
from .target import has_fma
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
    times_power_of_two,
    to_float,
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


def log1p(x):
    """log(1 + x) for x from 0 to 1, without cancellation."""
    raise NotImplementedError("for use inside kernels")


def normal_cdf(x):
    """The normal distribution's Phi(x) = (1 + erf(x / sqrt 2)) / 2.

    In float32 with an absolute error of 1.5e-7, and a relative one of 5e-6 down to x = -5.5.
    """
    raise NotImplementedError("for use inside kernels")


def normal_cdf_and_density(x):
    """Phi(x), with small relative errors in both tails, and its derivative exp(-x^2 / 2) / sqrt(2 pi)."""
    raise NotImplementedError("for use inside kernels")


def tanh(x):
    """Hyperbolic tangent."""
    raise NotImplementedError("for use inside kernels")


def sigmoid(x):
    """1 / (1 + exp(-x))."""
    raise NotImplementedError("for use inside kernels")


def _polynomial(coefficients):
    """A function of x and a tuple of x^2, x^4 ... that evaluates a polynomial; coefficients from the lowest power up.

    Halves are evaluated apart (Estrin 1960): products that wait for each other, as in Horner's scheme, are what
    takes the time here.
    """
    count = len(coefficients)
    if count == 1:
        (constant,) = coefficients
        return inline(lambda x, powers: splat(x, constant))
    if count == 2:
        constant, slope = coefficients
        return inline(lambda x, powers: fma(x, slope, constant))
    level = (count - 1).bit_length() - 2  # of the power 2^(level + 1) at which it is cut
    low, high = _polynomial(coefficients[: 2 << level]), _polynomial(coefficients[2 << level :])
    return inline(lambda x, powers: fma(high(x, powers), powers[level], low(x, powers)))


def _reduction(kind, coefficients):
    """The common part of exp and expm1: (p(r), r, k) with x = k ln 2 + r, p given from above."""
    _, _, high, low, _, lowest, highest = _constants(kind)
    log2e = float(1 / _LN2)
    last, first, *others = reversed(coefficients)
    polynomial = _polynomial(tuple(others))

    @inline
    def reduce(x):
        # maximum and minimum return their second argument for NaN, which therefore passes through.
        bounded = minimum(highest, maximum(lowest, x))
        k = nearest(bounded * log2e)
        r = fma(k, -low, fma(k, -high, bounded))
        square = r * r
        fourth = square * square
        p = polynomial(r, (square, fourth, fourth * fourth))
        return fma(fma(p, r, first), r, last), r, k

    return reduce


@overload(exp, OVERLOAD)
def _exp(x):
    if not isinstance(x, Vector):
        return None
    reduce = _reduction(x.dtype, _constants(x.dtype)[4])

    def implementation(x):
        p, _, k = reduce(x)
        return times_power_of_two(p, k)

    return implementation


def _expm1_coefficients(kind):
    """1/k! for k = 1 ..., from the highest power down, enough for |x| <= ln(2)/2."""
    degree = 8 if kind == types.float32 else 14
    return _exp_coefficients(degree)[:-1]


@overload(expm1, OVERLOAD)
def _expm1(x):
    if not isinstance(x, Vector):
        return None
    reduce = _reduction(x.dtype, _expm1_coefficients(x.dtype))

    def implementation(x):
        p, r, k = reduce(x)
        # 2^k exp(r) - 1 = 2^k (r p) + (2^k - 1); 2^k - 1 is exact where it matters.
        return times_power_of_two(p * r, k) + (times_power_of_two(splat(x, 1.0), k) - 1.0)

    return implementation


#: tanh(x) = x p(x^2) / q(x^2) for |x| <= 8.5, coefficients from the highest power down; a minimax fit with relative
#: error 1.2e-8, which leaves the roundings of the evaluation as the error.
_TANH_P = (
    1.4269381447399574e-08, 2.1251157420324413e-05, 0.003534033857285034, 0.13413252868890838, 0.9999999881978769,
)  # fmt: skip
_TANH_Q = (8.145186886980994e-07, 0.00033488761569385145, 0.026022778124731923, 0.46746575607997337, 1.0)


@overload(tanh, OVERLOAD)
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


@overload(sigmoid, OVERLOAD)
def _sigmoid(x):
    if not isinstance(x, Vector):
        return None

    def implementation(x):
        # exp of a non-positive number alone: no overflow on either side.
        e = exp(-absolute(x))
        return where(x < 0.0, e, 1.0 + e * 0.0) / (1.0 + e)

    return implementation


def _log_coefficients(terms: int):
    """2/(2k+1) of log((1+s)/(1-s)) = 2 s + 2 s^3/3 + ..., from the highest power down, without the leading 2 s."""
    return tuple(2.0 / (2 * k + 1) for k in range(terms, 0, -1))


def _log_of_one_more(coefficients):
    """log(1 + f) by the series in s = f / (2 + f)."""

    @inline
    def series(f):
        s = f / (2.0 + f)
        z = s * s
        p = splat(f, coefficients[0])
        for c in coefficients[1:]:
            p = fma(p, z, c)
        # log(1 + f) = 2s + s z p = f - s (f - z p), which keeps f's exact bits
        return s, z * p

    return series


@overload(log, OVERLOAD)
def _log(x):
    if not isinstance(x, Vector):
        return None
    mantissa, bias, high, low, *_ = _constants(x.dtype)
    series = _log_of_one_more(_log_coefficients(5 if x.dtype == types.float32 else 11))
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
        s, rest = series(f)
        result = fma(exponent, high, f - (s * (f - rest) - exponent * low))
        result = where(x == 0.0, -infinity, result)
        result = where(x < 0.0, not_a_number, result)
        return where(x == infinity, infinity, where(x != x, x, result))

    return implementation


@overload(log1p, OVERLOAD)
def _log1p(x):
    if not isinstance(x, Vector):
        return None
    # s reaches 1/3 here, and only 0.17 in log
    series = _log_of_one_more(_log_coefficients(7 if x.dtype == types.float32 else 16))

    def implementation(x):
        s, rest = series(x)
        return x - s * (x - rest)

    return implementation


#: Phi(-a) = exp(-a^2 / 2) h((a - 4) / (a + 4)) / (1 + a) for a >= 0; the change of variable is that of Shepherd &
#: Laframboise, Math. Comp. 36, 1981.  The polynomials, from the highest power down, interpolate h at Chebyshev's nodes
#: with relative errors of 3e-8 up to a = 15 and 6e-17 up to a = 39.
_CDF_SINGLE = (
    9.1524745046127953e-05, 0.00072624581808080413, -0.00041190658140704439, -0.0050542464902504155,
    0.017966054402539039, -0.032183907803349027, 0.028597560583215039, 0.013998537842550976, -0.096703395715741005,
    0.47205321943977347,
)  # fmt: skip
_CDF_DOUBLE = (
    1.9844072305621601e-10, 4.347202324981508e-09, 1.1340649996126789e-08, -1.8881377257031632e-08,
    -1.0111129755671242e-07, 2.8055596826956696e-09, 5.4321008276125774e-07, 4.0209663796175195e-07,
    -2.6080391995656582e-06, -3.4305539444945168e-06, 1.3625128702085319e-05, 2.1249416709821007e-05,
    -8.7852781004236426e-05, -9.4430109323005176e-05, 0.00069489704589332037, -0.00028562311726743208,
    -0.0050023785859874212, 0.017936097481063276, -0.032197837428313235, 0.028600364053505538, 0.013999634724429484,
    -0.096703477326525379, 0.47205320650984467,
)  # fmt: skip
_ROOT_OF_TWO_PI = 2.506628274631000502


def _rounded_by(splitter):
    """A function of a and its rounded square: the exact square less the rounded one (Dekker 1971, without FMA)."""

    def fused(a, square):
        return fma(a, a, -square)

    def split(a, square):
        t = a * splitter
        high = t - (t - a)  # the upper half of the digits
        low = a - high
        return ((high * high - square) + 2.0 * (high * low)) + low * low

    return inline(fused if has_fma() else split)


@overload(normal_cdf_and_density, OVERLOAD)
def _normal_cdf_and_density(x):
    if not isinstance(x, Vector):
        return None
    coefficients = _CDF_SINGLE if x.dtype == types.float32 else _CDF_DOUBLE
    rounded_by = _rounded_by(2.0**12 + 1.0 if x.dtype == types.float32 else 2.0**27 + 1.0)

    def implementation(x):
        a = minimum(40.0, absolute(x))  # beyond it exp(-a^2 / 2) is zero; NaN passes
        square = a * a
        e = exp(-0.5 * square) * fma(rounded_by(a, square), -0.5, 1.0)
        plus_four, plus_one = a + 4.0, a + 1.0
        both = 1.0 / (plus_four * plus_one)
        q = (a - 4.0) * (plus_one * both)
        h = splat(x, coefficients[0])
        for c in coefficients[1:]:
            h = fma(h, q, c)
        tail = e * (h * (plus_four * both))
        return where(x > 0.0, 1.0 - tail, tail), e * (1.0 / _ROOT_OF_TWO_PI)

    return implementation


#: log Phi(-a) for 0 <= a <= 14, from the highest power down: a minimax fit of errors in units of 1 + a^2 / 2, which are
#: 1e-7 up to a = 5.5 and grow to 0.02 where Phi is not a number of float32 any more.
_LOG_CDF = (
    -2.4001714916019327e-11, 1.595436371037704e-09, -4.573989484273867e-08, 7.425653163622415e-07,
    -7.4952951780106905e-06, 4.75974790332068e-05, -0.00016527052074899007, -7.372584406864914e-05,
    0.004919006240857301, -0.036427560466163175, -0.3182794815960523, -0.7978883756719801, -0.6931471023739064,
)  # fmt: skip


@overload(normal_cdf, OVERLOAD)
def _normal_cdf(x):
    if not isinstance(x, Vector):
        return None

    log_cdf = _polynomial(_LOG_CDF[::-1])

    def single(x):
        """Without a division, so that it takes half as long as the density's sister."""
        a = minimum(14.0, absolute(x))
        square = a * a
        fourth = square * square
        tail = exp(log_cdf(a, (square, fourth, fourth * fourth)))
        return where(x > 0.0, 1.0 - tail, tail)

    def double(x):
        cdf, _ = normal_cdf_and_density(x)
        return cdf

    return single if x.dtype == types.float32 else double
