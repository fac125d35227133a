"""Kernels as factories: a function of compile-time constants that makes a loop, and such a loop for some constants."""

import functools
import inspect
import os
import sys
import time
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import numpy as np

from .cache import changed_since

#: What tells one loop of a kernel from another.
Key = tuple[np.dtype, tuple[tuple[str, Hashable], ...]]


class Kernel:
    """A factory of loops; ``specialised`` is the backend's class of one of them."""

    def __init__(self, make: Callable, specialised: type["Specialised"]) -> None:
        self.make, self._specialised = make, specialised
        self._made: dict[Key, Any] = {}
        self.name = f"{make.__module__}.{make.__qualname__}"
        self.read_at = time.time()  # when its file had been read, and before it all files that this imports
        functools.update_wrapper(self, make)

    def __call__(self, dtype: Any, **constants: Hashable) -> Any:
        """This kernel for a dtype and constants; nothing is compiled yet."""
        return self.specialised(np.dtype(dtype), constants)

    def specialised(self, dtype: np.dtype, constants: Mapping[str, Hashable]) -> Any:
        """As a call; there is one object for each set of constants."""
        key = dtype, tuple(sorted(constants.items()))
        if key not in self._made:
            self._made[key] = self._specialised(self, *key)
        return self._made[key]


class Specialised:
    """One kernel with its constants."""

    def __init__(self, kernel: Kernel, dtype: np.dtype, constants: tuple[tuple[str, Hashable], ...]) -> None:
        self.kernel = kernel
        self.dtype = dtype
        self.constants = constants

    @property
    def key(self) -> Key:
        return self.dtype, self.constants

    @property
    def label(self) -> str:
        values = ", ".join([str(self.dtype), *(f"{name}={value}" for name, value in self.constants)])
        return f"{self.kernel.make.__qualname__}[{values}]"

    def sources(self) -> list[str] | None:
        """The files that the code comes from, without what they import; None if one is not a file.

        None, too, if a file was changed after it had been read: its digest is then not that of the code at hand.
        ``homes`` among the constants are modules beyond what the kernel's file imports: those of functions given to it
        by name.
        """
        homes: Any = dict(self.constants).get("homes", ())
        found = [inspect.getfile(self.kernel.make), *(getattr(sys.modules[m], "__file__", "") for m in homes)]
        if not all(map(os.path.exists, found)) or any(changed_since(file, self.kernel.read_at) for file in found):
            return None
        return found

    def request(self) -> dict[str, Any]:
        """What another process needs to know to make the same loop."""
        make = self.kernel.make
        return {
            "module": make.__module__,
            "name": make.__qualname__,
            "dtype": str(self.dtype),
            "constants": dict(self.constants),
        }
