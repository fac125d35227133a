"""Graphs of operators: what tracing writes down, what autodiff extends and what backends plan.

A graph holds leaves (inputs given at each run, or arrays bound by reference), nodes in an order in which they can be
run, outputs, and updates: leaves whose arrays take a new value at the end of a run.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..kernels.device import DeviceArray, Driver, Mirror
from ..ops.arithmetic import add, divide, multiply, scale_row, subtract
from ..ops.core import Operator, Spec


class Variable:
    """An array that graphs refer to by reference: a parameter (``trainable``) or a state.

    ``data`` is C-contiguous and is updated in place by training steps.  Steps on a device update a copy there, which
    ``data`` brings back when it is asked for: ask anew after every step.
    """

    _mirror: Mirror | None = None

    def __init__(self, data: Any, trainable: bool = True, name: str | None = None) -> None:
        self.data = data
        self.trainable = trainable
        self.name = name

    @property
    def data(self) -> np.ndarray:
        if self._mirror is not None:
            self._mirror.fetch()
        return self._data

    @data.setter
    def data(self, value: Any) -> None:
        # a shape of () must stay: ascontiguousarray alone would make it (1,)
        self._data = np.require(value, requirements=("C", "A", "W"))
        self._mirror = None
        Mirror.changes += 1

    def exchange(self, other: "Variable") -> None:
        """Give another variable this one's array, its copy on a device included, and take that one's."""
        self._data, other._data = other._data, self._data
        self._mirror, other._mirror = other._mirror, self._mirror
        Mirror.changes += 1

    def on(self, driver: Driver) -> DeviceArray:
        """The copy on a device, up to date."""
        if self._mirror is None or self._mirror.copy.driver is not driver:
            self._mirror = Mirror(driver, self.data)
        return self._mirror.push()

    def written(self) -> None:
        """Say that a run on the device has updated the copy there."""
        assert self._mirror is not None
        self._mirror.written()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._data.shape

    @property
    def dtype(self) -> np.dtype:
        return self._data.dtype

    @property
    def ndim(self) -> int:
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.array(self.data, dtype) if copy or (dtype is not None and dtype != self.dtype) else self.data

    def __repr__(self) -> str:
        return f"{type(self).__name__}(shape={self.shape}, dtype={self.dtype})"


@dataclass(eq=False)
class Node:
    """One operator with its inputs, attributes and outputs."""

    op: Operator
    inputs: tuple["Tensor", ...]
    attrs: dict[str, Any]
    outputs: tuple["Tensor", ...] = ()

    @property
    def flops(self) -> float:
        return self.op.flops([t.spec for t in self.inputs], [t.spec for t in self.outputs], **self.attrs)


class Tensor:
    """A value of a graph: a shape and a dtype, no numbers."""

    __array_priority__ = 1000  # NumPy leaves operators with arrays to us

    def __init__(self, graph: "Graph", spec: Spec, node: Node | None) -> None:
        self.graph = graph
        self.spec = spec
        self.node = node

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def dtype(self) -> np.dtype:
        return self.spec.dtype

    @property
    def ndim(self) -> int:
        return len(self.spec.shape)

    @property
    def size(self) -> int:
        return self.spec.size

    def __add__(self, other: Any) -> Any:
        return add(self, other)

    def __radd__(self, other: Any) -> Any:
        return add(other, self)

    def __sub__(self, other: Any) -> Any:
        return subtract(self, other)

    def __rsub__(self, other: Any) -> Any:
        return subtract(other, self)

    def __mul__(self, other: Any) -> Any:
        return multiply(self, other)

    def __rmul__(self, other: Any) -> Any:
        return multiply(other, self)

    def __truediv__(self, other: Any) -> Any:
        return divide(self, other)

    def __rtruediv__(self, other: Any) -> Any:
        return divide(other, self)

    def __neg__(self) -> Any:
        return scale_row(self, factor=-1.0, offset=0.0)

    def __len__(self) -> int:
        if not self.shape:
            raise TypeError("a scalar has no length")
        return self.shape[0]

    def reshape(self, *shape: Any) -> Any:
        from ..ops.shape import reshape

        return reshape(self, shape[0] if len(shape) == 1 and isinstance(shape[0], tuple) else shape)

    def flatten(self, start_dim: int = 0, end_dim: int = -1) -> Any:
        from ..ops.shape import flatten

        return flatten(self, start_dim, end_dim)

    def sum(self) -> Any:
        from ..ops.arithmetic import sum

        return sum(self)

    def mean(self) -> Any:
        from ..ops.arithmetic import mean

        return mean(self)

    def __bool__(self) -> bool:
        raise TypeError("a traced tensor has no value yet; Python's if and while cannot depend on it")

    def __array__(self, *_: Any, **__: Any) -> np.ndarray:
        raise TypeError("a traced tensor has no value yet; use numbaconv.functional instead of NumPy functions on it")

    def __repr__(self) -> str:
        made_by = self.node.op.name if self.node else "leaf"
        return f"Tensor({made_by}, shape={self.shape}, dtype={self.dtype})"


class Graph:
    """Leaves, nodes, outputs and updates; built by calling functionals on its tensors."""

    def __init__(self) -> None:
        self.leaves: list[Tensor] = []
        self.sources: list[Any] = []  # a Variable or an array for each leaf; None for inputs
        self.nodes: list[Node] = []
        self.outputs: list[Tensor] = []
        self.updates: list[tuple[Tensor, Tensor]] = []
        self._leaf_of: dict[int, Tensor] = {}
        self._salts = 0
        self._key: Tensor | None = None

    def input(self, shape: Sequence[int], dtype: Any = np.float32) -> Tensor:
        """A value given at each run."""
        return self._new_leaf(Spec(tuple(shape), np.dtype(dtype)), None)

    def leaf(self, source: Any) -> Tensor:
        """The tensor of a variable or an array, bound by reference."""
        if isinstance(source, Tensor):
            if source.graph is not self:
                raise ValueError("a tensor of one trace was used in another")
            return source
        found = self._leaf_of.get(id(source))
        if found is None:
            if not isinstance(source, (Variable, np.ndarray, DeviceArray)):
                source = np.asarray(source)
            if np.dtype(source.dtype).kind not in "fiub":
                raise TypeError(f"a graph takes arrays of numbers, not {source.dtype}")
            found = self._new_leaf(Spec(source.shape, np.dtype(source.dtype)), source)
            self._leaf_of[id(source)] = found
        return found

    def _new_leaf(self, spec: Spec, source: Any) -> Tensor:
        tensor = Tensor(self, spec, None)
        self.leaves.append(tensor)
        self.sources.append(source)
        return tensor

    def append(self, op: Operator, inputs: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """A new node; gives its output, or a tuple of them."""
        tensors = tuple(self.leaf(value) for value in inputs)
        specs = op.shape(*(t.spec for t in tensors), **attrs)
        node = Node(op, tensors, dict(attrs))
        one = isinstance(specs, Spec)
        node.outputs = tuple(Tensor(self, spec, node) for spec in ((specs,) if one else specs))  # type: ignore[arg-type]
        self.nodes.append(node)
        return node.outputs[0] if one else node.outputs

    def output(self, *tensors: Tensor) -> None:
        """Values that a run returns, in this order."""
        self.outputs += [self.leaf(t) for t in tensors]

    def update(self, leaf: Tensor, value: Tensor) -> None:
        """At the end of a run the array of ``leaf`` holds ``value``."""
        if leaf.spec != value.spec:
            given, planned = f"{value.shape}, {value.dtype}", f"{leaf.shape}, {leaf.dtype}"
            raise ValueError(f"an update of shape {given} for a leaf of {planned}")
        if any(leaf is other for other, _ in self.updates):
            raise ValueError("this leaf has an update already")
        self.updates.append((leaf, value))

    def next_salt(self) -> int:
        """A number that tells one random node of this graph from another."""
        self._salts += 1
        return self._salts

    def random_key(self) -> Tensor:
        """The key of this graph's random nodes: the one that a training step has set, else one drawn now."""
        if self._key is None:
            from ..random import next_key

            self._key = self.leaf(next_key())
        return self._key

    def set_random_key(self, key: Tensor) -> None:
        self._key = key

    def live_nodes(self) -> list[Node]:
        """The nodes that outputs and updates need, in order."""
        return self.live_nodes_of([*self.outputs, *(value for _, value in self.updates)])

    def live_nodes_of(self, tensors: Sequence[Tensor]) -> list[Node]:
        """The nodes that ``tensors`` need, in order."""
        needed = self.live_from(tensors)
        return [node for node in self.nodes if id(node) in needed]

    @staticmethod
    def live_from(tensors: Sequence[Tensor], given: Collection[int] = ()) -> set[int]:
        """The ids of the nodes that ``tensors`` need, where the tensors with the ids ``given`` need none."""
        needed: set[int] = set()
        wanted = list(tensors)
        while wanted:
            t = wanted.pop()
            if id(t) not in given and t.node is not None and id(t.node) not in needed:
                needed.add(id(t.node))
                wanted += t.node.inputs
        return needed

    def signature(self) -> tuple:
        """What two graphs share that can be run by the same plan."""
        number: dict[int, int] = {id(t): i for i, t in enumerate(self.leaves)}
        rows = []
        for node in self.live_nodes():
            inputs = tuple(number[id(t)] for t in node.inputs)
            rows.append((node.op, inputs, tuple(node.attrs.items())))
            for t in node.outputs:
                number[id(t)] = len(number)
        return (
            tuple(t.spec for t in self.leaves),
            tuple(source is None for source in self.sources),
            tuple(rows),
            tuple(number[id(t)] for t in self.outputs),
            tuple((number[id(leaf)], number[id(value)]) for leaf, value in self.updates),
        )

    # -------------------------------------------------------------------------------------------- parts of graphs

    def boundary(self, inner: set[int], outputs: Sequence[Tensor]) -> list[Tensor]:
        """What ``outputs`` need, beyond the nodes ``inner``, of the values of ``inner`` and of this graph's inputs."""
        outer = self.live_from(outputs) - inner
        inputs = {id(t) for t, source in zip(self.leaves, self.sources, strict=True) if source is None}
        found: dict[int, Tensor] = {}
        used = [t for node in self.nodes if id(node) in outer for t in node.inputs]
        for t in [*used, *outputs]:
            if (t.node is not None and id(t.node) in inner) or id(t) in inputs:
                found[id(t)] = t
        return list(found.values())

    def slice(self, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> "Graph":
        """The part of this graph from ``inputs`` (new inputs) to ``outputs``; other leaves keep their sources."""
        part = Graph()
        new = {id(t): part.input(t.shape, t.dtype) for t in inputs}
        needed = self.live_from(outputs, new)
        sources = {id(t): source for t, source in zip(self.leaves, self.sources, strict=True)}

        def moved(t: Tensor) -> Tensor:
            return new[id(t)] if id(t) in new else part.leaf(sources[id(t)])

        for node in self.nodes:
            if id(node) in needed:
                copy = Node(node.op, tuple(moved(t) for t in node.inputs), node.attrs)
                copy.outputs = tuple(Tensor(part, t.spec, copy) for t in node.outputs)
                new.update({id(a): b for a, b in zip(node.outputs, copy.outputs, strict=True) if id(a) not in new})
                part.nodes.append(copy)
        part.output(*(moved(t) for t in outputs))
        return part
