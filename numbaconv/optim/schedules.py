"""Learning-rate schedules: pure functions from the step, counted from 0, to the learning rate of that step.

A schedule keeps no state, so a run resumed at any step meets the same rates. Any other callable of that form will do
as well.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Schedule(ABC):
    """A peak rate, a linear warm-up to it, then what the subclass says.

    Attributes:
        warmup_steps: steps of warm-up; step ``s`` of them has the rate ``lr * (s + 1) / warmup_steps``.
    """

    warmup_steps: int = 0

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < 0:
            raise ValueError(f"{type(self).__name__}: step must be 0 or more, got {step}")
        if step < self.warmup_steps:
            return self._peak() * (step + 1) / self.warmup_steps
        return self._after_warmup(step - self.warmup_steps)

    @abstractmethod
    def _peak(self) -> float:
        """The rate the warm-up ends at."""

    @abstractmethod
    def _after_warmup(self, step: int) -> float:
        """The rate ``step`` steps after the warm-up."""

    def _check(self, **least: float) -> None:
        """Refuse attributes that are not finite or below what is given here."""
        for name, bound in {"warmup_steps": 0, **least}.items():
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= bound):
                raise ValueError(f"{type(self).__name__}: {name} must be {bound:g} or more, got {value}")


@dataclass(frozen=True)
class ConstantLR(Schedule):
    """The same rate at every step."""

    lr: float

    def __post_init__(self) -> None:
        self._check(lr=0)

    def _peak(self) -> float:
        return self.lr

    def _after_warmup(self, step: int) -> float:
        return self.lr


@dataclass(frozen=True)
class StepLR(Schedule):
    """The rate times ``gamma`` after every ``step_size`` steps."""

    lr: float
    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        self._check(lr=0, step_size=1, gamma=0)

    def _peak(self) -> float:
        return self.lr

    def _after_warmup(self, step: int) -> float:
        return self.lr * self.gamma ** (step // self.step_size)


@dataclass(frozen=True)
class CosineLR(Schedule):
    """Half a cosine from ``lr`` down to ``min_lr``, reached after ``total_steps`` (which count the warm-up).

    Source: Loshchilov and Hutter, SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv 1608.03983, one cycle.
    """

    lr: float
    total_steps: int
    min_lr: float = 0.0

    def __post_init__(self) -> None:
        self._check(lr=0, total_steps=1, min_lr=0)

    def _peak(self) -> float:
        return self.lr

    def _after_warmup(self, step: int) -> float:
        return _cosine(self.lr, self.min_lr, step / max(self.total_steps - self.warmup_steps, 1))


@dataclass(frozen=True)
class OneCycle(Schedule):
    """Up from ``max_lr / div_factor`` to ``max_lr``, then down to that start over ``final_div_factor``, both by cosine.

    Numbers and defaults of ``torch.optim.lr_scheduler.OneCycleLR``. The rise is its own warm-up; ``warmup_steps`` come
    before it and are seldom wanted.

    Source: Smith and Topin, Super-Convergence, arXiv 1708.07120.
    """

    max_lr: float
    total_steps: int
    pct_start: float = 0.3
    div_factor: float = 25.0
    final_div_factor: float = 1e4

    def __post_init__(self) -> None:
        self._check(max_lr=0, total_steps=1, pct_start=0, div_factor=1, final_div_factor=1)
        if self.pct_start > 1:
            raise ValueError(f"OneCycle: pct_start must be at most 1, got {self.pct_start}")

    def _peak(self) -> float:
        return self.max_lr / self.div_factor

    def _after_warmup(self, step: int) -> float:
        start = self.max_lr / self.div_factor
        last = self.total_steps - self.warmup_steps - 1
        top = self.pct_start * (last + 1) - 1
        if step < top:
            return _cosine(start, self.max_lr, step / top)
        fall = max(last - top, 1)
        return _cosine(self.max_lr, start / self.final_div_factor, (step - top) / fall)


def _cosine(start: float, end: float, part: float) -> float:
    """Half a cosine from ``start`` at part 0 to ``end`` at part 1, and ``end`` beyond."""
    return end + (start - end) * (1 + math.cos(math.pi * min(part, 1.0))) / 2
