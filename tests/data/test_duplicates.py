"""Images that are there twice: counted, said, kept on one side of a split, or dropped from training."""

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from allmlp.data.grouping import grouped
from allmlp.data.images import ArrayImages, FileImages, Images, Source
from allmlp.data.remarks import imbalance, remarks
from allmlp.data.sources import open_source
from allmlp.data.split import split_off
from allmlp.errors import DataError
from helpers import PictureFolder


def opened(folder: Path, **options: Any) -> Source:
    return open_source(str(folder), **{"val_share": 0.25, "seed": 0, **options})


def files(images: Images | None) -> set[str]:
    assert images is not None
    return {"/".join(Path(images.name(i)).parts[-3:]) for i in range(len(images))}


@pytest.fixture
def leaking(picture_folder: PictureFolder) -> Path:
    """Of 3 validation and 2 test images one each is a training image; one training image is there twice."""
    root = picture_folder({"train/cat": 5, "train/dog": 4, "val/cat": 2, "val/dog": 1, "test/cat": 1, "test/dog": 1})
    shutil.copy(root / "train/cat/1.png", root / "val/cat/0.png")
    shutil.copy(root / "train/dog/2.png", root / "test/dog/0.png")
    shutil.copy(root / "train/cat/3.png", root / "train/cat/9.png")
    return root


def test_held_out_images_that_are_training_images_are_counted_and_said(leaking: Path) -> None:
    source = opened(leaking)
    assert source.duplicates is not None
    assert (source.duplicates.held_out, source.duplicates.repeated, source.duplicates.contradictory) == (2, 1, 0)
    assert (len(source.train), source.dropped) == (10, 0)
    told = "--data.drop-duplicates drops them from training"
    assert remarks(source) == [
        f"2 validation or test images are training images as well, to the byte ({told})",
        "1 image is a copy of another image of the same split",
    ]


def test_test_images_that_are_validation_images_are_said(picture_folder: PictureFolder) -> None:
    root = picture_folder({f"{split}/{name}": 2 for split in ("train", "val", "test") for name in ("cat", "dog")})
    shutil.copy(root / "val/cat/0.png", root / "test/cat/0.png")
    assert remarks(opened(root)) == ["1 test image is a validation image as well"]


def test_dropping_them_leaves_the_training_images_that_are_not_held_out(leaking: Path) -> None:
    plain, source = opened(leaking), opened(leaking, drop_duplicates=True)
    assert files(plain.train) - files(source.train) == {"train/cat/1.png", "train/dog/2.png"}
    assert (files(source.val), files(source.test)) == (files(plain.val), files(plain.test))
    assert source.dropped == 2
    assert "(2 dropped from training)" in remarks(source)[0]


def test_dropping_never_empties_a_class(picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 1, "train/dog": 2, "val/cat": 1, "val/dog": 1})
    shutil.copy(root / "train/cat/0.png", root / "val/cat/0.png")
    with pytest.raises(DataError, match="every training image of cat") as error:
        opened(root, drop_duplicates=True)
    assert "--data.drop-duplicates" in error.value.hint


@pytest.mark.parametrize("seed", range(5))
def test_copies_stay_on_one_side_when_images_are_held_out(seed: int, picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 12, "dog": 9})
    for i in range(6):
        shutil.copy(root / f"cat/{i}.png", root / f"cat/copy{i}.png")
    source = opened(root, seed=seed)
    assert source.duplicates is not None
    assert (source.duplicates.held_out, source.duplicates.repeated) == (0, 6)
    assert len(source.train) + len(source.val) == 27


def test_without_copies_the_split_is_what_it_always_was(picture_folder: PictureFolder) -> None:
    labels = np.repeat([0, 1], [12, 9])
    for seed in range(5):
        plain = split_off(labels, ("a", "b"), 0.3, seed)
        apart = split_off(labels, ("a", "b"), 0.3, seed, np.arange(21))
        assert [side.tolist() for side in plain] == [side.tolist() for side in apart]


@given(groups=st.lists(st.integers(0, 6), min_size=2, max_size=30), share=st.floats(0.05, 0.9), seed=st.integers(0, 9))
def test_a_split_by_groups_is_whole_and_tears_none_unless_there_is_but_one(groups: list[int], share: float, seed: int) -> None:
    numbers = np.array(groups)
    train, held = split_off(np.zeros(len(groups), dtype=np.int64), ("a",), share, seed, numbers)
    assert sorted([*train.tolist(), *held.tolist()]) == list(range(len(groups)))
    assert len(train) >= 1
    assert len(held) >= 1
    torn = set(numbers[train].tolist()) & set(numbers[held].tolist())
    assert not torn or len(set(groups)) == 1


def test_files_of_one_size_and_one_beginning_are_told_apart(tmp_path: Path) -> None:
    contents = [b"a" * 9000, b"a" * 8999 + b"b", b"b" * 9000, b"a" * 9000, b"a" * 10, b"a" * 10, b""]
    for i, content in enumerate(contents):
        (tmp_path / f"{i}.png").write_bytes(content)
    paths = [str(tmp_path / f"{i}.png") for i in range(len(contents))] + [str(tmp_path / "missing.png")] * 2
    found = grouped({"train": FileImages(paths, [0] * len(paths))}, most=None)
    assert found is not None
    assert found["train"].tolist() == [0, 1, 2, 0, 4, 4, 6, 7, 8]


def test_pixels_in_memory_are_compared_only_when_that_is_asked_for() -> None:
    pixels = np.zeros((3, 2, 2), dtype=np.uint8)
    pixels[1] = 1
    images = ArrayImages(pixels, [0, 0, 0], "x")
    assert grouped({"train": images}, most=100) is None
    found = grouped({"train": images}, most=None)
    assert found is not None
    assert found["train"].tolist() == [0, 1, 0]


def test_more_images_than_are_looked_at_are_not(picture_folder: PictureFolder) -> None:
    images = opened(picture_folder({"cat": 4, "dog": 4})).train
    assert grouped({"train": images}, most=len(images) - 1) is None


@pytest.mark.parametrize(("many", "said"), [(42, True), (40, False)])
def test_imbalance_above_twenty_to_one_is_said(many: int, said: bool, picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": many, "train/dog": 2, "val/cat": 1, "val/dog": 1})
    source = opened(root)
    assert imbalance(source) == many / 2
    assert remarks(source) == (["uneven classes: cat has 42 training images, dog 2, 21 to 1"] if said else [])
