"""A file of rows written in parts beside it: after any kill, what is whole is kept and the rest is made again.

OUT.parts/manifest.json   what the parts belong to: model, source, options
OUT.parts/part-000000.parquet   rows 0 to ROWS, and so on, each written whole or not at all
"""

import fcntl
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

from allmlp.data.extras import needed
from allmlp.data.stream import changed
from allmlp.errors import RunError
from allmlp.files import fsync, whole_file, writing
from allmlp.prediction.tables import rows_into
from allmlp.run import read_json, write_json

ROWS = 2048
"""Rows of a part: what a kill costs at most, and what is in memory at a time."""
MANIFEST = "manifest.json"
CHANGED = {"model": "another model", "source": "other pictures, or changed ones", "options": "other options"}


def schema(arrow: Any, *, embeddings: bool) -> Any:
    """pyarrow's, of the output's columns."""
    columns = {
        "path": arrow.string(),
        "classes": arrow.list_(arrow.string()),
        "probabilities": arrow.list_(arrow.float32()),
    }
    columns |= {"embedding": arrow.list_(arrow.float32())} if embeddings else {}
    return arrow.schema([*columns.items(), ("error", arrow.string())])


def store(rows: list[dict[str, Any]], columns: Any, target: Path | BytesIO) -> None:
    """Rows as parquet. columns: of `schema`."""
    arrow, parquet = (needed(name, "parquet", "a file of rows") for name in ("pyarrow", "pyarrow.parquet"))
    parquet.write_table(arrow.Table.from_pylist(rows, schema=columns), target, compression="zstd")


class Parts:
    """The parts of one output, which belongs to one process as long as they are `held`."""

    def __init__(self, out: Path, total: int, *, top: int = 1, embeddings: bool) -> None:
        """top: classes of each row."""
        self.out, self.total, self.top = out, total, top
        self.folder = out.with_name(f"{out.name}.parts")
        self.arrow, self.parquet = (needed(name, "parquet", str(out)) for name in ("pyarrow", "pyarrow.parquet"))
        self.schema = schema(self.arrow, embeddings=embeddings)

    @contextmanager
    def held(self, belongs: dict[str, Any]) -> Iterator[None]:
        """belongs: model, source and options, which must be those of parts that are there.

        Raises RunError where they are others, where the output is there already, or another process writes it.
        """
        with writing(self.folder):
            if self.out.exists() and not self.folder.exists():
                raise RunError(f"{self.out} is there already", hint="choose another --out, or remove it")
            self.folder.mkdir(parents=True, exist_ok=True)
            with (self.folder / "lock").open("w") as lock:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    raise RunError(f"{self.out} is being written by another process", hint="wait for it, or end it") from None
                self._sweep()
                self._claim(belongs)
                yield

    def _sweep(self) -> None:
        """What a killed process was writing."""
        for stale in (*self.folder.glob(".*"), *self.out.parent.glob(f".{self.out.name}.*")):
            if stale.is_dir():
                shutil.rmtree(stale, ignore_errors=True)
            else:
                stale.unlink(missing_ok=True)

    def _claim(self, belongs: dict[str, Any]) -> None:
        place = self.folder / MANIFEST
        if not place.is_file():
            for part in self.folder.glob("part-*"):  # of nobody knows what
                part.unlink()
            write_json(place, belongs)
            return
        was = read_json(place)
        changed = [why for name, why in CHANGED.items() if not isinstance(was, dict) or was.get(name) != belongs.get(name)]
        if changed:
            raise RunError(
                f"{self.folder} holds rows of {' and '.join(changed)}",
                hint=f"give what was given before to go on, or start afresh: rm -r {self.folder}",
            )

    def missing(self) -> list[range]:
        """The rows of each part that is not there, or cannot be read."""
        spans = (range(first, min(first + ROWS, self.total)) for first in range(0, self.total, ROWS))
        return [span for span in spans if not self._whole(span)]

    def _whole(self, span: range) -> bool:
        try:
            return bool(self.parquet.read_metadata(self._path(span)).num_rows == len(span))
        except (OSError, self.arrow.ArrowException):
            return False

    def _path(self, span: range) -> Path:
        return self.folder / f"part-{span.start // ROWS:06}.parquet"

    def write(self, span: range, rows: list[dict[str, Any]]) -> None:
        """One part, whole or not at all."""
        path = self._path(span)
        with writing(path), whole_file(path) as temporary:
            store(rows, self.schema, temporary)

    def take(self, span: range, content: bytes) -> None:
        """The same of what another process stored, once its rows are counted. Raises DataError where they are too few."""
        table = self.parquet.read_table(self.arrow.BufferReader(content), schema=self.schema)
        if len(table) != len(span):
            raise changed()
        path = self._path(span)
        with writing(path), whole_file(path) as temporary:
            temporary.write_bytes(content)

    def merge(self) -> int:
        """All parts become the output, and are then gone. Returns how many rows have an error."""
        errors = 0
        with writing(self.out), whole_file(self.out) as temporary, self._into(temporary) as write:
            for first in range(0, self.total, ROWS):
                table = self.parquet.read_table(self._path(range(first, self.total)))
                errors += len(table) - table["error"].null_count
                write(table)
        gone = self.out.with_name(f".{self.out.name}.gone")
        self.folder.rename(gone)  # at once: half of the parts would look like work to do
        fsync(self.out.parent)
        shutil.rmtree(gone, ignore_errors=True)
        return errors

    @contextmanager
    def _into(self, path: Path) -> Iterator[Callable[[Any], None]]:
        """A function that appends a part's table to the output, which has the ending of `out`."""
        ending = self.out.suffix.lower()
        if ending == ".parquet":
            with self.parquet.ParquetWriter(path, self.schema, compression="zstd") as writer:
                yield writer.write_table
        else:
            with rows_into(path, ending, self.top) as write:
                yield lambda table: write(table.to_pylist())
