"""From a Python loop to machine code: the ``kernel`` decorator and its cache of object files.

A kernel is a factory that takes compile-time constants (dtype, tile, activation ...) and returns a loop:

    @kernel
    def negate(T):
        def loop(begin, end, x: Pointer, y: Pointer):
            for i in range(begin, end):
                store(y, i * LANES, -load(x, i * LANES))
        return loop

``begin`` and ``end`` delimit the units of work; the other arguments are pointers (annotated ``Pointer``), integers
(``int``), numbers (``float``), and tuples of pointers or integers (``Pointers``, ``Ints``).  The runner calls every
kernel through one signature, ``(arguments, begin, end)``, with the arguments as a row of 64-bit words.

Compiled loops are kept as plain object files, one a kernel, in a folder of the user's cache.  The name of a file holds
a digest of everything that its code depends on: the kernel's own file and all it imports from here, constants, dtype,
CPU, and versions.  Numba's own cache cannot be used: it misses for closures over intrinsics, does not see changes in
helper files, and needs 30 to 300 ms for each function where an object file loads in about one.
"""

import ast
import ctypes
import functools
import hashlib
import inspect
import itertools
import os
import struct
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Hashable
from pathlib import Path
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from .target import cpu


class Pointer:
    """Annotation of a kernel's argument: pointer to elements of the kernel's dtype (``Pointer``) or of a fixed one."""

    def __init__(self, dtype: str) -> None:
        self.dtype = dtype


class Ints:
    """Annotation of a kernel's argument: a tuple of ``count`` integers."""

    def __init__(self, count: int) -> None:
        self.count = count


class Pointers:
    """Annotation of a kernel's argument: a tuple of ``count`` pointers to elements of the kernel's dtype."""

    def __init__(self, count: int) -> None:
        self.count = count


INT32 = Pointer("int32")
INT64 = Pointer("int64")
UINT8 = Pointer("uint8")
FLOAT64 = Pointer("float64")

_WORD = "void(CPointer(int64), int64, int64)"
_HEADER = b"numbaconv object 1\n"
_lock = threading.RLock()


# ------------------------------------------------------------------------------------------------ the cache folder


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
def _digest_of_file(path: str) -> bytes:
    return hashlib.sha256(Path(path).read_bytes()).digest()


@functools.cache
def _imported_here(path: str) -> frozenset[str]:
    """The files that a Python file's kernels may depend on: those it imports from its own folder, from
    this one and from the operators' rows.

    Files outside the package get there through ``numbaconv.extend``, which is followed.
    """
    folder, package = Path(path).parent, Path(__file__).parents[2]
    found = set()
    for node in ast.walk(ast.parse(Path(path).read_bytes())):
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
    wanted = {place.resolve() for place in (folder, Path(__file__).parent, package, package / "ops")}
    return frozenset(str(file) for file in found if file.parent in wanted and file.exists())


@functools.cache
def _digest_of_sources(path: str) -> bytes:
    """Digest of a file and of all files of this folder that it imports, directly or not."""
    files, waiting = {path}, [path]
    while waiting:
        new = _imported_here(waiting.pop()) - files
        files |= new
        waiting += new
    digest = hashlib.sha256()
    for file in sorted(files):
        digest.update(_digest_of_file(file))
    return digest.digest()


@functools.cache
def _environment() -> bytes:
    """Digest of what every kernel depends on besides its sources."""
    from importlib.metadata import version

    words = [*cpu(), sys.version, version("numba"), llvmlite.__version__, np.__version__]
    digest = hashlib.sha256("\0".join(words).encode())
    digest.update(_digest_of_file(__file__))
    return digest.digest()


def digest_for(source: str, *details: str) -> str:
    """What names an object file: environment, sources from the file ``source`` on, and details."""
    digest = hashlib.sha256(_environment() + _digest_of_sources(source))
    digest.update("\0".join(details).encode())
    return digest.hexdigest()[:32]


# ------------------------------------------------------------------------------------------------ compiling


def _numba_types(loop: Callable, dtype: np.dtype):
    """Numba's types of a loop's arguments after begin and end."""
    from numba import from_dtype, types

    found = []
    for parameter in list(inspect.signature(loop).parameters.values())[2:]:
        kind = parameter.annotation
        if kind is Pointer:
            found.append(types.CPointer(from_dtype(dtype)))
        elif isinstance(kind, Pointer):
            found.append(types.CPointer(from_dtype(np.dtype(kind.dtype))))
        elif isinstance(kind, Ints):
            found.append(types.UniTuple(types.int64, kind.count))
        elif isinstance(kind, Pointers):
            found.append(types.UniTuple(types.CPointer(from_dtype(dtype)), kind.count))
        elif kind is float:
            found.append(types.float64)
        elif kind is int:
            found.append(types.int64)
        else:
            raise TypeError(f"kernel argument {parameter.name!r} needs the annotation Pointer, int or float")
    return found


def _unpacker(argument_types):
    """An intrinsic that reads typed arguments from a row of 64-bit words."""
    from llvmlite import ir
    from numba import types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def unpack(typingctx, words):
        def codegen(context, builder, signature, arguments):
            position = itertools.count()

            def argument(kind):
                if isinstance(kind, types.UniTuple):
                    return cgutils.pack_array(builder, [argument(kind.dtype) for _ in range(kind.count)])
                word = builder.load(builder.gep(arguments[0], [ir.Constant(ir.IntType(64), next(position))]))
                if isinstance(kind, types.CPointer):
                    return builder.inttoptr(word, context.get_value_type(kind))
                return builder.bitcast(word, ir.DoubleType()) if kind == types.float64 else word

            values = [argument(kind) for kind in argument_types]
            return cgutils.pack_struct(builder, values) if values else context.get_dummy_value()

        return types.Tuple(argument_types)(words), codegen

    return unpack


