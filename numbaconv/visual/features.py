"""What the layers make of one image, and what of it they see."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np

from numbaconv.graph import Graph, compile_graph
from numbaconv.nn import Module
from numbaconv.nn.summary import recorded_calls, summarise

from .figure import new_figure, write_png

_MOST_LAYERS, _MOST_MAPS = 10, 8
_COLOURS = ("#0072b2", "#d55e00", "#008060", "#b0508f", "#8a6a00", "#56b4e9", "#000000")


def layer_outputs(model: Module, x: np.ndarray) -> list[tuple[str, str, np.ndarray]]:
    """Return name, kind and output of each layer that makes maps.

    Args:
        model: the network, in the mode it is to be looked at in.
        x: one image, ``(1, C, H, W)``, as the network takes it.

    Returns:
        In the order they run in; outputs are ``(C, H, W)``.
    """
    graph = Graph()
    image = graph.input(x.shape, x.dtype)
    with recorded_calls(model, graph) as calls:
        model(image)
    spatial = [call for call in calls if call.output.ndim == 4 and call.first < call.last]
    graph.output(*(call.output for call in spatial))
    values = compile_graph(graph).run([x])
    return [(call.name, call.kind, value[0]) for call, value in zip(spatial, values, strict=True)]


def draw_features(
    model: Module, x: np.ndarray, picture: np.ndarray, path: str | os.PathLike[str]
) -> bool:
    """Draw the maps of an image layer by layer to a PNG file: of each layer those that vary most.

    Args:
        model: the network, in evaluation mode.
        x: the image as the network takes it, ``(1, C, H, W)``.
        picture: the image as it is to be seen, ``uint8``, ``(C, H, W)``.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    layers = [layer for layer in layer_outputs(model, x) if layer[1] not in ("Dropout", "Identity")]
    layers = [layers[index] for index in _spread(len(layers), _MOST_LAYERS)]
    figure = new_figure(1.25 * (_MOST_MAPS + 1), 1.35 * (len(layers) + 1))
    if figure is None:
        return False
    panels = figure.subplots(len(layers) + 1, _MOST_MAPS + 1, squeeze=False)
    for axes in panels.flat:
        axes.axis("off")
    show_picture(panels[0][1], picture)
    for row, (name, kind, maps) in zip(panels[1:], layers, strict=True):
        chosen = np.sort(np.argsort(-maps.std(axis=(1, 2)), kind="stable")[:_MOST_MAPS])
        for axes, channel in zip(row[1:], chosen, strict=False):
            axes.imshow(maps[channel], cmap="viridis", interpolation="nearest")
            axes.set_title(str(channel), fontsize=7, pad=2)
        label = f"{name}\n{kind}\n{maps.shape[0]}x{maps.shape[1]}x{maps.shape[2]}"
        row[0].text(-0.05, 0.5, label, fontsize=7, ha="right", va="center", transform=row[1].transAxes)
    write_png(figure, path)
    return True


def draw_receptive_fields(model: Module, picture: np.ndarray, pad: int, path: str | os.PathLike[str]) -> bool:
    """Draw on an image what the middle pixel of some layers' outputs depends on, to a PNG file.

    Args:
        model: the network.
        picture: the image, ``uint8``, ``(C, H, W)``.
        pad: black pixels that the network is given around it.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    channels, height, width = picture.shape
    side = height + 2 * pad, width + 2 * pad
    layers: dict[tuple[int, ...], str] = {}
    for layer in summarise(model, (channels, *side)).layers:
        if len(layer.output_shape) == 4 and max(layer.receptive_field) > 1:
            layers.setdefault(layer.receptive_field, layer.name or layer.kind)
    fields = list(layers.items())
    fields = [fields[index] for index in _spread(len(fields), len(_COLOURS))]
    figure = new_figure(6.4, 4.6)
    if figure is None:
        return False
    from matplotlib.patches import Rectangle

    axes = figure.subplots()
    show_picture(axes, np.pad(picture, ((0, 0), (pad, pad), (pad, pad))))
    handles = []
    for ((rows, columns), name), colour in zip(fields, _COLOURS, strict=False):
        corner = (side[1] - columns) / 2 - 0.5, (side[0] - rows) / 2 - 0.5
        box = Rectangle(corner, columns, rows, fill=False, linewidth=2, edgecolor=colour)
        box.set_label(f"{name}: {rows}x{columns}")
        handles.append(axes.add_patch(box))
    axes.set(xlim=(-1, side[1]), ylim=(side[0], -1))
    figure.legend(handles=handles, loc="outside right center", frameon=False, title="receptive field")
    write_png(figure, path)
    return True


def _spread(count: int, most: int) -> Sequence[int]:
    """At most so many indices, evenly over all, the first and the last among them."""
    return sorted({round(index) for index in np.linspace(0, count - 1, min(count, most))})


def show_picture(axes: Any, picture: np.ndarray) -> None:
    """Show an image, ``uint8``, ``(C, H, W)``, without ticks."""
    if len(picture) == 1:
        axes.imshow(picture[0], cmap="gray", vmin=0, vmax=255, interpolation="nearest")
    else:
        axes.imshow(picture.transpose(1, 2, 0), interpolation="nearest")
    axes.axis("off")
