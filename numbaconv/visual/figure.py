"""Figures drawn off screen and written in one piece. matplotlib is asked for only when there is something to draw."""

from __future__ import annotations

import importlib.util
import io
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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


def pixels(figure: Any) -> np.ndarray:
    """Return a figure as an image, ``uint8``, ``(H, W, 3)``."""
    figure.canvas.draw()
    rgb: np.ndarray = np.asarray(figure.canvas.buffer_rgba())[..., :3].copy()
    return rgb


def write_gif(frames: Sequence[np.ndarray], path: str | os.PathLike[str], seconds: float) -> bool:
    """Write an animation that starts again at its end, atomically.

    Args:
        frames: ``uint8``, ``(H, W, 3)`` each, all of one size.
        path: the file.
        seconds: that each frame is seen; the last one is seen three times as long.

    Returns:
        Whether it was written; ``False`` if pillow is not installed.
    """
    try:
        from PIL import Image
    except ImportError:
        return False
    # One palette for all frames, or colours would flicker; the first and the last have all colours between them.
    palette = Image.fromarray(np.concatenate([frames[0], frames[-1]])).quantize(64)
    images = [Image.fromarray(frame).quantize(palette=palette, dither=Image.Dither.NONE) for frame in frames]
    durations = [round(1000 * seconds)] * (len(images) - 1) + [round(3000 * seconds)]
    data = io.BytesIO()
    images[0].save(
        data, format="GIF", save_all=True, append_images=images[1:], duration=durations, loop=0, optimize=True
    )
    write_atomic(Path(path), data.getvalue())
    return True


def write_png(figure: Any, path: str | os.PathLike[str]) -> None:
    """Write a figure as PNG, atomically."""
    data = io.BytesIO()
    figure.savefig(data, format="png", dpi=120)
    write_atomic(Path(path), data.getvalue())
