"""Fast Fourier transforms of vectors: each lane is a transform of its own, so butterflies are plain arithmetic.

    X[f] = sum over t of x[t] exp(-2 pi i f t / n)

Stockham's algorithm: every stage reads one buffer and writes another, and what comes out is in order (Van Loan,
Computational Frameworks for the Fast Fourier Transform, section 1.7).  Sizes are products of 4, 3 and 2.  A complex
number is two vectors at a fixed distance; the inverse transform is the forward one with the two exchanged.
"""

import math

import numpy as np

from .compiler import inline
from .target import LANES
from .vector import at, load, store

RADICES = (4, 3, 2)

#: Sizes that transforms have: even ones, as two real rows make a complex one, and no waste for lines of one number.
SIZES = (1, 4, 6, 8, 12, 16, 18, 24, 32, 36, 48, 64, 72, 96, 128)

HALF_ROOT_OF_THREE = math.sqrt(3.0) / 2.0


def radices(size: int) -> np.ndarray:
    """The radices of the stages, behind their number."""
    found = []
    for radix in RADICES:
        while size % radix == 0:
            found.append(radix)
            size //= radix
    assert size == 1, "a size is a product of 4, 3 and 2"
    return np.array([len(found), *found], np.int64)


def roots(size: int, dtype: np.dtype) -> np.ndarray:
    """exp(-2 pi i k / size) for k from 0 on, real and imaginary parts next to each other."""
    angles = -2.0 * np.pi * np.arange(size) / size
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).ravel().astype(dtype)


@inline
def _put(y, im, re_part, im_part, w, k):
    """y = root k times a complex number."""
    c, s = w[2 * k], w[2 * k + 1]
    store(y, 0, re_part * c - im_part * s)
    store(y, im, re_part * s + im_part * c)


@inline
def _stage_of_4(x, x_step, x_im, y, y_step, y_im, n, s, w):
    """Butterflies of four numbers n / 4 apart, for ``s`` transforms of length n side by side."""
    m = n // 4
    across = m * s * x_step
    for p in range(m):
        for q in range(s):
            here, there = at(x, (q + s * p) * x_step), at(y, (q + 4 * s * p) * y_step)
            a_re, a_im = load(here, 0), load(here, x_im)
            b_re, b_im = load(here, across), load(here, across + x_im)
            c_re, c_im = load(here, 2 * across), load(here, 2 * across + x_im)
            d_re, d_im = load(here, 3 * across), load(here, 3 * across + x_im)
            ac_re, ac_im, bd_re, bd_im = a_re + c_re, a_im + c_im, b_re + d_re, b_im + d_im
            store(there, 0, ac_re + bd_re)
            store(there, y_im, ac_im + bd_im)
            next_ = s * y_step
            _put(at(there, 2 * next_), y_im, ac_re - bd_re, ac_im - bd_im, w, 2 * p * s)
            ac_re, ac_im, bd_re, bd_im = a_re - c_re, a_im - c_im, b_re - d_re, b_im - d_im
            _put(at(there, next_), y_im, ac_re + bd_im, ac_im - bd_re, w, p * s)
            _put(at(there, 3 * next_), y_im, ac_re - bd_im, ac_im + bd_re, w, 3 * p * s)


@inline
def _stage_of_3(x, x_step, x_im, y, y_step, y_im, n, s, w):
    m = n // 3
    across = m * s * x_step
    for p in range(m):
        for q in range(s):
            here, there = at(x, (q + s * p) * x_step), at(y, (q + 3 * s * p) * y_step)
            a_re, a_im = load(here, 0), load(here, x_im)
            b_re, b_im = load(here, across), load(here, across + x_im)
            c_re, c_im = load(here, 2 * across), load(here, 2 * across + x_im)
            sum_re, sum_im = b_re + c_re, b_im + c_im
            turn_re, turn_im = (b_re - c_re) * HALF_ROOT_OF_THREE, (b_im - c_im) * HALF_ROOT_OF_THREE
            store(there, 0, a_re + sum_re)
            store(there, y_im, a_im + sum_im)
            mid_re, mid_im = a_re - sum_re * 0.5, a_im - sum_im * 0.5
            next_ = s * y_step
            _put(at(there, next_), y_im, mid_re + turn_im, mid_im - turn_re, w, p * s)
            _put(at(there, 2 * next_), y_im, mid_re - turn_im, mid_im + turn_re, w, 2 * p * s)


