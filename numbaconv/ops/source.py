"""Where batches come from: images and labels picked by index out of arrays that stay in memory."""

import numpy as np

from .core import (
    Operator,
    Spec,
    apply,
    as_input,
    check_indices,
    dtype_of,
    integers,
    is_traced,
    operator,
    public,
    random_key,
    shape_of,
)


class TakeImages(Operator):
    """images[indices], scaled to (value / 255 - mean) / std if they are bytes, with a border of black pixels.

    With a third input, a random key, each image is moved by up to ``shift`` pixels, mirrored with ``flip``, and has a
    square of ``cutout`` pixels set to zero.
    """

    def shape(self, images: Spec, indices: Spec, *key: Spec, pad, **attrs) -> Spec:
        n, c, h, w = indices.shape[0], *images.shape[1:]
        dtype = np.dtype(np.float32) if images.dtype == np.uint8 else images.dtype
        return Spec((n, c, h + 2 * pad, w + 2 * pad), dtype)


class TakeLabels(Operator):
    """labels[indices]."""

    def shape(self, labels: Spec, indices: Spec) -> Spec:
        return Spec(indices.shape, labels.dtype)


take_images_row, take_labels_row = operator(TakeImages), operator(TakeLabels)


def _check_indices(function: str, indices, count: int) -> None:
    if dtype_of(indices) != np.int64 or len(shape_of(indices)) != 1:
        found = f"{dtype_of(indices)} of shape {shape_of(indices)}"
        raise TypeError(f"{function}: indices must be a row of int64, not {found}")
    if count == 0 and shape_of(indices)[0]:
        raise ValueError(f"{function}: there is nothing to take from")
    if not is_traced(indices):
        check_indices(function, np.asarray(indices), count)


@public()
def take_images(
    images, indices, mean=(0.0,), std=(1.0,), pad=0, shift=0, flip=False, *, cutout=0, view=(0, 0, False), key=None
):
    """A batch of images (M, C, H, W) uint8, float32 or float64 by indices (N,) int64: (N, C, H + 2 pad, W + 2 pad).

    Bytes become (value / 255 - mean) / std, float32, with one mean and standard deviation a channel; floating-point
    images are taken as they are.  The border is what a black (zero) pixel becomes.

    Augmentation: each image is moved by up to ``shift`` pixels in both directions, with ``flip`` every other one is
    mirrored, and a square with sides of ``cutout`` pixels around one of its pixels is set to zero, the mean (DeVries &
    Taylor, arXiv 1708.04552), as ``key`` says, an int64 array [seed, step] (default as for ``dropout``).

    ``view`` is the same for all images: rows to move up, columns to move to the left, and whether to mirror.

    Source: Krizhevsky et al., NIPS 2012, section 4.1 (shifted and mirrored images).
    """
    images, indices = as_input(images), as_input(indices)
    shape = shape_of(images)
    if len(shape) != 4:
        raise ValueError(f"take_images: images must have shape (N, C, H, W), their shape is {shape}")
    if dtype_of(images) not in (np.uint8, np.float32, np.float64):
        raise TypeError(f"take_images: images must be uint8, float32 or float64, not {dtype_of(images)}")
    _check_indices("take_images", indices, shape[0])
    for name, value in (("mean", mean), ("std", std)):
        if np.shape(value) not in ((), (1,), (shape[1],)):
            raise ValueError(f"take_images: {name} must be one number or {shape[1]}, one a channel, not {value!r}")
    mean, std = (tuple(float(v) for v in np.broadcast_to(a, (shape[1],))) for a in (mean, std))
    if min(std) <= 0.0:
        raise ValueError(f"take_images: std must be positive, not {std}")
    (pad,) = integers("take_images", "pad", pad, 1, 0)
    (shift,) = integers("take_images", "shift", shift, 1, 0)
    (cutout,) = integers("take_images", "cutout", cutout, 1, 0)
    if len(view) != 3:
        raise ValueError(f"take_images: view must be (rows, columns, mirrored), not {view!r}")
    move = integers("take_images", "view", view[:2], 2, -(2**31))
    attrs = {
        "mean": mean, "std": std, "pad": pad, "shift": shift, "flip": bool(flip), "cutout": cutout,
        "view": (*move, bool(view[2])), "salt": 0,
    }  # fmt: skip
    if not shift and not flip and not cutout:
        return apply(take_images_row, (images, indices), attrs)
    graph = next((value.graph for value in (images, indices) if is_traced(value)), None)
    key, attrs["salt"] = random_key("take_images", key, graph)
    return apply(take_images_row, (images, indices, key), attrs)


@public()
def take_labels(labels, indices):
    """labels (M,) int64 and indices (N,) int64 -> (N,) int64.

    Source: numpy.take.
    """
    labels, indices = as_input(labels), as_input(indices)
    if dtype_of(labels) != np.int64 or len(shape_of(labels)) != 1:
        found = f"{dtype_of(labels)} of shape {shape_of(labels)}"
        raise TypeError(f"take_labels: labels must be a row of int64, not {found}")
    _check_indices("take_labels", indices, shape_of(labels)[0])
    return apply(take_labels_row, (labels, indices), {})
