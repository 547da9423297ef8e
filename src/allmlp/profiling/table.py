"""The rows as a table: for people, as Markdown, as CSV."""

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from allmlp.profiling.rows import Row


@dataclass(frozen=True)
class Column:
    """One quantity: its heading for people, and how a value is written."""

    heading: str
    value: Callable[[Row], Any]
    written: Callable[[Any], str] = str
    right: bool = True

    follows: bool = False
    """Whether it means nothing without the column before it."""

    def cell(self, row: Row) -> str:
        """A dash where there is no value."""
        value = self.value(row)
        return "-" if value is None else self.written(value)


def _in(unit: float, decimals: int) -> Callable[[float], str]:
    return lambda value: f"{value / unit:,.{decimals}f}"


def _digits(value: float) -> str:
    """At least three of them: 1415, 94.2, 0.0712."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def _said(name: str) -> Callable[[Row], Any]:
    return lambda row: getattr(row.published, name, None)


MEASURED = (
    Column("model", lambda row: row.label, right=False),
    Column("parameters, M", lambda row: row.parameters, _in(1e6, 2)),
    Column("GMACs", lambda row: row.macs, _in(1e9, 2)),
    Column("activations, M", lambda row: row.activations, _in(1e6, 1)),
    Column("size", lambda row: row.img_size, lambda size: "×".join(map(str, size))),
    Column("images/s", lambda row: row.images_per_s, _digits),
    Column("±", lambda row: row.images_per_s_spread, _percent, follows=True),
    Column("ms, 1 image", lambda row: row.ms, _digits),
    Column("±", lambda row: row.ms_spread, _percent, follows=True),
    Column("peak MiB", lambda row: row.peak_bytes, lambda size: _digits(size / 2**20)),
)
PUBLISHED = (
    Column("paper: top-1", _said("top1"), lambda value: f"{value:.1f} %"),
    Column("paper: M", _said("parameters"), lambda value: f"{value:g}"),
    Column("paper: GMACs", _said("gmacs"), lambda value: f"{value:g}"),
    Column("paper: images/s", _said("images_per_s"), lambda value: f"{value:g}"),
    Column("paper: MiB", _said("memory_mib"), lambda value: f"{value:g}"),
    Column("source", _said("paper"), right=False),
)
FAILED = Column("failed", lambda row: row.error, right=False)


def columns(rows: Sequence[Row], *, papers: bool) -> list[Column]:
    """What there is to say about these rows. papers: with what their papers report."""
    return [*MEASURED, *(PUBLISHED if papers else ()), *([FAILED] if any(row.error for row in rows) else [])]


def blocks(chosen: Sequence[Column], rows: Sequence[Row], *, width: int) -> list[list[Column]]:
    """The columns as tables that are at most `width` letters wide where they can be, each with the names first."""
    name, *others = chosen
    tables, room = [[name]], 0
    for i, column in enumerate(others):
        group = [column, *(others[i + 1 : i + 2] if i + 1 < len(others) and others[i + 1].follows else [])]
        if not column.follows and room < sum(2 + _width(c, rows) for c in group):
            tables.append([name])
            room = width - _width(name, rows)
        tables[-1].append(column)
        room -= 2 + _width(column, rows)
    return tables[1:]


def _width(column: Column, rows: Sequence[Row]) -> int:
    return max(len(column.heading), *(len(column.cell(row)) for row in rows))


def markdown(chosen: Sequence[Column], rows: Sequence[Row]) -> str:
    """A table of GitHub's Markdown."""
    lines = [
        [column.heading for column in chosen],
        ["---:" if column.right else "---" for column in chosen],
        *([column.cell(row).replace("|", r"\|") for column in chosen] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def comma_separated(rows: Sequence[Row], *, papers: bool) -> str:
    """CSV with a heading; plain units (numbers, bytes, seconds shares), empty where there is no value."""
    text = io.StringIO()
    records = [_record(row, papers=papers) for row in rows]
    writer = csv.DictWriter(text, fieldnames=list(records[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(records)
    return text.getvalue()


def _record(row: Row, *, papers: bool) -> dict[str, Any]:
    height, width = row.img_size or (None, None)
    record = {
        "name": row.name,
        "kind": row.kind,
        "folded": row.folded,
        "height": height,
        "width": width,
        "batch": row.batch,
        "parameters": row.parameters,
        "macs": row.macs,
        "activations": row.activations,
        "images_per_s": row.images_per_s,
        "images_per_s_spread": row.images_per_s_spread,
        "ms": row.ms,
        "ms_spread": row.ms_spread,
        "peak_bytes": row.peak_bytes,
    }
    if papers:
        said = ("top1", "parameters", "gmacs", "images_per_s", "memory_mib", "paper")
        record |= {f"published_{name}": getattr(row.published, name, None) for name in said}
    return record | {"error": row.error}
