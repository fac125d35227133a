"""What all commands print with: one console for people, one JSON document for programs."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from typing import Any

import click
from rich.console import Console
from rich.table import Table

# Where nobody looks at a screen, lines are for grep and must not be folded at 80 columns.
_WIDTH_ELSEWHERE = 200


def stdout() -> Console:
    """Return a console on standard output, with colours only on a terminal and no markup or guessed highlighting."""
    return _console(stderr=False)


def stderr() -> Console:
    """Return a console on standard error, for progress while standard output is kept for a document."""
    return _console(stderr=True)


def _console(stderr: bool) -> Console:
    console = Console(stderr=stderr, highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=_WIDTH_ELSEWHERE)
    return console


def table(columns: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> Table:
    """Return a plain table: the first ``left`` columns are aligned left, the others, numbers, right."""
    result = Table(box=None, pad_edge=False, header_style="bold", padding=(0, 2, 0, 0))
    for index, column in enumerate(columns):
        result.add_column(column, justify="left" if index < left else "right", overflow="fold")
    for row in rows:
        result.add_row(*(str(cell) for cell in row))
    return result


def print_json(document: Any) -> None:
    """Print one JSON document on standard output; what is not finite becomes null, as JSON has no word for it."""
    click.echo(json.dumps(_plain(document), indent=2, allow_nan=False))


def _plain(value: Any) -> Any:
    """Turn NumPy arrays and scalars, paths and non-finite floats into what JSON knows."""
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    return str(value)


def size(count: float) -> str:
    """Write a number of bytes for people: 512 B, 1.5 KiB, 9.5 MiB."""
    for unit in ("B", "KiB", "MiB"):
        if abs(count) < 1024:
            return f"{count:.0f} B" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"


def plural(count: int, noun: str) -> str:
    """Write a count with its noun: ``1 image``, ``1,797 images``."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
