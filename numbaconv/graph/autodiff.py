"""Reverse-mode differentiation as a transformation of graphs, and the functions built on it.

``gradients`` walks the nodes backwards and appends what each operator's gradient rule says (Goodfellow et al.,
algorithm 6.6).  Gradients are nodes like any other and can be differentiated again.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..kernels.elementwise import COSTLY, FUNCTIONS
from ..ops.arithmetic import add_row
from ..ops.shape import channel_broadcast, expand, reshape_row
from .graph import Graph, Node, Tensor
from .runner import compile_graph


def gradients(output: Tensor, wrt: Sequence[Tensor], grad: Tensor | None = None) -> list[Tensor]:
    """Append the gradients of ``output`` with respect to tensors; ``grad`` is the gradient of the output itself.

    Without ``grad`` the output must be a scalar.  Tensors on which it does not depend get zeros.
    """
    graph = output.graph
    if grad is None:
        if output.shape != ():
            raise ValueError(f"only a scalar can be differentiated without a gradient of its own; shape {output.shape}")
        grad = graph.leaf(np.ones((), output.dtype))
    found: dict[int, Tensor] = {id(output): grad}
    needed = _depending_on(graph.nodes, wrt)
    for node in reversed(list(graph.nodes)):
        if id(node) not in needed or not any(id(t) in found for t in node.outputs):
            continue
        incoming = [found.get(id(t)) for t in node.outputs]
        if not node.op.differentiable:
            raise ValueError(f"{node.op.name} has no gradient")
        rules = node.op.gradient(incoming, node.outputs, *node.inputs, **node.attrs)
        for tensor, contribution in zip(node.inputs, rules, strict=True):
            if contribution is not None and _is_needed(tensor, needed, wrt):
                old = found.get(id(tensor))
                found[id(tensor)] = contribution if old is None else add_row(old, contribution)
    return [found[id(t)] if id(t) in found else _zeros(t) for t in wrt]


def _zeros(like: Tensor) -> Tensor:
    zero = like.graph.leaf(np.zeros((), like.dtype))
    return zero if like.shape == () else expand(zero, shape=like.shape)


def _depending_on(nodes: Sequence[Node], wrt: Sequence[Tensor]) -> set[int]:
    """The nodes whose outputs depend on ``wrt``: only through them gradients need to flow."""
    reached = {id(t) for t in wrt}
    needed: set[int] = set()
    for node in nodes:
        if any(id(t) in reached for t in node.inputs):
            needed.add(id(node))
            reached |= {id(t) for t in node.outputs}
    return needed


def _is_needed(tensor: Tensor, needed: set[int], wrt: Sequence[Tensor]) -> bool:
    return (tensor.node is not None and id(tensor.node) in needed) or any(tensor is t for t in wrt)


# ------------------------------------------------------------------------------------------------ trees of arrays


Flat = tuple[list[Any], Callable[[Sequence[Any]], Any]]


def flatten_tree(tree: Any) -> Flat:
    """The arrays in nested lists, tuples and dictionaries, and a function that puts others in their places."""
    if isinstance(tree, dict):
        parts = [flatten_tree(v) for v in tree.values()]
        keys = list(tree)
        return _joined(parts, lambda values: dict(zip(keys, values, strict=True)))
    if isinstance(tree, (list, tuple)):
        parts = [flatten_tree(v) for v in tree]
        make = (lambda values: type(tree)(*values)) if hasattr(tree, "_fields") else type(tree)
        return _joined(parts, make)
    if tree is None:
        return [], lambda values: None
    return [tree], lambda values: values[0]


def form_of(tree: Any) -> Any:
    """What tells trees of one number of arrays apart: something that can be compared and hashed."""
    if isinstance(tree, dict):
        return "dict", *((key, form_of(v)) for key, v in tree.items())
    if isinstance(tree, (list, tuple)):
        return type(tree), *map(form_of, tree)
    return tree is None


def _joined(parts: Sequence[Flat], make: Callable[[list[Any]], Any]) -> Flat:
    sizes = [len(leaves) for leaves, _ in parts]

    def rebuild(values: Sequence[Any]) -> Any:
        start, built = 0, []
        for (_, part), size in zip(parts, sizes, strict=True):
            built.append(part(values[start : start + size]))
            start += size
        return make(built)

    return [leaf for leaves, _ in parts for leaf in leaves], rebuild


def _arrays(function: str, tree: Any) -> tuple[list[np.ndarray], Callable]:
    leaves, rebuild = flatten_tree(tree)
    arrays = [np.asarray(leaf) for leaf in leaves]
    for array in arrays:
        if array.dtype.kind not in "fiub":
            raise TypeError(f"{function}: arguments must be arrays of numbers, not {array.dtype}")
    return arrays, rebuild


# ------------------------------------------------------------------------------------------------ public functions


def trace(f: Callable, *args: Any) -> tuple[Graph, list[Tensor], Any]:
    """Call ``f`` on tensors shaped like ``args``; gives the graph, its inputs and what ``f`` returned."""
    graph = Graph()
    arrays, rebuild = _arrays("trace", args)
    inputs = [graph.input(a.shape, a.dtype) for a in arrays]
    return graph, inputs, f(*rebuild(inputs))


def vjp(f: Callable, *primals: Any) -> tuple[Any, Callable]:
    """f(*primals), and the function that pulls a gradient of the result back to the primals (as jax.vjp).

    The pullback takes an array (or a tree of them) shaped like the result and returns a tuple, one gradient a primal.
    """
    graph, inputs, result = trace(f, *primals)
    results, rebuild = flatten_tree(result)
    results = [graph.leaf(t) for t in results]
    forward = graph.live_from(results)
    grads_in = [graph.input(t.shape, t.dtype) for t in results]
    floats = [t for t in inputs if t.dtype.kind == "f"]
    total: list[Tensor] | None = None
    for output, grad in zip(results, grads_in, strict=True):
        if output.dtype.kind != "f":  # indices have no gradient
            continue
        part = gradients(output, floats, grad)
        total = part if total is None else [add_row(a, b) for a, b in zip(total, part, strict=True)]
    total = total or [_zeros(t) for t in floats]
    # The backward graph takes what it needs of the forward's values as inputs of its own.
    given = {id(t) for t in grads_in}
    residuals = [t for t in residuals_of(graph, forward, total) if id(t) not in given]
    arrays, _ = _arrays("vjp", primals)
    values = _run(graph.slice(inputs, [*results, *residuals]), arrays)
    backward = graph.slice([*residuals, *grads_in], total)
    saved = values[len(results) :]

    def pullback(grad: Any) -> tuple:
        given, _ = _arrays("vjp", grad)
        if len(given) != len(grads_in):
            raise ValueError(f"vjp: {len(given)} gradients were given, the function has {len(grads_in)} results")
        for array, tensor in zip(given, grads_in, strict=True):
            if array.shape != tensor.shape:
                raise ValueError(f"vjp: the gradient has shape {array.shape}, the result {tensor.shape}")
        cast = [a.astype(t.dtype, copy=False) for a, t in zip(given, grads_in, strict=True)]
        found = iter(_run(backward, [*saved, *cast]))
        leaves = [next(found) if t.dtype.kind == "f" else np.zeros(t.shape, t.dtype) for t in inputs]
        _, shape_as = flatten_tree(primals)
        return shape_as(leaves)

    return rebuild(values[: len(results)]), pullback


def residuals_of(graph: Graph, forward: set[int], grads: Sequence[Tensor]) -> list[Tensor]:
    """What gradients take of a graph's inputs and of the values of its nodes ``forward``.

    What elementwise functions make of leaves alone in a pass over them is made again: it would cost as much to read.
    """
    again: set[int] = set()
    for node in graph.nodes:
        cheap = node.op in (channel_broadcast, reshape_row) or (
            node.op.name in FUNCTIONS and node.op.name not in COSTLY
        )
        if id(node) in forward and cheap and all(t.node is None or id(t.node) in again for t in node.inputs):
            again.add(id(node))
    return graph.boundary(forward - again, grads)


def _run(graph: Graph, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    return compile_graph(graph).run(arrays)


def value_and_grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that returns f's scalar value and its gradient with respect to arguments ``argnums`` (as jax)."""

    def both(*args: Any) -> tuple[Any, Any]:
        wanted = (argnums,) if isinstance(argnums, int) else tuple(argnums)
        for i in wanted:
            if not 0 <= i < len(args):
                raise ValueError(f"value_and_grad: argnums has {i}, the function was called with {len(args)} arguments")
        graph, inputs, result = trace(f, *args)
        value, aux = result if has_aux else (result, None)
        value = graph.leaf(value)
        if value.shape != ():
            raise ValueError(f"value_and_grad: the function must return a scalar, its result has shape {value.shape}")
        trees = [flatten_tree(arg) for arg in args]
        starts = np.cumsum([0, *(len(leaves) for leaves, _ in trees)])
        positions = [p for i in wanted for p in range(starts[i], starts[i + 1])]
        rebuilds = [(trees[i][1], len(trees[i][0])) for i in wanted]
        wrt = [inputs[i] for i in positions]
        for t in wrt:
            if t.dtype.kind != "f":
                raise TypeError(f"value_and_grad: cannot differentiate with respect to {t.dtype}")
        aux_leaves, aux_rebuild = flatten_tree(aux)
        graph.output(value, *aux_leaves, *gradients(value, wrt))
        arrays, _ = _arrays("value_and_grad", args)
        values = compile_graph(graph).run(arrays)
        grads, at = [], 1 + len(aux_leaves)
        for rebuild, count in rebuilds:
            grads.append(rebuild(values[at : at + count]))
            at += count
        gradient = grads[0] if isinstance(argnums, int) else tuple(grads)
        first = (values[0], aux_rebuild(values[1 : 1 + len(aux_leaves)])) if has_aux else values[0]
        return first, gradient

    return both


def grad(f: Callable, argnums: int | tuple[int, ...] = 0, has_aux: bool = False) -> Callable:
    """The function that returns the gradient of the scalar f with respect to arguments ``argnums`` (as jax)."""
    both = value_and_grad(f, argnums, has_aux)

    def gradient_only(*args: Any) -> Any:
        value, gradient = both(*args)
        return (gradient, value[1]) if has_aux else gradient

    return gradient_only
