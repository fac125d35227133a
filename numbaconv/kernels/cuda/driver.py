"""The GPU through the CUDA driver: memory, modules, launches from frozen argument blocks, CUDA graphs.

A launch by numba-cuda costs 20 to 60 microseconds of Python, one from a block of arguments made once 0.3, and one node
of a CUDA graph next to nothing.  So arguments are written down when a plan is recorded, and a recording that is run a
second time becomes a CUDA graph.
"""

import ctypes
import functools
import threading
import weakref
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from cuda.bindings import driver as cu

from ..dependencies import dependencies
from ..device import Address, DeviceArray, DeviceError, Launch, TensorMap
from .compiler import Cubin, Specialised

#: Free memory that is not given back to the driver.
_KEPT_BYTES = 1 << 28

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
        self._thread = threading.local()
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
        # memory that is given back is kept up to this size, or each wait for the device would cost the next allocation
        pool = _checked(cu.cuDeviceGetDefaultMemPool(self._device))
        threshold = cu.CUmemPool_attribute.CU_MEMPOOL_ATTR_RELEASE_THRESHOLD
        _checked(cu.cuMemPoolSetAttribute(pool, threshold, cu.cuuint64_t(_KEPT_BYTES)))

    def _use(self) -> None:
        """Make the context that of the calling thread; it is the one that other libraries use, too."""
        if not hasattr(self._thread, "has_context"):
            _checked(cu.cuCtxSetCurrent(self._context))
            self._thread.has_context = True

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

    def record(self, launches: Sequence[Launch], in_order: bool = False) -> Callable[[], None]:
        self._use()

        def before() -> list[list[int]]:
            return [[i - 1] if i else [] for i in range(len(launches))] if in_order else dependencies(launches)

        return _Recording(self, [self._prepared(launch) for launch in launches], before)

    def _prepared(self, launch: Launch) -> _Prepared:
        block = launch.kernel.block
        words = [_word(self._placed(argument, launch)) for argument in launch.arguments]
        addresses = (ctypes.c_void_p * len(words))(*map(ctypes.addressof, words))
        kept = (words, addresses)
        where = ctypes.addressof(addresses)
        return _Prepared(self._function(launch.kernel), launch.grid, block.threads, block.shared, where, kept)

    def _placed(self, argument: Any, launch: Launch) -> Any:
        """An argument of a launch; a tensor map as an array on the device, where kernels read it."""
        if not isinstance(argument, TensorMap):
            return argument
        operand = launch.arguments[argument.operand]
        assert isinstance(operand, Address)
        return DeviceArray.of(self, _encoded(argument, operand.value))

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

    def graph_of(self, launches: Sequence[_Prepared], before: Sequence[Sequence[int]]) -> Any:
        """The launches as an executable CUDA graph, each after those ``before`` it; nothing is run."""
        graph = _checked(cu.cuGraphCreate(0))
        try:
            nodes: list[Any] = []
            for what, others in zip(launches, before, strict=True):
                node = cu.CUDA_KERNEL_NODE_PARAMS()
                node.func, node.kernelParams, node.extra = what.function, what.arguments, 0
                node.gridDimX, node.gridDimY, node.gridDimZ = what.grid
                node.blockDimX, node.blockDimY, node.blockDimZ = what.threads, 1, 1
                node.sharedMemBytes = what.shared
                nodes.append(_checked(cu.cuGraphAddKernelNode(graph, [nodes[i] for i in others], len(others), node)))
            return _checked(cu.cuGraphInstantiate(graph, 0))
        finally:
            _checked(cu.cuGraphDestroy(graph))

    def replay(self, graph: Any) -> None:
        """Launch a CUDA graph on the stream."""
        self._use()
        _checked(cu.cuGraphLaunch(graph, self._stream))


