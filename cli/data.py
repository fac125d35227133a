"""``numbaconv data``: which data sets there are, and bringing them here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from . import console, options
from .download import progress_bar

if TYPE_CHECKING:
    from numbaconv.data import DatasetInfo


@click.group("data")
def command() -> None:
    """List and download data sets."""


@command.command("list")
@options.DATA_DIR
@options.JSON
def list_(data_dir: Path | None, as_json: bool) -> None:
    """List the data sets: what they are, their licences, and whether they are on this machine."""
    from numbaconv import data

    rows = [(data.info(name), data.find(name, data_dir)) for name in data.names()]
    if as_json:
        console.print_json([_document(facts, folder) for facts, folder in rows])
        return
    out = console.stdout()
    out.print(
        console.table(
            ("name", "title", "images", "classes", "train", "test", "here"),
            (
                (
                    facts.name,
                    facts.title,
                    "x".join(map(str, facts.shape)),
                    len(facts.classes),
                    f"{facts.train_size:,}",
                    f"{facts.test_size:,}",
                    "yes" if folder else f"no ({console.size(_download_bytes(facts))})",
                )
                for facts, folder in rows
            ),
            left=2,
        )
    )
    out.print("\nnumbaconv data download NAME brings one here. --json shows licences, sources and folders.")


def _document(facts: DatasetInfo, folder: Path | None) -> dict[str, Any]:
    return {
        "name": facts.name,
        "title": facts.title,
        "shape": facts.shape,
        "classes": facts.classes,
        "train": facts.train_size,
        "test": facts.test_size,
        "licence": facts.licence,
        "source": facts.source,
        "download_bytes": _download_bytes(facts),
        "folder": folder,
    }


def _download_bytes(facts: DatasetInfo) -> int:
    return sum(file.size for file in facts.files)


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
