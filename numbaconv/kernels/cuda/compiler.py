"""From a Python function to a cubin: the ``kernel`` decorator of the CUDA backend.

A kernel is a factory that takes compile-time constants (dtype, tile, activation ...) and returns what one thread does:

    @kernel
    def negate(T):
        @block(256)
        def loop(x: Pointer, y: Pointer, n: int):
            i = block_x() * 256 + thread()
            write_if(i < n, y, i, -read_if(i < n, x, i))
        return loop

Arguments are annotated as on the CPU (``kernels/annotations.py``): pointers, 32-bit integers (``int``), float32
(``float``), and tuples of integers (``Ints``), which the driver passes as so many integers.  Pointers come first,
tensor maps (``TENSOR_MAP``) behind them.
Python functions that a kernel calls are compiled as device functions.  The function itself stays plain Python: the
emulator runs it as it is.

Numba gives LTO-IR, of which nvJitLink makes a cubin for one architecture, without a GPU at hand; ``kernels/cache.py``
keeps it.
"""

import functools
import hashlib
import inspect
import re
import sys
import types as python_types
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numba.cuda import types
from numba.cuda.compiler import compile_cuda
from numba.cuda.dispatcher import CUDADispatcher

from .. import factory
from ..annotations import FLOAT32, FLOAT64, INT32, INT64, TENSOR_MAP, UINT8, Ints, Pointer
from ..cache import cache_folder, digest_for, load_or_compile
from .intrinsics import I32

__all__ = [
    "Block", "Cubin", "FLOAT32", "FLOAT64", "INT32", "INT64", "Ints", "Kernel", "NUMBERS", "Pointer", "Specialised",
    "TENSOR_MAP", "UINT8", "block", "compiled_now", "kernel",
]  # fmt: skip


class Block(NamedTuple):
    """Of a kernel's thread blocks: threads, blocks a multiprocessor shall hold, bytes of dynamic shared memory.

    ``feature`` is the suffix of the architecture that the kernel needs, such as "a" for wgmma.
    """

    threads: int
    resident: int
    shared: int
    feature: str


def block(threads: int, resident: int = 1, shared: int = 0, feature: str = "") -> Callable[[Callable], Callable]:
    """Decorator of the function that a factory returns, see ``Block``.

    Threads and resident blocks bound the registers a thread may use, always both: otherwise the policy depends on how a
    kernel is compiled.
    """

    def mark(loop: Callable) -> Callable:
        loop.block = Block(threads, resident, shared, feature)  # type: ignore[attr-defined]
        return loop

    return mark


#: Numbers that kernels calculate with; uint16 holds bf16.
NUMBERS = tuple(map(np.dtype, ("float32", "float16", "uint16")))

#: The constant that says of which dtypes a kernel's ``Pointer`` arguments are, where they are not all the kernel's.
_POINTERS = "pointers"


class Kernel(factory.Kernel):
    """A function for every set of constants."""

    def __init__(self, make: Callable) -> None:
        super().__init__(make, Specialised)


def kernel(make: Callable) -> Kernel:
    """Decorator of a kernel factory, see the module's docstring."""
    return Kernel(make)


class Specialised(factory.Specialised):
    """One kernel with its constants."""

    @functools.cached_property
    def function(self) -> Callable:
        """What one thread does, in Python."""
        return self.kernel.make(self.dtype, **{k: v for k, v in self.constants if k != _POINTERS})

    @functools.cached_property
    def kinds(self) -> list[Any]:
        """The annotations of the arguments."""
        return [parameter.annotation for parameter in inspect.signature(self.function).parameters.values()]

    def taking(self, dtypes: Sequence[np.dtype]) -> "Specialised":
        """This kernel for operands of these dtypes, of which some may be half as wide as others.

        Kernels calculate in float32 whatever memory holds, so any ``Pointer`` may be one to float32, fp16 or bf16.
        """
        if self.dtype not in NUMBERS:
            return self
        own = tuple(
            (dtype if kind is Pointer and dtype in NUMBERS else self.dtype).name
            for kind, dtype in zip(self.kinds, dtypes, strict=False)
        )
        if all(name == self.dtype.name for name in own):
            return self
        return self.kernel.specialised(self.dtype, {**dict(self.constants), _POINTERS: own})

    def dtype_of(self, position: int, kind: Any) -> np.dtype:
        """Of what the argument at a position, annotated ``kind``, points to."""
        own: Any = dict(self.constants).get(_POINTERS, ())
        if kind is Pointer:
            return np.dtype(own[position]) if position < len(own) else self.dtype
        return np.dtype(kind.dtype)

    @property
    def block(self) -> Block:
        return self.function.block  # type: ignore[attr-defined]

    def on(self, architecture: str) -> "Cubin":
        """The kernel's machine code for an architecture such as "sm_90"."""
        return Cubin(self, architecture)


#: Labels of the kernels that this process compiled (rather than found in the cache).
compiled_now: list[str] = []


