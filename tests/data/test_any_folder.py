"""Any folder that people might have is read as a slow, obvious reader reads it, and so is an archive of it."""

import os
import tarfile
import tempfile
import zipfile
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, given, settings

import folders
from allmlp.data.images import Images
from allmlp.data.names import nfc
from allmlp.data.parts import Part, Parts
from allmlp.data.sources import open_parts, open_source


def opened(path: Path) -> dict[str, Part]:
    parts: Parts = open_parts(str(path), quiet=True)
    found = {"train": parts.train} | {name: part for name, part in (("val", parts.val), ("test", parts.test)) if part}
    return {name: part() for name, part in found.items()}


def contents(part: Part) -> set[tuple[str, bytes]]:
    return {(part.classes[label], part.images.content(i) or b"") for i, label in enumerate(part.images.labels)}


def due(made: folders.Made) -> dict[str, set[tuple[str, bytes]]]:
    """By the obvious reader, files by their bytes."""
    return {
        "train" if split == "all" else split: {(name, Path(file).read_bytes()) for name, file in found}
        for split, found in folders.read(made).items()
    }


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(plan=folders.trees())
def test_any_folder_is_read_as_the_obvious_reader_reads_it(plan: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        made = folders.write(plan, Path(place) / "data")
        found = opened(made.root)
        assert {name: contents(part) for name, part in found.items()} == due(made)
        assert all(len(part.images) == len(contents(part)) for part in found.values())  # each image once
        assert all(list(part.classes) == sorted({nfc(name) for name in plan["classes"]}) for part in found.values())
        deep = bool(plan["wrapper"])
        source = open_source(str(made.root), val_share=0.3, seed=0, quiet=True)
        assert any(str(made.top) in note for note in source.notes) == (deep or plan["inner"])
        others = sum(name in folders.OTHERS for name in plan["others"]) * len(plan["classes"]) * len(made.wrapped)
        assert source.ignored == others + (plan["stray"] is not None)


@settings(max_examples=30, suppress_health_check=[HealthCheck.too_slow])
@given(plan=folders.trees())
def test_the_same_tree_as_tar_and_as_zip_gives_the_same_images_in_the_same_order(plan: dict[str, Any]) -> None:
    with tempfile.TemporaryDirectory() as place:
        plan["link"] = (
            None if plan["link"] in ("loop", "up", "twice") else plan["link"]
        )  # archives are packed with links followed
        made = folders.write(plan, Path(place) / "data")
        folder = opened(made.root)
        for pack in (as_tar, as_zip):
            packed = opened(pack(made.root, Path(place)))
            assert packed.keys() == folder.keys()
            for name, part in folder.items():
                assert packed[name].classes == part.classes
                assert list(listed(packed[name].images)) == list(listed(part.images))
                assert packed[name].ignored == part.ignored


def listed(images: Images) -> Any:
    return ((int(label), images.content(i)) for i, label in enumerate(images.labels))


def as_tar(folder: Path, place: Path) -> Path:
    with tarfile.open(place / "a.tar", "w", dereference=True) as archive:
        archive.add(folder, "data")
    return place / "a.tar"


def as_zip(folder: Path, place: Path) -> Path:
    with zipfile.ZipFile(place / "a.zip", "w") as archive:
        for number, (at, _, names) in enumerate(os.walk(folder, followlinks=True)):
            for name in names:
                path = Path(at) / name
                how = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)[number % 2]
                archive.write(path, path.relative_to(folder), compress_type=how)
    return place / "a.zip"
