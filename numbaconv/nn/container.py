"""Modules that hold modules."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, overload

from .module import Module


class Sequential(Module):
    """Runs modules one after the other; of ``torch.nn.Sequential``.

    Args:
        *args: the modules, named ``"0"``, ``"1"``, …; or one mapping (``OrderedDict``, ``dict``) of names to modules.
    """

    def __init__(self, *args: Module | Mapping[str, Module]) -> None:
        super().__init__()
        if len(args) == 1 and isinstance(args[0], Mapping):
            named = dict(args[0])
        else:
            named = {str(index): module for index, module in enumerate(args)}  # type: ignore[misc]
        for name, module in named.items():
            self.add_module(name, module)

    def forward(self, x: Any) -> Any:
        """Pass ``x`` through all modules in order."""
        for module in self:
            x = module(x)
        return x

    def append(self, module: Module) -> Sequential:
        """Add a module at the end, named by its position (or the next free number), and return this module."""
        index = len(self)
        while str(index) in self._modules:  # A slice keeps the names it had.
            index += 1
        self.add_module(str(index), module)
        return self

    def __len__(self) -> int:
        return len(self._modules)

    def __iter__(self) -> Iterator[Module]:
        return iter(self._modules.values())

    @overload
    def __getitem__(self, index: int) -> Module: ...

    @overload
    def __getitem__(self, index: slice) -> Sequential: ...

    def __getitem__(self, index: int | slice) -> Module:
        """Return a module by position, or a ``Sequential`` of a slice that shares modules and names with this one."""
        if isinstance(index, slice):
            return Sequential(dict(list(self._modules.items())[index]))
        return self._modules[self._name(index)]

    def __setitem__(self, index: int, module: Module) -> None:
        """Replace a module by position."""
        self.add_module(self._name(index), module)

    def _name(self, index: int) -> str:
        names = list(self._modules)
        if not -len(names) <= index < len(names):
            raise IndexError(f"Sequential: index {index} is out of range for {len(names)} modules")
        return names[index]
