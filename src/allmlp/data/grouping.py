"""Which images have the same bytes: told by their sizes first, then by their first bytes, and only then by all."""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from hashlib import blake2b

import numpy as np

from allmlp.data.duplicates import Copy, Duplicates, duplicates
from allmlp.data.images import Images, Indices
from allmlp.pixels.read import UnreadableImage

HEAD = 4096
"""Bytes that are compared before all are."""


def grouped(splits: Mapping[str, Images], *, most: int | None) -> dict[str, Indices] | None:
    """A number for each image of each split, the same for images with the same bytes.

    most: more images are not looked at, nor are those whose files' sizes are not at hand; None: all are, however long
    that takes. Returns None where nothing was looked at. An image that cannot be read is like no other.
    """
    total = sum(map(len, splits.values()))
    sizes = [images.sizes() for images in splits.values()]
    if most is not None and (total > most or any(each is None for each in sizes)):
        return None
    places = [(images, index) for images in splits.values() for index in range(len(images))]
    known = [size for images, each in zip(splits.values(), sizes, strict=True) for size in _or_alike(each, len(images))]
    with ThreadPoolExecutor(8) as pool:

        def apart(groups: list[list[int]], key: Callable[[Images, int], bytes | None]) -> list[list[int]]:
            """The groups, divided further by a key."""
            members = [place for group in groups for place in group]
            keys = dict(zip(members, pool.map(lambda place: _tried(key, *places[place]), members), strict=True))
            return [finer for group in groups for finer in _alike(group, [keys[place] for place in group])]

        groups = apart(apart(_alike(range(total), known), _head), _whole)
    numbers = np.arange(total)
    for group in groups:
        numbers[group] = group[0]
    ends = np.cumsum([len(images) for images in splits.values()])
    return dict(zip(splits, np.split(numbers, ends[:-1]), strict=True))


def described(splits: Mapping[str, Images], groups: Mapping[str, Indices]) -> Duplicates:
    """The duplicates by the numbers that `grouped` gave."""
    every = np.concatenate([groups[name] for name in splits])
    values, counts = np.unique(every, return_counts=True)
    several = set(values[counts > 1].tolist())
    return duplicates(
        Copy(part=name, label=int(images.labels[i]), name=images.name(i), digest=number.to_bytes(8, "big"))
        for name, images in splits.items()
        for i, number in enumerate(groups[name].tolist())
        if number in several
    )


def _or_alike(sizes: Indices | None, count: int) -> list[int | None]:
    return [0] * count if sizes is None else [None if size < 0 else size for size in sizes.tolist()]


def _alike(members: Sequence[int], keys: Sequence[object]) -> list[list[int]]:
    """Those of one key, where there are several; None is like nothing."""
    found: dict[object, list[int]] = defaultdict(list)
    for place, key in zip(members, keys, strict=True):
        if key is not None:
            found[key].append(place)
    return [group for group in found.values() if len(group) > 1]


def _tried(key: Callable[[Images, int], bytes | None], images: Images, index: int) -> bytes | None:
    try:
        return key(images, index)
    except UnreadableImage:
        return None


def _head(images: Images, index: int) -> bytes:
    return images.head(index, HEAD)


def _whole(images: Images, index: int) -> bytes:
    content = images.content(index)
    if content is None:
        image = images.open(index, images.in_chans)
        return blake2b(image.tobytes(), digest_size=16, person=b"%dx%d" % image.size).digest()
    return blake2b(content, digest_size=16).digest()
