"""What a place with labelled images holds: parts for training, validation and test, before any split."""

import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Any

import numpy as np

from allmlp.data.damage import Failure
from allmlp.data.images import Images, Source
from allmlp.data.progress import watched
from allmlp.data.split import split_off
from allmlp.errors import DataError
from allmlp.pixels.read import SUFFIXES, UnreadableImage

TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test", "testing")
"""What the parts are called in folders, archives and shards."""
PROBED = 50_000
"""Up to this many headers are read before training; in larger sets damage shows when an image's turn comes."""

WORDNET = re.compile(r"(?:^|\()(n\d{8})\)?$")
"""The id in the name of a class of ImageNet, "tench (n01440764)"; ImageNet's folders have the ids alone."""
IMAGENET = 1000
"""Classes of ImageNet-1k, whose numbers go by the order of their ids."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """Images whose labels are places in the part's own `classes`."""

    place: str
    """Where they are, for messages."""
    classes: tuple[str, ...]
    images: Images
    left_out: list[Failure] = field(default_factory=list)
    ignored: int = 0
    """Files of other kinds."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """One data set; its parts are listed when they are asked for.

    Without a validation part, images of the training part are held out.
    """

    title: str
    train: Callable[[], Part]
    val: Callable[[], Part] | None = None
    test: Callable[[], Part] | None = None
    split: str = ""
    """In words: which the validation part is."""
    in_chans: int = 3
    """What the images are by nature: 1 grey, 3 colour."""
    img_size: tuple[int, int] | None = None
    """(height, width) where all images have one small size."""


def parts_of(openers: Mapping[str, Callable[[], Part]], *, title: str, place: str, split: str, **more: Any) -> Parts:
    """Parts by "train", "val" and "test"; without the first, there is only something to judge a model on."""

    def none() -> Part:
        raise DataError(f"{place} has no images for training", hint="name them train-000000 and so on, or train")

    train, val, test = (openers.get(name) for name in ("train", "val", "test"))
    return Parts(title=title, train=train or none, val=val, test=test, split=split, **more)


def part_of(name: str) -> str:
    """ "val" for data/val-0003.tar, data/val/0003.tar or validation; "train" where the name does not tell."""
    path = PurePosixPath(name)
    for words, part in ((TRAIN, "train"), (VAL, "val"), (TEST, "test")):
        if path.parent.name in words or re.match(rf"({'|'.join(words)})([^a-z]|$)", path.name.lower()):
            return part
    return "train"


def checked(part: Part, *, quiet: bool = False) -> Part:
    """The part without the images whose headers cannot be read. Raises DataError for a class that has none left."""
    images = part.images
    left_out = _unreadable(images, quiet) if len(images) <= PROBED else {}
    kept = images.subset(np.delete(np.arange(len(images)), list(left_out))) if left_out else images
    counts, had = kept.counts(len(part.classes)), images.counts(len(part.classes))
    for number, name in enumerate(part.classes):
        if not counts[number]:
            why = "no images"
            if had[number]:
                error = next(error for index, error in left_out.items() if images.labels[index] == number)
                why = f"no readable image ({had[number]} damaged, such as {error.path}: {error.reason})"
            raise DataError(
                f"class {name!r} in {part.place} has {why}", hint=f"add images ({', '.join(SUFFIXES)}) or remove the class"
            )
    failures = [(error.path, error.reason) for error in left_out.values()]
    return replace(part, images=kept, left_out=[*part.left_out, *failures])


def assembled(parts: Parts, val_share: float, seed: int, least: int = 2) -> Source:
    """A source to train on. least: classes. Raises DataError for classes that do not fit together, or are too few."""
    train = parts.train()
    classes = train.classes
    if len(classes) < least:
        raise DataError(
            f"{train.place} has one class, {classes[0]!r}: there is nothing to tell apart",
            hint="add images of another class",
        )
    left_out, ignored = list(train.left_out), train.ignored
    if parts.val is not None:
        held = parts.val()
        missing = sorted(set(classes) - set(held.classes))
        if missing:
            raise DataError(
                f"{held.place} has no images of {few(missing)}",
                hint=f"add some, or remove {parts.split} and let allmlp hold images out",
            )
        images, val, split = train.images, matched(held, classes), parts.split
        left_out, ignored = left_out + held.left_out, ignored + held.ignored
    else:
        inside, outside = split_off(train.images.labels, classes, val_share, seed)
        images, val = train.images.subset(inside), train.images.subset(outside)
        split = f"{val_share:g} of each class, seed {seed}"
    return Source(
        title=parts.title,
        classes=classes,
        train=images,
        val=val,
        test=None if parts.test is None else matched(parts.test(), classes),
        split=split,
        in_chans=parts.in_chans,
        img_size=parts.img_size,
        left_out=left_out,
        bad_share=len(left_out) / (len(images) + len(val) + len(left_out)),
        ignored=ignored,
    )


def labelled(parts: Parts, classes: Sequence[str]) -> tuple[Images, list[Failure]]:
    """The images to judge a model on, with the labels of its classes: the test part, else the validation part, else all.

    Returns (images, left out). Raises DataError for classes the model does not know.
    """
    part = (parts.test or parts.val or parts.train)()
    return matched(part, classes), part.left_out


def matched(part: Part, classes: Sequence[str]) -> Images:
    """The part's images under the numbers that `classes` gives its names, or the WordNet ids that stand in them.

    Folders 0 to 999, as ImageNet-V2 has them, are ImageNet's class numbers for a model that knows its classes.
    Raises DataError for unknown names.
    """
    number = {found[1]: i for i, name in enumerate(classes) if (found := WORDNET.search(name))}
    number |= {name: i for i, name in enumerate(classes)}
    if all(re.fullmatch("[0-9]{1,3}", name) and name not in number for name in part.classes):
        number |= {name: places[int(name)] for places in (imagenet_places(classes),) if places for name in part.classes}
    unknown = [name for name in part.classes if name not in number]
    if unknown:
        raise DataError(
            f"{part.place} has classes that training has not: {few(unknown)}",
            hint=f"the classes are {few(classes)}; rename or remove the others",
        )
    numbers = np.array([number[name] for name in part.classes])
    return part.images.relabelled(numbers[part.images.labels])


def imagenet_places(classes: Sequence[str]) -> list[int] | None:
    """Where each of ImageNet's 1000 classes stands among these, in the order of its numbers; None if one is missing."""
    place = {found[1]: i for i, name in enumerate(classes) if (found := WORDNET.search(name))}
    if len(place) < IMAGENET:
        return None
    from timm.data import ImageNetInfo

    ids = ImageNetInfo("imagenet-1k").label_names()
    return [place[each] for each in ids] if all(each in place for each in ids) else None


def few(names: Sequence[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _unreadable(images: Images, quiet: bool) -> dict[int, UnreadableImage]:
    """Index → why, by reading every header in threads."""

    def reason(index: int) -> UnreadableImage | None:
        try:
            images.probe(index)
        except UnreadableImage as error:
            return error
        return None

    with ThreadPoolExecutor(min(8, 1 + len(images) // 8)) as pool:  # each takes 8 MiB of memory for its stack
        reasons = watched(pool.map(reason, range(len(images))), total=len(images), what="looking at images", quiet=quiet)
        return {index: why for index, why in enumerate(reasons) if why is not None}
