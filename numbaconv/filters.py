"""The classical filters of image processing, as arrays (filters, height, width) for cross-correlation.

``nn.FilterBank`` and its named kinds apply them as layers.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

__all__ = ["difference_of_gaussians", "gabor", "gaussian", "laplacian", "prewitt", "sobel"]


def sobel() -> np.ndarray:
    """Slopes to the right and downwards, smoothed across by (1, 2, 1): (2, 3, 3).

    Source: Gonzalez & Woods, Digital Image Processing, section 10.2, equations 10-18 and 10-19.
    """
    return _slopes(np.array([1.0, 2.0, 1.0]))


def prewitt() -> np.ndarray:
    """Slopes to the right and downwards, averaged across by (1, 1, 1): (2, 3, 3).

    Source: Prewitt, Object Enhancement and Extraction, 1970.
    """
    return _slopes(np.ones(3))


def _slopes(across: np.ndarray) -> np.ndarray:
    right = np.outer(across, [-1.0, 0.0, 1.0])
    return np.stack([right, right.T])


def laplacian(neighbours: int = 4) -> np.ndarray:
    """The sum of second differences, zero where brightness is even: (1, 3, 3).

    ``neighbours``: 4, or 8 with the diagonal ones.

    Raises:
        ValueError: for another number.

    Source: Gonzalez & Woods, Digital Image Processing, section 3.6, equation 3-53.
    """
    if neighbours not in (4, 8):
        raise ValueError(f"laplacian: neighbours must be 4 or 8, not {neighbours!r}")
    corner = 0.0 if neighbours == 4 else 1.0
    return np.array([[[corner, 1.0, corner], [1.0, -float(neighbours), 1.0], [corner, 1.0, corner]]])


def gaussian(size: int, sigma: float) -> np.ndarray:
    """Smoothing: exp(-(x² + y²) / 2 sigma²) around the middle, with a sum of 1: (1, size, size).

    Args:
        size: pixels in each direction.
        sigma: standard deviation in pixels.

    Raises:
        ValueError: unless both are positive.

    Source: Gonzalez & Woods, Digital Image Processing, equation 3-45.
    """
    if sigma <= 0.0:
        raise ValueError(f"gaussian: sigma must be positive, not {sigma!r}")
    bell = np.exp(-0.5 * (_middle("gaussian", size) / sigma) ** 2)
    weights = np.outer(bell, bell)
    return (weights / weights.sum())[None]


def difference_of_gaussians(size: int, sigma: float, ratio: float = 1.6) -> np.ndarray:
    """A detector of bright dots of radius about sigma √2: a narrow Gaussian minus a wide one, (1, size, size).

    Its sum is zero. With a ``ratio`` of the widths of 1.6 it comes close to the (negative) Laplacian of a Gaussian.

    Raises:
        ValueError: unless size and sigma are positive and the ratio is above 1.

    Source: Marr & Hildreth, Theory of Edge Detection, 1980, appendix B.
    """
    if ratio <= 1.0:
        raise ValueError(f"difference_of_gaussians: ratio must be above 1, not {ratio!r}")
    return gaussian(size, sigma) - gaussian(size, ratio * sigma)


def gabor(
    size: int,
    orientations: int = 8,
    wavelengths: Sequence[float] = (4.0,),
    phases: Sequence[float] = (0.0, math.pi / 2),
    bandwidth: float = 0.56,
    aspect: float = 0.5,
) -> np.ndarray:
    """A bank of waves under a bell: exp(-(u² + aspect² v²) / 2 sigma²) cos(2 pi u / wavelength + phase).

    u = x cos θ + y sin θ, v = -x sin θ + y cos θ.

    Args:
        size: pixels in each direction.
        orientations: angles θ, evenly from 0 to below pi; the wave runs to the right at 0.
        wavelengths: of the wave in pixels.
        phases: in radians; 0 finds lines, pi / 2 edges.
        bandwidth: sigma over wavelength; 0.56 is one octave.
        aspect: the bell's width over its length.

    Returns:
        (wavelengths · orientations · phases, size, size), the phases next to each other.

    Raises:
        ValueError: for sizes, wavelengths and widths that are not positive.

    Source: Goodfellow et al., Deep Learning, equation 9.16; Daugman 1985; Jones & Palmer 1987.
    """
    if orientations < 1 or min(wavelengths) <= 0.0 or bandwidth <= 0.0 or aspect <= 0.0:
        raise ValueError("gabor: orientations, wavelengths, bandwidth and aspect must be positive")
    x = _middle("gabor", size)
    filters = []
    for wavelength in wavelengths:
        for angle in np.arange(orientations) * math.pi / orientations:
            u = x[None, :] * np.cos(angle) + x[:, None] * np.sin(angle)
            v = x[:, None] * np.cos(angle) - x[None, :] * np.sin(angle)
            bell = np.exp(-0.5 * (u**2 + (aspect * v) ** 2) / (bandwidth * wavelength) ** 2)
            filters += [bell * np.cos(2 * math.pi * u / wavelength + phase) for phase in phases]
    return np.stack(filters)


def _middle(function: str, size: int) -> np.ndarray:
    """Distances of ``size`` pixels from their middle."""
    if size < 1:
        raise ValueError(f"{function}: size must be at least 1, not {size!r}")
    return np.arange(size) - (size - 1) / 2
