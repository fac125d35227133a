"""``numbaconv data``: which data sets there are, and bringing them here."""

from __future__ import annotations

from pathlib import Path

import click

from . import console, options
from .download import progress_bar


@click.group("data")
def command() -> None:
    """List and download data sets."""


@command.command("list")
@options.DATA_DIR
@options.JSON
def list_(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets: what they are, their licences, and whether they are on this machine."""
    from numbaconv import data

    rows = []
    for name in data.names():
        facts = data.info(name)
        folder = data.find(name, data_dir)
        rows.append(
            {
                "name": name,
                "title": facts.title,
                "shape": facts.shape,
                "classes": len(facts.classes),
                "train": facts.train_size,
                "test": facts.test_size,
                "download_bytes": sum(file.size for file in facts.files),
                "folder": folder,
                "licence": facts.licence,
                "source": facts.source,
            }
        )
    if as_json:
        console.print_json(rows)
        return
    columns = ("name", "title", "images", "classes", "train", "test", "here")
    out = console.stdout()
    out.print(
        console.table(
            columns,
            (
                (
                    row["name"],
                    row["title"],
                    "x".join(map(str, row["shape"])),
                    row["classes"],
                    f"{row['train']:,}",
                    f"{row['test']:,}",
                    "yes" if row["folder"] else f"no ({console.size(row['download_bytes'])})",
                )
                for row in rows
            ),
            left=2,
        )
    )
    out.print("\nnumbaconv data download NAME brings one here. --json shows licences, sources and folders.")


@command.command()
@click.argument("name")
@options.DATA_DIR
@options.QUIET
def download(name: str, data_dir: Path | None, quiet: bool) -> None:
    """Download the data set NAME and verify it; what is already there is only verified.

    An interrupted download goes on where it stopped.
    """
    from numbaconv import data

    with progress_bar(console.stdout(), quiet) as progress:
        folder = data.download(name, data_dir, progress)
    if not quiet:
        console.stdout().print(f"{name} is in {folder}")
