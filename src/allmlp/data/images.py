"""A list of labelled images, in files or in memory."""

# axes: n images, h w pixels, c channels

import os
import stat
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import copy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from allmlp.data.duplicates import Duplicates
from allmlp.pixels.channels import as_channels
from allmlp.pixels.depth import Range
from allmlp.pixels.read import UnreadableImage, decode_image, probe_content, probe_image, read_image
from allmlp.pixels.reading import Reading

Indices = NDArray[np.int64]
HEADER = 65536
"""Bytes of a picture file that nearly always hold its size."""


class Images(ABC):
    """Images that are opened one by one; `labels[i]` is the class number of image i."""

    labels: Indices
    in_chans: int = 3
    """What they are by nature: 1 grey, 3 colour."""

    def __len__(self) -> int:
        return len(self.labels)

    @abstractmethod
    def open(self, index: int, wanted: Reading | int) -> Image.Image:
        """8-bit grey or RGB; wanted: 1 or 3, or more than that. Raises UnreadableImage."""

    @abstractmethod
    def name(self, index: int) -> str:
        """A path, or what stands for one."""

    @abstractmethod
    def subset(self, indices: Indices) -> "Images":
        """These images alone, in this order."""

    def spread(self, most: int) -> "Images":
        """At most so many of them, at even distances."""
        return self if len(self) <= most else self.subset(np.linspace(0, len(self) - 1, most).round().astype(np.int64))

    def content(self, index: int) -> bytes | None:
        """The bytes of its picture file; None where there are only pixels. Raises UnreadableImage."""
        return None

    def sizes(self) -> Indices | None:
        """Bytes of each image file, -1 where it cannot be told; None where they are not at hand."""
        return None

    def head(self, index: int, length: int) -> bytes:
        """The first bytes of its file, or all of its pixels where there is no file. Raises UnreadableImage."""
        content = self.content(index)
        return self.open(index, self.in_chans).tobytes() if content is None else content[:length]

    def probe(self, index: int) -> None:
        """Raises UnreadableImage for what its first bytes show to be no picture."""
        self.open(index, 3)

    def relabelled(self, labels: Sequence[int] | Indices) -> Self:
        """The same images as other classes."""
        other = copy(self)
        other.labels = np.asarray(labels, dtype=np.int64)
        return other

    def counts(self, classes: int) -> list[int]:
        """Images per class."""
        return np.bincount(self.labels, minlength=classes).tolist()


class FileImages(Images):
    """Images in files."""

    def __init__(self, paths: Sequence[str] | NDArray[np.object_], labels: Sequence[int] | Indices) -> None:
        self.paths = np.array(paths, dtype=object)
        self.labels = np.asarray(labels, dtype=np.int64)

    def open(self, index: int, wanted: Reading | int) -> Image.Image:
        return read_image(self.paths[index], wanted)

    def content(self, index: int) -> bytes:
        path = self.paths[index]
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UnreadableImage(path, f"{type(error).__name__}: {error.strerror}") from None

    def head(self, index: int, length: int) -> bytes:
        path = self.paths[index]
        try:
            with Path(path).open("rb") as file:
                return file.read(length)
        except OSError as error:
            raise UnreadableImage(path, f"{type(error).__name__}: {error.strerror}") from None

    def probe(self, index: int) -> None:
        probe_image(self.paths[index])

    def name(self, index: int) -> str:
        return os.fspath(self.paths[index])

    def sizes(self) -> Indices:
        chunks = [self.paths[start : start + 1000] for start in range(0, len(self), 1000)]
        with ThreadPoolExecutor(min(16, 1 + len(chunks))) as pool:  # a network's file system answers many at once
            found = [value for values in pool.map(lambda paths: list(map(_size, paths)), chunks) for value in values]
        return np.array(found, dtype=np.int64)

    def subset(self, indices: Indices) -> "FileImages":
        return FileImages(self.paths[indices], self.labels[indices])


def _size(path: str) -> int:
    try:
        status = os.stat(path)  # noqa: PTH116 - called for every image
    except OSError:
        return -1
    return status.st_size if stat.S_ISREG(status.st_mode) else -1


