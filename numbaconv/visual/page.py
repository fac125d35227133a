"""One page for a run: pictures and tables in a single file that needs nothing else."""

from __future__ import annotations

import base64
import html
import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from numbaconv.training.files import write_atomic

_TYPES = {".png": "image/png", ".gif": "image/gif"}

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #222; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; border-bottom: 1px solid #ddd; }
img { max-width: 100%; height: auto; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .15rem .8rem .15rem 0; text-align: right; } th { font-weight: 600; border-bottom: 1px solid #999; }
th:first-child, td:first-child { text-align: left; }
pre { background: #f6f6f6; padding: .8rem; overflow-x: auto; }
"""


def table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a table as HTML; without columns it has no head."""
    head = "".join(f"<th>{html.escape(column)}</th>" for column in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{html.escape(str(cell))}</td>" for cell in row) + "</tr>" for row in rows
    )
    head = f"<thead><tr>{head}</tr></thead>" if columns else ""
    return f'<div class="wide"><table>{head}<tbody>{body}</tbody></table></div>'


def picture(path: str | os.PathLike[str], what: str) -> str:
    """Return a PNG or GIF file as HTML that holds it.

    Args:
        path: the file.
        what: what is to be seen, for those who do not see it.
    """
    path = Path(path)
    data = base64.b64encode(path.read_bytes()).decode()
    return f'<img alt="{html.escape(what)}" src="data:{_TYPES[path.suffix]};base64,{data}">'


def text(content: str) -> str:
    """Return text as HTML, as it stands."""
    return f"<pre>{html.escape(content)}</pre>"


def write_page(title: str, sections: Sequence[tuple[str, str]], path: str | os.PathLike[str]) -> None:
    """Write a page, atomically.

    Args:
        title: of the page.
        sections: heading and HTML of each.
        path: the file.
    """
    body = "".join(f"<h2>{html.escape(heading)}</h2>\n{content}\n" for heading, content in sections)
    document = (
        f'<!doctype html>\n<html lang="en"><head><meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{html.escape(title)}</title>\n<style>{_STYLE}</style></head>\n"
        f"<body><h1>{html.escape(title)}</h1>\n{body}</body></html>\n"
    )
    write_atomic(Path(path), document)
