"""Initial values of parameters, drawn from the counter-based generator of ``numbaconv.random``."""

from __future__ import annotations

import math

import numpy as np

from numbaconv import random
from numbaconv.graph import Variable

GeneratorLike = np.random.Generator | int | None
"""A generator to draw from, a seed to make one of, or ``None`` for the next stream of ``numbaconv.manual_seed``."""


def as_generator(generator: GeneratorLike) -> np.random.Generator:
    """Return the generator that is meant by an argument ``generator=``.

    Raises:
        ValueError: if it is a seed, but not a whole number of 0 or more.
    """
    if generator is None or isinstance(generator, np.random.Generator):
        return generator or random.generator()
    if isinstance(generator, bool) or not isinstance(generator, (int, np.integer)) or generator < 0:
        raise ValueError(f"seed must be a whole number of 0 or more, got {generator!r}")
    return random.generator(int(generator))


def uniform_(variable: Variable, low: float = 0.0, high: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a variable with draws from U(low, high), in place, and return it."""
    draws = as_generator(generator).random(variable.shape)
    variable.data[...] = low + (high - low) * draws
    return variable


def normal_(variable: Variable, mean: float = 0.0, std: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a variable with draws from N(mean, std²), in place, and return it."""
    variable.data[...] = mean + std * as_generator(generator).standard_normal(variable.shape)
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


def kaiming_normal_(variable: Variable, mode: str = "fan_in", generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from N(0, 2 / fan), in place, and return it.

    ``mode`` says which fan: ``"fan_in"`` keeps the variance of values, ``"fan_out"`` that of gradients, through layers
    with ReLU.

    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equations 10 and 14.
    """
    fans = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in fans:
        raise ValueError(f"kaiming_normal_: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return normal_(variable, 0.0, math.sqrt(2.0 / fans[mode](variable.shape)), generator)


def fan_in(shape: tuple[int, ...]) -> int:
    """Return the number of inputs that one output of a weight of shape ``(out, in, *kernel)`` sees.

    Raises:
        ValueError: if the shape has fewer than two dimensions.
    """
    if len(shape) < 2:
        raise ValueError(f"a weight of shape {shape} has no fan-in: it needs at least two dimensions")
    return math.prod(shape[1:])


def fan_out(shape: tuple[int, ...]) -> int:
    """Return the number of outputs that see one input of a weight of shape ``(out, in, *kernel)``, groups not counted.

    Raises:
        ValueError: if the shape has fewer than two dimensions.
    """
    return fan_in((shape[1], shape[0], *shape[2:]) if len(shape) > 1 else shape)


def init_affine_(weight: Variable, bias: Variable | None, generator: GeneratorLike) -> None:
    """Fill weight and bias as PyTorch's convolution and linear layers do: both from U(-b, b), b = 1 / sqrt(fan_in)."""
    generator = as_generator(generator)
    kaiming_uniform_(weight, a=math.sqrt(5), generator=generator)
    if bias is not None:
        bound = 1.0 / math.sqrt(fan_in(weight.shape))
        uniform_(bias, -bound, bound, generator)
