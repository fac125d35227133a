"""The GPU through the CUDA driver: memory, modules, launches from frozen argument blocks, CUDA graphs.

A launch by numba-cuda costs 20 to 60 microseconds of Python, one from a block of arguments made once 0.3, and one node
of a CUDA graph next to nothing.  So arguments are written down when a plan is recorded, and a recording that is run a
second time becomes a CUDA graph.
"""

import ctypes
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from cuda.bindings import driver as cu

from ..device import Address, DeviceError, Launch
from .compiler import Cubin, Specialised

#: Shared memory that a block gets without asking for more.
_USUAL_SHARED = 48 * 1024


def _checked(result: tuple) -> Any:
    """What a call of the driver gave; raises DeviceError if it failed."""
    error, *values = result
    if error != cu.CUresult.CUDA_SUCCESS:
        _, name = cu.cuGetErrorName(error)
        _, text = cu.cuGetErrorString(error)
        raise DeviceError(f"CUDA: {_text(text)} ({_text(name)})")
    return values[0] if len(values) == 1 else values


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)


class _Prepared(NamedTuple):
    """A launch as the driver takes it; ``kept`` holds the memory of its arguments."""

    function: Any
    grid: tuple[int, int, int]
    threads: int
    shared: int
    arguments: int
    kept: Any


class Gpu:
    """The first GPU, see ``kernels/device.py`` for what it does."""

    def __init__(self) -> None:
        _checked(cu.cuInit(0))
        self._device = _checked(cu.cuDeviceGet(0))
        self._context = _checked(cu.cuDevicePrimaryCtxRetain(self._device))
        self._use()
        self.name = _text(_checked(cu.cuDeviceGetName(256, self._device))).partition("\0")[0]
        attribute = cu.CUdevice_attribute
        major, minor = (
            _checked(cu.cuDeviceGetAttribute(which, self._device))
            for which in (
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR,
                attribute.CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR,
            )
        )
        self.architecture = f"sm_{major}{minor}"
        # a stream that waits for the default one and that the default one waits for: other libraries use that
        self._stream = _checked(cu.cuStreamCreate(cu.CUstream_flags.CU_STREAM_DEFAULT))
        self._functions: dict[str, Any] = {}

    def _use(self) -> None:
        """Make the context that of the calling thread."""
        _checked(cu.cuCtxSetCurrent(self._context))

    def compilable(self, kernel: Specialised) -> Cubin:
        return kernel.on(self.architecture)

    # ---------------------------------------------------------------------------------------- memory

    def allocate(self, size: int) -> int:
        self._use()
        return int(_checked(cu.cuMemAllocAsync(max(size, 1), self._stream)))

    def free(self, address: int) -> None:
        self._use()
        _checked(cu.cuMemFreeAsync(address, self._stream))

    def upload(self, address: int, array: np.ndarray) -> None:
        self._use()
        # from memory that is not pinned: the driver has taken its copy when this returns
        _checked(cu.cuMemcpyHtoDAsync(address, array.ctypes.data, array.nbytes, self._stream))

    def download(self, array: np.ndarray, address: int) -> None:
        self._use()
        _checked(cu.cuMemcpyDtoHAsync(array.ctypes.data, address, array.nbytes, self._stream))
        self.synchronize()

    def copy(self, target: int, source: int, size: int) -> None:
        self._use()
        _checked(cu.cuMemcpyDtoDAsync(target, source, size, self._stream))

    def synchronize(self) -> None:
        self._use()
        _checked(cu.cuStreamSynchronize(self._stream))

    def timed(self, call: Callable[[], Any]) -> float:
        self._use()
        # on the default stream, which waits for ours and ours for it: another library's work is timed alike
        first, last = (_checked(cu.cuEventCreate(cu.CUevent_flags.CU_EVENT_DEFAULT)) for _ in range(2))
        try:
            _checked(cu.cuEventRecord(first, 0))
            call()
            _checked(cu.cuEventRecord(last, 0))
            _checked(cu.cuEventSynchronize(last))
            return _checked(cu.cuEventElapsedTime(first, last)) / 1e3
        finally:
            _checked(cu.cuEventDestroy(first))
            _checked(cu.cuEventDestroy(last))

    # ---------------------------------------------------------------------------------------- launches

    def record(self, launches: Sequence[Launch]) -> Callable[[], None]:
        self._use()
        return _Recording(self, [self._prepared(launch) for launch in launches])

    def _prepared(self, launch: Launch) -> _Prepared:
        block = launch.kernel.block
        words = [_word(argument) for argument in launch.arguments]
        addresses = (ctypes.c_void_p * len(words))(*map(ctypes.addressof, words))
        kept = (words, addresses)
        where = ctypes.addressof(addresses)
        return _Prepared(self._function(launch.kernel), launch.grid, block.threads, block.shared, where, kept)

    def _function(self, kernel: Specialised) -> Any:
        cubin = self.compilable(kernel)
        if cubin.label not in self._functions:
            symbol, code = cubin.compiled()
            module = _checked(cu.cuModuleLoadData(code))
            function = _checked(cu.cuModuleGetFunction(module, symbol.encode()))
            if kernel.block.shared > _USUAL_SHARED:
                attribute = cu.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
                _checked(cu.cuFuncSetAttribute(function, attribute, kernel.block.shared))
            self._functions[cubin.label] = function
        return self._functions[cubin.label]

    def launch(self, what: _Prepared) -> None:
        """Launch a kernel on the stream."""
        block = (what.threads, 1, 1)
        _checked(cu.cuLaunchKernel(what.function, *what.grid, *block, what.shared, self._stream, what.arguments, 0))

    def capture(self, launches: Sequence[_Prepared]) -> Any:
        """The launches as an executable CUDA graph; nothing is run."""
        mode = cu.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        _checked(cu.cuStreamBeginCapture(self._stream, mode))
        try:
            for what in launches:
                self.launch(what)
        finally:
            graph = _checked(cu.cuStreamEndCapture(self._stream))
        executable = _checked(cu.cuGraphInstantiate(graph, 0))
        _checked(cu.cuGraphDestroy(graph))
        return executable

    def replay(self, graph: Any) -> None:
        """Launch a CUDA graph on the stream."""
        self._use()
        _checked(cu.cuGraphLaunch(graph, self._stream))


class _Recording:
    """Launches, run one by one the first time and then as one CUDA graph."""

    def __init__(self, gpu: Gpu, launches: Sequence[_Prepared]) -> None:
        self._gpu, self._launches = gpu, launches
        self._graph: Any = None
        self._has_run = False

    def __call__(self) -> None:
        if self._graph is None and self._has_run:
            self._graph = self._gpu.capture(self._launches)
            weakref.finalize(self, cu.cuGraphExecDestroy, self._graph)
        if self._graph is not None:
            self._gpu.replay(self._graph)
            return
        for what in self._launches:
            self._gpu.launch(what)
        self._has_run = True


def _word(argument: Any) -> Any:
    """An argument as the kernel takes it: an address of 64 bits, an integer or a number of 32."""
    if isinstance(argument, Address):
        return ctypes.c_uint64(argument.value)
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int32(argument)
