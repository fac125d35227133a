"""Optimizers: what is kept for each parameter, the numbers of the next step, and the row that applies them.

The arithmetic itself is a node of the training graph (``functional.sgd_update``, ``functional.adam_update``); an
optimizer only owns its state and names that node. It does not know its parameters beforehand: it grows the state of a
parameter when it first meets it, so that the plans of several batch sizes share it.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np

import numbaconv.functional as F
from numbaconv.graph import Tensor, Variable


class Optimizer(ABC):
    """Base of all optimizers.

    Attributes:
        slots: names of the arrays kept for each parameter, all of the parameter's shape and dtype, zero at the start.
        step_count: steps done so far.
    """

    slots: ClassVar[tuple[str, ...]] = ()

    def __init__(self, lr: float) -> None:
        self.lr = lr
        self.step_count = 0
        # Keyed by identity. The parameter is held beside its state, so its id cannot pass to another object.
        self._state: dict[int, tuple[Variable, tuple[Variable, ...]]] = {}

    @property
    def lr(self) -> float:
        """Learning rate of the next step; schedules set it."""
        return self._lr

    @lr.setter
    def lr(self, value: float) -> None:
        self._lr = self._at_least_zero("lr", value)

    def slots_of(self, parameter: Variable) -> tuple[Variable, ...]:
        """Return the state arrays of a parameter, one for each name in ``slots``; the same objects every time."""
        if id(parameter) not in self._state:
            arrays = tuple(
                Variable(np.zeros(parameter.shape, parameter.dtype), trainable=False, name=name) for name in self.slots
            )
            self._state[id(parameter)] = (parameter, arrays)
        return self._state[id(parameter)][1]

    def group_of(self, parameter: Variable) -> str:
        """Return the name of the group of parameters, all with the same numbers, that one belongs to."""
        return "all"

    @abstractmethod
    def hyper(self, group: str = "all") -> np.ndarray:
        """Return the numbers of a group's next step, ``float64``, as ``apply`` reads them."""

    @abstractmethod
    def apply(
        self,
        parameter: Tensor,
        gradient: Tensor,
        slots: tuple[Tensor, ...],
        hyper: Tensor,
        factor: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Append one update to the graph; ``factor``, given with loss scaling, as of ``functional.sgd_update``.

        Returns:
            ``(new parameter, new slot, ...)`` in the order of ``slots``.
        """

    @abstractmethod
    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments, for a run's configuration."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({', '.join(f'{name}={value}' for name, value in self.settings().items())})"

    def _at_least_zero(self, name: str, value: float) -> float:
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"{type(self).__name__}: {name} must be 0 or more, got {value}")
        return float(value)


class SGD(Optimizer):
    """Stochastic gradient descent with momentum; arguments and semantics of ``torch.optim.SGD``.

    Parameters of one dimension (biases, and the weights of normalisations) have ``bias_lr_factor`` times the learning
    rate, and a weight decay smaller by as much: they shrink alike.

    Source: Sutskever et al., On the importance of initialization and momentum in deep learning, ICML 2013.
    """

    slots = ("momentum_buffer",)

    def __init__(
        self,
        lr: float = 1e-3,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        bias_lr_factor: float = 1.0,
    ) -> None:
        super().__init__(lr)
        self.momentum = self._at_least_zero("momentum", momentum)
        self.dampening = float(dampening)
        self.weight_decay = self._at_least_zero("weight_decay", weight_decay)
        self.nesterov = bool(nesterov)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError("SGD: nesterov needs a momentum above 0 and no dampening")
        self.bias_lr_factor = self._at_least_zero("bias_lr_factor", bias_lr_factor)
        if self.bias_lr_factor == 0:
            raise ValueError("SGD: bias_lr_factor must be above 0; freeze parameters that are not to be trained")

    def group_of(self, parameter: Variable) -> str:
        """``"biases"`` for parameters of one dimension, if they have a learning rate of their own."""
        return "biases" if parameter.ndim == 1 and self.bias_lr_factor != 1 else "all"

    def hyper(self, group: str = "all") -> np.ndarray:
        """``[lr, momentum, dampening, weight_decay]``."""
        # torch.optim.SGD starts the buffer as the bare gradient and leaves it out without momentum: from a buffer of
        # zeros, a dampening of zero does the same.
        damped = self.momentum > 0 and self.step_count > 0
        factor = self.bias_lr_factor if group == "biases" else 1.0
        dampening = self.dampening if damped else 0.0
        return np.array([self.lr * factor, self.momentum, dampening, self.weight_decay / factor], np.float64)

    def apply(
        self,
        parameter: Tensor,
        gradient: Tensor,
        slots: tuple[Tensor, ...],
        hyper: Tensor,
        factor: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Append ``functional.sgd_update``."""
        return F.sgd_update(parameter, gradient, *slots, hyper, nesterov=self.nesterov, factor=factor)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments."""
        return {
            "lr": self.lr,
            "momentum": self.momentum,
            "dampening": self.dampening,
            "weight_decay": self.weight_decay,
            "nesterov": self.nesterov,
            "bias_lr_factor": self.bias_lr_factor,
        }


class Adam(Optimizer):
    """Adam; arguments and semantics of ``torch.optim.Adam`` (weight decay is added to the gradient).

    Source: Kingma and Ba, Adam: A Method for Stochastic Optimization, arXiv 1412.6980.
    """

    slots = ("exp_avg", "exp_avg_sq")
    decoupled: ClassVar[bool] = False

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
    ) -> None:
        super().__init__(lr)
        for beta in betas:
            if not 0 <= beta < 1:
                raise ValueError(f"{type(self).__name__}: betas must lie in [0, 1), got {betas}")
        self.betas = (float(betas[0]), float(betas[1]))
        self.eps = self._at_least_zero("eps", eps)
        self.weight_decay = self._at_least_zero("weight_decay", weight_decay)

    def hyper(self, group: str = "all") -> np.ndarray:
        """``[lr, beta1, beta2, eps, weight_decay, step]``, the step counted from 1."""
        return np.array([self.lr, *self.betas, self.eps, self.weight_decay, self.step_count + 1], np.float64)

    def apply(
        self,
        parameter: Tensor,
        gradient: Tensor,
        slots: tuple[Tensor, ...],
        hyper: Tensor,
        factor: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Append ``functional.adam_update``."""
        return F.adam_update(parameter, gradient, *slots, hyper, decoupled=self.decoupled, factor=factor)

    def settings(self) -> dict[str, float | bool]:
        """Return the constructor's arguments, with ``betas`` as ``beta1`` and ``beta2``."""
        return {
            "lr": self.lr,
            "beta1": self.betas[0],
            "beta2": self.betas[1],
            "eps": self.eps,
            "weight_decay": self.weight_decay,
        }


class AdamW(Adam):
    """Adam with weight decay applied to the parameter itself; arguments and semantics of ``torch.optim.AdamW``.

    Source: Loshchilov and Hutter, Decoupled Weight Decay Regularization, arXiv 1711.05101.
    """

    decoupled = True

    def __init__(
        self,
        lr: float = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 1e-2,
    ) -> None:
        super().__init__(lr, betas, eps, weight_decay)
