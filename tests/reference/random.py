"""The counter-based random numbers, and what is made of them."""

from typing import Any

import numpy as np

from .common import Array, reference, wide


def splitmix(z: int) -> int:
    """The finaliser of splitmix64 (Steele, Lea & Flood, OOPSLA 2014) on 64 bits."""
    z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
    z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
    return z ^ (z >> 31)


def random_word(key: Any, position: int, salt: int = 0) -> int:
    """32 bits of a counter."""
    seed, step = (int(k) % 2**64 for k in key)
    stream = splitmix((splitmix((seed + 0x632BE59BD9B4E019) % 2**64) + step * 0x1E3779B97F4A7C15 + salt) % 2**64)
    return splitmix((stream + position * 0x9E3779B97F4A7C15) % 2**64) >> 32


def dropout_keeps(key: Any, count: int, p: float, salt: int = 0) -> Array:
    """Whether each of ``count`` elements, in C order, is kept: 32 bits of a counter against p."""
    return np.array([random_word(key, i, salt) >= round(p * 2**32) for i in range(count)])


def dropped(x: Any, p: float, training: bool, key: Any, leading: int, scale: float, lost: float, shift: float) -> Array:
    """x * scale or ``lost``, plus ``shift``; what is kept or not is what ``leading`` dimensions point at."""
    x = wide(x)
    if not training or p == 0.0:
        return x
    units = x.shape[:leading]
    kept = dropout_keeps(key, int(np.prod(units)), p).reshape(*units, *[1] * (x.ndim - leading))
    return np.where(kept, x * scale, lost) + shift


def scaled(p: float) -> tuple[float, float, float]:
    """Scale, lost value and shift of ordinary dropout."""
    return (1.0 / (1.0 - p) if p < 1.0 else 0.0), 0.0, 0.0


def self_normalising(p: float) -> tuple[float, float, float]:
    """a, a alpha' and b of Klambauer et al., section 2, from their equations for mean 0 and variance 1."""
    if p == 1.0:
        return 0.0, 0.0, 0.0
    limit, q = -1.0507009873554804934193349852946 * 1.6732632423543772848170429916717, 1.0 - p
    a = (q + limit**2 * q * p) ** -0.5
    return a, a * limit, -a * p * limit


@reference("dropout")
def dropout(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, np.ndim(x), *scaled(p))


@reference("dropout1d", orders=1)
def dropout1d(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, np.ndim(x) - 1, *scaled(p))


@reference("dropout2d", orders=1)
def dropout2d(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, 2, *scaled(p))


@reference("dropout3d", orders=1)
def dropout3d(x: Any, p: float = 0.5, training: bool = True, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, np.ndim(x) - 3, *scaled(p))


@reference("alpha_dropout", orders=1)
def alpha_dropout(x: Any, p: float = 0.5, training: bool = False, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, np.ndim(x), *self_normalising(p))


@reference("feature_alpha_dropout", orders=1)
def feature_alpha_dropout(x: Any, p: float = 0.5, training: bool = False, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, 2, *self_normalising(p))


@reference("stochastic_depth", orders=1)
def stochastic_depth(x: Any, p: float, mode: str, training: bool = True, *, key: Any = None) -> Array:
    return dropped(x, p, training, key, {"batch": 0, "row": 1}[mode], *scaled(p))


@reference("take_images", orders=0)
def take_images(
    images, indices, mean=(0.0,), std=(1.0,), pad=0, shift=0, flip=False, *, cutout=0, view=(0, 0, False), key=(0, 0)
) -> Array:
    border = pad + shift + max(map(abs, view[:2]))
    batch = np.pad(np.asarray(images)[indices], ((0, 0), (0, 0), (border, border), (border, border)))
    height, width = np.shape(images)[2] + 2 * pad, np.shape(images)[3] + 2 * pad
    moved = []
    for n, image in enumerate(batch):
        down, right, mirror = (random_word(key, 3 * n + i) for i in range(3))
        down, right = (word % (2 * shift + 1) - shift + move for word, move in zip((down, right), view, strict=False))
        down, right = down + border - pad, right + border - pad
        image = image[:, down : down + height, right : right + width]
        moved.append(image[:, :, ::-1] if (flip and mirror % 2) != view[2] else image)
    batch = np.stack(moved) if moved else batch[:, :, :height, :width]
    if batch.dtype == np.uint8:
        mean, std = (wide(a).reshape(-1, 1, 1) for a in (mean, std))
        batch = (batch / 255.0 - mean) / std
    batch = wide(batch)
    for n in range(len(batch) if cutout else 0):
        row, column = random_word(key, -1 - 2 * n) % height, random_word(key, -2 - 2 * n) % width
        rows, columns = (slice(max(0, p - cutout // 2), max(0, p - cutout // 2 + cutout)) for p in (row, column))
        batch[n, :, rows, columns] = 0.0
    return batch


@reference("jitter_colors", orders=0)
def jitter_colors(x, brightness=0.0, contrast=0.0, saturation=0.0, *, key=(0, 0)) -> Array:
    x = wide(x).copy()
    for n, image in enumerate(x):
        draws = [random_word(key, 3 * n + i) / 2**31 - 1 for i in range(3)]
        grey = image.mean(axis=0, keepdims=True)
        coloured = grey + (1 + saturation * draws[2]) * (image - grey)
        x[n] = (1 + contrast * draws[1]) * coloured + brightness * draws[0]
    return x


@reference("take_labels", orders=0)
def take_labels(labels: Any, indices: Any) -> Array:
    return np.array([labels[i] for i in indices])
