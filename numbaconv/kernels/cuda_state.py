"""Whether this machine can run the CUDA engine and, if not, what mends it.  Asked before anything of it is imported."""

import ctypes
import importlib
import importlib.metadata
import platform
import warnings
from typing import Any, NamedTuple

from .device import DeviceError

INSTALL = 'pip install "numbaconv[cuda]"'
#: What the kernels are compiled with, and so the oldest driver that takes them.
CUDA_VERSION = (13, 0)
#: The oldest architecture with what the kernels use (cp.async).
OLDEST = (8, 0)

_DISTRIBUTIONS = ("numba-cuda", "cuda-core", "cuda-bindings", "nvidia-nvvm", "nvidia-nvjitlink")


class State(NamedTuple):
    """What was found; ``problem`` says in one sentence what is missing and what mends it, None if nothing is."""

    problem: str | None
    found: dict[str, str]


def require() -> None:
    """Raise DeviceError unless the CUDA engine can run."""
    problem = state().problem
    if problem is not None:
        raise DeviceError(f"the CUDA engine cannot run: {problem}; the CPU can (device=\"cpu\")")


def state() -> State:
    """Look for packages, driver and GPU, in this order, up to the first that is missing."""
    found: dict[str, str] = {}
    problem = _packages(found) or _driver(found)
    return State(problem, found)


def _packages(found: dict[str, str]) -> str | None:
    for name in _DISTRIBUTIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            return f"{name} is not installed: {INSTALL}"
    if not found["nvidia-nvvm"].startswith(f"{CUDA_VERSION[0]}.{CUDA_VERSION[1]}."):
        wanted = ".".join(map(str, CUDA_VERSION))
        return f"the CUDA toolkit {wanted} is wanted, nvidia-nvvm {found['nvidia-nvvm']} is installed: {INSTALL}"
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            importlib.import_module("numba.cuda.compiler")
            importlib.import_module("cuda.core")
            importlib.import_module("cuda.bindings.driver")
    except Exception as error:  # whatever a pair of versions that do not fit raises
        numba = importlib.metadata.version("numba")
        return (
            f"numba-cuda {found['numba-cuda']} cannot be imported beside numba {numba} "
            f"({type(error).__name__}: {error}): {INSTALL}"
        )
    return None


def _library() -> Any:
    """The driver's library; raises OSError if there is none."""
    return ctypes.CDLL("nvcuda.dll" if platform.system() == "Windows" else "libcuda.so.1")


def _driver(found: dict[str, str]) -> str | None:
    try:
        library = _library()
    except OSError:
        return "there is no NVIDIA driver (libcuda.so.1) on this machine"
    version, count = ctypes.c_int(), ctypes.c_int()
    if error := library.cuInit(0):
        return f"the NVIDIA driver finds no GPU (cuInit gives {error})"
    library.cuDriverGetVersion(ctypes.byref(version))
    offers = version.value // 1000, version.value % 1000 // 10
    found["driver"] = f"CUDA {offers[0]}.{offers[1]}"
    if offers < CUDA_VERSION:
        wanted = ".".join(map(str, CUDA_VERSION))
        return f"the NVIDIA driver is for {found['driver']}, CUDA {wanted} or newer is wanted: update the driver"
    library.cuDeviceGetCount(ctypes.byref(count))
    if count.value == 0:
        return "there is no NVIDIA GPU"
    return _gpu(library, found)


def _gpu(library: Any, found: dict[str, str]) -> str | None:
    device, name = ctypes.c_int(), ctypes.create_string_buffer(256)
    library.cuDeviceGet(ctypes.byref(device), 0)
    library.cuDeviceGetName(name, 256, device)
    found["gpu"] = name.value.decode(errors="replace")
    capability = []
    for attribute in (75, 76):  # CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR
        value = ctypes.c_int()
        library.cuDeviceGetAttribute(ctypes.byref(value), attribute, device)
        capability.append(value.value)
    found["architecture"] = f"sm_{capability[0]}{capability[1]}"
    if tuple(capability) < OLDEST:
        return f"{found['gpu']} is of architecture {found['architecture']}, sm_80 or newer is wanted"
    return None
