"""Bounded, paranoid reading of gzip files and tar archives.

Data files come from other people. Nothing here writes to the disk, trusts a declared size or reads more than the caller
expects; every fault ends in a ``DataError`` that names the file.
"""

from __future__ import annotations

import gzip
import io
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath, PureWindowsPath
from typing import IO, cast

from .errors import DataError

_GZIP_MAGIC = b"\x1f\x8b"
_CHUNK = 1 << 20

# Room for tar headers, directories and the small text files that stand beside the data.
TAR_SLACK = 1 << 20

# What tarfile lets escape on a hostile header, apart from its own errors.
_TAR_FAULTS = (tarfile.TarError, ValueError, LookupError, ArithmeticError, RecursionError)


@contextmanager
def open_stream(path: Path) -> Iterator[io.BufferedIOBase]:
    """Open a file for reading and decompress it if its content (not its name) says gzip.

    Raises:
        DataError: if the file cannot be read, or its gzip data is damaged or cut short.
    """
    try:
        # Asked first, because opening a named pipe would wait for ever.
        if path.exists() and not path.is_file():
            raise DataError(f"{path}: is not a regular file")
        with path.open("rb") as file:
            zipped = file.read(2) == _GZIP_MAGIC
            file.seek(0)
            if zipped:
                with gzip.GzipFile(fileobj=file, mode="rb") as stream:
                    yield stream
            else:
                yield file
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise DataError(f"{path}: the gzip data is damaged or cut short ({error})") from error
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror or error})") from error


def read_file(path: Path, size: int) -> bytes:
    """Return the content of a file, plain or gzip, that must be exactly ``size`` bytes long.

    Raises:
        DataError: if it is shorter or longer, or cannot be read.
    """
    with open_stream(path) as stream:
        # One byte more than expected shows an overlong file, and makes gzip check its CRC at the end.
        data = stream.read(size + 1)
    if len(data) > size:
        raise DataError(f"{path}: is longer than the {size:,} bytes it must have")
    if len(data) < size:
        raise DataError(f"{path}: is cut short, {len(data):,} of {size:,} bytes")
    return data


def tar_members(path: Path, sizes: Mapping[str, int]) -> Iterator[tuple[str, bytes]]:
    """Yield the wanted files of a tar archive (plain or gzip), in the order they have there.

    Members are read one by one as a stream; nothing is extracted. Other regular files and folders are passed over.

    Args:
        path: the archive.
        sizes: base name to exact size in bytes of every file wanted.

    Yields:
        ``(base name, content)``.

    Raises:
        DataError: if a member is absolute, has ``..`` in its path, is a link or a device, has another size than it
            must have, comes twice or is missing; if the archive is damaged, or expands to more than it should.
    """
    missing = set(sizes)
    with open_stream(path) as stream:
        bounded = _BoundedReader(path, stream, sum(sizes.values()) + TAR_SLACK)
        try:
            with tarfile.open(fileobj=cast("IO[bytes]", bounded), mode="r|", bufsize=_CHUNK) as tar:
                for member in tar:
                    _refuse_hostile(path, member)
                    name = PurePosixPath(member.name).name
                    if name not in sizes or member.isdir():
                        continue
                    if name not in missing:
                        raise DataError(f"{path}: holds {name} twice")
                    missing.remove(name)
                    yield name, _read_member(path, tar, member, sizes[name])
        except DataError:
            raise
        except _TAR_FAULTS as error:
            raise DataError(f"{path}: the tar archive is damaged ({error})") from error
        bounded.drain()
    if missing:
        raise DataError(f"{path}: lacks {', '.join(sorted(missing))}")


class _BoundedReader:
    """Passes ``read`` on to a stream until ``limit`` bytes have come, then refuses the file."""

    def __init__(self, path: Path, stream: io.BufferedIOBase, limit: int) -> None:
        self._path = path
        self._stream = stream
        self._limit = limit
        self._left = limit

    def read(self, size: int) -> bytes:
        data = self._stream.read(min(size, self._left + 1))
        self._left -= len(data)
        if self._left < 0:
            raise DataError(f"{self._path}: expands to more than the {self._limit:,} bytes it may have")
        return data

    def drain(self) -> None:
        """Read to the end: tarfile stops at its end mark, and gzip checks its CRC only after the last byte."""
        while self.read(_CHUNK):
            pass


def _refuse_hostile(path: Path, member: tarfile.TarInfo) -> None:
    """Refuse a member that no honest data archive has; any one of them makes the whole archive suspect."""
    windows = PureWindowsPath(member.name)  # Splits at / and \ alike.
    if member.name.startswith("/") or windows.anchor or ".." in windows.parts:
        raise DataError(f"{path}: refused, its member {member.name!r} points outside the archive")
    if not (member.isreg() or member.isdir()) or member.issparse():
        raise DataError(f"{path}: refused, its member {member.name!r} is a link, a device or another special file")


def _read_member(path: Path, tar: tarfile.TarFile, member: tarfile.TarInfo, size: int) -> bytes:
    if member.size != size:
        raise DataError(f"{path}: its member {member.name!r} is {member.size:,} bytes long, it must be {size:,}")
    handle = tar.extractfile(member)
    data = handle.read(size) if handle else b""
    if len(data) != size:
        raise DataError(f"{path}: is cut short inside {member.name!r}")
    return data
