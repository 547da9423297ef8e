"""Names of folders and files: splits in any wording, what systems leave behind, endings of images, one form of letters."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath

from allmlp.pixels.formats import SUFFIXES

SPLITS = {
    "train": ("train", "training", "tr"),
    "val": ("val", "valid", "validation", "dev", "eval"),
    "test": ("test", "testing"),
}
"""Split → how people call it, in any case."""
KIND = {word: split for split, words in SPLITS.items() for word in words}
FILLERS = ("set", "sets", "data", "dataset", "datasets", "split", "splits", "folder", "samples", "archive")
CONTENTS = ("image", "images", "img", "imgs", "picture", "pictures", "photo", "photos", "jpg", "jpeg", "png")
"""What may stand beside a split's name, as in training_set and train_images2017, or alone above the class folders."""
UNTOLD = {"unknown", "unlabeled", "unlabelled", "unclassified", "dummy", "all"}
"""Names of the one folder of images without labels that programs make which want a folder per class."""
DOUBTFUL = ("tr", "dev", "eval")
"""Words that tell a split only where a name begins with them."""
LEFTOVERS = frozenset(
    (
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "@eadir",
        "@recently-snapshot",
        "@recycle",
        "@tmp",
        "__macosx",
        "__pycache__",
        "desktop.ini",
        "ehthumbs.db",
        "ehthumbs_vista.db",
        "icon\r",
        "lost+found",
        "network trash folder",
        "picasa.ini",
        "recycled",
        "recycler",
        "system volume information",
        "temporary items",
        "thumbs.db",
        "zbthumbnail.info",
    )
)
"""What operating systems, file servers and programs leave behind, in lower case; hidden names aside."""

_WORDS = re.compile(r"[^\W\d_]+")


def nfc(text: str) -> str:
    """One form of letters with accents: macOS writes é as two characters (NFD), other systems as one (NFC)."""
    return unicodedata.normalize("NFC", text)


def is_leftover(name: str) -> bool:
    """Whether a file or folder of this name is hidden, or was left behind by a system and is nobody's data."""
    return name.startswith((".", "@Syno", "~$")) or name.lower() in LEFTOVERS


def is_hidden(path: str) -> bool:
    """The same for a path inside an archive: its own name, or that of a folder above it."""
    return any(map(is_leftover, PurePosixPath(path).parts))


def is_image(name: str) -> bool:
    """Whether a file is called like one of the kinds that are read."""
    return name.lower().endswith(SUFFIXES)


def ending(name: str) -> str:
    """ ".txt" for notes/A.TXT; "without ending" where there is none."""
    return PurePosixPath(name).suffix.lower() or "without ending"


def is_wrapper(name: str) -> bool:
    """Whether a folder is called as one that merely holds the data: images, Dataset, photo_archive."""
    words = _words(name)
    return bool(words) and all(word in (*FILLERS, *CONTENTS) for word in words)


def says_nothing(name: str) -> bool:
    """Whether a folder is called as one of images whose classes nobody told: images, unknown, Unlabeled, test."""
    return is_wrapper(name) or split_of(name) is not None or bool({*_words(name)} & UNTOLD)


def split_of(name: str) -> str | None:
    """ "train", "val" or "test" for a folder that is called so: Train, TESTING, valid, training_set, val2017."""
    found = split_and_rest(name)
    return found[0] if found is not None and not found[1] else None


def split_and_rest(name: str) -> tuple[str, tuple[str, ...]] | None:
    """(split, the other words) for a name with one split's name in it: seg_train → ("train", ("seg",)); else None."""
    words = [word for word in _words(name) if word not in (*FILLERS, *CONTENTS)]
    found = [(place, KIND[word]) for place, word in enumerate(words) if word in KIND]
    if len(found) != 1:
        return None
    ((place, split),) = found
    return split, tuple(words[:place] + words[place + 1 :])


def split_in(name: str) -> str | None:
    """The split that a file's name or the folder above it tells: data/val-0003.tar, Val/0003.tar, imagenet_val_0003.tar."""
    path = PurePosixPath(name)
    words = _words(path.name)
    if words and words[0] in KIND:
        return KIND[words[0]]
    above = split_of(path.parent.name)
    inside = {KIND[word] for word in words if word in KIND and word not in DOUBTFUL}
    return above or (inside.pop() if len(inside) == 1 else None)


def accepted(names: Iterable[str]) -> dict[str, str]:
    """Name → split, for the folders whose names tell one: train, or seg_train beside seg_test."""
    found = {name: pair for name in names if (pair := split_and_rest(name)) is not None}
    splits_with: dict[tuple[str, ...], set[str]] = {}
    for split, rest in found.values():
        splits_with.setdefault(rest, set()).add(split)
    return {name: split for name, (split, rest) in found.items() if not rest or len(splits_with[rest]) > 1}


def few(names: Iterable[str], most: int = 8) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    return ", ".join(every[:most]) + (f" and {len(every) - most:,} more" if len(every) > most else "")


def in_endings(passed_over: Mapping[str, int]) -> str:
    """ "37 files passed over: 30 .txt, 7 .heic", most first; nothing for nothing."""
    total = sum(passed_over.values())
    if not total:
        return ""
    kinds = sorted(passed_over.items(), key=lambda pair: (-pair[1], pair[0]))
    return f"{total:,} file{'s' * (total != 1)} passed over: {few([f'{count:,} {kind}' for kind, count in kinds])}"


def _words(name: str) -> list[str]:
    """The words of a name in lower case; a split's name is told from what is written together with it, as in trainset."""
    found = []
    for word in _WORDS.findall(nfc(name).casefold()):
        begun = next((w for w in KIND if word.startswith(w) and word[len(w) :] in (*FILLERS, *CONTENTS)), None)
        found += [word] if begun is None or word in KIND else [begun]
    return found
