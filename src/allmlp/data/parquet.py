"""Parquet files of pictures as Hugging Face writes them: a column of encoded pictures and one of classes."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.data.columns import classes_and_labels, columns_of, image_column, without_label
from allmlp.data.extras import needed
from allmlp.data.fetched import ROOM, identity, leave_room, place
from allmlp.data.folder import files_of, split_places
from allmlp.data.images import PackedImages
from allmlp.data.names import split_in
from allmlp.data.parts import Part, Parts, checked, parts_of
from allmlp.data.progress import watched
from allmlp.errors import DataError
from allmlp.files import whole_file

ROWS = 256
"""Rows that are read at a time."""


def has_parquet(folder: Path) -> bool:
    """Whether a folder holds parquet files, as a data set's repository does, in itself or in data/."""
    return bool(_files(folder))


def open_parquet(path: Path, *, quiet: bool = False) -> Parts:
    """The parts of a parquet file, or of a folder of them named train-…, validation-… and test-….

    A row cannot be read by itself, so the pictures' bytes are copied into the cache folder once. Raises DataError.
    """
    files = _files(path) if path.is_dir() else [path]
    of: dict[str, list[Path]] = {}
    for file in files:
        inside = file.relative_to(path) if path.is_dir() else Path(file.name)
        of.setdefault(split_in(inside.with_suffix("").as_posix()) or "train", []).append(file)
    openers = {name: partial(_listed, chosen, f"{path} ({name})", quiet) for name, chosen in of.items() if chosen}
    return parts_of(openers, title=path.resolve().stem, place=str(path), split="the validation files")


def _files(folder: Path) -> list[Path]:
    return [file for place in split_places(folder, "data") for file in files_of(place, ".parquet")]


@dataclass(frozen=True)
class Table:
    """One file's rows."""

    name: str
    blob: Path
    """Where the pictures' bytes lie one after the other."""
    classes: tuple[str, ...] | None
    lengths: list[int]
    labels: list[Any]


def _listed(files: Sequence[Path], where: str, quiet: bool) -> Part:
    tables = [_extracted(file, quiet) for file in files]
    names = next((table.classes for table in tables if table.classes is not None), None)
    classes, labels = classes_and_labels([label for table in tables for label in table.labels], names, where)
    rows = [f"row {row}" for table in tables for row in range(len(table.lengths))]
    places = np.concatenate([_places(number, table.lengths) for number, table in enumerate(tables)])
    blobs, called = [str(table.blob) for table in tables], [table.name for table in tables]
    images = PackedImages(blobs, places, rows, labels, called).subset(np.flatnonzero(labels >= 0))
    return checked(Part(place=where, classes=classes, images=images, passed_over=without_label(labels)), quiet=quiet)


def count_rows(path: Path) -> int:
    """Of one file, as it says itself. Raises DataError."""
    return int(_opened(path).metadata.num_rows)


def picture_rows(path: Path, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """(number, bytes of its picture) of each row from `start` on, a few in memory at a time; no bytes for none."""
    arrow = needed("pyarrow", "parquet", str(path))
    file = _opened(path)
    column = image_column(_features(arrow, file.schema_arrow), str(path))
    groups, first = list(range(file.num_row_groups)), 0
    while groups and first + file.metadata.row_group(groups[0]).num_rows <= start:
        first += file.metadata.row_group(groups.pop(0)).num_rows
    try:
        for batch in file.iter_batches(ROWS // 4, row_groups=groups, columns=[column]):
            for value in batch.column(0).to_pylist():
                if first >= start:
                    yield first, (value.get("bytes") if isinstance(value, Mapping) else value) or b""
                first += 1
    except (arrow.ArrowException, OSError) as error:
        raise DataError(f"{path} cannot be read: {str(error).splitlines()[0][:200]}", hint="fetch or copy it again") from None


def _opened(path: Path) -> Any:
    arrow, parquet = (needed(name, "parquet", str(path)) for name in ("pyarrow", "pyarrow.parquet"))
    try:
        return parquet.ParquetFile(path)
    except (arrow.ArrowException, OSError) as error:
        what = str(error).splitlines()[0][:200]
        raise DataError(f"{path} cannot be read as parquet: {what}", hint="fetch or copy it again") from None


def _places(number: int, lengths: Sequence[int]) -> Any:  # → rows × 3
    ends = np.cumsum(lengths, dtype=np.int64)
    return np.stack([np.full(len(ends), number), ends - lengths, lengths], 1).astype(np.int64)


def _extracted(path: Path, quiet: bool) -> Table:
    """The pictures' bytes in a file of the cache folder, and what each row is."""
    arrow, parquet = (needed(name, "parquet", str(path)) for name in ("pyarrow", "pyarrow.parquet"))
    notes = place("parquet", f"{path.stem}.json", identity(path))
    blob = notes.with_suffix(".bin")
    try:
        file = parquet.ParquetFile(path)
        columns = columns_of(_features(arrow, file.schema_arrow), str(path))
        if not (blob.is_file() and notes.is_file()):
            notes.parent.mkdir(parents=True, exist_ok=True)
            total = -(-file.metadata.num_rows // ROWS)
            batches = file.iter_batches(ROWS, columns=[columns.image])
            with whole_file(blob) as temporary:
                lengths = _write(watched(batches, total=total, what=f"reading {path.name}", quiet=quiet), temporary)
            with whole_file(notes) as temporary:
                temporary.write_text(json.dumps(lengths))
        labels = file.read(columns=[columns.label]).column(0).to_pylist()
        return Table(path.name, blob, columns.classes, json.loads(notes.read_bytes()), labels)
    except arrow.ArrowException as error:
        what = str(error).splitlines()[0][:200]
        raise DataError(f"{path} cannot be read as parquet: {what}", hint="fetch or copy it again") from None
    except OSError as error:
        raise DataError(f"{path} cannot be read, or copied into the cache folder: {error}", hint=ROOM) from None


def _write(batches: Iterator[Any], target: Path) -> list[int]:
    """The bytes of every picture, one after the other; the length of each, 0 for none."""
    lengths = []
    with target.open("wb") as blob:
        for batch in batches:
            leave_room(target, batch.nbytes)
            for value in batch.column(0).to_pylist():
                content = (value.get("bytes") if isinstance(value, Mapping) else value) or b""
                lengths.append(blob.write(content))
    return lengths


def _features(arrow: Any, schema: Any) -> dict[str, Any]:
    """Hugging Face's, from the file's notes; else guessed from the columns' types."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b""))["info"]["features"]
        if isinstance(told, dict) and all(name in schema.names for name in told):
            return told
    except (ValueError, KeyError, TypeError, RecursionError):
        pass

    def kind(column: Any) -> str:
        of = arrow.types
        if of.is_struct(column.type):
            return "Image" if "bytes" in {column.type.field(i).name for i in range(column.type.num_fields)} else "struct"
        if of.is_binary(column.type) or of.is_large_binary(column.type):
            return "Image"
        scalar = of.is_integer(column.type) or of.is_string(column.type) or of.is_large_string(column.type)
        return "Value" if scalar else "other"

    return {column.name: {"_type": kind(column)} for column in schema}
