"""The base of all networks: a tree of modules with named parameters and buffers, as ``torch.nn.Module``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeVar

import numpy as np

from numbaconv.graph import Tensor, Variable

from . import eager

M = TypeVar("M", bound="Module")


class Parameter(Variable):
    """An array that training changes. ``data`` is updated in place."""

    def __init__(self, data: Any, name: str | None = None) -> None:
        super().__init__(np.array(data, order="C"), trainable=True, name=name)


class Buffer(Variable):
    """An array that belongs to a module's state but is not trained.

    An ``optional`` one keeps its value where a state dict, written before there was such a buffer, lacks it.
    """

    def __init__(self, data: Any, name: str | None = None, *, optional: bool = False) -> None:
        super().__init__(np.array(data, order="C"), trainable=False, name=name)
        self.optional = optional


class Mismatch(NamedTuple):
    """What ``load_state_dict`` left out."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Module:
    """Base of all networks and layers.

    Attributes that are a ``Module``, a ``Parameter`` or a ``Buffer`` are registered when they are set. Subclasses call
    ``super().__init__()`` first and define ``forward``. Calling a module on NumPy arrays traces ``forward`` once for
    their shapes and then replays the plan; calling it inside a trace appends to that trace.
    """

    training: bool
    _parameters: dict[str, Variable | None]
    _buffers: dict[str, Variable | None]
    _modules: dict[str, Module]

    def __init__(self) -> None:
        for registry in ("_parameters", "_buffers", "_modules"):
            object.__setattr__(self, registry, {})
        self.training = True

    # -- running ------------------------------------------------------------------------------------------------------

    def forward(self, *args: Any, **options: Any) -> Any:
        """Compute the output from the inputs; to be defined by the subclass."""
        raise NotImplementedError(f"{type(self).__name__} does not define forward()")

    def __call__(self, *args: Any, **options: Any) -> Any:
        """Run the module on NumPy arrays, or append it to a trace if any argument is a ``Tensor``.

        ``options``, by name, are passed on to ``forward`` as they are; they hold no arrays.
        """
        if any(isinstance(argument, Tensor) for argument in args):
            return self.forward(*args, **options)
        return eager.run(self, args, options)

    # -- registration -------------------------------------------------------------------------------------------------

    def __setattr__(self, name: str, value: Any) -> None:
        # Whatever is set may change what forward() does, so plans traced before are not to be trusted.
        eager.forget_plans()
        registry = self._registry_of(value)
        if registry is None:
            slot = next((known for known in self._registries() if name in known), None)
            if slot is None:
                object.__setattr__(self, name, value)
            elif value is None and slot is not self._modules:
                slot[name] = None  # As in PyTorch: the name stays known, with nothing under it.
            else:
                raise TypeError(
                    f"{type(self).__name__}: cannot assign {type(value).__name__} as {name!r}, which is registered; "
                    f"assign an object of its kind, or delete it first"
                )
            return
        self._register(registry, name, value)

    def __getattr__(self, name: str) -> Any:
        for registry in self._registries():
            if name in registry:
                return registry[name]
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __delattr__(self, name: str) -> None:
        eager.forget_plans()
        for registry in self._registries():
            if name in registry:
                del registry[name]
                return
        object.__delattr__(self, name)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *(name for registry in self._registries() for name in registry)})

    def add_module(self, name: str, module: Module) -> None:
        """Register a child module under a name, which need not be an identifier.

        Raises:
            TypeError: if it is not a module.
            KeyError: if the name is empty, holds a dot or is taken.
        """
        if not isinstance(module, Module):
            raise TypeError(f"{type(self).__name__}: {name!r} must be a Module, got {type(module).__name__}")
        if not name or "." in name or (name not in self._modules and hasattr(self, name)):
            raise KeyError(f"{type(self).__name__}: {name!r} cannot name a module")
        eager.forget_plans()
        self._modules[name] = module

    def register_parameter(self, name: str, parameter: Variable | None) -> None:
        """Register a parameter; ``None`` reserves the name for a parameter this module does without."""
        eager.forget_plans()
        self._register("_parameters", name, parameter)

    def register_buffer(self, name: str, buffer: Variable | None) -> None:
        """Register a buffer; ``None`` reserves the name for a buffer this module does without."""
        eager.forget_plans()
        self._register("_buffers", name, buffer)

    def _registries(self) -> tuple[dict[str, Any], ...]:
        state = self.__dict__  # Not by attribute: before __init__, or while copying, there are none.
        return tuple(state[name] for name in ("_parameters", "_buffers", "_modules") if name in state)

    @staticmethod
    def _registry_of(value: Any) -> str | None:
        if isinstance(value, Module):
            return "_modules"
        if isinstance(value, Variable):
            # A Parameter stays one while it is frozen (trainable = False).
            return "_parameters" if value.trainable or isinstance(value, Parameter) else "_buffers"
        return None

    def _register(self, registry: str, name: str, value: Any) -> None:
        if registry not in self.__dict__:
            raise AttributeError(f"{type(self).__name__}: call super().__init__() before setting {name!r}")
        if not name or "." in name:
            raise KeyError(f"{type(self).__name__}: {name!r} cannot name a part of a module")
        self.__dict__.pop(name, None)
        for other in self._registries():
            if other is not self.__dict__[registry]:
                other.pop(name, None)
        self.__dict__[registry][name] = value

    # -- the tree -----------------------------------------------------------------------------------------------------

    def named_children(self) -> Iterator[tuple[str, Module]]:
        """Yield the direct children with their names, each module once."""
        seen: set[int] = set()
        for name, module in self._modules.items():
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def children(self) -> Iterator[Module]:
        """Yield the direct children."""
        return (module for _, module in self.named_children())

    def named_modules(self, prefix: str = "") -> Iterator[tuple[str, Module]]:
        """Yield this module and all below it, parents first, each once, with dotted names (its own is ``prefix``)."""
        seen: set[int] = set()
        for name, module in self._walk(prefix):
            if id(module) not in seen:
                seen.add(id(module))
                yield name, module

    def modules(self) -> Iterator[Module]:
        """Yield this module and all below it, each once."""
        return (module for _, module in self.named_modules())

    def named_parameters(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield all parameters with dotted names; one shared by several modules comes once, by its first name."""
        return _unique(self._members("_parameters", prefix))

    def parameters(self) -> Iterator[Variable]:
        """Yield all parameters, each once."""
        return (parameter for _, parameter in self.named_parameters())

    def named_buffers(self, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield all buffers with dotted names, each once."""
        return _unique(self._members("_buffers", prefix))

    def buffers(self) -> Iterator[Variable]:
        """Yield all buffers, each once."""
        return (buffer for _, buffer in self.named_buffers())

    def apply(self: M, function: Callable[[Module], Any]) -> M:
        """Call a function on every module, children first, and return this module."""
        for child in self.children():
            child.apply(function)
        function(self)
        return self

    def _walk(self, prefix: str) -> Iterator[tuple[str, Module]]:
        yield prefix, self
        for name, module in self._modules.items():
            yield from module._walk(f"{prefix}.{name}" if prefix else name)

    def _members(self, registry: str, prefix: str = "") -> Iterator[tuple[str, Variable]]:
        """Yield every name of every variable in a registry; a shared one comes by all its names."""
        for path, module in self._walk(prefix):
            for name, variable in module.__dict__[registry].items():
                if variable is not None:
                    yield (f"{path}.{name}" if path else name), variable

    # -- mode ---------------------------------------------------------------------------------------------------------

    def train(self: M, mode: bool = True) -> M:
        """Set training mode (which dropout heeds) here and below, and return this module."""
        for module in self.modules():
            if module.training != mode:  # Setting it would cost the traced plans.
                module.training = mode
        return self

    def eval(self: M) -> M:
        """Leave training mode here and below, and return this module."""
        return self.train(False)

    # -- state --------------------------------------------------------------------------------------------------------

    def state_dict(self) -> dict[str, np.ndarray]:
        """Return copies of all parameters and buffers by dotted name."""
        return {name: variable.data.copy() for name, variable in self._state()}

    def load_state_dict(self, state_dict: Mapping[str, Any], strict: bool = True) -> Mismatch:
        """Copy values into the parameters and buffers, in place.

        Nothing is changed if there is anything to complain of.

        Args:
            state_dict: arrays (or CPU tensors) by dotted name; another float dtype is converted.
            strict: whether names must match exactly.

        Returns:
            The names that were missing and those that were not expected (both empty if ``strict``).

        Raises:
            TypeError: if it is not a mapping.
            ValueError: if shapes or kinds of number do not fit or, with ``strict``, names do not.
        """
        if not isinstance(state_dict, Mapping):
            raise TypeError(f"load_state_dict: expected a mapping of names to arrays, got {type(state_dict).__name__}")
        own = dict(self._state())
        missing = [name for name in own if name not in state_dict and not getattr(own[name], "optional", False)]
        unexpected = [name for name in state_dict if name not in own]
        faults = []
        if strict and unexpected:
            faults.append(f"Unexpected key(s) in state_dict: {_quoted(unexpected)}.")
        if strict and missing:
            faults.append(f"Missing key(s) in state_dict: {_quoted(missing)}.")
        values = {name: np.asarray(state_dict[name]) for name in own if name in state_dict}
        for name, value in values.items():
            if value.shape != own[name].shape:
                faults.append(
                    f"size mismatch for {name}: copying a param with shape {value.shape} from the state_dict, "
                    f"the shape in current model is {own[name].shape}."
                )
            elif not np.can_cast(value.dtype, own[name].dtype, "same_kind"):
                faults.append(
                    f"dtype mismatch for {name}: {value.dtype} in the state_dict, {own[name].dtype} in current model."
                )
        if faults:
            raise ValueError(f"Error(s) in loading state_dict for {type(self).__name__}:\n\t" + "\n\t".join(faults))
        for name, value in values.items():
            own[name].data[...] = value
        return Mismatch(missing, unexpected)

    def _state(self) -> Iterator[tuple[str, Variable]]:
        """Yield parameters and buffers by all their names, module by module, as PyTorch orders them."""
        for path, module in self._walk(""):
            for registry in (module._parameters, module._buffers):
                for name, variable in registry.items():
                    if variable is not None:
                        yield (f"{path}.{name}" if path else name), variable

    # -- printing -----------------------------------------------------------------------------------------------------

    def extra_repr(self) -> str:
        """Return what stands between the parentheses of ``repr``; layers give their arguments."""
        return ""

    def __repr__(self) -> str:
        extra = self.extra_repr()
        if not self._modules:
            return f"{type(self).__name__}({extra})"
        lines = [extra] if extra else []
        lines += [f"({name}): {_indented(repr(module))}" for name, module in self._modules.items()]
        return f"{type(self).__name__}(\n  " + "\n  ".join(lines) + "\n)"


def _unique(named: Iterator[tuple[str, Variable]]) -> Iterator[tuple[str, Variable]]:
    seen: set[int] = set()
    for name, variable in named:
        if id(variable) not in seen:
            seen.add(id(variable))
            yield name, variable


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _indented(text: str) -> str:
    return text.replace("\n", "\n  ")
