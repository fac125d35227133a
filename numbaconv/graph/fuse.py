"""Fusion: fewer passes over memory.

Operators that are made of simpler ones are split into these (batch norm: statistics, and arithmetic with one number
for each channel).  Behind a convolution or a fully connected layer that nothing else reads, a normalisation with given
statistics goes into the weights, and an activation into the kernel, which applies it while the sums are in the cache
(on a GPU in registers, where the sum with a shortcut goes, too).
What is left of elementwise work is put together by ``cluster.py``.

The activations' gradients use their results, never their arguments, so nothing else needs the sums.
"""

from collections.abc import Callable, Sequence
from typing import Any

from ..kernels.cpu.backend import CPU
from ..kernels.lowering import Backend
from ..ops.activation import FUSABLE
from ..ops.arithmetic import add_row
from ..ops.conv import conv, conv_input_grad
from ..ops.linear import linear_op
from ..ops.norm import fold, normalize
from .cluster import REPEATED, cluster
from .graph import Graph, Node, Tensor

#: Layers whose weights may take a normalisation, and those that may take an activation.
_HOSTS = (conv, linear_op)
_ACTIVATED = (*_HOSTS, conv_input_grad)


def fuse(graph: Graph, backend: Backend = CPU) -> list[Node]:
    """The live nodes of ``graph``, fused as a backend wants them; the graph itself is not changed."""
    kept = {id(t) for t in (*graph.outputs, *(value for _, value in graph.updates))}
    nodes = fold_normalisations(split(without_unread(graph.live_nodes(), kept), (normalize,)), kept)
    return cluster(move_into_hosts(split(nodes), kept, backend.takes_addend), kept, graph.updates)


def without_unread(nodes: Sequence[Node], kept: set[int]) -> list[Node]:
    """``nodes`` without further outputs that nothing reads, where there is an operator for the first output alone."""
    readers = _readers(nodes, kept)

    def read(node: Node) -> bool:
        return any(id(t) in readers for t in node.outputs[1:])

    return [
        node if node.op.alone is None or read(node) else Node(node.op.alone, node.inputs, node.attrs, node.outputs[:1])
        for node in nodes
    ]


def rewritten(inputs: Sequence[Tensor], outputs: Sequence[Tensor], make: Callable[..., Any]) -> list[Node]:
    """The nodes that give ``outputs`` of ``inputs`` as ``make``, a function on tensors, gives them."""
    scratch = Graph()
    stand_ins = {id(t): scratch.input(t.shape, t.dtype) for t in inputs}
    results = make(*(stand_ins[id(t)] for t in inputs))
    real = {id(stand_ins[id(t)]): t for t in inputs}
    real |= {id(result): t for result, t in zip(results, outputs, strict=True)}

    def tensors(of: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(real.get(id(t), t) for t in of)

    nodes = scratch.live_nodes_of(results)
    return [Node(node.op, tensors(node.inputs), node.attrs, tensors(node.outputs)) for node in nodes]


def split(nodes: Sequence[Node], whole: Sequence[Any] = ()) -> list[Node]:
    """``nodes`` with those made of simpler operators replaced by these; the operators ``whole`` stay as they are."""
    result: list[Node] = []
    for node in nodes:
        if node.op in whole or not node.op.has_parts:
            result.append(node)
        else:
            made = rewritten(node.inputs, node.outputs, lambda *inputs, node=node: node.op.parts(*inputs, **node.attrs))
            result += split(made, whole)
    return result


def fold_normalisations(nodes: Sequence[Node], kept: set[int]) -> list[Node]:
    """``nodes`` with normalisations put into the weights of the layer before, if they alone read its results."""
    readers = _readers(nodes, kept)
    hosts = {id(node.outputs[0]): node for node in nodes if node.op in _HOSTS}
    folded = {}  # by the normalisation's id: the layer before it
    for node in nodes:
        x = id(node.inputs[0])
        if node.op is normalize and x in hosts and readers[x] == 1:
            folded[id(node)] = hosts[x]
    gone = {id(host) for host in folded.values()}
    result: list[Node] = []
    for node in nodes:
        host = folded.get(id(node))
        if host is not None:
            count = len(host.inputs)

            def make(*inputs: Any, host: Node = host, node: Node = node, count: int = count) -> tuple:
                return (fold(host.op, host.attrs, inputs[:count], *inputs[count:], **node.attrs),)

            result += rewritten((*host.inputs, *node.inputs[1:]), node.outputs, make)
        elif id(node) not in gone:
            result.append(node)
    return result


def move_into_hosts(nodes: Sequence[Node], kept: set[int], takes_addend: Callable[[Node], bool]) -> list[Node]:
    """``nodes`` with what follows moved into the convolution or fully connected layer that nothing else reads.

    That is an activation and, before it, the sum with another value (a shortcut), if the layer ``takes_addend``.
    """
    readers = _readers(nodes, kept)
    repeated = {id(node.outputs[0]) for node in nodes if node.op in REPEATED}
    hosts: dict[int, Node] = {}  # by result
    result: list[Node] = []

    def host_of(t: Tensor) -> Node | None:
        return hosts.get(id(t)) if readers[id(t)] == 1 else None

    def taker_of(total: Node) -> tuple[Node, Tensor] | None:
        """The last of the layers that can calculate a sum themselves, and what it adds."""
        x, y = total.inputs
        found = [
            (host, addend)
            for host, addend in ((host_of(x), y), (host_of(y), x))
            if host is not None and host.op in _HOSTS and "addend" not in host.attrs
            and id(addend) not in repeated and takes_addend(host)
        ]  # fmt: skip
        return max(found, key=lambda pair: result.index(pair[0]), default=None)

    for node in nodes:
        host = host_of(node.inputs[0]) if node.op in FUSABLE else None
        if host is not None:
            del hosts[id(node.inputs[0])]
            host.attrs["activation"] = node.op.name
            host.outputs = node.outputs
            continue
        taker = taker_of(node) if node.op is add_row else None
        if taker is not None:
            host, addend = taker
            result.remove(host)  # to stand behind the addend
            del hosts[id(host.outputs[0])]
            host.inputs, host.outputs = (*host.inputs, addend), node.outputs
            host.attrs["addend"] = True
            node = host
        elif node.op in _ACTIVATED:
            node = Node(node.op, node.inputs, dict(node.attrs), node.outputs)
        if node.op in _ACTIVATED:
            hosts[id(node.outputs[0])] = node
        result.append(node)
    return result


def _readers(nodes: Sequence[Node], kept: set[int]) -> dict[int, int]:
    """How often each tensor is read, by its id; being kept counts."""
    found: dict[int, int] = dict.fromkeys(kept, 1)
    for t in (t for node in nodes for t in node.inputs):
        found[id(t)] = found.get(id(t), 0) + 1
    return found
