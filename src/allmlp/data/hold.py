"""Small pictures of one size, decoded once and held in memory, where whole batches of them are changed at a time."""

# axes: n images, h w pixels, c channels

import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from allmlp.data.damage import hint_for
from allmlp.data.images import ArrayImages, Images, Indices, Source
from allmlp.data.progress import watched
from allmlp.data.transforms import SMALL
from allmlp.errors import DataError
from allmlp.pixels.read import UnreadableImage
from allmlp.pixels.reading import Reading, as_reading

MOST_BYTES = 2_000_000_000
"""Larger sets are read picture by picture."""
TRIED = 100
"""When so many pictures in a row cannot be read, the set is not one to hold."""
CHUNK = 1024

Broken = tuple[int, UnreadableImage]
"""(index, why)"""


class HeldImages(ArrayImages):
    """Images in memory that keep the names of where they came from."""

    def __init__(self, pixels: NDArray[np.uint8], origin: Images) -> None:
        super().__init__(pixels, origin.labels, "")
        self.origin = origin

    def name(self, index: int) -> str:
        return self.origin.name(index)

    def sizes(self) -> Indices | None:
        return self.origin.sizes()

    def subset(self, indices: Indices) -> "HeldImages":
        return HeldImages(self.pixels[indices], self.origin.subset(indices))


def held(source: Source, wanted: Reading | int | None = None, *, quiet: bool = False) -> Source:
    """The source with its training and validation images decoded into memory.

    wanted: how they are decoded; in the source's channels unless given.

    Only where all of them have one size of at most SMALL pixels a side and take at most MOST_BYTES; else the source
    as it is. Images that cannot be decoded move to `left_out`. Raises DataError when that empties a class.
    """
    parts = (source.train, source.val)
    if all(isinstance(part, ArrayImages) for part in parts):
        return source
    reading = as_reading(source.in_chans if wanted is None else wanted)
    size = _first_size(source.train, reading)
    if size is None or max(size) > SMALL or sum(map(len, parts)) * size[0] * size[1] * reading.in_chans > MOST_BYTES:
        return source
    made, left_out, failures = [], list(source.left_out), 0
    for part, what in zip(parts, ("training", "validation"), strict=True):
        found = _decoded(part, size, reading, f"reading {what} images", quiet)
        if found is None:
            return source
        images, bad = found
        _refuse_empty(images, part, bad, source.classes)
        made.append(images)
        left_out += [(error.path, error.reason) for _, error in bad]
        failures += len(bad)
    return replace(
        source,
        train=made[0],
        val=made[1],
        img_size=(size[1], size[0]),
        left_out=left_out,
        bad_share=source.bad_share_with(failures),
    )


def _first_size(images: Images, reading: Reading) -> tuple[int, int] | None:
    """(width, height) of the first image that can be read."""
    for index in range(min(len(images), TRIED)):
        try:
            return images.open(index, reading).size
        except UnreadableImage:
            continue
    return None


def _decoded(
    images: Images, size: tuple[int, int], reading: Reading, what: str, quiet: bool
) -> tuple[HeldImages, list[Broken]] | None:
    """Every image that can be read, and those that cannot; None as soon as one has another size."""
    width, height = size
    pixels = np.empty((len(images), height, width) + ((reading.in_chans,) if reading.in_chans > 1 else ()), dtype=np.uint8)

    def fill(index: int) -> bool | Broken:
        """Whether the size is right, which is known only after decoding: cameras' pictures may have to be turned."""
        try:
            image = images.open(index, reading)
        except UnreadableImage as error:
            return index, error
        if image.size != size:
            return False
        pixels[index] = np.asarray(image)
        return True

    bad: list[Broken] = []
    with ThreadPoolExecutor(min(os.cpu_count() or 1, 8)) as pool:
        chunks = (range(i, min(i + CHUNK, len(images))) for i in range(0, len(images), CHUNK))
        results = (result for chunk in chunks for result in pool.map(fill, chunk))
        for result in watched(results, total=len(images), what=what, quiet=quiet):
            if result is False:
                return None
            if result is not True:
                bad.append(result)
    made = HeldImages(pixels, images)
    gone = [index for index, _ in bad]
    return (made.subset(np.delete(np.arange(len(images)), gone)) if bad else made), bad


def _refuse_empty(images: Images, before: Images, bad: list[Broken], classes: tuple[str, ...]) -> None:
    """Raises DataError for a class whose every image turned out to be unreadable."""
    counts, had = images.counts(len(classes)), before.counts(len(classes))
    for number, name in enumerate(classes):
        if had[number] and not counts[number]:
            first = next(error for index, error in bad if before.labels[index] == number)
            raise DataError(
                f"class {name!r} has no readable image ({had[number]} cannot be read, such as {first.path}: {first.reason})",
                hint=hint_for([(error.path, error.reason) for i, error in bad if before.labels[i] == number])
                or "replace the damaged files or remove the class",
            )