def _build(make: Callable, dtype: np.dtype, constants: dict) -> Any:
    """Compile one loop with its entry; gives Numba's compiled function."""
    from numba import cfunc, njit

    loop = make(dtype, **constants)
    unpack = _unpacker(_numba_types(loop, dtype))
    body = njit(error_model="numpy", fastmath={"contract", "nsz"})(loop)

    def entry(words, begin, end):
        body(begin, end, *unpack(words))

    return cfunc(_WORD, error_model="numpy")(entry)


def _compile(make: Callable, dtype: np.dtype, constants: dict) -> tuple[str, bytes]:
    """Compile one loop; gives the symbol of its entry and the object file."""
    compiled = _build(make, dtype, constants)
    return compiled._wrapper_name, compiled._library._get_compiled_object()


# ------------------------------------------------------------------------------------------------ object files


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


@functools.cache
def _initialise_llvm() -> None:
    from numba.core.registry import cpu_target
    from numba.core.runtime import rtsys

    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    rtsys.initialize(cpu_target.target_context)  # registers the names of Numba's run time that object files refer to


_engines: list = []  # an engine owns the code that it linked


def link(symbol: str, code: bytes) -> int:
    """Link an object file into the process; returns the address of ``symbol``."""
    _initialise_llvm()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(""), machine)
    engine.add_object_file(llvm.ObjectFileRef.from_data(code))
    engine.finalize_object()
    _engines.append(engine)
    return engine.get_function_address(symbol)


# ------------------------------------------------------------------------------------------------ kernels


class Kernel:
    """A loop for every set of constants, compiled when first asked for."""

    def __init__(self, make: Callable) -> None:
        self.make = make
        self.name = f"{make.__module__}.{make.__qualname__}"
        self._addresses: dict[Hashable, int] = {}
        functools.update_wrapper(self, make)

    def __call__(self, dtype, **constants) -> "Specialised":
        """This kernel for a dtype and constants; nothing is compiled yet."""
        return Specialised(self, np.dtype(dtype), tuple(sorted(constants.items())))


class Specialised:
    """One kernel with its constants: ``address()`` compiles or loads it."""

    def __init__(self, kernel: Kernel, dtype: np.dtype, constants: tuple[tuple[str, Hashable], ...]) -> None:
        self.kernel = kernel
        self.dtype = dtype
        self.constants = constants

    @property
    def label(self) -> str:
        values = ", ".join([str(self.dtype), *(f"{name}={value}" for name, value in self.constants)])
        return f"{self.kernel.make.__qualname__}[{values}]"

    def path(self) -> Path | None:
        """The object file, or None: without a cache, and for kernels without a source file (typed into a console)."""
        folder, make = cache_folder(), self.kernel.make
        sources = [inspect.getfile(make), *(getattr(sys.modules[m], "__file__", "") for m in self._homes())]
        if folder is None or not all(map(os.path.exists, sources)):
            return None
        digests = [digest_for(source, self.kernel.name, self.label) for source in sources]
        return folder / f"{make.__qualname__}-{digest_for(__file__, *digests)}.o"

    def _homes(self) -> list[str]:
        """Modules that the kernel depends on beyond what its file imports: those of functions given to it by name."""
        return list(dict(self.constants).get("homes", ()))  # type: ignore[call-overload]

    def is_ready(self) -> bool:
        """Whether asking for the address compiles nothing."""
        if (self.dtype, self.constants) in self.kernel._addresses:
            return True
        path = self.path()
        return path is not None and path.exists()

    def compiled(self) -> tuple[str, bytes]:
        """The entry's symbol and the object file, from the cache or compiled now."""

        def compile() -> tuple[str, bytes]:
            found = _compile(self.kernel.make, self.dtype, dict(self.constants))
            compiled_now.append(self.label)
            return found

        return load_or_compile(self.path(), compile)

    def address(self) -> int:
        """Address of ``void entry(int64 *arguments, int64 begin, int64 end)``."""
        key = (self.dtype, self.constants)
        with _lock:
            if key not in self.kernel._addresses:
                self.kernel._addresses[key] = link(*self.compiled())
            return self.kernel._addresses[key]

    def assembly(self) -> str:
        """The machine code as text, compiled anew (for tests and the curious)."""
        return _build(self.kernel.make, self.dtype, dict(self.constants))._library.get_asm_str()


#: Labels of the kernels that this process compiled (rather than found in the cache).
compiled_now: list[str] = []


def kernel(make: Callable) -> Kernel:
    """Decorator of a kernel factory, see the module's docstring."""
    return Kernel(make)


def word(value) -> int:
    """A kernel argument as the 64-bit word that carries it."""
    if isinstance(value, float):
        return struct.unpack("q", struct.pack("d", value))[0]
    return int(value)


def call(address: int, words, begin: int, end: int) -> None:
    """Call one kernel directly with a row of words (tests; the runner does this natively)."""
    row = np.array([word(w) for w in words], np.int64)
    ctypes.CFUNCTYPE(None, ctypes.c_int64, ctypes.c_int64, ctypes.c_int64)(address)(row.ctypes.data, begin, end)
