"""Optimizers, and learning-rate schedules as pure functions of the step."""

from .optimizers import SGD, Adam, AdamW, Optimizer
from .schedules import ConstantLR, CosineLR, OneCycle, Schedule, StepLR

__all__ = ["SGD", "Adam", "AdamW", "ConstantLR", "CosineLR", "OneCycle", "Optimizer", "Schedule", "StepLR"]
