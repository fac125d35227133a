"""Activation layers, thin names over ``functional``."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .applied import Applied, AppliedInTraining
from .arguments import positive
from .module import Module, Parameter


class _Plain(Applied):
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


class LeakyReLU(Applied):
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


class RReLU(AppliedInTraining):
    """``x``, or a slope times x where that is below 0: random in training, the mean in evaluation."""

    function = "rrelu"

    def __init__(self, lower: float = 1.0 / 8, upper: float = 1.0 / 3) -> None:
        super().__init__(lower=lower, upper=upper)


class ELU(Applied):
    """``x``, or ``alpha * (exp(x) - 1)`` where x is below 0, elementwise."""

    function = "elu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class CELU(Applied):
    """``max(0, x) + min(0, alpha * (exp(x / alpha) - 1))``, elementwise."""

    function = "celu"

    def __init__(self, alpha: float = 1.0) -> None:
        super().__init__(alpha=alpha)


class GELU(Applied):
    """``x Phi(x)``, or with ``approximate="tanh"`` an approximation of it, elementwise."""

    function = "gelu"

    def __init__(self, approximate: str = "none") -> None:
        super().__init__(approximate=approximate)


class Softplus(Applied):
    """``log(1 + exp(beta x)) / beta``, or x where ``beta x > threshold``, elementwise."""

    function = "softplus"

    def __init__(self, beta: float = 1.0, threshold: float = 20.0) -> None:
        super().__init__(beta=beta, threshold=threshold)


class Hardtanh(Applied):
    """``min(max(x, min_val), max_val)``, elementwise."""

    function = "hardtanh"

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0) -> None:
        super().__init__(min_val=min_val, max_val=max_val)


class Hardshrink(Applied):
    """``x``, or 0 where ``|x| <= lambd``, elementwise."""

    function = "hardshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Softshrink(Applied):
    """x moved by ``lambd`` towards 0, elementwise."""

    function = "softshrink"

    def __init__(self, lambd: float = 0.5) -> None:
        super().__init__(lambd=lambd)


class Threshold(Applied):
    """``x``, or ``value`` where ``x <= threshold``, elementwise."""

    function = "threshold"

    def __init__(self, threshold: float, value: float) -> None:
        super().__init__(threshold=threshold, value=value)


class GLU(Applied):
    """The first half of ``x`` along ``dim``, times the sigmoid of the second half."""

    function = "glu"

    def __init__(self, dim: int = -1) -> None:
        super().__init__(dim=dim)


class Maxout(Applied):
    """The largest of every ``pieces`` channels that follow each other: ``(N, C, ...)`` to ``(N, C / pieces, ...)``.

    Source: Goodfellow et al., Maxout Networks, arXiv 1302.4389.
    """

    function = "maxout"

    def __init__(self, pieces: int) -> None:
        super().__init__(pieces=positive("Maxout", "pieces", pieces))


class Softmax(Applied):
    """Exponentials along ``dim`` that sum to 1."""

    function = "softmax"

    def __init__(self, dim: int) -> None:
        super().__init__(dim=dim)


class LogSoftmax(Softmax):
    """Logarithm of ``Softmax``, computed in one stable step."""

    function = "log_softmax"


class Softmin(Softmax):
    """``Softmax`` of ``-x``."""

    function = "softmin"
