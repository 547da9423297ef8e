"""The index of packed shards: classes, and where in which shard each sample lies. Plain JSON, believed only when whole."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.errors import DataError
from allmlp.files import whole_file
from allmlp.strict_json import to_json

FORMAT = 1
"""Version of the index; a reader refuses a newer one."""
NAME = "index.json"
"""What it is called, beside its shards."""
PARTS = ("train", "val", "test")
KINDS = {"file": str, "part": str, "bytes": int, "sha256": str, "plan": str}
LISTS = {"numbers": int, "names": str, "labels": int, "offsets": int, "lengths": int, "unreadable": list}


@dataclass(frozen=True, kw_only=True)
class Shard:
    """One tar archive of samples. The lists have one value for each sample, in the archive's order."""

    file: str
    """Its name beside the index."""
    part: str
    """"train", "val" or "test"."""
    bytes: int
    sha256: str
    plan: str
    """What decided its content, hashed."""
    numbers: list[int]
    """Place of the sample among all of its part, before packing."""
    names: list[str]
    labels: list[int]
    """Places in the index's classes."""
    offsets: list[int]
    """Where the picture's bytes begin in the archive."""
    lengths: list[int]
    unreadable: list[list[str]]
    """(path, reason) of images that are not in it because of that."""


@dataclass(frozen=True, kw_only=True)
class Index:
    """A packed data set."""

    title: str
    classes: list[str]
    size: int | None
    """Largest shorter side of a picture in pixels; None: all as they were."""
    shards: list[Shard]
    left_out: list[list[str]] = field(default_factory=list)
    """(path, reason) of images that no shard was to have."""

    @property
    def unreadable(self) -> list[tuple[str, str]]:
        """(path, reason) of every image that is missing because of that."""
        lists = [self.left_out, *(shard.unreadable for shard in self.shards)]
        return [(path, reason) for failures in lists for path, reason in failures]

    def counts(self) -> dict[str, dict[str, Any]]:
        """Images of each part, and per class."""
        made: dict[str, dict[str, Any]] = {}
        for part in PARTS:
            labels = [label for shard in self.shards if shard.part == part for label in shard.labels]
            if labels:
                per_class = np.bincount(labels, minlength=len(self.classes))
                made[part] = {"images": len(labels), "per_class": per_class.tolist()}
        return made


def write_index(index: Index, path: Path) -> None:
    """Whole or not at all. Counts stand before the long lists, for people who look."""
    table = asdict(index)
    shards = table.pop("shards")
    with whole_file(path) as temporary:
        temporary.write_text(to_json({"format": FORMAT, **table, "parts": index.counts(), "shards": shards}) + "\n")


def write_shard(shard: Shard, path: Path) -> None:
    """The record of one finished shard, before there is an index."""
    with whole_file(path) as temporary:
        temporary.write_text(to_json(asdict(shard)) + "\n")


def read_shard(path: Path) -> Shard | None:
    """The record of a finished shard; None where it is missing or not whole."""
    try:
        return _shard(json.loads(path.read_bytes()))
    except (OSError, ValueError, RecursionError):
        return None


def read_index(content: bytes, place: str) -> Index:
    """Raises DataError for what is not an index, contradicts itself, or is newer than this allmlp."""
    try:
        table = json.loads(content)
        if not isinstance(table, Mapping) or not isinstance(table.get("format"), int):
            raise ValueError("it is no index")
        if table["format"] > FORMAT:
            raise DataError(f"{place} is of format {table['format']}, this allmlp reads up to {FORMAT}", hint="upgrade allmlp")
        classes, size = table["classes"], table.get("size")
        named = isinstance(classes, list) and all(isinstance(name, str) for name in classes)
        if not named or len(set(classes)) < len(classes) or not isinstance(size, int | None):
            raise ValueError("its classes or sizes make no sense")
        shards = [_shard(value) for value in table["shards"]]
        if any(label >= len(classes) for shard in shards for label in shard.labels):
            raise ValueError("it has labels without a class")
        if len({shard.file for shard in shards}) < len(shards):
            raise ValueError("it names a shard twice")
        left_out = [[str(path), str(reason)] for path, reason in table.get("left_out", ())]
        return Index(title=str(table["title"]), classes=classes, size=size, shards=shards, left_out=left_out)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DataError(f"{place} cannot be used: {error}", hint="pack the data again, or fetch the index again") from None


def _shard(table: Any) -> Shard:
    """Raises ValueError, KeyError or TypeError for what is none."""
    values = {known.name: table[known.name] for known in fields(Shard)}
    for name, kind in KINDS.items():
        if not isinstance(values[name], kind):
            raise ValueError(f"{name} is not of its kind")
    for name, kind in LISTS.items():
        if not isinstance(values[name], list) or not all(isinstance(value, kind) for value in values[name]):
            raise ValueError(f"{name} is no list of its kind")
    shard = Shard(**values)
    columns = (shard.numbers, shard.names, shard.labels, shard.offsets, shard.lengths)
    if len({len(column) for column in columns}) > 1:
        raise ValueError(f"the lists of {shard.file} differ in length")
    if "/" in shard.file or "\\" in shard.file or not shard.file.endswith(".tar") or shard.part not in PARTS:
        raise ValueError(f"{shard.file!r} is no shard")
    if any(min(column, default=0) < 0 for column in (shard.numbers, shard.labels, shard.offsets, shard.lengths)):
        raise ValueError(f"{shard.file} has negative numbers")
    if any(offset + length > shard.bytes for offset, length in zip(shard.offsets, shard.lengths, strict=True)):
        raise ValueError(f"{shard.file} is shorter than its samples")
    return shard


def checksum(path: Path) -> str:
    """SHA-256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
