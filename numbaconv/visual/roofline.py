"""Measured convolutions under the machine's roofline.

Source: Williams, Waterman and Patterson, Roofline: An Insightful Visual Performance Model for Multicore Architectures,
Communications of the ACM 52, 2009.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .figure import new_figure, write_png

_Row = Mapping[str, Any]

_KEY_LINES = 40  # a column of the key
_COLOURS = ("#0072b2", "#d55e00", "#008060", "#b0508f", "#8a6a00", "#000000")  # told apart by all eyes


def draw_roofline(rows: Sequence[_Row], peak: float, bandwidth: float, path: str | os.PathLike[str]) -> bool:
    """Draw the rows of ``bench.run("conv")`` to a PNG file: a picture for each pass, a numbered dot a row, and a key.

    A convolution can do no more than ``min(peak, FLOP/byte * bandwidth)``; one whose arrays stay in the caches between
    passes, or that needs fewer operations than the definition says, may lie above.

    Args:
        rows: dictionaries with ``name``, ``direction``, ``flop_per_byte`` and ``ours_gflops``.
        peak: GFLOP/s.
        bandwidth: GB/s.
        path: the file.

    Returns:
        Whether it was drawn; ``False`` if matplotlib is not installed.
    """
    directions = sorted({row["direction"] for row in rows})
    networks = list(dict.fromkeys(_network(row) for row in rows))
    colours = {network: _COLOURS[i % len(_COLOURS)] for i, network in enumerate(networks)}
    figure = new_figure(14, 7 * max(1, len(directions)))
    if figure is None:
        return False
    panels = figure.subplots(max(1, len(directions)), 2, squeeze=False, width_ratios=(3, 2))
    numbered = []
    for (axes, key), direction in zip(panels, directions, strict=False):
        chosen = sorted((row for row in rows if row["direction"] == direction), key=lambda row: row["flop_per_byte"])
        _draw_roof(axes, chosen, peak, bandwidth)
        axes.set_title(direction)
        for network in networks:
            of_it = [row for row in chosen if _network(row) == network]
            points = [row["flop_per_byte"] for row in of_it], [row["ours_gflops"] for row in of_it]
            axes.plot(*points, "o", markersize=5, color=colours[network], label=network)
        axes.legend(loc="lower right")
        _draw_key(key, chosen, colours)
        numbered.append((axes, chosen))
    figure.draw_without_rendering()  # from here on the panels have their places
    for axes, chosen in numbered:
        _number(axes, chosen, colours)
    write_png(figure, path)
    return True


def _network(row: _Row) -> str:
    return row["name"].partition(" ")[0]


def _draw_roof(axes: Any, rows: Sequence[_Row], peak: float, bandwidth: float) -> None:
    intensities = [row["flop_per_byte"] for row in rows]
    ridge = peak / bandwidth
    left, right = 0.7 * min(*intensities, ridge), 1.5 * max(*intensities, ridge)
    axes.plot([left, ridge, right], [left * bandwidth, peak, peak], color="0.4", linewidth=1.5)
    axes.annotate(f"{peak:,.0f} GFLOP/s", (ridge, peak), (0, 4), textcoords="offset points")
    axes.annotate(f"{bandwidth:,.0f} GB/s", (left, left * bandwidth), (6, 0), textcoords="offset points", va="top")
    lowest = min(*(row["ours_gflops"] for row in rows), left * bandwidth)
    highest = max(*(row["ours_gflops"] for row in rows), peak)
    axes.set(xscale="log", yscale="log", xlim=(left, right), ylim=(0.7 * lowest, 1.4 * highest))
    axes.set(xlabel="FLOP/byte (images, filter and results once)", ylabel="GFLOP/s")
    for axis in (axes.xaxis, axes.yaxis):
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("" if axis is axes.xaxis or highest > 10 * lowest else "{x:g}")
    axes.grid(alpha=0.3, which="both")


def _draw_key(axes: Any, rows: Sequence[_Row], colours: Mapping[str, str]) -> None:
    """Number, name and rate of every row, in columns."""
    axes.axis("off")
    columns = max(2, -(-len(rows) // _KEY_LINES))
    for position, row in enumerate(rows):
        column, line = divmod(position, _KEY_LINES)
        axes.text(
            column / columns, 1 - line / _KEY_LINES, f"{position + 1}  {row['name']}  {row['ours_gflops']:,.0f}",
            color=colours[_network(row)], fontsize=8, va="top", transform=axes.transAxes,
        )  # fmt: skip


def _number(axes: Any, rows: Sequence[_Row], colours: Mapping[str, str]) -> None:
    """Write each row's number beside its dot, at the nearest place that is free."""
    dots = [axes.transData.transform((row["flop_per_byte"], row["ours_gflops"])) for row in rows]
    taken = [(x, y, 4.0) for x, y in dots]  # places in pixels, with half their height
    for number, (row, dot) in enumerate(zip(rows, dots, strict=True), 1):
        place = next(place for place in _places_around(*dot) if not any(_overlap(place, other) for other in taken))
        taken.append((*place, 7.0))
        offset = [(to - at) * 72 / axes.figure.dpi for to, at in zip(place, dot, strict=True)]
        axes.annotate(
            str(number), (row["flop_per_byte"], row["ours_gflops"]), offset, textcoords="offset points", fontsize=8,
            color=colours[_network(row)], ha="center", va="center",
            arrowprops={"arrowstyle": "-", "color": "0.7", "linewidth": 0.5, "shrinkA": 4, "shrinkB": 2},
        )  # fmt: skip


def _places_around(x: float, y: float) -> Iterator[tuple[float, float]]:
    """Places farther and farther from a point, without end."""
    radius = 13.0
    while True:
        for step in range(16):
            angle = math.pi / 4 + step * math.pi / 8
            yield x + radius * math.cos(angle), y + radius * math.sin(angle)
        radius += 5.0


def _overlap(place: tuple[float, float], other: tuple[float, float, float]) -> bool:
    x, y, half = other
    return abs(place[0] - x) < 1.2 * half + 9 and abs(place[1] - y) < half + 7
