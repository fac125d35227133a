"""Runs of numbers that lie side by side: filled, copied and added, a vector at a time."""

from .compiler import inline
from .target import LANES
from .vector import load, load_first, splat, store, store_first


@inline
def fill_run(y, value, count):
    """``count`` times ``value``."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, i, splat(y, value))
    if count - whole == 1:
        y[whole] = value
    elif whole < count:
        store_first(y, whole, splat(y, value), count - whole)


@inline
def copy_run(x, y, count):
    """y = x for ``count`` numbers."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, i, load(x, i))
    if count - whole == 1:
        y[whole] = x[whole]
    elif whole < count:
        store_first(y, whole, load_first(x, whole, count - whole), count - whole)


@inline
def add_run(x, y, count):
    """y += x for ``count`` numbers."""
    whole = count // LANES * LANES
    for i in range(0, whole, LANES):
        store(y, i, load(y, i) + load(x, i))
    left = count - whole
    if left == 1:
        y[whole] += x[whole]
    elif left > 0:
        store_first(y, whole, load_first(y, whole, left) + load_first(x, whole, left), left)
