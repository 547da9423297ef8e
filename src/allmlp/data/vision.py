"""Data sets that torchvision fetches: torchvision:CIFAR10, or torchvision:CIFAR10@FOLDER to keep the files there."""

from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from allmlp.data import naturalist
from allmlp.data.extras import needed
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
    "INaturalist2018": {"train": {"version": "2018"}, "val": {"version": "2018"}},
    "INaturalist2019": {"train": {"version": "2019"}, "val": {"version": "2019"}},
    "INaturalist2021": {"train": {"version": "2021_train"}, "val": {"version": "2021_valid"}},
    "KMNIST": _flag(),
    "MNIST": _flag(),
    "OxfordIIITPet": _split(train="trainval", test="test"),
    "RenderedSST2": _split(val="val", test="test"),
    "StanfordCars": _split(test="test"),
    "STL10": _split(test="test"),
    "SUN397": {"train": {}},
    "SVHN": _split(test="test"),
    "USPS": _flag(),
}
"""Those of images with one class each: part → how torchvision is asked for it."""
MATLAB = ("Flowers102", "StanfordCars", "SVHN")
"""Those whose labels are in Matlab's files."""
LISTED = ("INaturalist2018", "INaturalist2019")
"""Those whose training and validation images lie in one tree, told apart by train2018.json and val2018.json, say."""


def open_vision(spec: str, *, quiet: bool = False) -> Parts:
    """The parts of a data set, fetched on first use into its folder or the cache folder. Raises DataError."""
    name, _, folder = spec.removeprefix(PREFIX).partition("@")
    if name not in SETS:
        raise DataError(f"torchvision has no pictures with classes called {name!r}", hint=one_of(SETS, name))
    root = Path(folder).expanduser() if folder else cache_folder() / "torchvision"
    openers = {part: partial(_listed, name, part, root, arguments, spec, quiet) for part, arguments in SETS[name].items()}
    grey = 1 if name in ("MNIST", "FashionMNIST", "KMNIST", "USPS") else 3
    return parts_of(openers, title=name.lower(), place=spec, split="torchvision's validation images", in_chans=grey)


def kind_of(name: str) -> str:
    """What torchvision calls it, without the year."""
    return "INaturalist" if name.startswith("INaturalist") else name


def _listed(name: str, part: str, root: Path, arguments: Arguments, spec: str, quiet: bool) -> Part:
    place = f"{spec} ({part})"
    if name in MATLAB:
        needed("scipy", "vision", place)
    names = naturalist.list_of(root, part, arguments["version"]) if name in LISTED else None
    found = _opened(name, root, arguments, place)
    if kind_of(name) == "INaturalist":
        images: Images = naturalist.tree(found) if names is None else naturalist.chosen(naturalist.tree(found), names, place)
    else:
        images = _images(found, name.lower())
    return checked(Part(place=place, classes=_classes(found, images), images=images), quiet=quiet)


def _opened(name: str, root: Path, arguments: Arguments, place: str) -> Any:
    """torchvision's, fetched where it is not there yet."""
    from torchvision import datasets

    kind = getattr(datasets, kind_of(name))
    try:
        root.mkdir(parents=True, exist_ok=True)
        try:
            return kind(str(root), download=False, **arguments)
        except (OSError, RuntimeError):  # not there, or not whole
            return kind(str(root), download=True, **arguments)
    except (OSError, RuntimeError, ValueError, ImportError) as error:
        what = (str(error).splitlines() or [""])[0][:300]
        raise DataError(
            f"{place} could not be fetched: {type(error).__name__}: {what}",
            hint=f"connect to the network, or put its files into {root} as torchvision lays them",
        ) from None


def _images(found: Any, title: str) -> Images:
    """torchvision's lists of files and labels, or its arrays, under the names that its sets use."""
    labels = next((getattr(found, name) for name in ("_labels", "targets", "labels") if hasattr(found, name)), None)
    pairs = getattr(found, "_samples", None) or getattr(found, "samples", None)
    if pairs is not None:
        return FileImages([str(path) for path, _ in pairs], [label for _, label in pairs])
    files = getattr(found, "_image_files", None) or getattr(found, "_images", None)
    if files is not None:
        return FileImages([str(path) for path in files], np.asarray(labels))
    return ArrayImages(_pixels(found.data), np.asarray(labels), title)


def _pixels(data: Any) -> NDArray[np.uint8]:  # n h w, n h w 3 or n 3 h w → n h w or n h w 3
    pixels = np.asarray(data)
    first = pixels.ndim == 4 and pixels.shape[1] == 3 != pixels.shape[3]
    return np.ascontiguousarray(pixels.transpose(0, 2, 3, 1) if first else pixels)


def _classes(found: Any, images: Images) -> tuple[str, ...]:
    """Their names, the first of several for one class; numbers where torchvision has none."""
    told = getattr(found, "classes", None) or getattr(found, "all_categories", None)
    names: Sequence[Any] = told or range(int(images.labels.max(initial=0)) + 1)
    return tuple(name[0] if isinstance(name, tuple) else str(name) for name in names)
