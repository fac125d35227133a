"""Downloading published files: mirrors in order, resumed, verified by SHA-256 and put in place in one step."""

from __future__ import annotations

import http
import http.client
import os
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from urllib.parse import urlsplit

from . import archive, checksum
from .catalog import DatasetInfo, RemoteFile
from .errors import DataError
from .lock import exclusive

Progress = Callable[[str, int, int], None]
"""Called with the file name, the bytes there so far and the bytes in all."""

TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_ATTEMPTS = 5

# A repacked archive differs in size from the published one, but not by much.
_REPACK_SLACK = 16 << 20

_NETWORK_ERRORS = (OSError, http.client.HTTPException)


class _MirrorError(Exception):
    """A mirror did not deliver; the message says why in a few words."""


class _CutError(_MirrorError):
    """The connection broke after it was made; what came so far is kept."""


def fetch(facts: DatasetInfo, folder: Path, progress: Progress | None = None) -> None:
    """Bring all files of a data set into a folder; those that are there already are only verified.

    An interrupted download leaves a ``.part`` file that the next call resumes. A file gets its name only when its
    checksum is right. Any number of processes may do this at once: one downloads, the others wait.

    Args:
        facts: the data set.
        folder: where to; made if need be.
        progress: optional callback.

    Raises:
        DataError: if no mirror delivers, the folder cannot be written, or a file is there but is not the published one.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with exclusive(folder / ".lock") as locked:
            for file in facts.files:
                _fetch_file(facts, file, folder, locked, progress)
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"{folder}: cannot be written ({reason}); name another folder by --data-dir") from error


def how_to_get(facts: DatasetInfo, folder: Path) -> str:
    """Say which files a data set needs, where to get them and where to put them."""
    files = ", ".join(file.name for file in facts.files)
    site = facts.files[0].urls[0].rsplit("/", 1)[0]
    return (
        f"get {files} from {site}/ and put them into {folder}, "
        f"or into any folder that you then name by --data-dir (data_dir) or NUMBACONV_DATA_DIR"
    )


def _fetch_file(facts: DatasetInfo, file: RemoteFile, folder: Path, locked: bool, progress: Progress | None) -> None:
    target = folder / file.name
    if target.exists():
        if not _is_genuine(target, file):
            raise DataError(f"{target}: is there, but is not the published file; delete it and download again")
        return
    # Without a lock a part file might have two writers, so each takes a name of its own.
    part = folder / (f"{file.name}.part" if locked else f"{file.name}.{os.getpid()}.part")
    if _size(part) >= file.size and _accept(part, target, file):  # Only the last step was missing.
        return
    reasons = []
    for url in file.urls:
        try:
            _fetch_from(url, part, target, file, progress)
            return
        except _MirrorError as error:
            reasons.append(f"{urlsplit(url).netloc}: {error}")
    raise DataError(
        f"{facts.name} could not be downloaded ({'; '.join(reasons)}): try again later, or {how_to_get(facts, folder)}"
    )


def _fetch_from(url: str, part: Path, target: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Download from one mirror, resuming what is there; on a wrong checksum once more from the start."""
    # What was resumed may have come from another mirror, and the fault may lie there.
    chances = 2 if part.exists() else 1
    for _ in range(chances):
        _complete(url, part, file, progress)
        if _accept(part, target, file):
            return
    raise _MirrorError("the checksum is wrong")


def _accept(part: Path, target: Path, file: RemoteFile) -> bool:
    """Put a complete part file in place if it is genuine, delete it if it is not."""
    if _is_genuine(part, file):
        os.replace(part, target)
        return True
    part.unlink()
    return False


def _is_genuine(path: Path, file: RemoteFile) -> bool:
    """Tell whether a file is the published one, or one repacked with the same content."""
    if checksum.of_file(path) == file.sha256:
        return True
    if not file.contents:
        return False
    expected = {content.name: content.sha256 for content in file.contents}
    try:
        return all(checksum.of_bytes(data) == expected[name] for name, data in _contents(path, file))
    except DataError:
        return False


def _contents(path: Path, file: RemoteFile) -> Iterator[tuple[str, bytes]]:
    if file.name.endswith(".tar.gz"):
        yield from archive.tar_members(path, {content.name: content.size for content in file.contents})
    else:
        (content,) = file.contents
        yield content.name, archive.read_file(path, content.size)


def _complete(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Bring a part file to its full length; go on after a cut connection as long as each one brings something."""
    for attempt in range(_ATTEMPTS):
        before = _size(part)
        try:
            _receive(url, part, file, progress)
            return
        except _CutError:
            if attempt == _ATTEMPTS - 1 or _size(part) <= before:
                raise


def _receive(url: str, part: Path, file: RemoteFile, progress: Progress | None) -> None:
    """Make one request for what is still missing and write the answer to the part file."""
    start = _size(part)
    response = _open(url, start)
    if response is None:
        return
    with response:
        if response.status != http.HTTPStatus.PARTIAL_CONTENT:
            start = 0
        elif not response.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            raise _MirrorError("it resumes at the wrong place")
        length = response.headers.get("Content-Length", "")
        total = start + int(length) if length.isdecimal() else None
        most = file.size + (_REPACK_SLACK if file.contents else 0)
        least = file.size - (_REPACK_SLACK if file.contents else 0)
        # Asked before the part file is touched: a log-in page must not cost what is there already.
        if total is not None and not least <= total <= most:
            raise _MirrorError(f"it offers {total:,} bytes, the file has {file.size:,}")
        done = _write(response, part, start, total or file.size, most, file.name, progress)
    if done < (least if total is None else total):
        raise _CutError(f"the connection was cut after {done:,} bytes")


def _open(url: str, start: int) -> http.client.HTTPResponse | None:
    """Request a file from byte ``start`` on; ``None`` if the server says that nothing comes after it."""
    headers = {"User-Agent": "numbaconv", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
    try:
        response: http.client.HTTPResponse = urllib.request.urlopen(
            urllib.request.Request(url, headers=headers), timeout=TIMEOUT_S
        )
        return response
    except urllib.error.HTTPError as error:
        error.close()
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            return None
        raise _MirrorError(f"HTTP error {error.code}") from error
    except _NETWORK_ERRORS as error:
        raise _MirrorError(_reason(error)) from error


def _write(
    response: http.client.HTTPResponse,
    part: Path,
    start: int,
    total: int,
    most: int,
    name: str,
    progress: Progress | None,
) -> int:
    """Write an answer to the part file from byte ``start`` on; return the length of the part file."""
    done = start
    with part.open("ab" if start else "wb") as out:
        while True:
            if progress is not None:
                progress(name, done, total)
            try:
                chunk = response.read1(_CHUNK)
            except _NETWORK_ERRORS as error:
                raise _CutError(_reason(error)) from error
            if not chunk:
                break
            done += len(chunk)
            if done > most:
                raise _MirrorError(f"it sends more than {most:,} bytes")
            out.write(chunk)
        out.flush()
        os.fsync(out.fileno())
    return done


def _reason(error: Exception) -> str:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    return getattr(reason, "strerror", None) or str(reason) or type(reason).__name__


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
