"""Fashion-MNIST (Xiao, Rasul, Vollgraf, 2017; MIT licence): a subset that comes with allmlp, and the whole."""

# axes: n images, h w pixels

import gzip
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from allmlp.data.images import ArrayImages, Source
from allmlp.data.parts import Part, Parts
from allmlp.errors import DataError
from allmlp.files import cache_folder

CLASSES = ("t-shirt", "trouser", "pullover", "dress", "coat", "sandal", "shirt", "sneaker", "bag", "ankle boot")
EMBEDDED = Path(__file__).parent / "embedded"
DEBIAN = Path("/usr/share/datasets/fashion-mnist")
"""Where Debian's package dataset-fashion-mnist keeps the idx files."""
SIZE = (28, 28)


def embedded() -> Source:
    """900 + 100 images per class of the training split, in the package."""
    train, val = (
        ArrayImages(*_pair(EMBEDDED, f"{part}-images-idx3-ubyte.gz", f"{part}-labels-idx1-ubyte.gz"), f"fashion-mnist-{part}")
        for part in ("train", "val")
    )
    return Source(
        title="fashion-mnist (embedded subset)",
        classes=CLASSES,
        train=train,
        val=val,
        split="100 images per class, fixed when the subset was made",
        in_chans=1,
        img_size=SIZE,
    )


def whole() -> Parts:
    """60,000 + 10,000 images: from Debian's package where it is installed, else torchvision's download."""
    folder = DEBIAN if (DEBIAN / "train-images-idx3-ubyte.gz").is_file() else _downloaded()

    def part(begin: str, name: str) -> Part:
        images = ArrayImages(*_pair(folder, f"{begin}-images-idx3-ubyte.gz", f"{begin}-labels-idx1-ubyte.gz"), name)
        return Part(place=name, classes=CLASSES, images=images)

    return Parts(
        title="fashion-mnist",
        train=partial(part, "train", "fashion-mnist-train"),
        test=partial(part, "t10k", "fashion-mnist-test"),
        in_chans=1,
        img_size=SIZE,
    )


def read_idx(path: Path) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes, gzipped. Raises DataError when it is damaged or of another type."""
    try:
        content = gzip.decompress(path.read_bytes())
        rank = content[3]
        shape = np.frombuffer(content, ">i4", rank, 4)
        if content[:3] != b"\0\0\x08":
            raise ValueError("not unsigned bytes")
        return np.frombuffer(content, np.uint8, offset=4 + 4 * rank).reshape(shape).copy()
    except (OSError, EOFError, ValueError, IndexError) as error:
        raise DataError(f"{path} is not an idx file of bytes: {error}", hint="install or download the data set again") from None


def _pair(folder: Path, images: str, labels: str) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    return read_idx(folder / images), read_idx(folder / labels).astype(np.int64)


def _downloaded() -> Path:
    """torchvision's folder of the idx files, fetched on first use."""
    from torchvision.datasets import FashionMNIST

    root = cache_folder()
    try:
        FashionMNIST(str(root), train=True, download=True)
    except (OSError, RuntimeError) as error:
        raise DataError(
            f"Fashion-MNIST could not be downloaded: {str(error).splitlines()[0].rstrip(': ')}",
            hint="install Debian's package dataset-fashion-mnist, or leave DATA away for the embedded subset",
        ) from None
    return root / "FashionMNIST" / "raw"
