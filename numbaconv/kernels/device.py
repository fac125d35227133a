"""Arrays in a device's memory, and what a runner asks of the device's driver.

A driver's calls return at once; the device does them in order.  Only ``download`` and ``synchronize`` wait.
"""

from __future__ import annotations

import contextlib
import functools
import math
import weakref
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np

from . import dlpack

DEVICES = ("cpu", "cuda")

#: Bytes of the widest access of a kernel.
_ALIGNMENT = 16

#: Of matrix products: fp32 is exact to rounding; the others run on tensor cores, with operands of 10 (tf32, fp16) or 7
#: (bf16) bits behind the point and float32 sums.
PRECISIONS = ("fp32", "tf32", "bf16", "fp16")


class DeviceError(RuntimeError):
    """A device cannot be used: says why, and what mends it."""


class Address(NamedTuple):
    """Some bytes of a device's memory: a launch's argument, with its bounds for those who check them."""

    value: int
    bytes: int


class TensorMap(NamedTuple):
    """Which boxes of an operand the hardware copies at once (TMA): a launch's argument, which the driver encodes.

    The operand lies without gaps and has three dimensions, or is of images: channels, width, height, batch.

    Attributes:
        operand: the position of its address among the launch's arguments.
        dtype: of its elements.
        sizes: of its dimensions, the innermost one first.
        box: of images, channels and pixels of a copy; else the elements of a box along each dimension.
        corners: of images, where the first tap of a filter may be: (column, row) of the first place, relative to the
            first pixel, and of the last place, relative to the last pixel.
        steps: of images, columns and rows from one place to the next.
    """

    operand: int
    dtype: np.dtype
    sizes: tuple[int, ...]
    box: tuple[int, ...]
    corners: tuple[tuple[int, int], tuple[int, int]] | None = None
    steps: tuple[int, int] = (1, 1)


class Launch(NamedTuple):
    """A kernel with everything it needs: ``arguments`` are addresses, maps, integers and floats, in the kernel's order.

    Of the addresses it only reads the first ``reads`` and writes the others.
    """

    kernel: Any
    grid: tuple[int, int, int]
    arguments: tuple[Address | TensorMap | int | float, ...]
    reads: int


class Driver(Protocol):
    """What a runner asks of a device."""

    name: str

    def compilable(self, kernel: Any) -> Any:
        """What must be compiled before the kernel can be launched (``workers.Compilable``), or None."""

    def allocate(self, size: int) -> int:
        """The address of ``size`` new bytes, a multiple of 256."""

    def free(self, address: int) -> None:
        """Give back what ``allocate`` gave."""

    def upload(self, address: int, array: np.ndarray) -> None:
        """Copy a contiguous array to the device; it may be changed as soon as this returns."""

    def download(self, array: np.ndarray, address: int) -> None:
        """Copy from the device into a contiguous array, and wait for it."""

    def copy(self, target: int, source: int, size: int) -> None:
        """Copy within the device."""

    def record(self, launches: Sequence[Launch], in_order: bool = False) -> Callable[[], None]:
        """A function that runs the launches, as often as it is called.

        Those that do not wait for each other (``dependencies.py``) may run at the same time, unless ``in_order``.
        """

    def synchronize(self) -> None:
        """Wait until everything is done."""

    def timed(self, call: Callable[[], Any]) -> float:
        """Seconds that the device takes for what ``call`` has it do, by the device's clock; waits for it."""


def allocate_for(owner: Any, driver: Driver, size: int) -> int:
    """The address of memory that is given back when its owner goes."""
    address = driver.allocate(max(1, size))
    weakref.finalize(owner, driver.free, address).atexit = False  # the driver does it at the end of the process
    return address


