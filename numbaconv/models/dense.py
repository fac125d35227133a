"""Networks for one image size, made to look at every place of larger images.

Source: Long, Shelhamer and Darrell, Fully Convolutional Networks for Semantic Segmentation, arXiv
1411.4038, section 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numbaconv.functional as F
from numbaconv.graph import Graph, Node, Tensor
from numbaconv.graph.geometry import is_flatten, is_global, rounds_up
from numbaconv.nn import Module

from .registry import image_shape, recipe_of


class FullyConvolutional(Module):
    """A network whose linear layers are convolutions; see ``as_fully_convolutional``."""

    def __init__(self, model: Module, shape: tuple[int, int, int]) -> None:
        super().__init__()
        self.model = model
        self.shape = shape
        self.eval()

    def forward(self, x: Any) -> Any:
        """``x`` of shape ``(N, C, H, W)`` to scores ``(N, num_classes, H', W')``, 1×1 at the network's own size."""
        if len(x.shape) != 4 or x.shape[1] != self.shape[0] or any(
            size < least for size, least in zip(x.shape[2:], self.shape[1:], strict=True)
        ):
            channels, height, width = self.shape
            raise ValueError(
                f"as_fully_convolutional: images must have {channels} channel(s) and at least {height}×{width} pixels, "
                f"their shape is {tuple(x.shape)}"
            )
        graph = Graph()
        image = graph.input((1, *self.shape), x.dtype)
        scores = self.model(image)
        return _Replay(graph, image, x).value(scores)


class _Replay:
    """Takes a traced graph from one image of one size to a batch of larger images."""

    def __init__(self, graph: Graph, image: Tensor, x: Any) -> None:
        # Bound to the new trace, so that what is made of parameters alone is part of it too.
        self._values: dict[int, Any] = {
            id(leaf): x.graph.leaf(source)
            for leaf, source in zip(graph.leaves, graph.sources, strict=True)
            if source is not None
        }
        self._values[id(image)] = x
        #: Tensors that depend on the image, and the shape of one image's part of them.
        self._shapes = {id(image): image.shape[1:]}
        for node in graph.nodes:
            seen = any(id(tensor) in self._shapes for tensor in node.inputs)
            translate = _TRANSLATIONS.get(node.op.name, _again) if seen else _again
            results = translate(self, node)
            results = results if isinstance(results, tuple) else (results,)
            # Of a maximum's outputs the places are left out, which no network uses.
            for tensor, result in zip(node.outputs, results, strict=False):
                self._values[id(tensor)] = result
                if seen:
                    self._shapes[id(tensor)] = self._shape_of(node, tensor)

    def _shape_of(self, node: Node, result: Tensor) -> tuple[int, ...]:
        """Channels, height and width of a result at the network's own size; a flattened one keeps its pixels here."""
        if result.ndim == 4:
            return result.shape[1:]
        if node.op.name == "linear":
            return result.shape[1], 1, 1
        return next(self._shapes[id(tensor)] for tensor in node.inputs if id(tensor) in self._shapes)

    def value(self, tensor: Tensor) -> Any:
        """What stands for a tensor."""
        return self._values[id(tensor)]

    def values(self, node: Node) -> list[Any]:
        """What stands for the inputs of a node."""
        return [self.value(tensor) for tensor in node.inputs]

    def image_shape(self, tensor: Tensor) -> tuple[int, ...]:
        """Channels, height and width that a value has at the network's own image size."""
        return self._shapes[id(tensor)]


def _again(to: _Replay, node: Node) -> Any:
    """Whatever has no sizes among its attributes."""
    return node.op(*to.values(node), **node.attrs)


def _flatten(to: _Replay, node: Node) -> Any:
    if not is_flatten(node):
        raise ValueError("as_fully_convolutional: the network reshapes its values to something else than a row")
    return to.value(node.inputs[0])


def _linear(to: _Replay, node: Node) -> Any:
    x, weight, *bias = to.values(node)
    shape = to.image_shape(node.inputs[0])
    filters = F.reshape(weight, (node.inputs[1].shape[0], *shape))
    return F.conv2d(x, filters, *bias)


def _max_pool(to: _Replay, node: Node) -> Any:
    attrs = node.attrs
    return F.max_pool2d(
        *to.values(node), attrs["kernel"], _stride(node), attrs["padding"], attrs["dilation"], rounds_up(node)
    )


def _avg_pool(to: _Replay, node: Node) -> Any:
    attrs = node.attrs
    if "kernel" not in attrs:
        raise ValueError("as_fully_convolutional: the network pools to a fixed size by windows of several sizes")
    return F.avg_pool2d(
        *to.values(node), attrs["kernel"], _stride(node), attrs["padding"], rounds_up(node),
        attrs["count_include_pad"], attrs["divisor"] or None,
    )  # fmt: skip


def _stride(node: Node) -> Sequence[int]:
    """A pooling over all pixels at once becomes one over every window of that size."""
    return (1, 1) if is_global(node) and math.prod(node.attrs["kernel"]) > 1 else node.attrs["stride"]


_TRANSLATIONS: dict[str, Callable[[_Replay, Node], Any]] = {
    "avg_pool": _avg_pool,
    "linear": _linear,
    "max_pool": _max_pool,
    "reshape": _flatten,
}


def as_fully_convolutional(model: Module, shape: tuple[int, int, int] | None = None) -> FullyConvolutional:
    """Make a network for images of one size look at every place of larger images.

    Linear layers behind ``C`` maps of ``h×w`` pixels become convolutions with ``h×w`` filters, global pooling becomes
    pooling at stride 1, and the scores are maps: ``(N, num_classes, 1, 1)`` and the same numbers at the network's own
    size, larger for larger images. Parameters are shared with the network, which is put into evaluation mode.

    Args:
        model: the network.
        shape: channels, height and width of the images that it is for; by default what it was built for.

    Raises:
        ValueError: if the network is not from ``numbaconv.models`` and ``shape`` is not given. Calling the result
            raises it for images smaller than that, and for networks that reshape their values.
    """
    return FullyConvolutional(model, shape or _made_for(model))


def _made_for(model: Module) -> tuple[int, int, int]:
    recipe = recipe_of(model)
    if recipe is None:
        raise ValueError("as_fully_convolutional: shape must say what images this network is for")
    channels, height, width = image_shape(recipe.name)
    side = recipe.arguments.get("image_size")
    return recipe.arguments.get("in_channels", channels), side or height, side or width
