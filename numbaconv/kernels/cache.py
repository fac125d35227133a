"""The cache of compiled kernels: one file a kernel, named by a digest of everything that its code depends on.

That is the kernel's own file and all it imports from here, its constants, and what the backend adds: processor and
versions.  Files are written atomically and carry a checksum.  Numba's own cache cannot be used: it misses for closures
over intrinsics, does not see changes in helper files, and needs 30 to 300 ms for each function where an object file
loads in about one.
"""

import ast
import functools
import hashlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

_HEADER = b"numbaconv object 1\n"


@functools.cache
def cache_folder() -> Path | None:
    """Where object files are kept, or None (with one warning) if no folder can be written."""
    chosen = os.environ.get("NUMBACONV_CACHE_DIR")
    if chosen:
        folder = Path(chosen)
    else:
        import platformdirs

        folder = Path(platformdirs.user_cache_dir("numbaconv", appauthor=False))
    folder = folder / "kernels"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        warnings.warn(f"kernels are compiled anew in every process: no cache in {folder} ({error})", stacklevel=2)
        return None
    return folder


@functools.cache
def digest_of_file(path: str) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


#: An import statement, with names in parentheses or on one line.
_IMPORT = re.compile(
    r"^[ \t]*((?:from[ \t]+[.\w]+[ \t]+import[ \t]+(?:\([^)]*\)|[^\n]*))|(?:import[ \t]+[^\n]*))", re.MULTILINE
)


def _imports(source: str) -> Iterator[ast.AST]:
    """Nodes of a file, among them its imports: those alone where each can be read by itself, ten times as fast."""
    try:
        nodes: list[ast.AST] = [ast.parse(statement) for statement in _IMPORT.findall(source)]
    except SyntaxError:
        nodes = [ast.parse(source)]
    for node in nodes:
        yield from ast.walk(node)


@functools.cache
def _imported_here(path: str) -> frozenset[str]:
    """The files that a Python file's kernels may depend on: those it imports from its own folder, from those of kernels
    and from the operators' rows.

    Files outside the package get there through ``numbaconv.extend``, which is followed.
    """
    folder, kernels = Path(path).parent, Path(__file__).parent
    package = kernels.parent
    found = set()
    for node in _imports(Path(path).read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            places = [(folder, alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            parts = node.module.split(".") if node.module else []
            base = folder.joinpath(*[".."] * (node.level - 1)) if node.level else folder
            if not node.level and parts[0] == package.name:
                base, parts = package, parts[1:]
            names = [alias.name for alias in node.names]
            places = [(base, parts), *((base, [*parts, name]) for name in names)]
        else:
            continue
        found |= {base.joinpath(*parts).with_suffix(".py").resolve() for base, parts in places if parts}
    places_of_kernels = (kernels, kernels / "cpu", kernels / "cuda")
    wanted = {place.resolve() for place in (folder, *places_of_kernels, package, package / "ops")}
    return frozenset(str(file) for file in found if file.parent in wanted and file.exists())


@functools.cache
def _sources(path: str) -> frozenset[str]:
    """A file and all files that its kernels may depend on, directly or not."""
    files, waiting = {path}, [path]
    while waiting:
        new = _imported_here(waiting.pop()) - files
        files |= new
        waiting += new
    return frozenset(files)


@functools.cache
def _digest_of_sources(path: str) -> bytes:
    digest = hashlib.sha256()
    for file in sorted(_sources(path)):
        digest.update(digest_of_file(file))
    return digest.digest()


@functools.cache
def _time_of_file(path: str) -> float:
    """When a file was changed; 0 if that is in the future, by a clock that is wrong."""
    changed = os.stat(path).st_mtime
    return changed if changed <= time.time() else 0.0


@functools.cache
def _last_change(path: str) -> float:
    """When one of a file's sources was changed last."""
    return max(map(_time_of_file, _sources(path)))


def changed_since(path: str, moment: float) -> bool:
    """Whether the file or one of its sources was changed after ``moment`` (seconds, as ``time.time``)."""
    return _last_change(path) > moment


def digest_for(environment: bytes, source: str, *details: str) -> str:
    """What names a file of the cache: environment, sources from the file ``source`` on, and details."""
    digest = hashlib.sha256(environment + _digest_of_sources(source))
    digest.update("\0".join(details).encode())
    return digest.hexdigest()[:32]


# ------------------------------------------------------------------------------------------------ files


def write_object(path: Path, symbol: str, code: bytes) -> None:
    """Write atomically: another process sees the whole file or none."""
    body = symbol.encode() + b"\n" + code
    handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".tmp")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(_HEADER + hashlib.sha256(body).digest() + body)
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def keep_object(path: Path | None, symbol: str, code: bytes) -> None:
    """Write an object file if there is a cache; what cannot be written (a full disk) is only not kept."""
    if path is None:
        return
    try:
        write_object(path, symbol, code)
    except OSError as error:
        _warn_not_kept(str(error))


@functools.cache
def _warn_not_kept(reason: str) -> None:
    warnings.warn(f"compiled kernels could not be kept for the next process: {reason}", stacklevel=2)


def read_object(path: Path) -> tuple[str, bytes] | None:
    """The symbol and code of an object file; None if it is not there or damaged."""
    try:
        content = path.read_bytes()
    except OSError:
        return None
    start = len(_HEADER) + 32
    body = content[start:]
    if not content.startswith(_HEADER) or hashlib.sha256(body).digest() != content[len(_HEADER) : start]:
        return None
    symbol, code = body.split(b"\n", 1)
    return symbol.decode(), code


def load_or_compile(path: Path | None, compile: Callable[[], tuple[str, bytes]]) -> tuple[str, bytes]:
    """The symbol and code kept at ``path``; what is not there is compiled, and kept."""
    found = read_object(path) if path is not None else None
    if found is None:
        found = compile()
        keep_object(path, *found)
    return found
