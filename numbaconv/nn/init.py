"""Initial values of parameters, drawn from a counter-based generator (Philox) with an explicit seed.

Source of Philox: Salmon et al., Parallel random numbers: as easy as 1, 2, 3, SC 2011.
"""

from __future__ import annotations

import math

import numpy as np

from numbaconv.graph import Variable

GeneratorLike = np.random.Generator | int | None
"""A generator to draw from, a seed to make one of, or ``None`` for the one ``manual_seed`` sets."""


def new_generator(seed: int) -> np.random.Generator:
    """Return a fresh Philox generator.

    Raises:
        ValueError: if the seed is not a whole number of 0 or more.
    """
    if isinstance(seed, bool) or not isinstance(seed, (int, np.integer)) or seed < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {seed!r}")
    return np.random.Generator(np.random.Philox(int(seed)))


_default = new_generator(0)


def manual_seed(seed: int) -> None:
    """Restart the generator that layers draw from when they are given none; it starts with seed 0."""
    global _default
    _default = new_generator(seed)


def as_generator(generator: GeneratorLike) -> np.random.Generator:
    """Return the generator that is meant by an argument ``generator=``."""
    if generator is None:
        return _default
    if isinstance(generator, np.random.Generator):
        return generator
    return new_generator(generator)


def uniform_(variable: Variable, low: float = 0.0, high: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a variable with draws from U(low, high), in place, and return it."""
    draws = as_generator(generator).random(variable.shape)
    variable.data[...] = low + (high - low) * draws
    return variable


def zeros_(variable: Variable) -> Variable:
    """Fill a variable with zeros, in place, and return it."""
    variable.data[...] = 0
    return variable


def kaiming_uniform_(variable: Variable, a: float = 0.0, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from U(-b, b), b = sqrt(6 / ((1 + a²) · fan_in)), in place, and return it.

    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equation 15.
    """
    bound = math.sqrt(6.0 / ((1.0 + a * a) * fan_in(variable.shape)))
    return uniform_(variable, -bound, bound, generator)


def fan_in(shape: tuple[int, ...]) -> int:
    """Return the number of inputs that one output of a weight of shape ``(out, in, *kernel)`` sees.

    Raises:
        ValueError: if the shape has fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ValueError(f"a weight of shape {shape} has no fan-in: it needs at least two dimensions")
    return math.prod(shape[1:])


def init_affine_(weight: Variable, bias: Variable | None, generator: GeneratorLike) -> None:
    """Fill weight and bias as PyTorch's convolution and linear layers do: both from U(-b, b), b = 1 / sqrt(fan_in)."""
    generator = as_generator(generator)
    kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    if bias is not None:
        bound = 1.0 / math.sqrt(fan_in(weight.shape))
        uniform_(bias, -bound, bound, generator)
