"""Augmentation of batches that are numbers already; what a batch is picked with is in ``source.py``."""

import math

from .core import (
    Operator,
    Spec,
    apply,
    checked,
    is_traced,
    operator,
    public,
    random_key,
    shape_of,
)


class JitterColors(Operator):
    """contrast (grey + saturation (x - grey)) + brightness, with three random numbers an image."""

    def shape(self, x: Spec, key: Spec, **attrs) -> Spec:
        return x


jitter_colors_row = operator(JitterColors)


@public()
def jitter_colors(x, brightness=0.0, contrast=0.0, saturation=0.0, *, key=None):
    """Images x (N, C, H, W), normalised, with other brightness, contrast and saturation: (N, C, H, W).

    Each image becomes a (g + b (x - g)) + c, g being the mean of its channels pixel by pixel, with random numbers a in
    1 +- ``contrast``, b in 1 +- ``saturation`` and c in +- ``brightness``, as ``key`` says, an int64 array [seed, step]
    (default as for ``dropout``). Contrast is meant around zero, the mean of normalised images. It has no gradient.

    Raises ValueError if an amount is negative or not finite.

    Source: Howard, arXiv 1312.5402, section 2.1.
    """
    x = checked("jitter_colors", x)
    if len(shape_of(x)) != 4:
        raise ValueError(f"jitter_colors: x must have shape (N, C, H, W), its shape is {shape_of(x)}")
    amounts = {"brightness": brightness, "contrast": contrast, "saturation": saturation}
    for name, value in amounts.items():
        if not (math.isfinite(value) and value >= 0):
            raise ValueError(f"jitter_colors: {name} must be 0 or more, not {value!r}")
    key, salt = random_key("jitter_colors", key, x.graph if is_traced(x) else None)
    return apply(jitter_colors_row, (x, key), {**{n: float(v) for n, v in amounts.items()}, "salt": salt})
