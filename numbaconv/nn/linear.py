"""The fully connected layer."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

import numbaconv.functional as F

from .arguments import positive
from .init import GeneratorLike, init_affine_
from .module import Module, Parameter


class Linear(Module):
    """``y = x Wᵀ + b``; arguments of ``torch.nn.Linear``.

    The weight has shape ``(out_features, in_features)``, the bias ``(out_features,)``; both are filled from U(-b, b),
    b = 1 / sqrt(in_features), as in PyTorch.
    """

    def __init__(
        self,
        in_features: int,
        out_features: int,
        bias: bool = True,
        *,
        dtype: DTypeLike = np.float32,
        generator: GeneratorLike = None,
    ) -> None:
        super().__init__()
        self.in_features = positive("Linear", "in_features", in_features)
        self.out_features = positive("Linear", "out_features", out_features)
        self.weight = Parameter(np.empty((out_features, in_features), dtype))
        self.register_parameter("bias", Parameter(np.empty(out_features, dtype)) if bias else None)
        init_affine_(self.weight, self.bias, generator)

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, in_features)`` to ``(N, out_features)``."""
        return F.linear(x, self.weight, self.bias)

    def extra_repr(self) -> str:
        """Return the sizes, as PyTorch shows them."""
        return f"in_features={self.in_features}, out_features={self.out_features}, bias={self.bias is not None}"
