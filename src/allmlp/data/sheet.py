"""What a data set is made of: sizes of its pictures, and pictures that are there more than once."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from statistics import median
from typing import Any

from allmlp.data.duplicates import Copy, duplicates
from allmlp.data.images import Images, Source
from allmlp.data.progress import watched
from allmlp.pixels.read import UnreadableImage, probe_content

MOST = 100_000
"""Larger sets are not read as a whole: of so many images at even distances there are sizes, and no word on duplicates."""
COMMON = 5
"""Sizes that are listed; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Looked(Copy):
    """One image, with its size."""

    size: tuple[int, int]
    """(width, height)"""


def data_sheet(source: Source, *, quiet: bool = False) -> dict[str, Any]:
    """Plain values for JSON: "images", "sizes", and "duplicates" unless there are more than `MOST` images.

    Every image's file is read once. What cannot be read is left out.
    """
    parts = {"train": source.train, "val": source.val} | ({"test": source.test} if source.test is not None else {})
    total = sum(map(len, parts.values()))
    if total > MOST:
        parts = {name: images.spread(max(MOST * len(images) // total, 1)) for name, images in parts.items()}
    places = [(name, images, i) for name, images in parts.items() for i in range(len(images))]
    found = [look(*place) for place in watched(places, total=len(places), what="reading images", quiet=quiet)]
    looked = [one for one in found if one is not None]
    return {
        "images": len(looked),
        "sizes": sizes([one.size for one in looked]),
        "duplicates": asdict(duplicates(looked)) if total <= MOST else None,
    }


def look(part: str, images: Images, index: int) -> Looked | None:
    """None for what cannot be read."""
    name = images.name(index)
    try:
        content = images.content(index)
        if content is None:
            picture = images.open(index, images.in_chans)
            content, size = picture.tobytes(), picture.size
        else:
            size = probe_content(content, name).size
    except UnreadableImage:
        return None
    digest = blake2b(content, digest_size=16, person=b"%dx%d" % size).digest()
    return Looked(part=part, label=int(images.labels[index]), name=name, digest=digest, size=size)


def sizes(found: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """Least, median and most of (width, height), and the most common with their numbers of images."""
    if not found:
        return {"width": None, "height": None, "different": 0, "common": []}
    counted = Counter(found)
    width, height = ([min(side), median(side), max(side)] for side in zip(*found, strict=True))
    common = [{"width": w, "height": h, "images": count} for (w, h), count in counted.most_common(COMMON)]
    return {"width": width, "height": height, "different": len(counted), "common": common}
