"""What the CPU offers: lanes, and the register tiles of the micro-kernel.

One table for every instruction set.  ``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` are honoured as Numba does, so
that another machine's table can be tried (and tested) on this one: ``NUMBA_CPU_NAME=haswell NUMBA_CPU_FEATURES=``.
"""

import functools
import platform

import llvmlite.binding as llvm

#: instruction set -> (float32 lanes of one register, registers, register tiles as rows x vectors, more for lone images:
#: their rows are pixels, 14 and 7 in the deep layers of networks for ImageNet).
TILES = {
    "avx512": (
        16, 32,
        ((8, 3), (6, 4), (4, 6), (5, 5), (8, 2), (10, 2), (12, 2), (14, 1), (12, 1), (16, 1), (1, 8)),
        ((14, 2), (7, 3)),
    ),
    "avx2": (8, 16, ((4, 3), (6, 2), (3, 4), (2, 5), (4, 2), (8, 1), (12, 1), (10, 1), (1, 6)), ((7, 1), (14, 1))),
    "simd128": (4, 16, ((4, 3), (6, 2), (3, 4), (2, 5), (4, 2), (8, 1), (12, 1), (10, 1), (1, 6)), ((7, 1), (14, 1))),
}  # fmt: skip

_AVX512_NAMES = (
    "avx512", "skylake-avx512", "cascadelake", "cooperlake", "icelake", "sapphirerapids", "znver4", "znver5",
)  # fmt: skip
_AVX2_NAMES = ("haswell", "broadwell", "skylake", "alderlake", "znver1", "znver2", "znver3", "x86-64-v3")


@functools.cache
def cpu() -> tuple[str, str]:
    """LLVM's name of the CPU that Numba compiles for, and its features, '+avx2,-sse4a,...' ('': those of the name)."""
    from numba import config
    from numba.core.codegen import get_host_cpu_features

    name, features = config.CPU_NAME, config.CPU_FEATURES
    return (
        llvm.get_host_cpu_name() if name is None else name,
        get_host_cpu_features() if features is None else features,
    )


@functools.cache
def instruction_set() -> str:
    """The row of ``TILES`` that fits this CPU."""
    name, features = cpu()
    enabled = features.split(",")
    if "+avx512f" in enabled or (not features and name.startswith(_AVX512_NAMES)):
        return "avx512"
    if "+avx2" in enabled or (not features and name in _AVX2_NAMES):
        return "avx2"
    return "simd128"


@functools.cache
def has_fma() -> bool:
    """Whether products and sums are one instruction; else LLVM would call the C library for each number."""
    x86 = platform.machine().lower() in ("x86_64", "amd64", "i386", "i686")
    return not x86 or instruction_set() != "simd128" or "+fma" in cpu()[1].split(",")


#: Lanes of a vector; also the number of images that travel together when a batch lies in lanes.
LANES: int = TILES[instruction_set()][0]
