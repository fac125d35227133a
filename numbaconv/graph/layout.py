"""Layouts: which form each value takes in memory, and the reorders between forms; then every node becomes steps.

Batches of at least half a vector travel with images in lanes, smaller ones with channels in lanes.  Reorders are put
where data enters or leaves the graph and around the few operators that want NumPy's order; each form of a value is
made at most once.
"""

import math

from ..kernels.cpu.lowering import (
    BATCH,
    FILTER,
    FILTERS,
    LOWERINGS,
    PLAIN,
    SAME,
    Buffer,
    Program,
    buffer_for,
    lanes_for,
)
from ..kernels.cpu.reorder import copy_step, reorder_step
from ..kernels.cpu.shape import zero_step
from .fuse import fuse
from .graph import Graph, Node, Tensor


class Assembly:
    """Buffers and steps of a graph; ``outputs`` are the buffers of its results, in order."""

    def __init__(self, graph: Graph, frozen: bool = False) -> None:
        self.program = Program(frozen)
        self.buffers: dict[int, dict[tuple[str, int], Buffer]] = {}  # by tensor, then layout and lanes
        self.outputs: list[Buffer] = []
        nodes = fuse(graph)
        # what gives single numbers has no lanes
        self.ragged_is_safe = all(
            node.op.finite_at_zero or all(t.ndim == 0 for t in node.outputs) for node in nodes
        )
        for i, leaf in enumerate(graph.leaves):
            buffer = buffer_for(leaf.shape, leaf.dtype, PLAIN, 1)
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
            copy_step(self.program, source, self.buffers[id(leaf)][PLAIN, 1])

    def lanes(self, batch: int) -> int:
        lanes = lanes_for(batch)
        return lanes if self.ragged_is_safe or batch % lanes == 0 else 1

    def get(self, t: Tensor, layout: str, lanes: int) -> Buffer:
        """The buffer of ``t`` in a layout, reordered from another if it is not there yet."""
        if layout == PLAIN:
            lanes = 1
        elif layout in FILTERS and lanes > 1:
            layout = FILTER  # with images in lanes all passes read the same filter
        forms = self.buffers[id(t)]
        key = (layout, lanes)
        if key not in forms:
            source = next(iter(forms.values()))
            if layout == FILTER and lanes > 1 and 1 in (t.shape[1], math.prod(t.shape[2:])):
                forms[key] = self.get(t, PLAIN, 1)  # nothing to move: one input channel, or one tap
            else:
                if source.layout != PLAIN and layout != PLAIN:
                    source = self.get(t, PLAIN, 1)
                target = buffer_for(t.shape, t.dtype, layout, lanes)
                reorder_step(self.program, source, target)
                forms[key] = target
        return forms[key]

    def _has_batch_form(self, t: Tensor) -> bool:
        return any(layout == BATCH for layout, _ in self.buffers[id(t)])

    def _lower(self, node: Node) -> None:
        row = LOWERINGS.get(node.op.name)
        if row is None:
            raise NotImplementedError(f"{node.op.name} has no CPU kernel")
        wanted = row.inputs(node) if callable(row.inputs) else row.inputs
        wanted = (*wanted, *wanted[-1:] * (len(node.inputs) - len(wanted)))[: len(node.inputs)]
        given = row.outputs(node) if callable(row.outputs) else row.outputs
        given = (*given, *given[-1:] * (len(node.outputs) - len(given)))
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
            if leaf is not None:
                buffer = self.buffers[id(leaf)][PLAIN, 1]
            else:
                buffer = buffer_for(t.shape, t.dtype, layout, lanes if layout != PLAIN else 1)
            self.buffers[id(t)] = {(layout, buffer.lanes): buffer}
            outputs.append(buffer)
        self.program.label = node.op.label
        if any(t.size == 0 for t in node.inputs) and any(t.size for t in node.outputs):
            for buffer in outputs:  # sums over an empty batch
                zero_step(self.program, buffer)
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
        copy = buffer_for(t.shape, t.dtype, PLAIN, 1)
        copy_step(self.program, buffer, copy)
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
