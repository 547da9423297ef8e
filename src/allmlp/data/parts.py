"""What a place with labelled images holds: parts for training, validation and test, before any split."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from allmlp.data.damage import Failure
from allmlp.data.images import Images
from allmlp.data.names import few, in_endings, nfc
from allmlp.data.progress import watched
from allmlp.data.run_folders import in_one_line
from allmlp.errors import DataError
from allmlp.pixels.formats import SUFFIXES, reader_of
from allmlp.pixels.read import REPLACE, UnreadableImage

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
    passed_over: Mapping[str, int] = field(default_factory=Counter)
    """Ending, or kind → files that are no images."""
    notes: tuple[str, ...] = ()
    """What a person should know of how the images were found, a line each."""

    @property
    def ignored(self) -> int:
        """Files that are no images."""
        return sum(self.passed_over.values())


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
    notes: tuple[str, ...] = ()
    """What a person should know of how the splits were found, a line each."""
    passed_over: Mapping[str, int] = field(default_factory=Counter)
    """Ending, or kind → files that are no images, outside all splits."""


def parts_of(openers: Mapping[str, Callable[[], Part]], *, title: str, place: str, split: str, **more: Any) -> Parts:
    """Parts by "train", "val" and "test"; without the first, there is only something to judge a model on."""

    def none() -> Part:
        raise DataError(f"{place} has no images for training", hint="name them train-000000 and so on, or train")

    train, val, test = (openers.get(name) for name in ("train", "val", "test"))
    return Parts(title=title, train=train or none, val=val, test=test, split=split, **more)


def checked(part: Part, *, quiet: bool = False) -> Part:
    """The part without the images whose headers cannot be read. Raises DataError for a class that has none left."""
    images = part.images
    left_out = _unreadable(images, quiet) if len(images) <= PROBED else {}
    kept = images.subset(np.delete(np.arange(len(images)), list(left_out))) if left_out else images
    _refuse_empty(part, kept, left_out)
    failures = [(error.path, error.reason) for error in left_out.values()]
    return replace(part, images=kept, left_out=[*part.left_out, *failures])


def _refuse_empty(part: Part, kept: Images, left_out: Mapping[int, UnreadableImage]) -> None:
    """Raises DataError for classes without an image that can be read: all in one, however many they are."""
    counts, had = kept.counts(len(part.classes)), part.images.counts(len(part.classes))
    empty = [number for number, count in enumerate(counts) if not count]
    if not empty:
        return
    names, several = [part.classes[number] for number in empty], len(empty) > 1
    who = f"{len(names):,} of {len(part.classes):,} classes" if several else f"class {names[0]!r}"
    damaged = sum(had[number] for number in empty)
    what, known = "no images", ""
    if damaged:
        error = next(error for index, error in left_out.items() if part.images.labels[index] in empty)
        what = f"no readable image ({damaged:,} cannot be read, such as {error.path}: {error.reason})"
        known = "" if error.hint == REPLACE else error.hint
    told = [few(names, 4)] * several + [kinds for kinds in (in_endings(part.passed_over),) if kinds]
    raise DataError(
        f"{who} in {part.place} {'have' if several else 'has'} {what}" + "".join(f"; {each}" for each in told),
        hint=known or f"add images ({', '.join(SUFFIXES)}) or remove the class{'es' * several}{reader_of(part.passed_over)}",
    )


def findings(notes: Sequence[str], passed_over: Mapping[str, int]) -> list[str]:
    """What was found besides images, a line each."""
    kinds = in_endings(passed_over)
    return [*in_one_line(notes), *([kinds + reader_of(passed_over)] if kinds else [])]


def together(parts: Parts, found: Iterable[Part]) -> tuple[tuple[str, ...], Counter[str]]:
    """(notes, what was passed over) of a data set and of the splits that were listed."""
    notes, passed_over = list(parts.notes), Counter(parts.passed_over)
    for part in found:
        notes += part.notes
        passed_over.update(part.passed_over)
    return tuple(dict.fromkeys(notes)), passed_over


def labelled(parts: Parts, classes: Sequence[str]) -> tuple[Images, list[Failure], list[str]]:
    """The images to judge a model on, with the labels of its classes: the test part, else the validation part, else all.

    Returns (images, left out, what a person should know of how they were found). Raises DataError for classes the model
    does not know.
    """
    part = (parts.test or parts.val or parts.train)()
    return matched(part, classes), part.left_out, findings(*together(parts, [part]))


def matched(part: Part, classes: Sequence[str]) -> Images:
    """The part's images under the numbers that `classes` gives its names, or the WordNet ids that stand in them.

    Names whose letters differ in their form alone (NFC, NFD) are the same.
    Folders 0 to 999, as ImageNet-V2 has them, are ImageNet's class numbers for a model that knows its classes.
    Raises DataError for unknown names.
    """
    number = {found[1]: i for i, name in enumerate(classes) if (found := WORDNET.search(name))}
    number |= {nfc(name): i for i, name in reversed(list(enumerate(classes)))}
    number |= {name: i for i, name in enumerate(classes)}
    number |= {name: number[nfc(name)] for name in part.classes if name not in number and nfc(name) in number}
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
