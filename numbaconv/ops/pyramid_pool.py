"""Spatial pyramid pooling (He et al., arXiv 1406.4729): features of one length from images of any size."""

import math

from .core import Case, apply, image_sizes, public, shape_of
from .join import concat_row
from .pool import avg_pool, largest
from .shape import reshape_row
from .window import adaptive, as_batch, without_batch


@public(
    Case({"x": (17, 3, 7, 6)}, {"levels": (1, 2, 3)}),
    Case({"x": (2, 5, 4, 4)}, {"levels": ((2, 1), 3), "mode": "avg"}),
    sizes=image_sizes(levels=(1, 2, 4)),
)
def spatial_pyramid_pool(x, levels=(1, 2, 4), mode="max"):
    """The numbers of adaptive_max_pool2d(x, l) for every level l, one after another.

    Images x (N, C, H, W) or (C, H, W) -> (N, C sum l^2) or (C sum l^2,).  ``levels`` are output sizes, an integer or
    (H', W') each; ``mode`` is "max" or "avg".  ValueError for levels or modes that cannot be.

    Source: He et al., arXiv 1406.4729, section 2.2.
    """
    x, single = as_batch("spatial_pyramid_pool", 2, x)
    if mode not in ("max", "avg"):
        raise ValueError(f'spatial_pyramid_pool: mode must be "max" or "avg", not {mode!r}')
    if not isinstance(levels, (tuple, list)) or not levels:
        raise ValueError(f"spatial_pyramid_pool: levels must be a list of output sizes, not {levels!r}")
    parts = []
    for level in levels:
        windows = adaptive("spatial_pyramid_pool", shape_of(x), level)
        how = {"count_include_pad": True, "divisor": 0}
        y = largest(x, windows, False) if mode == "max" else apply(avg_pool, (x,), {**windows, **how})
        shape = shape_of(y)
        parts.append(apply(reshape_row, (y,), {"shape": (shape[0], math.prod(shape[1:]))}))
    return without_batch(apply(concat_row, parts, {"dim": 1}) if len(parts) > 1 else parts[0], single)
