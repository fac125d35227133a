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

Compiled loops are kept as plain object files (``kernels/cache.py``).
"""

import ctypes
import functools
import hashlib
import struct
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import llvmlite
import llvmlite.binding as llvm
import numpy as np

from .. import factory
from ..annotations import FLOAT64, INT32, INT64, UINT8, Ints, Pointer, Pointers
from ..cache import cache_folder, digest_of_file, load_or_compile
from ..cache import digest_for as digest_with
from . import compiler
from .target import cpu

__all__ = [
    "FLOAT64", "INT32", "INT64", "Ints", "Kernel", "Pointer", "Pointers", "Specialised", "UINT8", "call",
    "compiled_now", "digest_for", "kernel", "link", "word",
]  # fmt: skip

_lock = threading.RLock()


@functools.cache
def _environment() -> bytes:
    """Digest of what every kernel depends on besides its sources."""
    from importlib.metadata import version

    words = [*cpu(), sys.version, version("numba"), llvmlite.__version__, np.__version__]
    digest = hashlib.sha256("\0".join(words).encode())
    digest.update(digest_of_file(__file__))
    return digest.digest()


def digest_for(source: str, *details: str) -> str:
    """What names an object file: environment, sources from the file ``source`` on, and details."""
    return digest_with(_environment(), source, *details)


# ------------------------------------------------------------------------------------------------ linking


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


class Kernel(factory.Kernel):
    """A loop for every set of constants, compiled when first asked for."""

    def __init__(self, make: Callable) -> None:
        super().__init__(make, Specialised)
        self._addresses: dict[factory.Key, int] = {}


class Specialised(factory.Specialised):
    """One kernel with its constants: ``address()`` compiles or loads it."""

    kernel: Kernel

    def path(self) -> Path | None:
        """The object file, or None: without a cache, and for kernels without a source file (typed into a console)."""
        folder, sources = cache_folder(), self.sources()
        if folder is None or sources is None:
            return None
        digests = [digest_for(source, self.kernel.name, self.label) for source in sources]
        return folder / f"{self.kernel.make.__qualname__}-{digest_for(__file__, *digests)}.o"

    def is_ready(self) -> bool:
        """Whether asking for the address compiles nothing."""
        if self.key in self.kernel._addresses:
            return True
        path = self.path()
        return path is not None and path.exists()

    def compiled(self) -> tuple[str, bytes]:
        """The entry's symbol and the object file, from the cache or compiled now."""

        def compile() -> tuple[str, bytes]:
            found = compiler.compile(self.kernel.make, self.dtype, dict(self.constants))
            compiled_now.append(self.label)
            return found

        return load_or_compile(self.path(), compile)

    def address(self) -> int:
        """Address of ``void entry(int64 *arguments, int64 begin, int64 end)``."""
        with _lock:
            if self.key not in self.kernel._addresses:
                self.kernel._addresses[self.key] = link(*self.compiled())
            return self.kernel._addresses[self.key]

    prepare = address

    def assembly(self) -> str:
        """The machine code as text, compiled anew (for tests and the curious)."""
        return compiler.build(self.kernel.make, self.dtype, dict(self.constants))._library.get_asm_str()


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
