"""``numbaconv bench``: how fast it is here, and against what."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import console, options


@click.command("bench")
@click.argument("kind", type=click.Choice(["conv", "layers", "train", "infer", "startup"]))
@click.option("--against", type=click.Choice(["torch"]), help="Measure this library beside ours, taking turns.")
@click.option("--rounds", default=7, type=click.IntRange(min=1), help="Rounds to take the best of.")
@options.THREADS
@click.option("--json", "file", type=click.Path(path_type=Path), metavar="FILE", help="Write the rows to FILE, too.")
def command(kind: str, against: str | None, rounds: int, threads: int | None, file: Path | None) -> None:
    """Measure speed: convolution layers, whole training steps, inference, or start-up.

    Ours and theirs take turns in one process, after warming up, and the best round of each counts.
    """
    if file is not None and not file.parent.is_dir():
        raise click.ClickException(f"--json {file}: there is no folder {file.parent}")
    from numbaconv import bench
    from numbaconv.training.files import write_atomic

    rows = bench.run(kind, against=against, rounds=rounds, threads=threads)
    if file is not None:
        write_atomic(file, json.dumps(rows, indent=2) + "\n")
    columns = list(dict.fromkeys(name for row in rows for name in row))
    cells = ([_cell(row.get(name)) for name in columns] for row in rows)
    console.stdout().print(console.table(columns, cells))


def _cell(value: object) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return "" if value is None else str(value)
