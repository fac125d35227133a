"""``numbaconv operators``: what every public function is."""

from __future__ import annotations

import json
from pathlib import Path

import click

from . import console


@click.command("operators")
@click.argument("name", required=False, metavar="[NAME]")
@click.option("--markdown", is_flag=True, help="Print docs/operators.md.")
@click.option(
    "--speed",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="--markdown: speeds that bench layers wrote with --json.",
)
def command(name: str | None, markdown: bool, speed: Path | None) -> None:
    """List the functions of numbaconv.functional by family, or show all about the function NAME."""
    if markdown and name is not None:
        raise click.UsageError("--markdown prints all functions, it takes no NAME")
    if speed is not None and not markdown:
        raise click.UsageError("--speed belongs to --markdown")
    from numbaconv import operators

    if markdown:
        click.echo(operators.markdown(json.loads(speed.read_text()) if speed else None), nl=False)
    elif name is not None:
        click.echo(operators.find(name).text())
    else:
        rows = ((entry.name, entry.family, entry.summary) for entry in operators.entries())
        console.stdout().print(console.table(("function", "family", "what it is"), rows, left=3))
