"""One bar for work whose parts have names."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def bar(console: Console, quiet: bool, title: str) -> Iterator[Callable[[int, int, str], None]]:
    """Yield a callback ``(done, total, name of what comes next)`` that draws a bar, on a terminal only."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    note = TextColumn("{task.fields[note]}")
    with Progress(*columns, note, console=console, transient=True, disable=quiet or not console.is_terminal) as bars:
        task = bars.add_task(title, total=None, note="")

        def show(done: int, total: int, name: str) -> None:
            bars.update(task, completed=done, total=total, note=name)

        yield show
