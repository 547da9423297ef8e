"""Hugging Face datasets, through their own library: hf:NAME or hf:NAME:CONFIGURATION."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from allmlp.data.columns import Columns, classes_and_labels, columns_of, without_label
from allmlp.data.extras import needed
from allmlp.data.images import Images, Indices
from allmlp.data.names import few, split_in
from allmlp.data.parts import Part, Parts, checked, parts_of
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage, decode_image
from allmlp.pixels.reading import Reading

PREFIX = "hf:"


def open_hub(spec: str, *, quiet: bool = False) -> Parts:
    """The parts of a data set, fetched on first use into the library's own cache. Raises DataError."""
    name, _, configuration = spec.removeprefix(PREFIX).partition(":")
    library = needed("datasets", "hub", spec)
    try:
        splits = library.load_dataset(name, configuration or None)
    except Exception as error:  # the library's, the network's and the data set's own
        what = (str(error).splitlines() or [""])[0][:300]
        raise DataError(
            f"{spec} cannot be opened: {type(error).__name__}: {what}",
            hint="check the name, NAME:CONFIGURATION where it has several, and the network",
        ) from None
    of: dict[str, str] = {}
    for split in splits:
        of.setdefault(split_in(split) or ("train" if len(splits) == 1 else "others"), split)
    first = of.pop("others", None)
    if first is not None:
        of.setdefault("train", first)
    others = [split for split in splits if split not in of.values()]
    notes = (f"{few(others)} beside {few(of.values())} passed over",) if others else ()
    openers = {part: partial(_listed, splits[split], f"{spec} ({split})", quiet) for part, split in of.items()}
    return parts_of(openers, title=name.rsplit("/", 1)[-1], place=spec, split="the validation split", notes=notes)


def _listed(rows: Any, place: str, quiet: bool) -> Part:
    columns = columns_of(rows.features.to_dict(), place)
    classes, labels = classes_and_labels(list(rows[columns.label]), columns.classes, place)
    images = HubImages(_encoded(rows, columns), columns.image, labels, place).subset(np.flatnonzero(labels >= 0))
    return checked(Part(place=place, classes=classes, images=images, passed_over=without_label(labels)), quiet=quiet)


def _encoded(rows: Any, columns: Columns) -> Any:
    """The pictures' column alone, as bytes: decoding is ours."""
    library = needed("datasets", "hub", "this data set")
    return rows.select_columns([columns.image]).cast_column(columns.image, library.Image(decode=False))


class HubImages(Images):
    """Rows of a table that the library keeps on disk."""

    def __init__(self, rows: Any, column: str, labels: Indices, title: str, numbers: Indices | None = None) -> None:
        self.rows, self.column, self.labels, self.title = rows, column, labels, title
        self.numbers = np.arange(len(labels)) if numbers is None else numbers

    def open(self, index: int, wanted: Reading | int) -> Image.Image:
        return decode_image(self.content(index), self.name(index), wanted)

    def content(self, index: int) -> bytes:
        try:
            value = self.rows[int(self.numbers[index])][self.column] or {}
            return value.get("bytes") or (Path(value["path"]).read_bytes() if value.get("path") else b"")
        except OSError as error:
            raise UnreadableImage(self.name(index), f"{type(error).__name__}: {error.strerror}") from None

    def name(self, index: int) -> str:
        return f"{self.title}#{self.numbers[index]}"

    def subset(self, indices: Indices) -> "HubImages":
        return HubImages(self.rows, self.column, self.labels[indices], self.title, self.numbers[indices])
