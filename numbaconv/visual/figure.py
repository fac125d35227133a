"""Figures drawn off screen and written in one piece. matplotlib is asked for only when there is something to draw."""

from __future__ import annotations

import importlib.util
import io
import os
from pathlib import Path
from typing import Any

from numbaconv.training.files import write_atomic

HINT = "pictures need matplotlib: pip install matplotlib"
"""What to tell a user when a drawing function returned ``False``."""


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def new_figure(width: float, height: float) -> Any:
    """Return an empty figure of a size in inches, ``None`` without matplotlib."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        return None
    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)  # Not pyplot: it would choose a backend, and keep the figure for ever.
    return figure


def write_png(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_atomic(Path(path), data.getvalue())
