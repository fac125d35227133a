"""What a measurement came to: rows of numbers, and the facts they hold under.

A row is a dataclass whose fields say how people read them: ``column`` gives a heading and a format.  For programs a
``Report`` is the list of its rows as dictionaries: ``json.dumps(report)`` and ``pandas.DataFrame(report)`` work.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, TextIO


def column(heading: str = "", form: str = "", default: Any = None) -> Any:
    """A field of a row.

    Args:
        heading: above the column in tables, with the unit; "" leaves the field out of tables.
        form: how numbers are written, as in format strings.
        default: ``None`` stands for what was not measured.
    """
    return dataclasses.field(default=default, metadata={"heading": heading, "form": form})


@dataclasses.dataclass(kw_only=True)
class Row:
    """One line of a report; subclasses add fields made by ``column``."""

    name: str = column("name", default="")

    def to_dict(self) -> dict[str, Any]:
        """Field names and values, with ``None`` for what is not finite (JSON has no word for it)."""
        return {field.name: _plain(getattr(self, field.name)) for field in dataclasses.fields(self)}


class Report(list[dict[str, Any]]):
    """The rows of one measurement, as dictionaries.

    Attributes:
        kind: what was measured.
        rows: the rows themselves.
        facts: versions, CPU, threads, peak; names and values.
        summary: least and geometric mean of the ratios of each pass, see ``summarise``.
        notes: sentences about what could not be measured.
        bars: what was to be reached, and whether it was; see ``gpu.bars``.
    """

    def __init__(
        self,
        kind: str,
        rows: Sequence[Row],
        facts: Mapping[str, Any],
        notes: Sequence[str] = (),
        bars: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(row.to_dict() for row in rows)
        self.kind = kind
        self.rows = list(rows)
        self.facts = {name: _plain(value) for name, value in facts.items()}
        self.summary = summarise(rows)
        self.notes = list(notes)
        self.bars = [dict(bar) for bar in bars]

    @property
    def wrong(self) -> list[str]:
        """Names of the rows whose results are wrong."""
        return [f"{row.name}, {getattr(row, 'direction', '')}" for row in self.rows if getattr(row, "is_wrong", False)]

    def to_dict(self) -> dict[str, Any]:
        """Everything, as one dictionary of plain values."""
        return {
            "kind": self.kind,
            "facts": self.facts,
            "summary": self.summary,
            "notes": self.notes,
            **({"bars": self.bars} if self.bars else {}),
            "rows": list(self),
        }

    def to_json(self) -> str:
        """One JSON document with everything."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False) + "\n"

    def to_csv(self) -> str:
        """The rows, with a line of field names; what was not measured is empty."""
        text = io.StringIO()
        writer = csv.DictWriter(text, list(dict.fromkeys(name for row in self for name in row)), lineterminator="\n")
        writer.writeheader()
        writer.writerows(self)
        return text.getvalue()

    def show(self, file: TextIO | None = None) -> None:
        """Print for people: see ``table``."""
        from .table import show

        show(self, file)


def summarise(rows: Sequence[Row]) -> dict[str, dict[str, Any]]:
    """For each pass how many ratios there are, the least, whose it is, and their geometric mean.

    Nothing for rows that are no passes of layers.
    """
    ratios: dict[str, list[tuple[float, str]]] = {}
    for row in rows:
        direction, ratio = getattr(row, "direction", None), getattr(row, "ratio", None)
        if direction is not None and ratio is not None and math.isfinite(ratio) and ratio > 0:
            ratios.setdefault(direction, []).append((ratio, row.name))
    return {
        direction: {
            "rows": len(found),
            "least ratio": min(found)[0],
            "of": min(found)[1],
            "geometric mean": math.exp(math.fsum(math.log(ratio) for ratio, _ in found) / len(found)),
        }
        for direction, found in ratios.items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return list(value) if isinstance(value, tuple) else value
