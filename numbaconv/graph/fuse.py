"""Fusion: fewer passes over memory.

Operators that are made of simpler ones are split into these (batch norm: statistics, and arithmetic with one number
for each channel).  An activation behind a convolution or a fully connected layer moves into it: the kernel applies the
function while the sums are in the cache.  What is left of elementwise work is put together by ``cluster.py``.

The activations' gradients use their results, never their arguments, so nothing else needs the sums.
"""

from ..ops.activation import FUSABLE
from ..ops.conv import conv
from ..ops.linear import linear_op
from .cluster import cluster
from .graph import Graph, Node, Tensor

_HOSTS = (conv, linear_op)


def fuse(graph: Graph) -> list[Node]:
    """The live nodes of ``graph``, fused; the graph itself is not changed."""
    nodes = [part for node in graph.live_nodes() for part in split(node)]
    kept = {id(t) for t in (*graph.outputs, *(value for _, value in graph.updates))}
    return cluster(move_into_hosts(nodes, kept), kept, graph.updates)


def split(node: Node) -> list[Node]:
    """``node`` as nodes of simpler operators, if its operator says how, else alone."""
    scratch = Graph()
    inputs = {id(t): scratch.input(t.shape, t.dtype) for t in node.inputs}
    results = node.op.parts(*(inputs[id(t)] for t in node.inputs), **node.attrs)
    if results is None:
        return [node]
    outside = {id(inputs[id(t)]): t for t in node.inputs}
    outside |= {id(result): t for result, t in zip(results, node.outputs, strict=True)}

    def moved(t: Tensor) -> Tensor:
        return outside.setdefault(id(t), t)

    parts = []
    for part in scratch.live_nodes_of(results):
        copy = Node(part.op, tuple(map(moved, part.inputs)), part.attrs, tuple(map(moved, part.outputs)))
        parts += split(copy)
    return parts


def move_into_hosts(nodes: list[Node], kept: set[int]) -> list[Node]:
    """``nodes`` with activations moved into the convolution or fully connected layer that nothing else reads."""
    users: dict[int, int] = dict.fromkeys(kept, 1)
    for t in (t for node in nodes for t in node.inputs):
        users[id(t)] = users.get(id(t), 0) + 1
    hosts: dict[int, Node] = {}
    result: list[Node] = []
    for node in nodes:
        if node.op in FUSABLE and id(node.inputs[0]) in hosts and users[id(node.inputs[0])] == 1:
            host = hosts.pop(id(node.inputs[0]))
            host.attrs["activation"] = node.op.name
            host.outputs = node.outputs
            continue
        if node.op in _HOSTS:
            node = Node(node.op, node.inputs, dict(node.attrs), node.outputs)
            hosts[id(node.outputs[0])] = node
        result.append(node)
    return result