@inline
def _stage_of_2(x, x_step, x_im, y, y_step, y_im, n, s, w):
    m = n // 2
    across = m * s * x_step
    for p in range(m):
        for q in range(s):
            here, there = at(x, (q + s * p) * x_step), at(y, (q + 2 * s * p) * y_step)
            a_re, a_im = load(here, 0), load(here, x_im)
            b_re, b_im = load(here, across), load(here, across + x_im)
            store(there, 0, a_re + b_re)
            store(there, y_im, a_im + b_im)
            _put(at(there, s * y_step), y_im, a_re - b_re, a_im - b_im, w, p * s)


@inline
def transform(x, x_step, x_im, y, y_step, y_im, work, size, plan, w):
    """The transform of ``size`` complex vectors ``x_step`` apart; ``x_im`` is where their imaginary parts lie.

    ``y`` may be ``x``.  ``work``: room for 2 * size complex vectors; ``plan``: ``radices``; ``w``: ``roots``.
    """
    count = plan[0]
    n, s = size, 1
    source, step, im = x, x_step, x_im
    if count == 0:
        store(y, y_im, load(x, x_im))
        store(y, 0, load(x, 0))
    for i in range(count):
        target, t_step, t_im = y, y_step, y_im
        if i < count - 1:
            target, t_step, t_im = at(work, i % 2 * 2 * size * LANES), 2 * LANES, LANES
        radix = plan[i + 1]
        if radix == 4:
            _stage_of_4(source, step, im, target, t_step, t_im, n, s, w)
        elif radix == 3:
            _stage_of_3(source, step, im, target, t_step, t_im, n, s, w)
        else:
            _stage_of_2(source, step, im, target, t_step, t_im, n, s, w)
        n //= radix
        s *= radix
        source, step, im = target, t_step, t_im


@inline
def inverse(x, x_step, x_im, y, y_step, y_im, work, size, plan, w):
    """The inverse of ``transform``, times ``size``."""
    transform(at(x, x_im), x_step, -x_im, at(y, y_im), y_step, -y_im, work, size, plan, w)


@inline
def split_rows(z, size, first, second, step):
    """The halves 0 to size / 2 of the spectra of two real rows that were transformed as one complex one, times 2.

    z [size][2]; the spectra's numbers are ``step`` apart.
    """
    for k in range(size // 2 + 1):
        other = (size - k) % size
        re_part, im_part = load(z, 2 * k * LANES), load(z, (2 * k + 1) * LANES)
        other_re, other_im = load(z, 2 * other * LANES), load(z, (2 * other + 1) * LANES)
        store(first, k * step, re_part + other_re)
        store(first, k * step + LANES, im_part - other_im)
        store(second, k * step, im_part + other_im)
        store(second, k * step + LANES, other_re - re_part)


@inline
def join_rows(first, second, step, z, size):
    """The spectrum of two real rows as one complex one, from the halves of theirs."""
    for k in range(size // 2 + 1):
        a_re, a_im = load(first, k * step), load(first, k * step + LANES)
        b_re, b_im = load(second, k * step), load(second, k * step + LANES)
        store(z, 2 * k * LANES, a_re - b_im)
        store(z, (2 * k + 1) * LANES, a_im + b_re)
        if 0 < k < size - k:
            store(z, 2 * (size - k) * LANES, a_re + b_im)
            store(z, (2 * (size - k) + 1) * LANES, b_re - a_im)
