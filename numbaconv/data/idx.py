"""The IDX format: a big-endian header (magic number, one size per dimension), then raw bytes, perhaps all in gzip.

The magic number is two zero bytes, the type (8 = unsigned byte) and the number of dimensions: 2051 for images
``(N, H, W)``, 2049 for labels ``(N,)``. Format: http://yann.lecun.com/exdb/mnist/ .
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from .archive import open_stream
from .errors import DataError

_UNSIGNED_BYTE = 0x0800


def read(path: Path, item: tuple[int, ...], most: int) -> np.ndarray:
    """Read an IDX file of unsigned bytes, plain or gzip.

    Args:
        path: the file.
        item: shape that each item must have: ``(H, W)`` for images, ``()`` for labels.
        most: largest number of items allowed. No more than that is ever decompressed, whatever the header declares.

    Returns:
        ``uint8``, shape ``(N, *item)``, writable.

    Raises:
        DataError: if magic number, item shape or count are wrong, the size does not fit the count, or the gzip data
            is damaged.
    """
    dimensions = 1 + len(item)
    magic = _UNSIGNED_BYTE + dimensions
    header_size = 4 + 4 * dimensions
    with open_stream(path) as stream:
        header = stream.read(header_size)
        if len(header) < header_size:
            raise DataError(f"{path}: is too short for an IDX file")
        found, count, *rest = struct.unpack(f">{1 + dimensions}I", header)
        if found != magic:
            raise DataError(f"{path}: is not the IDX file it should be, its magic number is {found} and not {magic}")
        if tuple(rest) != item:
            raise DataError(f"{path}: holds images of {_by(rest)} pixels, they must be {_by(item)}")
        if not 0 < count <= most:
            raise DataError(f"{path}: declares {count:,} items, it must have 1 to {most:,}")
        data = np.empty((count, *item), np.uint8)
        filled = _fill(stream, data.data.cast("B"))
        if filled < data.nbytes:
            raise DataError(f"{path}: is cut short, {filled:,} of the {data.nbytes:,} bytes that its header declares")
        # Also makes gzip check its CRC, which stands after the last byte.
        if stream.read(1):
            raise DataError(f"{path}: goes on after the {count:,} items that its header declares")
    return data


def encode(array: np.ndarray) -> bytes:
    """Return a ``uint8`` array as the bytes of an IDX file (not compressed)."""
    if array.dtype != np.uint8:
        raise TypeError(f"IDX files here hold uint8, not {array.dtype}")
    header = struct.pack(f">{1 + array.ndim}I", _UNSIGNED_BYTE + array.ndim, *array.shape)
    return header + array.tobytes()


def _fill(stream: io.BufferedIOBase, view: memoryview) -> int:
    """Fill ``view`` from the stream as far as it goes; return the number of bytes."""
    done = 0
    while done < len(view):
        step = stream.readinto(view[done : done + (1 << 22)])
        if not step:
            break
        done += step
    return done


def _by(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))