class DeviceArray:
    """An array in a device's memory, in C order.

    ``np.asarray`` and ``float`` copy it to the host; CuPy, PyTorch and Numba take it without a copy through
    ``__cuda_array_interface__`` and DLPack.
    """

    def __init__(self, driver: Driver, shape: tuple[int, ...], dtype: Any, address: int | None = None) -> None:
        self.driver, self.shape, self.dtype = driver, tuple(shape), np.dtype(dtype)
        self.owner: Any = None  # of memory that is not ours
        self.address = allocate_for(self, driver, self.nbytes) if address is None else address

    @classmethod
    def of(cls, driver: Driver, array: Any) -> DeviceArray:
        """A copy of an array, or an array of the device that another library made, as it is."""
        if isinstance(array, DeviceArray):
            return array
        facts = getattr(array, "__cuda_array_interface__", None)
        if facts is not None:
            shape, strides = tuple(facts["shape"]), facts.get("strides")
            return cls._around(driver, array, shape, np.dtype(facts["typestr"]), strides, facts["data"][0])
        if is_on_device(array):
            taken = dlpack.Taken(array.__dlpack__(stream=1))
            return cls._around(driver, taken, taken.shape, taken.dtype, taken.strides, taken.address)
        host = np.require(array, requirements=("C", "A"))
        made = cls(driver, host.shape, host.dtype)
        driver.upload(made.address, host)
        return made

    @classmethod
    def _around(
        cls, driver: Driver, owner: Any, shape: tuple[int, ...], dtype: np.dtype, strides: Any, address: int
    ) -> DeviceArray:
        dense = tuple(math.prod(shape[i + 1 :]) * dtype.itemsize for i in range(len(shape)))
        if strides is not None and tuple(strides) != dense:
            raise ValueError("an array on the device must be contiguous, in C order")
        made = cls(driver, shape, dtype, address)
        made.owner = owner
        if address % _ALIGNMENT == 0:
            return made
        copy = cls(driver, shape, dtype)  # the middle of another array: kernels read vectors
        driver.copy(copy.address, address, copy.nbytes)
        return copy

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    @property
    def __cuda_array_interface__(self) -> dict[str, Any]:
        data = (self.address if self.size else 0, False)
        # stream 1 is the default one, which waits for ours and ours for it
        kind = {"shape": self.shape, "typestr": self.dtype.str, "strides": None}
        return {**kind, "data": data, "stream": 1, "version": 3}

    def __dlpack_device__(self) -> tuple[int, int]:
        return dlpack.DEVICE

    def __dlpack__(self, *, stream: int | None = None, **_: Any) -> Any:
        if stream not in (None, -1, 1):  # streams but the default one do not wait for ours
            self.driver.synchronize()
        return dlpack.export(self)

    def to_host(self) -> np.ndarray:
        """A copy as a NumPy array; waits for it."""
        host = np.empty(self.shape, self.dtype)
        self.driver.download(host, self.address)
        return host

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        if copy is False:
            raise ValueError("an array on the device cannot be a NumPy array without a copy")
        host = self.to_host()
        return host if dtype is None else host.astype(dtype, copy=False)

    def __float__(self) -> float:
        return float(self.to_host())

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def __repr__(self) -> str:
        return f"DeviceArray(shape={self.shape}, dtype={self.dtype}, on {self.driver.name})"


def is_on_device(array: Any) -> bool:
    """Whether an array, of whatever library, lies on the device."""
    if hasattr(array, "__cuda_array_interface__"):
        return True
    return hasattr(array, "__dlpack_device__") and tuple(array.__dlpack_device__()) == dlpack.DEVICE


class Mirror:
    """A host array's copy on a device; knows which of both is newer.

    ``changes`` counts, of all mirrors, what may have changed a host array or put another in its place: whoever has seen
    the count need not look at each mirror again until it is another one.
    """

    changes = 0

    def __init__(self, driver: Driver, host: np.ndarray) -> None:
        self.host, self.copy = host, DeviceArray(driver, host.shape, host.dtype)
        self._host_is_newer, self._copy_is_newer = True, False

    def fetch(self) -> None:
        """Bring the host array up to date; it may then be changed."""
        if self._copy_is_newer:
            self.copy.driver.download(self.host, self.copy.address)
            self._copy_is_newer = False
        self._host_is_newer = True
        Mirror.changes += 1

    def push(self) -> DeviceArray:
        """The copy, up to date."""
        if self._host_is_newer:
            self.copy.driver.upload(self.copy.address, self.host)
            self._host_is_newer = False
        return self.copy

    def written(self) -> None:
        """Say that a run has changed the copy."""
        self._copy_is_newer, self._host_is_newer = True, False


# ------------------------------------------------------------------------------------------------ the device

_replaced: list[Driver] = []


def check_precision(device: str, precision: str) -> None:
    """Raise ValueError for a precision that there is not, or not on this device."""
    if precision not in PRECISIONS:
        raise ValueError(f"precision must be one of {', '.join(PRECISIONS)}, not {precision!r}")
    if device == "cpu" and precision != "fp32":
        raise ValueError(f'precision {precision!r} needs device "cuda"; the CPU calculates in fp32')


def driver_for(device: str) -> Driver:
    """The driver of a device other than the CPU.

    Raises:
        ValueError: if there is no such device.
        DeviceError: if it cannot be used.
    """
    if device not in DEVICES or device == "cpu":
        raise ValueError(f"device must be one of {', '.join(DEVICES)}, not {device!r}")
    return _replaced[-1] if _replaced else _cuda()


@functools.cache
def _cuda() -> Driver:
    from .cuda_state import require

    require()
    from .cuda.driver import Gpu

    return Gpu()


@contextlib.contextmanager
def use(driver: Driver) -> Iterator[None]:
    """Have ``device="cuda"`` mean this driver within a block (tests; the emulator)."""
    _replaced.append(driver)
    try:
        yield
    finally:
        _replaced.remove(driver)


def to_device(array: Any, device: str = "cuda") -> DeviceArray:
    """Copy an array to a device; one that is there already (also of CuPy or PyTorch) is taken as it is.

    Raises:
        ValueError: if there is no such device, or an array that is there is not contiguous.
        DeviceError: if the device cannot be used; says what mends it.
    """
    return DeviceArray.of(driver_for(device), array)


def to_host(array: Any) -> np.ndarray:
    """Copy an array of a device to a NumPy array; one of the host is taken as it is."""
    return array.to_host() if isinstance(array, DeviceArray) else np.asarray(array)
