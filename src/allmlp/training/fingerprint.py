"""Which images a run was begun with: a digest of their names, sizes, classes and order, and a mark of each to say what changed.

Names are those below the data's own folder, which may move. Sizes are bytes of files, or of members of an archive; of arrays,
check sums. Nothing is decoded: a million images take seconds.
"""

import hashlib
import os
from collections.abc import Sequence
from typing import Any
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from allmlp.data.images import ArrayImages, Images, Indices, Source
from allmlp.errors import RunError
from allmlp.files import writing
from allmlp.run import Run, read_lines
from allmlp.weights.files import read_tensors, write_tensors

MOST = 5_000_000
"""Of more images no marks are kept, eight bytes for each; the digest is."""
CHUNK = 10_000

Marks = NDArray[np.uint32]  # images × 2: a check sum of class and name, and the lowest bits of the size
SPLITS = ("train", "val")


class Fingerprint:
    """Of the training and validation images of a source."""

    def __init__(self, source: Source) -> None:
        self.splits: tuple[Images, Images] = (source.train, source.val)
        self.root = _root(self.splits)
        digest = hashlib.sha256()
        self.marks = {name: self._marks(images, name, digest) for name, images in zip(SPLITS, self.splits, strict=True)}
        self.digest = digest.hexdigest()

    def keep(self, run: Run) -> dict[str, str]:
        """Write the marks into the run folder. Returns what data.json says."""
        if sum(map(len, self.marks.values())) <= MOST:
            with writing(run.images):
                write_tensors(run.images, {name: torch.from_numpy(found.view(np.int32)) for name, found in self.marks.items()})
        return {"digest": self.digest}

    def refuse_other(self, run: Run, digest: str, title: str) -> None:
        """Raises RunError, which says what changed, where these are not the images of that digest.

        A file that could not be read when the run met it may have been replaced.
        """
        if digest == self.digest:
            return
        changes = self._changes(run)
        if changes == []:
            return
        said = "; ".join(changes) if changes else "other names, sizes, classes, or another order"
        raise RunError(
            f"the images of {title} are not those this run began with: {said}",
            hint="restore them, or train again into another folder",
        )

    def _marks(self, images: Images, split: str, digest: Any) -> Marks:
        sizes, found = _sizes(images), np.empty((len(images), 2), dtype=np.uint32)
        skipped = len(self.root)
        digest.update(split.encode())
        for start in range(0, len(images), CHUNK):
            lines = []
            for index in range(start, min(start + CHUNK, len(images))):
                named = b"%d/%s" % (images.labels[index], images.name(index)[skipped:].encode(errors="surrogateescape"))
                found[index] = crc32(named), sizes[index] & 0xFFFFFFFF
                lines.append(b"%s\0%d\n" % (named, sizes[index]))
            digest.update(b"".join(lines))
        return found

    def _changes(self, run: Run) -> list[str] | None:
        """What changed, in words: nothing that matters, or something that nobody can tell, which is None."""
        before = _kept(run)
        if before is None:
            return None
        known = {name: dict(zip(found[:, 0].tolist(), found[:, 1].tolist(), strict=True)) for name, found in before.items()}
        damaged = {line.get("path") for line in read_lines(run.unreadable)}
        new: list[str] = []
        moved: list[str] = []
        changed: list[str] = []
        replaced = 0
        for name, other, images in zip(SPLITS, SPLITS[::-1], self.splits, strict=True):
            for index, (mark, size) in enumerate(self.marks[name].tolist()):
                was = known[name].get(mark)
                if was == size:
                    continue
                if was is not None and images.name(index) in damaged:
                    replaced += 1
                    continue
                (changed if was is not None else moved if mark in known[other] else new).append(images.name(index))
        now = {mark for found in self.marks.values() for mark in found[:, 0].tolist()}
        gone = sum(mark not in now for found in known.values() for mark in found)
        told = [
            _said(new, "is new, or has another class", "are new, or have another class"),
            f"{gone:,} {'is' if gone == 1 else 'are'} gone" if gone else "",
            _said(moved, "moved between training and validation", "moved between training and validation"),
            _said(changed, "has another size", "have other sizes"),
        ]
        found = [words for words in told if words]
        same_order = all(np.array_equal(before[name][:, 0], self.marks[name][:, 0]) for name in SPLITS)
        if found or not same_order:
            return found or ["their order is another"]
        return [] if replaced else None


def _root(splits: Sequence[Images]) -> str:
    """What all names have in common, up to the last folder of it: it begins the least name as it does the largest."""
    names = [images.name(index) for images in splits for index in range(len(images))]
    shared = os.path.commonprefix([min(names), max(names)])  # noqa: RUF071 - cut to whole folders below
    return shared[: shared.rfind("/") + 1]


def _kept(run: Run) -> dict[str, Marks] | None:
    if not run.images.is_file():
        return None
    found = {name: tensor.numpy().view(np.uint32) for name, tensor in read_tensors(run.images).items()}
    right = found.keys() == set(SPLITS) and all(marks.ndim == 2 and marks.shape[1] == 2 for marks in found.values())
    return found if right else None


def _said(names: list[str], one: str, many: str) -> str:
    if not names:
        return ""
    return f"{len(names):,} {one if len(names) == 1 else many}, such as {names[0]}"


def _sizes(images: Images) -> Indices:
    """A number of each image that changes when its content does, as far as that is cheap to know: bytes of its file, check
    sums of images in memory, which have one size; 0 where nothing is known."""
    known = images.sizes()
    if known is not None:
        return known
    if isinstance(images, ArrayImages):
        return np.array([crc32(image.tobytes()) for image in images.pixels], dtype=np.int64)
    return np.zeros(len(images), dtype=np.int64)
