"""CUDA kernels: Python functions of a thread, compiled by Numba; a family a file, found by looking into the folder.

Importing this package imports numba-cuda; ``driver.open_device`` says what is missing where that cannot be done.
"""

import importlib
import pkgutil

for _module in pkgutil.iter_modules(__path__):
    importlib.import_module(f"{__name__}.{_module.name}")
