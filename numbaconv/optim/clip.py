"""Clipping gradients, of arrays and within traced graphs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numbaconv.functional as F
from numbaconv.ops.arithmetic import largest, sum_of_squares


def gradient_norm(gradients: Sequence[Any], norm_type: float = 2.0) -> Any:
    """The norm of all gradients as one vector, a scalar.

    Args:
        gradients: arrays or tensors of one dtype.
        norm_type: 2, 1, infinity or any other number above 0.

    Raises:
        ValueError: if there are no gradients, or ``norm_type`` is not above 0.
    """
    if not gradients:
        raise ValueError("gradient_norm: there are no gradients")
    if not norm_type > 0:
        raise ValueError(f"gradient_norm: norm_type must be above 0, not {norm_type}")
    if norm_type == math.inf:
        total = largest(gradients[0])
        for gradient in gradients[1:]:
            total = F.maximum(total, largest(gradient))
        return total
    parts = [sum_of_squares(g) if norm_type == 2 else F.sum(F.pow(F.abs(g), norm_type)) for g in gradients]
    total = parts[0]
    for part in parts[1:]:
        total = F.add(total, part)
    return F.sqrt(total) if norm_type == 2 else F.pow(total, 1.0 / norm_type)


def clip_grad_norm(gradients: Sequence[Any], max_norm: float, norm_type: float = 2.0) -> tuple[list[Any], Any]:
    """Gradients times min(1, max_norm / (norm + 1e-6)), and the norm of all of them before.

    Args and errors as of ``gradient_norm``; ``max_norm`` of 0 or more, else ValueError.
    Source: Pascanu et al., arXiv 1211.5063, algorithm 1; ``torch.nn.utils.clip_grad_norm_``.
    """
    if not max_norm >= 0:
        raise ValueError(f"clip_grad_norm: max_norm must be 0 or more, not {max_norm}")
    norm = gradient_norm(gradients, norm_type)
    share = F.clamp(F.divide(float(max_norm), F.add(norm, 1e-6)), max=1.0)
    return [F.multiply(gradient, share) for gradient in gradients], norm


def clip_grad_value(gradients: Sequence[Any], clip_value: float) -> list[Any]:
    """Gradients with every element cut off at -clip_value and clip_value.

    ValueError for a negative ``clip_value``.
    Source: ``torch.nn.utils.clip_grad_value_``.
    """
    if not clip_value >= 0:
        raise ValueError(f"clip_grad_value: clip_value must be 0 or more, not {clip_value}")
    return [F.clamp(gradient, -float(clip_value), float(clip_value)) for gradient in gradients]
