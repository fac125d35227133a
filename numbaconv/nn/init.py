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


def ones_(variable: Variable) -> Variable:
    """Fill a variable with ones, in place, and return it."""
    return constant_(variable, 1.0)


def constant_(variable: Variable, value: float) -> Variable:
    """Fill a variable with one number, in place, and return it."""
    variable.data[...] = value
    return variable


def dirac_(variable: Variable, groups: int = 1) -> Variable:
    """Make a convolution's weight pass its input channels on as they are, as many as there are outputs, and return it.

    Args:
        variable: of shape ``(out, in / groups, *kernel)``; the rest of the outputs, if there are more, give zero.
        groups: of the convolution.

    Raises:
        ValueError: if the shape is not that of a convolution, or the outputs cannot be divided into groups.

    Source: Zagoruyko and Komodakis, DiracNets, arXiv 1706.00388; PyTorch.
    """
    shape = variable.shape
    if not 3 <= len(shape) <= 5:
        raise ValueError(f"dirac_: a weight of 3 to 5 dimensions is needed, got shape {shape}")
    if groups < 1 or shape[0] % groups:
        raise ValueError(f"dirac_: {shape[0]} outputs cannot be divided into {groups} groups")
    zeros_(variable)
    each = shape[0] // groups
    middle = tuple(size // 2 for size in shape[2:])
    for group in range(groups):
        for channel in range(min(each, shape[1])):
            place = (group * each + channel, channel, *middle)
            variable.data[place] = 1.0
    return variable


def orthogonal_(variable: Variable, gain: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with an orthogonal matrix (out, everything else) times ``gain``, in place, and return it.

    Rows are orthonormal, or columns if there are more rows; drawn uniformly from all such matrices.

    Raises:
        ValueError: if the shape has fewer than two dimensions.

    Source: Saxe et al., Exact solutions to the nonlinear dynamics of learning, arXiv 1312.6120.
    """
    if len(variable.shape) < 2:
        raise ValueError(f"orthogonal_: a weight of at least two dimensions is needed, got shape {variable.shape}")
    rows, columns = variable.shape[0], math.prod(variable.shape[1:])
    draws = as_generator(generator).standard_normal((max(rows, columns), min(rows, columns)))
    q, r = np.linalg.qr(draws)
    q *= np.where(np.diagonal(r) < 0.0, -1.0, 1.0)  # without it the distribution is that of the algorithm
    variable.data[...] = gain * (q if rows >= columns else q.T).reshape(variable.shape)
    return variable


def xavier_uniform_(variable: Variable, gain: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from U(-b, b), b = gain · sqrt(6 / (fan_in + fan_out)), in place, and return it.

    Source: Glorot and Bengio, Understanding the difficulty of training deep feedforward neural networks, 2010,
    equation 16.
    """
    return _uniform_with(variable, _xavier_std(variable, gain), generator)


def xavier_normal_(variable: Variable, gain: float = 1.0, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from N(0, gain² · 2 / (fan_in + fan_out)), in place, and return it.

    Source: Glorot and Bengio 2010, equation 12.
    """
    return normal_(variable, 0.0, _xavier_std(variable, gain), generator)


def _xavier_std(variable: Variable, gain: float) -> float:
    return gain * math.sqrt(2.0 / (fan_in(variable.shape) + fan_out(variable.shape)))


def kaiming_uniform_(
    variable: Variable,
    a: float = 0.0,
    mode: str = "fan_in",
    nonlinearity: str = "leaky_relu",
    generator: GeneratorLike = None,
) -> Variable:
    """Fill a weight with draws from U(-b, b), b = gain · sqrt(3 / fan), in place, and return it.

    ``gain`` is that of the nonlinearity behind the layer (``calculate_gain``), for ``"leaky_relu"`` of slope ``a``;
    ``mode`` says which fan, as in ``kaiming_normal_``.

    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equation 15.
    """
    return _uniform_with(variable, _kaiming_std("kaiming_uniform_", variable, a, mode, nonlinearity), generator)


def kaiming_normal_(
    variable: Variable,
    mode: str = "fan_in",
    generator: GeneratorLike = None,
    *,
    a: float = 0.0,
    nonlinearity: str = "leaky_relu",
) -> Variable:
    """Fill a weight with draws from N(0, gain² / fan), in place, and return it; ``gain`` as in ``kaiming_uniform_``.

    ``mode`` says which fan: ``"fan_in"`` keeps the variance of values, ``"fan_out"`` that of gradients, through layers
    with ReLU.

    Source: He et al., Delving Deep into Rectifiers, arXiv 1502.01852, equations 10 and 14.
    """
    return normal_(variable, 0.0, _kaiming_std("kaiming_normal_", variable, a, mode, nonlinearity), generator)


def _kaiming_std(function: str, variable: Variable, a: float, mode: str, nonlinearity: str) -> float:
    fans = {"fan_in": fan_in, "fan_out": fan_out}
    if mode not in fans:
        raise ValueError(f"{function}: mode must be 'fan_in' or 'fan_out', got {mode!r}")
    return calculate_gain(nonlinearity, a) / math.sqrt(fans[mode](variable.shape))


def lecun_uniform_(variable: Variable, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from U(-b, b), b = sqrt(3 / fan_in), in place, and return it.

    Source: LeCun et al., Efficient BackProp, 1998, section 4.6.
    """
    return _uniform_with(variable, 1.0 / math.sqrt(fan_in(variable.shape)), generator)


def lecun_normal_(variable: Variable, generator: GeneratorLike = None) -> Variable:
    """Fill a weight with draws from N(0, 1 / fan_in), in place, and return it; what ``SELU`` wants.

    Source: LeCun et al., Efficient BackProp, 1998, equation 16; Klambauer et al., arXiv 1706.02515.
    """
    return normal_(variable, 0.0, 1.0 / math.sqrt(fan_in(variable.shape)), generator)


def _uniform_with(variable: Variable, std: float, generator: GeneratorLike) -> Variable:
    """U(-b, b) of a standard deviation."""
    bound = math.sqrt(3.0) * std
    return uniform_(variable, -bound, bound, generator)


def calculate_gain(nonlinearity: str, param: float | None = None) -> float:
    """Return by how much weights are scaled for a nonlinearity behind them, as PyTorch does.

    ``param``: the slope of ``"leaky_relu"``, 0.01 by default. ValueError for a nonlinearity that is not known.
    """
    gains = {
        **dict.fromkeys(("linear", "conv1d", "conv2d", "conv3d", "sigmoid"), 1.0),
        "tanh": 5.0 / 3.0,
        "relu": math.sqrt(2.0),
        "leaky_relu": math.sqrt(2.0 / (1.0 + (0.01 if param is None else param) ** 2)),
        "selu": 0.75,
    }
    if nonlinearity not in gains:
        raise ValueError(f"calculate_gain: nonlinearity must be one of {', '.join(gains)}, got {nonlinearity!r}")
    return gains[nonlinearity]


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
