"""Optimizers, learning-rate schedules as pure functions of the step, and clipping of gradients."""

from .clip import clip_grad_norm, clip_grad_value, gradient_norm
from .optimizers import SGD, Adam, AdamW, Optimizer
from .schedules import ConstantLR, CosineLR, OneCycle, Schedule, StepLR

__all__ = [
    "SGD",
    "Adam",
    "AdamW",
    "ConstantLR",
    "CosineLR",
    "OneCycle",
    "Optimizer",
    "Schedule",
    "StepLR",
    "clip_grad_norm",
    "clip_grad_value",
    "gradient_norm",
]
