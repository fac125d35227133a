"""Reading images between their pixels: weighted sums of a few places, whose channels lie one after another.

The places of a sample, as distances from the image's first element, and their weights stand in two short rows.
"""

from .compiler import inline
from .runs import fill_run
from .target import LANES
from .vector import at, load, load_first, reduce_add, splat, store, store_first

WIDE = 4  # vectors of channels that are summed at a time


@inline
def gather(x, places, weights, count, channels, y):
    """y[c] = sum over ``count`` places of weight x[place + c]."""
    c = 0
    while c + WIDE * LANES <= channels:
        a0 = a1 = a2 = a3 = splat(x, 0.0)
        for i in range(count):
            at, weight = places[i] + c, weights[i]
            a0 = a0 + load(x, at) * weight
            a1 = a1 + load(x, at + LANES) * weight
            a2 = a2 + load(x, at + 2 * LANES) * weight
            a3 = a3 + load(x, at + 3 * LANES) * weight
        store(y, c, a0)
        store(y, c + LANES, a1)
        store(y, c + 2 * LANES, a2)
        store(y, c + 3 * LANES, a3)
        c += WIDE * LANES
    while c + LANES <= channels:
        total = splat(x, 0.0)
        for i in range(count):
            total = total + load(x, places[i] + c) * weights[i]
        store(y, c, total)
        c += LANES
    if c < channels:
        total = splat(x, 0.0)
        for i in range(count):
            total = total + load_first(x, places[i] + c, channels - c) * weights[i]
        store_first(y, c, total, channels - c)


@inline
def scatter(g, place, weight, channels, y):
    """y[place + c] += weight g[c]."""
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        store(y, place + c, load(y, place + c) + load(g, c) * weight)
    if whole < channels:
        left = channels - whole
        total = load_first(y, place + whole, left) + load_first(g, whole, left) * weight
        store_first(y, place + whole, total, left)


@inline
def product_sum(g, x, place, channels):
    """The sum over c of g[c] x[place + c]."""
    total = splat(g, 0.0)
    whole = channels // LANES * LANES
    for c in range(0, whole, LANES):
        total = total + load(g, c) * load(x, place + c)
    if whole < channels:
        total = total + load_first(g, whole, channels - whole) * load_first(x, place + whole, channels - whole)
    return reduce_add(total)


@inline
def clear(y, pixels, pixel, channels):
    """Zeros in the channels of all pixels."""
    for i in range(pixels):
        fill_run(at(y, i * pixel), 0.0, channels)
