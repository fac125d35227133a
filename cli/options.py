"""Options that several commands share, so that they read and behave alike."""

from __future__ import annotations

from pathlib import Path

import click

JSON = click.option("--json", "as_json", is_flag=True, help="Print one JSON document on standard output.")

QUIET = click.option("--quiet", "-q", is_flag=True, help="Print nothing but errors.")

DATA_DIR = click.option(
    "--data-dir",
    type=click.Path(path_type=Path),
    help="Folder that holds the data set; else NUMBACONV_DATA_DIR, then the cache folder, then a download.",
)

THREADS = click.option("--threads", type=click.IntRange(min=1), help="Number of CPU threads.  [default: all]")
