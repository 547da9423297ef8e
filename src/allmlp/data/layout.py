"""Which folders of a data set are splits and which are classes, and what is said where that is in doubt."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import NoReturn

from allmlp.data.names import SPLITS, accepted, few, is_image, nfc, split_of
from allmlp.data.parts import Part, Parts
from allmlp.data.tree import Tree, beside, list_classes, no_images, unwrapped
from allmlp.errors import DataError

WORD = "--data.layout classes"
"""What says that all folders are classes, whatever they are called."""
SAME = 2
"""So many folders of the same names in all of several folders are no chance."""


@dataclass(frozen=True)
class Layout:
    """The folder that holds splits or classes."""

    tree: Tree
    splits: dict[str, str]
    """Split → the folder's name."""
    classes: list[str]
    """Class folders that stand there themselves; none where there is a folder of training images."""
    notes: tuple[str, ...] = ()


def open_tree(tree: Tree, title: str, *, layout: str = "auto", quiet: bool = False) -> Parts:
    """The splits of a folder, wherever it lies.

    layout: "auto" tells splits from classes by their names and by what is in them; "classes" takes every folder as a class.
    Raises DataError that names what is missing, or what is in doubt.
    """
    found = find_layout(tree) if layout == "auto" else _of_classes(unwrapped(tree), tree)
    where, splits = found.tree, found.splits
    passed_over = Counter(tree.passed_over) + beside(tree, where)
    if splits and not found.classes:
        passed_over += no_images(where, [name for name in where.folders() if name not in splits.values()])
    notes = (*found.notes, *(_loose(where) if splits and not found.classes else ()), *tree.notes)

    def training() -> Part:
        if "train" in splits:
            return _split(where, splits["train"], quiet=quiet)
        if splits and not found.classes:
            raise DataError(
                f"{where.place} has a {few(splits.values())} folder and no train folder",
                hint="name the training images' folder train",
            )
        return list_classes(where, found.classes, quiet=quiet)

    val, test = (splits.get(name) for name in ("val", "test"))
    return Parts(
        title=title,
        train=training,
        val=None if val is None else partial(_split, where, val, quiet=quiet),
        test=None if test is None else partial(_split, where, test, quiet=quiet),
        split=f"the {val} folder",
        notes=notes,
        passed_over=passed_over,
    )


def find_layout(tree: Tree) -> Layout:
    """Where the splits or class folders are. Raises DataError where names and content leave it in doubt."""
    where = unwrapped(tree)
    folders = {name: where.inside(name).folders() for name in where.folders()}
    told = {name: split for name, split in accepted(folders).items() if folders[name]}
    others = [name for name in folders if name not in told]
    _refuse_flat(where, folders)
    if "train" in told.values():
        unused = [name for name in others if split_of(name) or where.inside(name).holds_images()]
        full = [name for name in unused if not split_of(name)]
        if not full or len(set(told.values())) > 1:
            flat = [name for name in unused if name not in full]
            notes = (
                *_unused(where, flat, told, "no class folders"),
                *_unused(where, full, told, "not called train, val or test"),
            )
            return _noted(Layout(where, _one_each(where, told), [], notes), tree)
        if not _is_class(where, next(iter(told)), full, folders):
            _ask_about(where, next(iter(told)), full)
        told, others = {}, list(folders)
    if told and not any(where.inside(name).holds_images() for name in others):
        return _noted(Layout(where, _one_each(where, told), []), tree)
    _refuse_same(where, [name for name in folders if name not in told or len(others) == 1], folders)
    return _noted(Layout(where, _one_each(where, told), others), tree)


def _unused(tree: Tree, names: Sequence[str], told: Iterable[str], why: str) -> tuple[str, ...]:
    """A line on the folders beside the splits, if there are some."""
    if not names:
        return ()
    count = sum(is_image(file) for name in names for file in tree.inside(name).files())
    return (f"{few(names)} beside {few(told)} passed over ({count:,} image{'s' * (count != 1)}): {why}",)


