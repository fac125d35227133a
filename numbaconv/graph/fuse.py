"""Fusion: an activation behind a convolution or a fully connected layer moves into it.

The fused kernel applies the function while the sums are in the cache.  The activations' gradients use their results,
never their arguments, so nothing else needs the sums.
"""

from ..ops.activation import FUSABLE
from ..ops.conv import conv
from ..ops.linear import linear_op
from .graph import Graph, Node

_HOSTS = (conv, linear_op)


def fuse(graph: Graph) -> list[Node]:
    """The live nodes of ``graph`` with activations fused; the graph itself is not changed."""
    nodes = graph.live_nodes()
    users: dict[int, int] = {}
    for t in [*(t for node in nodes for t in node.inputs), *graph.outputs, *(value for _, value in graph.updates)]:
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


