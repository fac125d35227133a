"""Pictures of runs, networks and measurements. They need matplotlib, and animations pillow, which are optional."""

from .arithmetic import ConvArithmetic, draw_arithmetic
from .confusion import draw_confusion
from .curves import draw_curves
from .features import draw_features, draw_receptive_fields, layer_outputs
from .figure import HINT, can_draw
from .filters import draw_filters
from .gallery import draw_run
from .mistakes import draw_mistakes, worst_mistakes
from .page import write_page
from .roofline import draw_roofline
from .trade import Trained, draw_trade

__all__ = [
    "HINT",
    "ConvArithmetic",
    "Trained",
    "can_draw",
    "draw_arithmetic",
    "draw_confusion",
    "draw_curves",
    "draw_features",
    "draw_filters",
    "draw_mistakes",
    "draw_receptive_fields",
    "draw_roofline",
    "draw_run",
    "draw_trade",
    "layer_outputs",
    "worst_mistakes",
    "write_page",
]
