"""What is done to images at random in training, and which views of an image are taken together in evaluation."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any

import numbaconv.functional as F
from numbaconv.random import generator


@dataclass(frozen=True)
class Augmentation:
    """What is done to the images of a training step, at random and anew in each.

    Attributes:
        shift: move by up to so many pixels, in both directions.
        flip: mirror every other image.
        cutout: set a square with sides of so many pixels to the mean.
        brightness, contrast, saturation: amounts of ``functional.jitter_colors``.
        mixup: blend each image and its target with another one's, by a share drawn from Beta(mixup, mixup) once a step
            (Zhang et al., arXiv 1710.09412); 0 for none.

    Raises:
        ValueError: if a number is negative or not finite.
    """

    shift: int = 0
    flip: bool = False
    cutout: int = 0
    brightness: float = 0.0
    contrast: float = 0.0
    saturation: float = 0.0
    mixup: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"Augmentation: {field.name} must be 0 or more, got {value}")

    def colours(self, x: Any) -> Any:
        """Append the change of colours to a traced batch, if there is one."""
        if not (self.brightness or self.contrast or self.saturation):
            return x
        return F.jitter_colors(x, self.brightness, self.contrast, self.saturation)

    def share(self, seed: int, step: int) -> float:
        """Draw the share that images keep of themselves in a step; 1/2 or more, for both orders are alike."""
        # Two words make the stream: seeds of one run never meet the steps of another.
        drawn = generator((seed << 32) ^ step).beta(self.mixup, self.mixup)
        return max(drawn, 1.0 - drawn)


View = tuple[float, tuple[int, int, bool]]


def _both_sides(moves: dict[tuple[int, int], float]) -> tuple[View, ...]:
    return tuple((share / 2, (*move, mirrored)) for move, share in moves.items() for mirrored in (False, True))


#: By name, the views of an image whose scores are averaged in evaluation: weight; rows, columns and mirroring, as
#: ``functional.take_images`` takes them.
VIEWS: dict[str, tuple[View, ...]] = {
    "one": ((1.0, (0, 0, False)),),
    "flip": _both_sides({(0, 0): 1.0}),
    "shift": ((0.5, (0, 0, False)), *((0.125, (*move, False)) for move in ((1, 0), (-1, 0), (0, 1), (0, -1)))),
    "flip-shift": _both_sides({(0, 0): 0.5, (-1, -1): 0.25, (1, 1): 0.25}),  # Jordan, arXiv 2404.00498, section 3.5
}
