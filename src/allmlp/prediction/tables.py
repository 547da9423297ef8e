"""The file that `predict --out` writes in the end: parquet, CSV or JSON lines, by the ending of its name."""

import csv
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from allmlp.errors import DataError
from allmlp.strict_json import to_json

Row = dict[str, Any]
LINES = (".jsonl", ".json", ".ndjson")
ENDINGS = (".parquet", ".csv", *LINES)


def check_ending(out: Path, *, embeddings: bool) -> None:
    """Raises DataError for a file of no known kind, and for embeddings where there is no place for them."""
    ending = out.suffix.lower()
    if ending not in ENDINGS or not out.parent.is_dir():
        raise DataError(f"{out} cannot be written", hint=f"name a file in a folder that is there: {', '.join(ENDINGS)}")
    if embeddings and ending == ".csv":
        raise DataError("a CSV file has no column for embeddings", hint=f"name a {ENDINGS[0]} or {LINES[0]} file")


def csv_header(top: int) -> list[str]:
    """path, class_1, probability_1, and so on, error."""
    return ["path", *(f"{word}_{i}" for i in range(1, top + 1) for word in ("class", "probability")), "error"]


def csv_cells(row: Row, top: int) -> list[str]:
    """A row under `csv_header`; one with an error has that and empty cells."""
    if row.get("error") is not None:
        return [row["path"], *[""] * (2 * top), row["error"]]
    pairs = zip(row["classes"], row["probabilities"], strict=True)
    return [row["path"], *(cell for name, p in pairs for cell in (name, f"{p:.6f}")), ""]


@contextmanager
def rows_into(path: Path, ending: str, top: int) -> Iterator[Callable[[Iterable[Row]], None]]:
    """A function that appends rows to a new CSV file or file of JSON lines.

    ending: of the name that the file will have. top: classes of each row.
    """
    with path.open("w", encoding="utf-8", errors="backslashreplace", newline="") as file:
        if ending == ".csv":
            table = csv.writer(file)
            table.writerow(csv_header(top))
            yield lambda rows: table.writerows(csv_cells(row, top) for row in rows)
        else:
            yield lambda rows: file.writelines(
                to_json({name: value for name, value in row.items() if value is not None}, ascii_only=False) + "\n"
                for row in rows
            )
