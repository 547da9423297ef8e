"""iNaturalist as its competitions give it: one tree of pictures, and a list of those for training and for validation."""

import json
from pathlib import Path
from typing import Any

import numpy as np

from allmlp.data.images import FileImages
from allmlp.data.names import is_image
from allmlp.errors import DataError

MOST_BYTES = 1_000_000_000
"""A longer list is refused unread."""


def tree(found: Any) -> FileImages:
    """The pictures of torchvision's INaturalist, which has them in no order."""
    root, folders = Path(found.root), found.all_categories
    index = sorted((number, name) for number, name in found.index if is_image(name))
    return FileImages([str(root / folders[number] / name) for number, name in index], [number for number, _ in index])


def list_of(root: Path, part: str, year: str) -> set[str]:
    """What train2018.json, say, names: the last three parts of each path, such as Plantae/7477/0a1b.jpg. Raises DataError."""
    path = root / f"{part}{year}.json"
    if not path.is_file():
        raise DataError(
            f"{path} is not there, which says which of iNaturalist's images are for {'training' if part == 'train' else part}",
            hint=f"fetch {path.name} of the {year} competition (github.com/visipedia/inat_comp) into that folder",
        )
    if path.stat().st_size > MOST_BYTES:
        raise DataError(f"{path} has {path.stat().st_size:,} bytes", hint="it has a tenth of that: fetch it again")
    try:
        return {_end(str(image["file_name"])) for image in json.loads(path.read_bytes())["images"]}
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{path} is no list of iNaturalist's images", hint="fetch it again") from None


def chosen(images: FileImages, names: set[str], place: str) -> FileImages:
    """The images that a list names. Raises DataError where some of them are missing."""
    ends = [_end(path) for path in images.paths]
    gone = sorted(names - set(ends))
    if gone:
        raise DataError(
            f"{len(gone)} images that the list of {place} names are not there, such as {gone[0]}", hint="unpack all of them"
        )
    return images.subset(np.array([i for i, end in enumerate(ends) if end in names], dtype=np.int64))


def _end(path: str) -> str:
    return "/".join(path.split("/")[-3:])