class PackedImages(Images):
    """Images that lie inside larger files, such as tar archives, each at an offset."""

    def __init__(
        self,
        files: Sequence[str],
        places: NDArray[np.int64],
        names: Sequence[str] | NDArray[np.object_],
        labels: Sequence[int] | Indices,
        called: Sequence[str] | None = None,
    ) -> None:
        """places: n × 3, the number of the file, the offset and the length in bytes. called: the files, for people."""
        self.files, self.places, self.called = tuple(files), places, tuple(called or files)
        self.names = np.array(names, dtype=object)
        self.labels = np.asarray(labels, dtype=np.int64)

    def open(self, index: int, wanted: Reading | int) -> Image.Image:
        return decode_image(self.content(index), self.name(index), wanted)

    def content(self, index: int) -> bytes:
        return self._read(index, int(self.places[index, 2]))

    def sizes(self) -> Indices:
        return self.places[:, 2]

    def head(self, index: int, length: int) -> bytes:
        return self._read(index, min(length, int(self.places[index, 2])))

    def probe(self, index: int) -> None:
        length = int(self.places[index, 2])
        try:
            probe_content(self._read(index, min(length, HEADER)), self.name(index))
        except UnreadableImage:
            if length <= HEADER:
                raise
            probe_content(self.content(index), self.name(index))

    def _read(self, index: int, length: int) -> bytes:
        number, offset, _ = self.places[index].tolist()
        try:
            with open(self.files[number], "rb") as file:  # noqa: PTH123 - called for every image: half of Path's time
                file.seek(offset)
                content = file.read(length)
        except OSError as error:
            raise UnreadableImage(self.name(index), f"{type(error).__name__}: {error.strerror}") from None
        if len(content) < length:
            raise UnreadableImage(self.name(index), "the file it lies in is cut short")
        return content

    def name(self, index: int) -> str:
        return f"{self.called[self.places[index, 0]]}:{self.names[index]}"

    def subset(self, indices: Indices) -> "PackedImages":
        return type(self)(self.files, self.places[indices], self.names[indices], self.labels[indices], self.called)


class ArrayImages(Images):
    """Images of one size in memory: pixels n × h × w (grey) or n × h × w × 3, of uint8."""

    def __init__(
        self, pixels: NDArray[np.uint8], labels: Sequence[int] | Indices, title: str, numbers: Indices | None = None
    ) -> None:
        self.pixels = pixels
        self.in_chans = 1 if pixels.ndim == 3 else pixels.shape[3]
        self.labels = np.asarray(labels, dtype=np.int64)
        self.title = title
        self.numbers = np.arange(len(labels)) if numbers is None else numbers
        """Position of each image in the file it came from."""

    @property
    def img_size(self) -> tuple[int, int]:
        """(height, width)"""
        return self.pixels.shape[1], self.pixels.shape[2]

    def open(self, index: int, wanted: Reading | int) -> Image.Image:
        return as_channels(Image.fromarray(self.pixels[index]), wanted)

    def probe(self, index: int) -> None:
        """What is in memory can be read."""

    def name(self, index: int) -> str:
        return f"{self.title}#{self.numbers[index]}"

    def subset(self, indices: Indices) -> "ArrayImages":
        return ArrayImages(self.pixels[indices], self.labels[indices], self.title, self.numbers[indices])


@dataclass(frozen=True, kw_only=True)
class Look:
    """What some images of a data set are."""

    images: int
    """How many were looked at and could be read."""
    grey: bool
    """Whether all of them have one channel, besides opacity."""
    deep: int
    """How many have more than 8 bits a channel."""
    value_range: Range | None
    """What the values of deep ones become 0 and 255 by; None where there are none."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A data set: its classes, and the images to train on, to validate on, and to test on at the end."""

    title: str
    classes: tuple[str, ...]
    train: Images
    val: Images
    test: Images | None = None
    split: str
    """In words: how the validation images were chosen."""
    in_chans: int = 3
    """What the images are by nature: 1 grey, 3 colour."""
    img_size: tuple[int, int] | None = None
    """(height, width) where all images have one small size."""
    left_out: list[tuple[str, str]] = field(default_factory=list)
    """(path, reason) of files that look like images and are not."""
    look: Look | None = None
    """What some of the training images are, where somebody looked."""
    bad_share: float = 0.0
    """Which share of the images that is, before any limit."""
    passed_over: Mapping[str, int] = field(default_factory=dict)
    """Ending, or kind → files that are not counted as images at all."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the images were found, a line each."""
    duplicates: Duplicates | None = None
    """Images that are there twice, before any was dropped; None where they were not looked for."""
    dropped: int = 0
    """Training images left out because they are validation or test images as well."""

    @property
    def ignored(self) -> int:
        """Files that are not counted as images at all."""
        return sum(self.passed_over.values())

    def bad_share_with(self, failures: int) -> float:
        """The share that cannot be read when so many more of the training and validation images fail."""
        return 1 - (1 - self.bad_share) * (1 - failures / (len(self.train) + len(self.val)))
