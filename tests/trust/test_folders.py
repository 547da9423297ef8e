"""Random folders, as people have them, and archives of them, against a slow, obvious reader."""

import tarfile
import tempfile
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from scorecard import Card, Fault

import folders
from allmlp.data.parts import Part
from allmlp.data.sources import open_parts

FAULT = Fault(
    200,
    "Folders as people have them",
    "splits of any wording, leftovers, links, loops, letters in two forms, folders too deep: the images that an independent, "
    "obvious reader finds, each once, in a folder, a tar and a zip alike",
)

pytestmark = pytest.mark.slow


def splits_of(path: Path) -> dict[str, Part]:
    parts = open_parts(str(path), quiet=True)
    found = {"train": parts.train, "val": parts.val, "test": parts.test}
    return {name: listing() for name, listing in found.items() if listing is not None}


def contents(part: Part) -> Counter[tuple[str, bytes]]:
    return Counter((part.classes[label], part.images.content(i) or b"") for i, label in enumerate(part.images.labels))


def packed(folder: Path, place: Path) -> tuple[Path, Path]:
    """The same tree as tar and as zip, links followed."""
    with tarfile.open(place / "a.tar", "w", dereference=True) as archive:
        archive.add(folder, ".")
    with tarfile.open(place / "a.tar") as tar, zipfile.ZipFile(place / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        for member in tar:
            file = tar.extractfile(member)
            if file is not None:
                archive.writestr(member.name.removeprefix("./"), file.read())
    return place / "a.tar", place / "a.zip"


def test_random_trees(card: Card) -> None:
    count, seen = card.times(2000, 25), Counter[str]()

    @settings(max_examples=count, phases=[Phase.generate], suppress_health_check=[HealthCheck.too_slow])
    @given(plan=folders.trees())
    def check(plan: dict[str, Any]) -> None:
        with tempfile.TemporaryDirectory() as name:
            made = folders.write(plan, Path(name) / "data")
            due = {
                "train" if split == "all" else split: Counter((of, Path(file).read_bytes()) for of, file in found)
                for split, found in folders.read(made).items()
            }
            looped = plan["link"] in ("loop", "up", "twice")
            for path in (made.root, *(() if looped else packed(made.root, Path(name)))):
                assert {split: contents(part) for split, part in splits_of(path).items()} == due
                seen["read"] += 1
            seen["images"] += sum(found.total() for found in due.values())

    check()
    card.seen(
        "random trees of splits, classes, leftovers, links and spellings, on disk, as tar and as zip",
        count,
        f"{seen['read']:,} readings of {seen['images']:,} images, all as the obvious reader's",
    )
