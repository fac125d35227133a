"""Randomness with explicit seeds: NumPy's counter-based Philox for the host, and keys for masks made in kernels."""

import itertools

import numpy as np

_seed = 0
_counter = itertools.count()


def manual_seed(seed: int) -> None:
    """Set the seed of everything that is drawn without a seed of its own."""
    global _seed, _counter
    _seed = int(seed)
    _counter = itertools.count()


def generator(seed: int | None = None) -> np.random.Generator:
    """A generator for ``seed``; without one, the next stream of the global seed."""
    key = [_seed & (2**64 - 1), next(_counter) + 1] if seed is None else [int(seed) & (2**64 - 1), 0]
    return np.random.Generator(np.random.Philox(key=np.array(key, np.uint64)))


def next_key() -> np.ndarray:
    """[seed, step] for one use of a random operator outside a training step."""
    return np.array([_seed, next(_counter)], np.int64)
