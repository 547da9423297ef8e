"""Random folders of images as people have them, and a slow, obvious reader of them that knows nothing of allmlp's."""

import os
import unicodedata
from dataclasses import dataclass, field
from pathlib import Path

from hypothesis import strategies as st

from helpers import picture

SPELLINGS = {
    "train": ("train", "Train", "TRAIN", "training", "Training", "tr", "Tr", "training_set", "train_images"),
    "val": ("val", "Val", "VAL", "valid", "Valid", "validation", "Validation", "dev", "Eval"),
    "test": ("test", "Test", "TEST", "testing", "TESTING", "test_set"),
}
CLASSES = ("cat", "dog", "Éléphant", "naïve bee", "größe", "犬", "7", "train")
JUNK_FOLDERS = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".cache")
JUNK_FILES = ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "THUMBS.DB")
OTHERS = ("notes.txt", "labels.CSV", "README", "old.xyz", "a.b.txt")
SUFFIXES = (".png", ".PNG", ".apng")
WRAPPERS = ((), ("images",), ("archive", "data set"), ("a", "b"))


@dataclass
class Made:
    """What was written."""

    root: Path
    splits: dict[str, str]
    """Split → its folder's name; empty where class folders stand alone."""
    top: Path
    """The folder with the splits or classes."""
    wrapped: dict[str, Path] = field(default_factory=dict)
    """Split → the folder that holds its class folders."""


@st.composite
def trees(draw: st.DrawFn) -> dict[str, object]:
    """A plan for `write`: plain values, so that a failure shows them."""
    splits = draw(st.sampled_from([(), ("train",), ("train", "val"), ("train", "test"), ("train", "val", "test")]))
    classes = draw(st.lists(st.sampled_from(CLASSES[: None if splits else -1]), min_size=2, max_size=4, unique=True))
    return {
        "splits": {split: draw(st.sampled_from(SPELLINGS[split])) for split in splits},
        "classes": classes,
        "forms": {split: draw(st.sampled_from(["NFC", "NFD"])) for split in splits or ("all",)},
        "both forms": draw(st.booleans()),
        "wrapper": draw(st.sampled_from(WRAPPERS)),
        "inner": draw(st.booleans()) if splits else False,
        "files": draw(st.integers(2, 4)),
        "nested": draw(st.booleans()),
        "junk folder": draw(st.sampled_from([None, *JUNK_FOLDERS])),
        "junk file": draw(st.sampled_from([None, *JUNK_FILES])),
        "others": draw(st.lists(st.sampled_from(OTHERS), max_size=3, unique=True)),
        "link": draw(st.sampled_from([None, "folder", "file", "loop", "up", "twice", "class"])),
        "stray": draw(st.sampled_from([None, "meta.parquet", "old.tar", "a.zip", "labels.csv"])),
    }


def write(plan: dict[str, object], root: Path) -> Made:
    """Write a tree to the disk. No two images have the same bytes."""
    number = 0

    def image(path: Path) -> None:
        nonlocal number
        path.parent.mkdir(parents=True, exist_ok=True)
        picture(number, (5, 4)).save(path, "PNG")
        number += 1

    top = root.joinpath(*plan["wrapper"])  # type: ignore[misc]
    splits: dict[str, str] = plan["splits"]  # type: ignore[assignment]
    made = Made(root, splits, top)
    for split, folder in splits.items() or [("all", "")]:
        base = top / folder / "images" if plan["inner"] and folder else top / folder
        made.wrapped[split] = base
        for place, name in enumerate(plan["classes"]):  # type: ignore[arg-type,var-annotated]
            form = plan["forms"][split]  # type: ignore[index]
            here = base / unicodedata.normalize(form, name)
            for i in range(plan["files"]):  # type: ignore[call-overload]
                image(here / f"{i}{SUFFIXES[i % len(SUFFIXES)]}")
            if plan["both forms"] and place == 0:
                other = "NFD" if form == "NFC" else "NFC"
                image(base / unicodedata.normalize(other, name) / "other.png")
            if plan["nested"]:
                image(here / "night" / "0.png")
            for each in plan["others"]:  # type: ignore[attr-defined]
                (here / each).write_text("no image")
            if plan["junk folder"]:
                image(here / str(plan["junk folder"]) / "0.png")
            if plan["junk file"]:
                (here / str(plan["junk file"])).write_bytes(b"left behind")
            _link(str(plan["link"]), here, base, root, image)
    if plan["junk folder"]:
        image(top / str(plan["junk folder"]) / "cat" / "0.png")
    if plan["stray"]:
        (top / str(plan["stray"])).write_bytes(b"not even whole")
    return made


def _link(kind: str, here: Path, base: Path, root: Path, image: object) -> None:
    far = root.parent / "far" / root.name / base.relative_to(root) / here.name
    if kind in ("folder", "file", "class"):
        image(far / "more" / "0.png")  # type: ignore[operator]
        image(far / "1.png")  # type: ignore[operator]
        if kind == "class":
            (here / "linked").symlink_to(far)
        else:
            (here / f"linked{'' if kind == 'folder' else '.png'}").symlink_to(
                far / "more" if kind == "folder" else far / "1.png"
            )
    elif kind == "loop":
        (here / "loop").symlink_to(here)
    elif kind == "up":
        (here / "up").symlink_to("..")
    elif kind == "twice":
        image(here / "real" / "0.png")  # type: ignore[operator]
        (here / "again").symlink_to("real")


def read(made: Made) -> dict[str, set[tuple[str, str]]]:
    """Split ("all" where there are none) → (class, the real file of each of its images), by looking at every entry."""
    return {split: _classes(base) for split, base in made.wrapped.items()}


def _classes(base: Path) -> set[tuple[str, str]]:
    found = set()
    for entry in base.iterdir():
        if entry.is_dir() and not _junk(entry.name):
            name = unicodedata.normalize("NFC", entry.name)
            found |= {(name, file) for file in _files(entry, {os.path.realpath(p) for p in (entry, *entry.parents)})}
    return found


def _files(folder: Path, above: set[str]) -> set[str]:
    """Real paths of the images below; a folder that is above itself leads nowhere new."""
    found = set()
    for entry in folder.iterdir():
        if _junk(entry.name):
            continue
        if entry.is_dir():
            real = os.path.realpath(entry)
            if real not in above:
                found |= _files(entry, {*above, real})
        elif entry.suffix.lower() in (".png", ".apng"):
            found.add(os.path.realpath(entry))
    return found


def _junk(name: str) -> bool:
    return name.startswith(".") or name.lower() in {each.lower() for each in (*JUNK_FOLDERS, *JUNK_FILES)}
