"""Activation layers, thin names over ``functional``."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import positive
from .module import Module, Parameter


class _Activation(Module):
    """A function of its input and of ``options``, the layer's arguments, by their names."""

    function: ClassVar[str]

    def __init__(self, **options: Any) -> None:
        super().__init__()
        self.options = options

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return getattr(F, self.function)(x, **self.options)

    def extra_repr(self) -> str:
        """Return the arguments."""
        return ", ".join(f"{name}={value}" for name, value in self.options.items())


class _Plain(_Activation):
    def __init__(self) -> None:
        super().__init__()


class Tanh(_Plain):
    """Hyperbolic tangent, elementwise."""

    function = "tanh"


class ReLU(_Plain):
    """``max(x, 0)``, elementwise."""

    function = "relu"


class ReLU6(_Plain):
    """``min(max(x, 0), 6)``, elementwise."""

    function = "relu6"


class Sigmoid(_Plain):
    """``1 / (1 + exp(-x))``, elementwise."""

    function = "sigmoid"


class LogSigmoid(_Plain):
    """``log(1 / (1 + exp(-x)))``, elementwise."""

    function = "logsigmoid"


class SELU(_Plain):
    """``functional.selu``, elementwise."""

    function = "selu"


class SiLU(_Plain):
    """``x sigmoid(x)``, elementwise."""

    function = "silu"


class Mish(_Plain):
    """``x tanh(softplus(x))``, elementwise."""

    function = "mish"


class Softsign(_Plain):
    """``x / (1 + |x|)``, elementwise."""

    function = "softsign"


class Tanhshrink(_Plain):
    """``x - tanh(x)``, elementwise."""

    function = "tanhshrink"


class Hardsigmoid(_Plain):
    """``min(max(x + 3, 0), 6) / 6``, elementwise."""

    function = "hardsigmoid"


class Hardswish(_Plain):
    """``x min(max(x + 3, 0), 6) / 6``, elementwise."""

    function = "hardswish"


class LeakyReLU(_Activation):
    """``x``, or ``negative_slope * x`` where that is below 0, elementwise."""

    function = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01) -> None:
        super().__init__(negative_slope=negative_slope)


class PReLU(Module):
    """``x``, or ``weight * x`` where x is below 0: one weight, or one for each of ``num_parameters`` channels."""

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype: DTypeLike = np.float32) -> None:
        super().__init__()
        self.num_parameters = positive("PReLU", "num_parameters", num_parameters)
        self.weight = Parameter(np.full(num_parameters, init, dtype))

    def forward(self, x: Any) -> Any:
        """``(N, C, ...)``, or any shape for one weight, to the same shape."""
        return F.prelu(x, self.weight)

    def extra_repr(self) -> str:
        """Return the number of weights."""
        return f"num_parameters={self.num_parameters}"


class RReLU(_Activation):
    """``x``, or a slope times x where that is below 0: random in training, the mean in evaluation."""

    function = "rrelu"

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3) -> None:
        super().__init__(lower=lower, upper=upper)

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return F.rrelu(x, **self.options, training=self.training)


class ELU(_Activation):
    """``x``, or ``alpha * (exp(x) - 1)`` where x is below 0, elementwise."""

    function = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class CELU(_Activation):
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``, elementwise."""

    function = "celu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class GELU(_Activation):
    """``x Phi(x)``, or with ``approximate="tanh"`` an approximation of it, elementwise."""

    function = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(_Activation):
    """``log(1 + exp(beta x)) / beta``, or x where ``beta x > threshold``, elementwise."""

    function = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Hardtanh(_Activation):
    """``min(max(x, min_val), max_val)``, elementwise."""

    function = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Hardshrink(_Activation):
    """``x``, or 0 where ``|x| <= lambd``, elementwise."""

    function = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Softshrink(_Activation):
    """x moved by ``lambd`` towards 0, elementwise."""

    function = "softshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Threshold(_Activation):
    """``x``, or ``value`` where ``x <= threshold``, elementwise."""

    function = "threshold"

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__(threshold=threshold, value=value)


class Maxout(_Activation):
    """The largest of every ``pieces`` channels that follow each other: ``(N, C, ...)`` to ``(N, C / pieces, ...)``.

    Source: Goodfellow et al., Maxout Networks, arXiv 1302.4389.
    """

    function = "maxout"

    def __init__(self, pieces: int) -> None:
        super().__init__(pieces=positive("Maxout", "pieces", pieces))


class Softmax(Module):
    """Exponentials along ``dim`` that sum to 1."""

    function: ClassVar[str] = "softmax"

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, x: Any) -> Any:
        """Any shape to the same shape."""
        return getattr(F, self.function)(x, self.dim)

    def extra_repr(self) -> str:
        """Return the dimension."""
        return f"dim={self.dim}"


class LogSoftmax(Softmax):
    """Logarithm of ``Softmax``, computed in one stable step."""

    function = "log_softmax"


class Softmin(Softmax):
    """``Softmax`` of ``-x``."""

    function = "softmin"
