"""Pictures of a run. They need matplotlib, which is optional."""

from .confusion import draw_confusion
from .curves import draw_curves
from .figure import HINT

__all__ = ["HINT", "draw_confusion", "draw_curves"]
