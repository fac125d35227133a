"""Reports for people: a rich table on a terminal, plain aligned lines elsewhere."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Mapping
from typing import Any, TextIO

from .report import Report

_GAP = "  "


def show(report: Report, file: TextIO | None = None) -> None:
    """Print facts, rows, summary and notes on ``file``, standard output by default."""
    file = sys.stdout if file is None else file
    print(listed(report.facts), file=file)
    if file.isatty():
        _show_rich(report, file)
    else:
        print(lines(report), file=file)
    for direction, found in report.summary.items():
        least = f"ratio at least {found['least ratio']:.2f} ({found['of']})"
        print(f"{direction}: {found['rows']} rows, {least}, geometric mean {found['geometric mean']:.2f}", file=file)
    for bar in report.bars:
        met = {None: "not measured", True: "met", False: "MISSED"}[bar["met"]]
        print(f"{met}: {bar['what']}: {_cell(bar['found'], '.3g')}, bar {bar['bar']:g}", file=file)
    for note in report.notes:
        print(note, file=file)


def listed(facts: Mapping[str, Any]) -> str:
    """Names and values on one line."""
    return "; ".join(f"{name} {_cell(v, '.4g' if isinstance(v, float) else '')}" for name, v in facts.items())


def lines(report: Report) -> str:
    """The rows as lines; texts are aligned left, numbers right."""
    headings, cells, numeric = grid(report)
    widths = [max(map(len, column)) for column in zip(headings, *cells, strict=True)]
    written = []
    for line in (headings, *cells):
        parts = [
            cell.rjust(width) if right else cell.ljust(width)
            for cell, width, right in zip(line, widths, numeric, strict=True)
        ]
        written.append(_GAP.join(parts).rstrip())
    return "\n".join(written)


def grid(report: Report) -> tuple[list[str], list[list[str]], list[bool]]:
    """Headings, cells, and whether a column holds numbers; columns in which nothing was measured are left out."""
    if not report.rows:
        return [], [], []
    fields = [
        field
        for field in dataclasses.fields(report.rows[0])
        if field.metadata["heading"] and any(getattr(row, field.name) is not None for row in report.rows)
    ]
    cells = [[_cell(getattr(row, f.name), f.metadata["form"]) for f in fields] for row in report.rows]
    numeric = [not any(isinstance(getattr(row, f.name), str) for row in report.rows) for f in fields]
    return [f.metadata["heading"] for f in fields], cells, numeric


def _cell(value: Any, form: str) -> str:
    return "-" if value is None else format(value, form)


def _show_rich(report: Report, file: TextIO) -> None:
    from rich.console import Console
    from rich.table import Table

    headings, cells, numeric = grid(report)
    table = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for heading, right in zip(headings, numeric, strict=True):
        table.add_column(heading, justify="right" if right else "left", overflow="fold")
    for row in cells:
        table.add_row(*row)
    Console(file=file, highlight=False, markup=False, emoji=False).print(table)
