"""A single image of the user's, from a file to the shape and range that a network was trained on."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import numpy as np

from .errors import DataError

_FORMATS = ("PNG", "JPEG")

# Shares of red, green and blue in a grey value, in thousandths. Source: ITU-R BT.601.
_LUMA = (299, 587, 114)


def read_image(path: str | os.PathLike[str], invert: bool = False) -> np.ndarray:
    """Read a PNG, JPEG or NumPy (``.npy``) file.

    PNG and JPEG need pillow. They are turned as their EXIF data say, and what is transparent becomes white.
    A NumPy file holds one image, ``(H, W)``, ``(C, H, W)`` or ``(H, W, C)`` with 1 or 3 channels, as ``uint8`` or as
    floats from 0 to 1. Pickles are refused.

    Args:
        path: the file.
        invert: whether to swap dark and light, as a dark digit on white paper needs.

    Returns:
        ``uint8``, shape ``(C, H, W)``, C being 1 or 3.

    Raises:
        DataError: if the file cannot be read or holds no such image, or pillow is missing.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"{path}: is not a file" if path.exists() else f"{path}: there is no such file")
    image = _read_numpy(path) if path.suffix.lower() == ".npy" else _read_picture(path)
    return 255 - image if invert else image


def fit_image(image: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Bring an image to a shape: colours to grey or grey to colours, and the size by stretching.

    The filter is a triangle as wide as an output pixel, or as an input pixel where that is wider (pillow's
    ``BILINEAR``), so that fine lines do not fall through when an image shrinks.

    Args:
        image: ``uint8``, shape ``(C, H, W)``, C being 1 or 3.
        shape: ``(C, H, W)`` wanted, C being 1 or 3.

    Returns:
        ``uint8`` of that shape.
    """
    channels, height, width = shape
    if len(image) == 3 and channels == 1:
        grey = np.tensordot(np.array(_LUMA, np.int32), image.astype(np.int32), axes=1)
        image = ((grey + 500) // 1000).astype(np.uint8)[None]
    rows = _weights(image.shape[1], height)
    columns = _weights(image.shape[2], width)
    resized = np.rint(rows @ image.astype(np.float64) @ columns.T).clip(0, 255).astype(np.uint8)
    return np.ascontiguousarray(np.broadcast_to(resized, (channels, height, width)))


def _weights(size: int, wanted: int) -> np.ndarray:
    """Return the weights ``(wanted, size)`` of a one-dimensional resize; every row sums to 1."""
    scale = size / wanted
    centre = (np.arange(wanted) + 0.5) * scale - 0.5
    distance = np.abs(np.arange(size) - centre[:, None]) / max(scale, 1.0)
    weights = np.maximum(1.0 - distance, 0.0)
    normalised: np.ndarray = weights / weights.sum(axis=1, keepdims=True)
    return normalised


def _read_numpy(path: Path) -> np.ndarray:
    try:
        array = np.load(path, allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise DataError(f"{path}: is not a NumPy array file, or is damaged ({error})") from error
    if not isinstance(array, np.ndarray):
        raise DataError(f"{path}: is an archive of arrays, not one NumPy array")
    if array.ndim == 2:
        array = array[None]
    elif array.ndim == 3 and array.shape[0] not in (1, 3) and array.shape[2] in (1, 3):
        array = array.transpose(2, 0, 1)
    if array.ndim != 3 or array.shape[0] not in (1, 3) or array.size == 0:
        raise DataError(f"{path}: an image has shape (H, W), (C, H, W) or (H, W, C), C being 1 or 3; got {array.shape}")
    if array.dtype == np.uint8:
        return array
    if array.dtype.kind != "f":
        raise DataError(f"{path}: an image is uint8, or floats from 0 to 1; got {array.dtype}")
    if not (array.min() >= 0 and array.max() <= 1):  # Written so that NaN is refused.
        raise DataError(f"{path}: an image of floats has values from 0 to 1; got {array.min():g} to {array.max():g}")
    scaled: np.ndarray = np.rint(array * 255).astype(np.uint8)
    return scaled


def _read_picture(path: Path) -> np.ndarray:
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise DataError(
            f'{path}: reading pictures needs pillow: pip install pillow (.npy files are read without it)'
        ) from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(path, formats=_FORMATS) as opened:
                picture = ImageOps.exif_transpose(opened)
                if picture.mode.startswith("I"):  # 16 bits a pixel, which pillow would clip at 255
                    return (np.asarray(picture) // 257).astype(np.uint8)[None]
                grey = picture.mode in ("1", "L", "LA")
                if "A" in picture.getbands() or "transparency" in picture.info:
                    picture = picture.convert("RGBA")
                    paper = Image.new("RGBA", picture.size, "white")
                    picture = Image.alpha_composite(paper, picture)
                pixels = np.asarray(picture.convert("L" if grey else "RGB"))
    except (Image.DecompressionBombWarning, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: has more pixels than an honest picture ({error})") from error
    except Image.UnidentifiedImageError as error:
        raise DataError(f"{path}: is not a PNG or JPEG picture") from error
    # What pillow's decoders raise on damaged files; it has no error of its own for that.
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, OverflowError) as error:
        raise DataError(f"{path}: the picture is damaged or cannot be read ({error})") from error
    return pixels[None] if pixels.ndim == 2 else np.ascontiguousarray(pixels.transpose(2, 0, 1))
