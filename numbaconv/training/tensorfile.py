"""Named arrays with metadata in one safetensors file: written atomically, verified when read. Nothing is unpickled.

The format has no checksum of its own, so one of ours goes with the metadata; files of other programs have none and are
read all the same.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from .errors import CheckpointError
from .files import write_atomic

_FORMAT = "numbaconv"
_VERSION = 1
_OWN_KEYS = ("format", "version", "crc32")


class TensorFile(NamedTuple):
    """What a file holds.

    Attributes:
        tensors: arrays by name.
        metadata: what was given to ``write``; for a file of another program its metadata strings.
    """

    tensors: dict[str, np.ndarray]
    metadata: dict[str, Any]


def write(path: Path, tensors: Mapping[str, np.ndarray], metadata: Mapping[str, Any]) -> None:
    """Write arrays and metadata (anything JSON can say, one entry a key)."""
    from safetensors.numpy import save

    # not ascontiguousarray, which makes (1,) of the shape ()
    arrays = {name: np.require(array, requirements="C") for name, array in tensors.items()}
    own = {"format": _FORMAT, "version": str(_VERSION), "crc32": str(_checksum(arrays))}
    write_atomic(path, save(arrays, {**own, **{key: json.dumps(value) for key, value in metadata.items()}}))


def read(path: Path) -> TensorFile:
    """Read and verify a file.

    Raises:
        CheckpointError: if there is none, or it is truncated, damaged, or no safetensors file.
    """
    if not path.is_file():
        raise CheckpointError(f"{path}: {'is not a file' if path.exists() else 'there is no such file'}")
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            strings = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except SafetensorError as error:
        raise CheckpointError(f"{path}: is damaged, cut short or not a safetensors file ({error})") from error
    except (TypeError, AttributeError, KeyError) as error:
        raise CheckpointError(f"{path}: holds a kind of number NumPy does not have ({error})") from error
    except OSError as error:
        raise CheckpointError(f"{path}: cannot be read ({error.strerror or error})") from error
    if strings.get("format") != _FORMAT:
        return TensorFile(tensors, dict(strings))
    return TensorFile(tensors, _own_metadata(path, strings, tensors))


def _own_metadata(path: Path, strings: Mapping[str, str], tensors: Mapping[str, np.ndarray]) -> dict[str, Any]:
    if strings.get("version") != str(_VERSION):
        raise CheckpointError(f"{path}: is of format version {strings.get('version')}, this program reads {_VERSION}")
    if strings.get("crc32") != str(_checksum(tensors)):
        raise CheckpointError(f"{path}: is damaged, its checksum is wrong")
    try:
        return {key: json.loads(value) for key, value in strings.items() if key not in _OWN_KEYS}
    except json.JSONDecodeError as error:
        raise CheckpointError(f"{path}: is damaged, its metadata cannot be read ({error})") from error


def _checksum(tensors: Mapping[str, np.ndarray]) -> int:
    """CRC-32 of all arrays' bytes, in the order of their names."""
    checksum = 0
    for name in sorted(tensors):
        checksum = zlib.crc32(np.ascontiguousarray(tensors[name]).reshape(-1).view(np.uint8).data, checksum)
    return checksum
