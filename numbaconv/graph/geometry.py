"""What translations of graphs (to PyTorch, to ONNX, to larger images) read off the attributes of nodes alike."""

from __future__ import annotations

from ..ops.geometry import output_size
from .graph import Node


def rounds_up(node: Node) -> bool:
    """Whether a pooling has windows that hang over the end (``ceil_mode``)."""
    attrs = node.attrs
    sizes = zip(
        node.inputs[0].shape[2:], attrs["kernel"], attrs["stride"], ((p, p) for p in attrs["padding"]),
        attrs["dilation"], strict=True,
    )  # fmt: skip
    return tuple(output_size(*size) for size in sizes) != tuple(attrs["size"])


def slides(node: Node) -> bool:
    """Whether a pooling's windows slide; else they are adaptive, and of more than one size."""
    return "kernel" in node.attrs


def is_global(node: Node) -> bool:
    """Whether a pooling is over all pixels at once."""
    attrs = node.attrs
    return slides(node) and tuple(attrs["kernel"]) == node.inputs[0].shape[2:] and not any(attrs["padding"])


def is_flatten(node: Node) -> bool:
    """Whether a reshape makes all dimensions but the first into one."""
    return node.attrs["shape"] == (node.inputs[0].shape[0], node.inputs[0].size // max(node.inputs[0].shape[0], 1))