class Cubin:
    """A kernel's machine code for one architecture, compiled when first asked for."""

    def __init__(self, kernel: Specialised, architecture: str) -> None:
        self.kernel = kernel
        self.architecture = architecture + kernel.block.feature
        self.label = f"{kernel.label} {self.architecture}"

    def path(self) -> Path | None:
        """The file that keeps it, or None: without a cache, and for kernels without a source file."""
        folder, sources = cache_folder(), self.kernel.sources()
        if folder is None or sources is None:
            return None
        digests = [digest_for(_environment(), source, self.kernel.kernel.name, self.label) for source in sources]
        return folder / f"{self.kernel.kernel.make.__qualname__}-{digest_for(b'', __file__, *digests)}.cubin"

    def is_ready(self) -> bool:
        """Whether ``compiled`` compiles nothing."""
        path = self.path()
        return path is not None and path.exists()

    def compiled(self) -> tuple[str, bytes]:
        """The entry's symbol and the cubin, from the cache or compiled now."""

        def compile() -> tuple[str, bytes]:
            symbol, code, _ = self.build()
            compiled_now.append(self.label)
            return symbol, code

        return load_or_compile(self.path(), compile)

    prepare = compiled

    def request(self) -> dict[str, Any]:
        return {**self.kernel.request(), "architecture": self.architecture.rstrip("a")}

    def build(self) -> tuple[str, bytes, str]:
        """Compile now; gives the entry's symbol, the cubin and the report of registers and spills."""
        from cuda.core import Linker, LinkerOptions, ObjectCode
        from numba import cuda

        bounds = self.kernel.block
        number = re.fullmatch(r"sm_(\d+)(\d)(a?)", self.architecture)
        if number is None:
            raise ValueError(f"no architecture: {self.architecture!r}")
        major, minor, feature = int(number[1]), int(number[2]), number[3]
        capability = (major, minor, feature) if feature else (major, minor)
        function = _as_compiled(self.kernel.function, capability)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ltoir, _ = cuda.compile(
                function,
                types.void(*_types_of(self.kernel)),
                device=False,
                abi="numba",
                cc=capability,
                output="ltoir",
                launch_bounds=(bounds.threads, bounds.resident),
            )
        options = LinkerOptions(arch=self.architecture, link_time_optimization=True, ptxas_options=["-v"])
        linker = Linker(ObjectCode.from_ltoir(ltoir), options=options)
        code = linker.link("cubin").code
        symbols = {match.decode() for match in re.findall(rb"\.text\.([\w$]+)\x00", code)}
        if len(symbols) != 1:
            raise RuntimeError(f"{self.label}: one entry was expected in the cubin, there are {sorted(symbols)}")
        return symbols.pop(), code, linker.get_info_log()


@functools.cache
def _environment() -> bytes:
    """Digest of what every kernel depends on besides its sources and its architecture."""
    from importlib.metadata import PackageNotFoundError, version

    words = [sys.version]
    for package in ("numba", "numba-cuda", "cuda-core", "nvidia-nvvm", "nvidia-nvjitlink", "numpy"):
        try:
            words.append(version(package))
        except PackageNotFoundError:
            words.append("")
    return hashlib.sha256("\0".join(words).encode()).digest()


def _types_of(kernel: Specialised) -> list[Any]:
    """Numba's types of a kernel's arguments."""

    def pointer(dtype: Any) -> Any:
        return types.CPointer(getattr(types, np.dtype(dtype).name))

    found: list[Any] = []
    for position, parameter in enumerate(inspect.signature(kernel.function).parameters.values()):
        kind = parameter.annotation
        if kind is Pointer or isinstance(kind, Pointer):
            found.append(pointer(kernel.dtype_of(position, kind)))
        elif kind is int:
            found.append(I32)
        elif isinstance(kind, Ints):
            found.append(types.UniTuple(I32, kind.count))
        elif kind is float:
            found.append(types.float32)
        else:
            raise TypeError(f"kernel argument {parameter.name!r} needs the annotation Pointer, int, float or Ints")
    return found


class _DeviceFunction(CUDADispatcher):
    """A Python function that a kernel calls, compiled for the kernel's architecture (Numba asks the GPU at hand)."""

    def __init__(self, function: Callable, capability: tuple) -> None:
        super().__init__(function, targetoptions={"device": True, "forceinline": True, "opt": True})
        self._capability = capability

    def compile_device(self, args: Any, return_type: Any = None) -> Any:
        if args not in self.overloads:
            options = {"opt": 3, "fastmath": False}
            result = compile_cuda(
                self.py_func, return_type, args, forceinline=True, nvvm_options=options, cc=self._capability
            )
            self.overloads[args] = result
            result.target_context.insert_user_function(result.entry_point, result.fndesc, [result.library])
        return self.overloads[args]


def _as_compiled(function: Callable, capability: tuple) -> Callable:
    """``function`` as Numba shall see it: what it calls are device functions, its constants float32.

    Python's numbers would make double precision of everything they meet.
    """
    made: dict[int, Any] = {}

    def value_of(value: Any) -> Any:
        if isinstance(value, float):
            return np.float32(value)
        if not isinstance(value, python_types.FunctionType):
            return value
        if id(value) not in made:
            made[id(value)] = _DeviceFunction(rebound(value), capability)
        return made[id(value)]

    def rebound(function: Any) -> Any:
        code = function.__code__
        code = code.replace(co_consts=tuple(map(value_of, code.co_consts)))
        names = {name: function.__globals__[name] for name in code.co_names if name in function.__globals__}
        scope = {**function.__globals__, **{name: value_of(value) for name, value in names.items()}}
        closure = function.__closure__ and tuple(
            python_types.CellType(value_of(cell.cell_contents)) for cell in function.__closure__
        )
        return python_types.FunctionType(code, scope, function.__name__, function.__defaults__, closure)

    return rebound(function)