def _of_classes(where: Tree, tree: Tree) -> Layout:
    return _noted(Layout(where, {}, where.folders()), tree)


def _noted(layout: Layout, tree: Tree) -> Layout:
    """With a line on the folders that were gone through."""
    if layout.tree.place == tree.place:
        return layout
    return replace(layout, notes=(f"images are in {layout.tree.place}", *layout.notes))


def _split(tree: Tree, name: str, *, quiet: bool) -> Part:
    """The classes of one split."""
    outer = tree.inside(name)
    inner = unwrapped(outer, split=True)
    part = list_classes(inner, quiet=quiet)
    if inner.place == outer.place:
        return part
    notes, passed_over = (f"images are in {inner.place}", *part.notes), Counter(part.passed_over) + beside(outer, inner)
    return replace(part, notes=notes, passed_over=passed_over)


def _one_each(tree: Tree, told: dict[str, str]) -> dict[str, str]:
    """Split → folder. Raises DataError for two folders of one split."""
    for split in SPLITS:
        names = [name for name, of in told.items() if of == split]
        if len(names) > 1:
            raise DataError(
                f"{tree.place} has {len(names)} folders for one split: {few(names)} all say {split}",
                hint="put their images into one of them, or rename those that are something else",
            )
    return {split: name for name, split in told.items()}


def _loose(tree: Tree) -> tuple[str, ...]:
    count = sum(map(is_image, tree.here()))
    return (f"{count:,} image{'s' * (count != 1)} beside the splits of {tree.place} passed over",) if count else ()


def _refuse_flat(tree: Tree, folders: dict[str, list[str]]) -> None:
    """Raises DataError for train and test folders of images without classes, and nothing else."""
    splits = {split_of(name) for name in folders}
    names = list(folders)
    if len(splits) < 2 or None in splits or "train" not in splits or any(folders.values()):
        return
    if all(tree.inside(name).loose() for name in names):
        train = next(name for name in names if split_of(name) == "train")
        raise DataError(
            f"{few(names)} in {tree.place} have images but no class folders",
            hint=f"sort the images into one folder per class, as {tree.place}/{train}/cat/1.jpg; if these are the classes, "
            f"add {WORD}",
        )


def _is_class(tree: Tree, train: str, others: Sequence[str], folders: dict[str, list[str]]) -> bool:
    """Whether a folder called train, of folders, is one class among others: it has images of its own, or the others are
    several, made of folders just like it, and of other ones."""
    if tree.inside(train).loose():
        return True
    alike = all(folders[name] and not tree.inside(name).loose() for name in others)
    return alike and len(others) > 1 and len(_common([train, *others], folders)) < SAME


def _ask_about(tree: Tree, train: str, others: Sequence[str]) -> NoReturn:
    raise DataError(
        f"{tree.place} has a {train} folder of folders beside other folders with images ({few(others)}): "
        f"is {train} a split or a class?",
        hint=f"if {train} holds all classes, give {tree.place}/{train}, or rename splits beside it to val and test; if it is a "
        f"class, rename it, or add {WORD}",
    )


def _refuse_same(tree: Tree, names: Sequence[str], folders: dict[str, list[str]]) -> None:
    """Raises DataError where all top folders hold the same folders and no images of their own: splits of unknown names."""
    if any(not folders[name] and tree.inside(name).holds_images() for name in names):
        return
    names = [name for name in names if folders[name]]
    if len(names) < 2 or any(tree.inside(name).loose() for name in names):
        return
    common = _common(names, folders)
    if len(common) >= SAME:
        raise DataError(
            f"{few(names)} in {tree.place} all hold the same folders ({few(sorted(common))}): are they splits or classes?",
            hint=f"rename them to train, val and test, or give one of them, as {tree.place}/{names[0]}; if they are classes, "
            f"add {WORD}",
        )


def _common(names: Sequence[str], folders: dict[str, list[str]]) -> set[str]:
    return set.intersection(*({nfc(inside) for inside in folders[name]} for name in names))
