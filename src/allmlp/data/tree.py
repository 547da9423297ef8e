"""A folder of images, wherever it lies, and its class folders."""

import codecs
import sys
from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence

from allmlp.data.images import Images
from allmlp.data.names import ending, is_image, is_leftover, is_wrapper, nfc, split_in, split_of
from allmlp.data.parts import Part, checked
from allmlp.errors import DataError

DEEPEST = 8
"""Folders that hold nothing but one folder, and are gone through."""


class Tree(ABC):
    """A folder. Hidden names, and what systems leave behind, are not seen."""

    place: str
    """What to call it in messages."""
    on_disk = True
    """Whether what is inside has a path of its own."""
    passed_over: Counter[str] = Counter()
    """Kind → how many entries are no files of their own."""
    notes: Sequence[str] = ()
    """What was found in it besides, a line each; it grows as folders are listed, and those inside add to it."""

    @abstractmethod
    def folders(self) -> list[str]:
        """The names of the folders inside, sorted."""

    @abstractmethod
    def inside(self, name: str) -> "Tree":
        """One of them."""

    @abstractmethod
    def files(self) -> Iterator[str]:
        """Every file below it, in a fixed order."""

    @abstractmethod
    def here(self) -> list[str]:
        """The names of the files that lie directly in it."""

    @abstractmethod
    def images(self, files: list[str], labels: list[int]) -> Images:
        """Some of what `files` of this folder, or of one inside, gave."""

    def loose(self) -> bool:
        """Whether images lie directly in it."""
        return any(map(is_image, self.here()))

    def holds_images(self) -> bool:
        """Whether there is an image anywhere below."""
        return any(map(is_image, self.files()))


def list_classes(tree: Tree, only: list[str] | None = None, *, quiet: bool = False) -> Part:
    """The readable images of each class folder, nested folders included, sorted by name. only: the class folders.

    Folders whose names differ in the form of their letters alone (NFC, NFD) are one class. Raises DataError when there
    are no classes, or a class has no images.
    """
    folders: dict[str, list[str]] = {}
    for name in tree.folders() if only is None else only:
        folders.setdefault(nfc(_text(name, tree)), []).append(name)
    lying = tree.here()
    loose = sum(map(is_image, lying))
    if not folders:
        raise DataError(f"{tree.place} has {'images but ' if loose else ''}no class folders", hint=_sort_them(tree, lying))
    files, labels = [], []
    passed_over = Counter(ending(name) for name in lying if not is_image(name))
    classes = sorted(folders)
    for number, name in enumerate(classes):
        for file in (file for each in folders[name] for file in tree.inside(each).files()):
            if is_image(file):
                files.append(file)
                labels.append(number)
            else:
                passed_over[ending(file)] += 1
    beside = (f"{loose:,} image{'s' * (loose != 1)} beside the class folders of {tree.place} passed over",) if loose else ()
    part = Part(
        place=tree.place,
        classes=tuple(classes),
        images=tree.images(files, labels),
        passed_over=passed_over,
        notes=(*beside, *tree.notes),
    )
    return checked(part, quiet=quiet)


def unwrapped(tree: Tree, *, split: bool = False) -> Tree:
    """The folder that holds the class folders or splits: folders that hold nothing but one other are gone through.

    split: the tree is a split, in which a folder of a split's name is one to go through as well.
    """
    for _ in range(DEEPEST):
        name = None if tree.loose() else _only(tree)
        if name is None:
            return tree
        inner = tree.inside(name)
        folders = inner.folders()
        is_split = not split and split_of(name) is not None and "train" not in map(split_of, folders)
        if is_split or not folders or inner.loose():
            return tree
        tree = inner
    return tree


def beside(tree: Tree, inner: Tree) -> Counter[str]:
    """Ending → files that lie on the way from a folder to one inside, as `unwrapped` finds it, and are passed over."""
    passed_over: Counter[str] = Counter()
    while tree.place != inner.place:
        names = tree.folders()
        way = next(name for name in names if f"{inner.place}/".startswith(f"{tree.inside(name).place}/"))
        passed_over += no_images(tree, [name for name in names if name != way])
        tree = tree.inside(way)
    return passed_over


def no_images(tree: Tree, names: Iterable[str]) -> Counter[str]:
    """Ending → files that are no images, of those directly in a folder and of all below some of its folders."""
    files = (file for name in names for file in tree.inside(name).files())
    return Counter(ending(file) for file in (*tree.here(), *files) if not is_image(file))


def _only(tree: Tree) -> str | None:
    """The one folder inside, or the one that is called like images where no other has any."""
    names = tree.folders()
    if len(names) == 1:
        return names[0]
    wrappers = [name for name in names if is_wrapper(name)]
    if len(wrappers) != 1 or any(tree.inside(name).holds_images() for name in names if name != wrappers[0]):
        return None
    return wrappers[0] if all(any(tree.inside(name).files()) for name in names) else None


def _sort_them(tree: Tree, lying: list[str]) -> str:
    archives = [name for name in lying if ending(name) in (".zip", ".tar", ".tgz", ".gz")]
    if archives and not any(map(is_image, lying)):
        first = min(archives, key=lambda name: split_in(name) != "train")
        if not tree.on_disk:
            return f"unpack it and give an archive that is in it, as {first}"
        return f"give the archive itself: {tree.place}/{first}"
    return f"sort the images into one folder per class, as {tree.place}/cat/1.jpg and {tree.place}/dog/1.jpg"


def _text(name: str, tree: Tree) -> str:
    """A class's name goes into records, figures and other programs, so it has to be text."""
    try:
        name.encode()
    except UnicodeEncodeError:
        here = codecs.lookup(sys.getfilesystemencoding()).name
        hint = "rename it in UTF-8" if here == "utf-8" else "set PYTHONUTF8=1, or LC_ALL=C.UTF-8"
        raise DataError(f"the class folder {name!r} in {tree.place} has a name that is no text in {here}", hint=hint) from None
    return name


def seen(names: list[str]) -> list[str]:
    """Without hidden names and what systems leave behind, sorted."""
    return sorted(name for name in names if not is_leftover(name))
