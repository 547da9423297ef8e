"""What a data set is made of: sizes of its pictures, and pictures that are there more than once."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from hashlib import blake2b
from statistics import median
from typing import Any

from allmlp.data.images import Images, Source
from allmlp.data.progress import watched
from allmlp.pixels.read import UnreadableImage, probe_content

MOST = 100_000
"""Larger sets are not read as a whole: of so many images at even distances there are sizes, and no word on duplicates."""
COMMON, LISTED = 5, 20
"""Sizes and duplicates that are listed; all are counted."""


@dataclass(frozen=True, kw_only=True)
class Looked:
    """One image."""

    part: str
    """"train", "val" or "test"."""
    label: int
    name: str
    digest: bytes
    """Of the file, or of the pixels where there is no file."""
    size: tuple[int, int]
    """(width, height)"""


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """Exact ones: the same bytes."""

    held_out: int
    """Validation and test images that are training images, too: the model may know them by heart."""
    repeated: int
    """Images beyond the first of each group within one part."""
    contradictory: int
    """Groups whose images are of different classes."""
    examples: list[list[str]]
    """The names of some groups: those across parts first, then contradictions."""


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


def duplicates(looked: Iterable[Looked]) -> Duplicates:
    """Groups of images with the same bytes, counted."""
    groups: dict[bytes, list[Looked]] = defaultdict(list)
    for one in looked:
        groups[one.digest].append(one)
    several = [group for group in groups.values() if len(group) > 1]
    across = [group for group in several if len({one.part for one in group}) > 1]
    torn = [group for group in several if len({one.label for one in group}) > 1]
    shown = {id(group): group for group in (*across, *torn, *several)}
    return Duplicates(
        held_out=sum(
            sum(one.part != "train" for one in group) for group in across if any(one.part == "train" for one in group)
        ),
        repeated=sum(count - 1 for group in several for count in Counter(one.part for one in group).values()),
        contradictory=len(torn),
        examples=[[one.name for one in group[:4]] for group in list(shown.values())[:LISTED]],
    )