class _Recording:
    """Launches, run one by one the first time and then as one CUDA graph; ``before`` gives what each waits for."""

    def __init__(
        self, gpu: Gpu, launches: Sequence[_Prepared], before: Callable[[], Sequence[Sequence[int]]]
    ) -> None:
        self._gpu, self._launches, self._before = gpu, launches, before
        self._graph: Any = None
        self._has_run = False

    def __call__(self) -> None:
        if self._graph is None and self._has_run:
            self._graph = self._gpu.graph_of(self._launches, self._before())
            weakref.finalize(self, cu.cuGraphExecDestroy, self._graph)
        if self._graph is not None:
            self._gpu.replay(self._graph)
            return
        for what in self._launches:
            self._gpu.launch(what)
        self._has_run = True


class _PlacedMap(ctypes.c_uint64):
    """The address of a tensor map; ``array`` keeps its memory."""

    array: DeviceArray


def _word(argument: Any) -> Any:
    """An argument as the kernel takes it: an address of 64 bits, an integer or a number of 32."""
    if isinstance(argument, Address):
        return ctypes.c_uint64(argument.value)
    if isinstance(argument, DeviceArray):
        word = _PlacedMap(argument.address)
        word.array = argument
        return word
    return ctypes.c_float(argument) if isinstance(argument, float) else ctypes.c_int32(argument)


#: Names of the driver's for what elements of an operand are; uint16 holds bf16.
_MAP_TYPES = {"float32": "FLOAT32", "float16": "FLOAT16", "uint16": "BFLOAT16"}


def _encoded(which: TensorMap, address: int) -> np.ndarray:
    """The 128 bytes that the hardware reads of a tensor map.

    The encoders want them to begin at a multiple of 64 bytes, which the memory of cuda.bindings' own objects does only
    by chance: so they are called with memory of ours.
    """
    room = np.zeros(24, np.uint64)
    begin = -room.ctypes.data % 64 // 8
    made = room[begin : begin + 16]
    kind = getattr(cu.CUtensorMapDataType, f"CU_TENSOR_MAP_DATA_TYPE_{_MAP_TYPES[which.dtype.name]}")
    pitches = np.cumprod(which.sizes[:-1]) * which.dtype.itemsize  # bytes; the innermost one is not told
    start = (
        ctypes.c_void_p(made.ctypes.data), int(kind), len(which.sizes), ctypes.c_void_p(address),
        _row(ctypes.c_uint64, which.sizes), _row(ctypes.c_uint64, pitches),
    )  # fmt: skip
    modes = (
        int(cu.CUtensorMapInterleave.CU_TENSOR_MAP_INTERLEAVE_NONE),
        int(cu.CUtensorMapSwizzle.CU_TENSOR_MAP_SWIZZLE_128B),
        int(cu.CUtensorMapL2promotion.CU_TENSOR_MAP_L2_PROMOTION_L2_128B),
        int(cu.CUtensorMapFloatOOBfill.CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE),
    )
    if which.corners is None:
        steps = [1] * len(which.sizes)
        boxes = _row(ctypes.c_uint32, which.box), _row(ctypes.c_uint32, steps)
        error = _function_of_driver("cuTensorMapEncodeTiled")(*start, *boxes, *modes)
    else:
        first, last = (_row(ctypes.c_int32, corner) for corner in which.corners)
        steps = _row(ctypes.c_uint32, (1, *which.steps, 1))
        error = _function_of_driver("cuTensorMapEncodeIm2col")(*start, first, last, *which.box, steps, *modes)
    _checked((cu.CUresult(error), None))
    return made


def _row(kind: Any, values: Any) -> Any:
    """Numbers as an array of C."""
    return (kind * len(values))(*map(int, values))


@functools.cache
def _function_of_driver(name: str) -> Any:
    """A function of the driver (of CUDA 12 on) that gives an error code."""
    address, _ = _checked(cu.cuGetProcAddress(name.encode(), 12000, cu.cuuint64_t(0)))
    return ctypes.CFUNCTYPE(ctypes.c_int)(int(address))
