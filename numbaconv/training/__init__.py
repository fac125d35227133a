"""Training: the Trainer, run folders, checkpoints and metrics."""

from .augmentation import VIEWS, Augmentation
from .average import WeightAverage
from .callback import Callback, FitInfo, StepInfo
from .checkpoint import RunState
from .errors import CheckpointError, Diverged, Interrupted
from .metrics import EpochMetrics, accuracy, confusion_matrix, per_class
from .run import RunFolder
from .trainer import Trainer
from .weights import load, read_metadata, save

__all__ = [
    "Augmentation",
    "Callback",
    "CheckpointError",
    "Diverged",
    "EpochMetrics",
    "FitInfo",
    "Interrupted",
    "RunFolder",
    "RunState",
    "StepInfo",
    "Trainer",
    "VIEWS",
    "WeightAverage",
    "accuracy",
    "confusion_matrix",
    "load",
    "per_class",
    "read_metadata",
    "save",
]
