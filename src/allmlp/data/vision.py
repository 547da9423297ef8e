"""Data sets that torchvision fetches: torchvision:CIFAR10, or torchvision:CIFAR10@FOLDER to keep the files there."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data.images import ArrayImages, FileImages, Images
from allmlp.data.parts import Part, Parts, checked, parts_of
from allmlp.errors import DataError, one_of
from allmlp.files import cache_folder

PREFIX = "torchvision:"
Arguments = dict[str, Any]


def _flag() -> dict[str, Arguments]:
    return {"train": {"train": True}, "test": {"train": False}}


def _split(*, train: str = "train", val: str | None = None, test: str | None = None) -> dict[str, Arguments]:
    names = {"train": train, "val": val, "test": test}
    return {part: {"split": name} for part, name in names.items() if name is not None}


SETS: dict[str, dict[str, Arguments]] = {
    "CIFAR10": _flag(),
    "CIFAR100": _flag(),
    "Country211": _split(val="valid", test="test"),
    "DTD": _split(val="val", test="test"),
    "EuroSAT": {"train": {}},
    "FashionMNIST": _flag(),
    "FGVCAircraft": _split(val="val", test="test"),
    "Flowers102": _split(val="val", test="test"),
    "Food101": _split(test="test"),
    "GTSRB": _split(test="test"),
    "Imagenette": _split(val="val"),
    "KMNIST": _flag(),
    "MNIST": _flag(),
    "OxfordIIITPet": _split(train="trainval", test="test"),
    "RenderedSST2": _split(val="val", test="test"),
    "STL10": _split(test="test"),
    "SUN397": {"train": {}},
    "SVHN": _split(test="test"),
    "USPS": _flag(),
}
"""Those of images with one class each: part → how torchvision is asked for it."""


def open_vision(spec: str, *, quiet: bool = False) -> Parts:
    """The parts of a data set, fetched on first use into its folder or the cache folder. Raises DataError."""
    name, _, folder = spec.removeprefix(PREFIX).partition("@")
    if name not in SETS:
        raise DataError(f"torchvision has no pictures with classes called {name!r}", mend=one_of(SETS, name))
    root = Path(folder).expanduser() if folder else cache_folder() / "torchvision"
    openers = {
        part: partial(_listed, name, root, arguments, f"{spec} ({part})", quiet) for part, arguments in SETS[name].items()
    }
    grey = 1 if name in ("MNIST", "FashionMNIST", "KMNIST", "USPS") else 3
    return parts_of(openers, title=name.lower(), place=spec, split="torchvision's validation images", in_chans=grey)


def _listed(name: str, root: Path, arguments: Arguments, place: str, quiet: bool) -> Part:
    from torchvision import datasets

    try:
        root.mkdir(parents=True, exist_ok=True)
        found = getattr(datasets, name)(str(root), download=True, **arguments)
    except (OSError, RuntimeError, ImportError) as error:
        what = (str(error).splitlines() or [""])[0][:300]
        raise DataError(
            f"{place} could not be fetched: {type(error).__name__}: {what}",
            mend=f"connect to the network, or put its files into {root} as torchvision lays them",
        ) from None
    images = _images(found, name.lower())
    return checked(Part(place=place, classes=_classes(found, images), images=images), quiet=quiet)


def _images(found: Any, title: str) -> Images:
    """torchvision's lists of files and labels, or its arrays, under the names that its sets use."""
    labels = next((getattr(found, name) for name in ("_labels", "targets", "labels") if hasattr(found, name)), None)
    pairs = getattr(found, "_samples", None) or getattr(found, "samples", None)
    if pairs is not None:
        return FileImages([str(path) for path, _ in pairs], [label for _, label in pairs])
    if hasattr(found, "_image_files"):
        return FileImages([str(path) for path in found._image_files], np.asarray(labels))
    return ArrayImages(_pixels(found.data), np.asarray(labels), title)


def _pixels(data: Any) -> NDArray[np.uint8]:  # n h w, n h w 3 or n 3 h w → n h w or n h w 3
    pixels = np.asarray(data)
    first = pixels.ndim == 4 and pixels.shape[1] == 3 != pixels.shape[3]
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1) if first else pixels)


def _classes(found: Any, images: Images) -> tuple[str, ...]:
    """Their names, the first of several for one class; numbers where torchvision has none."""
    names: Sequence[Any] = getattr(found, "classes", None) or range(int(images.labels.max(initial=0)) + 1)
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)
