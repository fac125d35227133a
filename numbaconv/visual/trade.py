"""What accuracy costs: the networks trained here by multiply-adds and accuracy."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import NamedTuple

from .figure import new_figure, write_png

_COLOURS = ("#0072b2", "#d55e00", "#008060", "#b0508f", "#8a6a00", "#000000")


class Trained(NamedTuple):
    """A network after training.

    Attributes:
        name: of the network.
        dataset: that its accuracy is on.
        multiply_adds: for one image.
        parameters: number of parameters, which is the area of its dot.
        accuracy: share of the test images.
    """

    name: str
    dataset: str
    multiply_adds: int
    parameters: int
    accuracy: float


def draw_trade(networks: Sequence[Trained], path: str | os.PathLike[str]) -> bool:
    """Draw accuracy over multiply-adds to a PNG file, a dot a network, a panel a data set.

    Args:
        networks: what to draw.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    datasets = list(dict.fromkeys(network.dataset for network in networks))
    figure = new_figure(5.5 * len(datasets), 4)
    if figure is None:
        return False
    from matplotlib.ticker import LogLocator

    for axes, dataset in zip(figure.subplots(1, len(datasets), squeeze=False)[0], datasets, strict=True):
        shown = sorted((n for n in networks if n.dataset == dataset), key=lambda n: n.multiply_adds)
        largest = max(network.parameters for network in shown)
        for network, colour in zip(shown, _COLOURS * len(shown), strict=False):
            point = network.multiply_adds / 1e6, 100 * network.accuracy
            axes.scatter(*point, s=20 + 280 * network.parameters / largest, color=colour, alpha=0.6, linewidths=0)
            label = f"{network.name}\n{network.accuracy:.2%}, {network.parameters / 1e3:,.0f} k parameters"
            axes.annotate(label, point, (0, 12), textcoords="offset points", fontsize=8, ha="center")
        axes.set_xscale("log")
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter("{x:g}")
        axes.minorticks_off()
        axes.margins(0.35, 0.35)
        axes.set(title=dataset, xlabel="million multiply-adds an image", ylabel="top-1 test accuracy, %")
        axes.grid(alpha=0.3)
    write_png(figure, path)
    return True
