"""What can end a training run early."""

from __future__ import annotations

from pathlib import Path


class CheckpointError(ValueError):
    """A file of weights or a checkpoint cannot be used; the message says why in one sentence."""


class Diverged(RuntimeError):
    """The loss or the weights are no longer finite."""


class Interrupted(KeyboardInterrupt):
    """Ctrl-C ended a fit between two steps.

    Attributes:
        checkpoint: the checkpoint that holds this state, ``None`` if there is no run folder.
    """

    def __init__(self, message: str, checkpoint: Path | None) -> None:
        super().__init__(message)
        self.checkpoint = checkpoint
