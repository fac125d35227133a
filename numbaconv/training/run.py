"""The run folder: where a run's configuration, metrics, checkpoints and results lie."""

from __future__ import annotations

import csv
import io
import os
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from .errors import CheckpointError
from .files import remove_leftovers, write_atomic
from .metrics import EpochMetrics

_CHECKPOINT = re.compile(r"epoch-(\d{4,})(?:-step-(\d{8,}))?\.safetensors")

# The last one, and one more in case that one cannot be read.
_STEP_CHECKPOINTS_KEPT = 2


class RunFolder:
    """A run folder, there or not yet.

    Attributes:
        path: the folder.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)

    @property
    def config_path(self) -> Path:
        """The resolved configuration."""
        return self.path / "config.toml"

    @property
    def metrics_path(self) -> Path:
        """One line an epoch."""
        return self.path / "metrics.csv"

    @property
    def curves_path(self) -> Path:
        """Loss, accuracy and learning rate over the epochs."""
        return self.path / "curves.png"

    @property
    def confusion_path(self) -> Path:
        """The confusion matrix."""
        return self.path / "confusion.png"

    @property
    def report_path(self) -> Path:
        """What came out, in words."""
        return self.path / "report.txt"

    @property
    def page_path(self) -> Path:
        """What came out, in one page with all pictures."""
        return self.path / "report.html"

    def picture_path(self, name: str) -> Path:
        """Return the path of a picture of the run."""
        return self.path / "pictures" / name

    @property
    def final_path(self) -> Path:
        """The weights at the end."""
        return self.path / "final.safetensors"

    @property
    def checkpoint_folder(self) -> Path:
        """Where the checkpoints lie."""
        return self.path / "checkpoints"

    def prepare(self) -> None:
        """Make the folders, and remove what a killed process left half-written."""
        if self.path.exists() and not self.path.is_dir():
            raise ValueError(f"{self.path}: is a file, a run needs a folder")
        self.checkpoint_folder.mkdir(parents=True, exist_ok=True)
        remove_leftovers(self.path)
        remove_leftovers(self.checkpoint_folder)

    def write_config(self, config: Mapping[str, Any]) -> None:
        """Write the configuration; entries that are ``None`` are left out, for TOML has no such value."""
        import tomli_w

        write_atomic(self.config_path, tomli_w.dumps(_without_none(config)))

    def read_config(self) -> dict[str, Any]:
        """Return the configuration.

        Raises:
            CheckpointError: if there is none, or it cannot be read.
        """
        if sys.version_info >= (3, 11):
            import tomllib
        else:
            import tomli as tomllib  # type: ignore[import-not-found, unused-ignore]

        try:
            return tomllib.loads(self.config_path.read_text(encoding="utf-8"))
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.path}: is not a run folder, it has no {self.config_path.name}") from error
        except (OSError, ValueError) as error:
            raise CheckpointError(f"{self.config_path}: cannot be read ({error})") from error

    def write_metrics(self, history: Sequence[EpochMetrics]) -> None:
        """Write the metrics of all epochs anew; what is not known (validation) is left empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, [field.name for field in fields(EpochMetrics)], lineterminator="\n")
        writer.writeheader()
        writer.writerows(asdict(row) for row in history)
        write_atomic(self.metrics_path, text.getvalue())

    def read_metrics(self) -> list[EpochMetrics]:
        """Return the metrics of all epochs.

        Raises:
            CheckpointError: if there are none, or they cannot be read.
        """
        try:
            with self.metrics_path.open(encoding="utf-8", newline="") as file:
                return [EpochMetrics.from_text(row) for row in csv.DictReader(file)]
        except FileNotFoundError as error:
            raise CheckpointError(f"{self.path}: is not a run folder, it has no {self.metrics_path.name}") from error
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise CheckpointError(f"{self.metrics_path}: cannot be read ({error})") from error

    def checkpoint_path(self, epoch: int, step: int | None = None) -> Path:
        """Return the path of the checkpoint after ``epoch``, or within it after ``step`` (counted over the run)."""
        middle = "" if step is None else f"-step-{step:08d}"
        return self.checkpoint_folder / f"epoch-{epoch:04d}{middle}.safetensors"

    def checkpoints(self) -> list[Path]:
        """Return the checkpoints that are there, oldest first."""
        if not self.checkpoint_folder.is_dir():
            return []
        placed = ((_place(path), path) for path in self.checkpoint_folder.iterdir())
        return [path for _, path in sorted((place, path) for place, path in placed if place is not None)]

    def prune(self, keep_epochs: int | None) -> None:
        """Delete all but the last checkpoints.

        Args:
            keep_epochs: how many of those after an epoch to keep; ``None`` keeps all. Of those within an epoch, two
                are kept.
        """
        checkpoints = self.checkpoints()
        within = [path for path in checkpoints if "-step-" in path.name]
        after = [path for path in checkpoints if "-step-" not in path.name]
        stale = within[:-_STEP_CHECKPOINTS_KEPT] + (after[:-keep_epochs] if keep_epochs else [])
        for path in stale:
            path.unlink(missing_ok=True)

    def weights(self) -> Path:
        """Return the file with the latest weights: the final ones, or the newest checkpoint.

        Raises:
            CheckpointError: if there is neither.
        """
        if self.final_path.is_file():
            return self.final_path
        checkpoints = self.checkpoints()
        if not checkpoints:
            raise CheckpointError(f"{self.path}: holds neither {self.final_path.name} nor a checkpoint")
        return checkpoints[-1]

    def __repr__(self) -> str:
        return f"RunFolder({str(self.path)!r})"


def _place(path: Path) -> tuple[int, float] | None:
    """Return what checkpoints are ordered by, ``None`` for other files. The one after an epoch ends that epoch."""
    match = _CHECKPOINT.fullmatch(path.name)
    return (int(match[1]), float(match[2] or "inf")) if match else None


def _without_none(config: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: _without_none(value) if isinstance(value, Mapping) else value
        for key, value in config.items()
        if value is not None
    }
