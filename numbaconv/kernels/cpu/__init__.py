"""CPU kernels: Python loops over SIMD vectors, compiled by Numba; a family a file, found by looking into the folder."""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
