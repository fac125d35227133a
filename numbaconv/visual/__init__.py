"""Pictures of runs and measurements. They need matplotlib, which is optional."""

from .confusion import draw_confusion
from .curves import draw_curves
from .figure import HINT, can_draw
from .roofline import draw_roofline

__all__ = ["HINT", "can_draw", "draw_confusion", "draw_curves", "draw_roofline"]
