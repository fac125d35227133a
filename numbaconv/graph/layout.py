"""Layouts: which form each value takes in memory, and the reorders between forms; then every node becomes steps.

Batches of at least half a vector travel with images in lanes, smaller ones with channels in lanes.  Reorders are put
where data enters or leaves the graph and around the few operators that want NumPy's order; each form of a value is
made at most once.
"""

from ..kernels.cpu.backend import CPU
from ..kernels.lowering import BATCH, PLAIN, SAME, Backend, Buffer
from .fuse import fuse
from .graph import Graph, Node, Tensor


class Assembly:
    """Buffers and steps of a graph on a backend; ``outputs`` are the buffers of its results, in order."""

    def __init__(self, graph: Graph, frozen: bool = False, backend: Backend = CPU) -> None:
        self.backend = backend
        self.program = backend.program(frozen)
        self.buffers: dict[int, dict[tuple[str, int], Buffer]] = {}  # by tensor, then layout and lanes
        self.outputs: list[Buffer] = []
        nodes = fuse(graph, backend)
        # what gives single numbers has no lanes
        self.ragged_is_safe = all(
            node.op.finite_at_zero or all(t.ndim == 0 for t in node.outputs) for node in nodes
        )
        for i, leaf in enumerate(graph.leaves):
            buffer = backend.buffer_for(leaf.shape, leaf.dtype, PLAIN, 1)
            buffer.leaf = i
            self.buffers[id(leaf)] = {(PLAIN, 1): buffer}
        self._in_place = in_place_updates(graph, nodes)
        for node in nodes:
            self._lower(node)
        self.program.label = "output"
        for t in graph.outputs:
            self.outputs.append(self._result(t))
        self.program.label = "update"
        done = {id(leaf) for leaf in self._in_place.values()}
        copies = [(self._old_value(value), leaf) for leaf, value in graph.updates if id(leaf) not in done]
        for source, leaf in copies:
            backend.copy_step(self.program, source, self.buffers[id(leaf)][PLAIN, 1])

    def lanes(self, batch: int) -> int:
        lanes = self.backend.lanes_for(batch)
        return lanes if self.ragged_is_safe or batch % lanes == 0 else 1

    def get(self, t: Tensor, layout: str, lanes: int) -> Buffer:
        """The buffer of ``t`` in a layout, reordered from another if it is not there yet."""
        forms = self.buffers[id(t)]
        key = self.backend.form(t.shape, layout, lanes)
        if key not in forms:
            source = next(iter(forms.values()))
            if source.layout != PLAIN and key[0] != PLAIN:
                source = self.get(t, PLAIN, 1)
            target = self.backend.buffer_for(t.shape, t.dtype, *key)
            self.backend.reorder_step(self.program, source, target)
            forms[key] = target
        return forms[key]

    def _new(self, t: Tensor, layout: str, lanes: int) -> Buffer:
        """A new buffer of ``t``."""
        return self.backend.buffer_for(t.shape, t.dtype, *self.backend.form(t.shape, layout, lanes))

    def _missing(self, node: Node) -> str:
        """What to say of an operator that the backend cannot run."""
        if self.backend is CPU or node.op.name not in CPU.lowerings:
            return f"{node.op.name} has no CPU kernel"
        device = self.backend.name.upper()
        return f"{node.op.label} has no {device} kernel yet; run it on the CPU (device=\"cpu\")"

    def _has_batch_form(self, t: Tensor) -> bool:
        return any(layout == BATCH for layout, _ in self.buffers[id(t)])

    def _lower(self, node: Node) -> None:
        row = self.backend.lowerings.get(node.op.name)
        if row is None:
            raise NotImplementedError(self._missing(node))
        wanted, given = row.layouts(node)
        same = [t for t, layout in zip(node.inputs, wanted, strict=True) if layout == SAME]
        shared = BATCH if any(self._has_batch_form(t) for t in same) else PLAIN
        wanted = tuple(shared if w == SAME else w for w in wanted)
        given = tuple(shared if g == SAME else g for g in given)
        batched = [t for t, w in zip((*node.inputs, *node.outputs), (*wanted, *given), strict=True) if w == BATCH]
        lanes = self.lanes(batched[0].shape[0]) if batched else 1
        self.program.label = "reorder"
        inputs = [self.get(t, w, lanes) for t, w in zip(node.inputs, wanted, strict=True)]
        outputs = []
        for t, layout in zip(node.outputs, given, strict=True):
            # other layouts than NumPy's need memory of their own
            leaf = self._in_place.get(id(t)) if layout == PLAIN else self._in_place.pop(id(t), None) and None
            buffer = self._new(t, layout, lanes) if leaf is None else self.buffers[id(leaf)][PLAIN, 1]
            self.buffers[id(t)] = {(buffer.layout, buffer.lanes): buffer}
            outputs.append(buffer)
        self.program.label = node.op.label
        if any(t.size == 0 for t in node.inputs) and any(t.size for t in node.outputs):
            for buffer in outputs:  # sums over an empty batch
                self.backend.zero_step(self.program, buffer)
        else:
            row.lower(self.program, node, inputs, outputs)

    def _result(self, t: Tensor) -> Buffer:
        buffer = self.get(t, PLAIN, 1)
        if buffer.leaf is not None or any(buffer is b for b in self.outputs):
            return self._copy(t, buffer)
        return buffer

    def _old_value(self, t: Tensor) -> Buffer:
        """``t`` where updates of leaves do not change it."""
        buffer = self.get(t, PLAIN, 1)
        return buffer if buffer.leaf is None else self._copy(t, buffer)

    def _copy(self, t: Tensor, buffer: Buffer) -> Buffer:
        copy = self.backend.buffer_for(t.shape, t.dtype, PLAIN, 1)
        self.backend.copy_step(self.program, buffer, copy)
        return copy


def in_place_updates(graph: Graph, nodes: list[Node]) -> dict[int, Tensor]:
    """For values that are written straight into the array of the leaf they update, that leaf.

    Their operators allow it, and nothing needs the leaf's old value later.
    """
    producer = {id(t): (i, node) for i, node in enumerate(nodes) for t in node.outputs}
    last_use = {id(t): i for i, node in enumerate(nodes) for t in node.inputs}
    kept = {id(t) for t in (*graph.outputs, *(value for _, value in graph.updates))}
    found: dict[int, Tensor] = {}
    for leaf, value in graph.updates:
        if id(value) not in producer or id(value) in found or id(leaf) in kept:
            continue
        place, node = producer[id(value)]
        position = next(i for i, t in enumerate(node.outputs) if t is value)
        taken = node.op.in_place.get(position)
        if taken is not None and node.inputs[taken] is leaf and last_use[id(leaf)] == place:
            found[id(value)] = leaf
    return found
