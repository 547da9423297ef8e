"""Which columns of a table are the picture and its class, from features as Hugging Face writes them."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from allmlp.data.images import Indices
from allmlp.data.names import nfc
from allmlp.errors import DataError

IMAGES = ("image", "img", "jpg", "png", "picture", "photo")
LABELS = ("label", "labels", "cls", "class", "target", "fine_label")


@dataclass(frozen=True)
class Columns:
    """The names of both columns, and of the classes where the labels are numbers that have names."""

    image: str
    label: str
    classes: tuple[str, ...] | None


def columns_of(features: Mapping[str, Any], place: str) -> Columns:
    """features: column → {"_type": "Image"}, {"_type": "ClassLabel", "names": […]}, {"_type": "Value"} and others.

    Raises DataError where no column is a picture, or none its class.
    """
    kinds = {name: feature.get("_type") if isinstance(feature, Mapping) else None for name, feature in features.items()}
    image = _best([name for name, kind in kinds.items() if kind == "Image"], IMAGES)
    named = _best([name for name, kind in kinds.items() if kind == "ClassLabel"], LABELS)
    label = named or next((name for name in LABELS if kinds.get(name) == "Value"), None)
    if image is None or label is None:
        raise DataError(
            f"{place} has no column of {'pictures' if image is None else 'labels'} among {', '.join(features)}",
            hint="name them image and label",
        )
    names = features[label].get("names") if named else None
    return Columns(image, label, tuple(map(str, names)) if names else None)


def classes_and_labels(values: Sequence[Any], names: tuple[str, ...] | None, place: str) -> tuple[tuple[str, ...], Indices]:
    """Labels as numbers or text, None for none → (classes, numbers; -1 for none).

    Classes without an image are left away. Raises DataError for numbers that have no name.
    """
    given = [value for value in values if value is not None and value != -1]
    if names is not None and any(not isinstance(v, int) or not 0 <= v < len(names) for v in given):
        raise DataError(f"{place} has labels outside its {len(names)} classes", hint="correct the labels or the names")
    present = sorted(set(given), key=lambda v: (isinstance(v, str), v))
    called = {value: nfc(names[value] if names is not None else str(value)) for value in present}
    classes = tuple(dict.fromkeys(called.values()))
    number = {name: i for i, name in enumerate(classes)}
    return classes, np.array([number[called[value]] if value in called else -1 for value in values], dtype=np.int64)


def without_label(labels: Indices) -> Counter[str]:
    """Rows of no class, as something that is passed over."""
    return Counter({"rows without a label": int((labels < 0).sum())})


def image_column(features: Mapping[str, Any], place: str) -> str:
    """The column of pictures, whether there are labels or not. Raises DataError where there is none."""
    image = _best([name for name, feature in features.items() if feature.get("_type") == "Image"], IMAGES)
    if image is None:
        raise DataError(f"{place} has no column of pictures among {', '.join(features)}", hint="name it image")
    return image


def _best(names: list[str], wanted: tuple[str, ...]) -> str | None:
    """The one that is called as expected, else the first."""
    return next((name for name in wanted if name in names), names[0] if names else None)
