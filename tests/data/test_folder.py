"""Folders of class folders, in every layout and with every mistake that people make."""

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from allmlp.data.folder import Folder
from allmlp.data.images import Images, Source
from allmlp.data.parts import Part
from allmlp.data.sources import open_labelled, open_source
from allmlp.data.tree import list_classes
from allmlp.errors import DataError
from helpers import PictureFolder, picture


def opened(folder: Path, **options: Any) -> Source:
    return open_source(str(folder), **{"val_share": 0.25, "seed": 0, **options})


def listed(folder: Path) -> Part:
    return list_classes(Folder(folder))


def names(images: Images | None, root: Path) -> list[str]:
    """class/file of each image, and nothing above it."""
    assert images is not None
    return [Path(images.name(i)).relative_to(root).as_posix() for i in range(len(images))]


def test_a_flat_folder_is_split_in_each_class(picture_folder: PictureFolder) -> None:
    root = picture_folder({"dog": 8, "cat": 4})
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert (source.train.counts(2), source.val.counts(2)) == ([3, 6], [1, 2])
    assert source.test is None
    assert sorted(names(source.train, root) + names(source.val, root)) == sorted(
        [f"cat/{i}.png" for i in range(4)] + [f"dog/{i}.png" for i in range(8)]
    )
    for images in (source.train, source.val):
        assert [source.classes[label] for label in images.labels] == [n.split("/")[0] for n in names(images, root)]
    assert (source.title, source.in_chans, source.img_size) == ("pictures", 3, None)
    assert "0.25 of each class, seed 0" in source.split


def test_an_image_opens_as_what_is_in_its_file(picture_folder: PictureFolder) -> None:
    source = opened(picture_folder({"cat": 2, "dog": 2}))
    first = names(source.val, Path(source.val.name(0)).parent.parent)[0]
    number = {"cat/0.png": 0, "cat/1.png": 1}[first]
    assert source.val.open(0, 3).tobytes() == picture(number).tobytes()
    assert source.val.open(0, 1).mode == "L"


@pytest.mark.parametrize("train", ["train", "training"])
@pytest.mark.parametrize("val", ["val", "valid", "validation"])
def test_train_and_val_folders_are_taken_as_they_are(train: str, val: str, picture_folder: PictureFolder) -> None:
    root = picture_folder({f"{train}/cat": 3, f"{train}/dog": 2, f"{val}/cat": 1, f"{val}/dog": 2})
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert names(source.train, root / train) == ["cat/0.png", "cat/1.png", "cat/2.png", "dog/0.png", "dog/1.png"]
    assert names(source.val, root / val) == ["cat/0.png", "dog/0.png", "dog/1.png"]
    assert val in source.split


@pytest.mark.parametrize("test", ["test", "testing"])
def test_the_test_folder_is_set_aside(test: str, picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 4, "train/dog": 4, f"{test}/dog": 3, f"{test}/cat": 1})
    source = opened(root)
    assert names(source.test, root / test) == ["cat/0.png", "dog/0.png", "dog/1.png", "dog/2.png"]
    assert source.test is not None
    assert source.test.labels.tolist() == [0, 1, 1, 1]
    assert all(name.startswith("train/") for name in names(source.train, root) + names(source.val, root))
    assert len(source.train) + len(source.val) == 8


def test_a_test_folder_beside_class_folders_is_not_trained_on(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 4, "dog": 4, "test/cat": 2, "test/dog": 2})
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert not any(name.startswith("test/") for name in names(source.train, root) + names(source.val, root))


def test_a_class_may_be_called_train(picture_folder: PictureFolder) -> None:
    assert opened(picture_folder({"train": 3, "bus": 3, "test": 3})).classes == ("bus", "test", "train")


def test_classes_of_the_val_folder_are_matched_by_name_not_by_place(picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/ant": 2, "train/cat": 2, "train/dog": 2, "test/dog": 1, "test/cat": 1})
    source = opened(root)
    assert source.test is not None
    assert [source.classes[label] for label in source.test.labels] == ["cat", "dog"]


def test_nested_folders_belong_to_their_class(picture_folder: PictureFolder) -> None:
    listing = listed(picture_folder({"cat/indoors/night": 2, "cat": 1, "dog": 1}))
    assert listing.classes == ("cat", "dog")
    assert np.bincount(listing.images.labels).tolist() == [3, 1]


def test_hidden_files_and_folders_are_not_seen(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 2, "dog": 2, ".cache": 2, "cat/.thumbs": 3})
    (root / "cat" / "._0.png").write_bytes(b"resource fork")
    (root / ".DS_Store").touch()
    listing = listed(root)
    assert listing.classes == ("cat", "dog")
    assert (len(listing.images), listing.ignored, listing.left_out) == (4, 0, [])


def test_upper_case_suffixes_are_images_and_other_files_are_counted(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 2, "dog": 2})
    (root / "cat" / "0.png").rename(root / "cat" / "0.PNG")
    (root / "cat" / "notes.txt").touch()
    (root / "dog" / "words").touch()
    listing = listed(root)
    assert len(listing.images) == 4
    assert listing.passed_over == {".txt": 1, "without ending": 1}
    assert listing.ignored == 2


def test_unreadable_images_are_left_out_with_the_reason(picture_folder: PictureFolder) -> None:
    root = picture_folder({"train/cat": 3, "train/dog": 3, "val/cat": 2, "val/dog": 1})
    (root / "train" / "cat" / "bad.jpg").write_bytes(b"noise")
    (root / "val" / "cat" / "empty.png").touch()
    source = opened(root)
    assert [(Path(p).name, r) for p, r in source.left_out] == [
        ("bad.jpg", "not a picture of a known format"),
        ("empty.png", "the file is empty"),
    ]
    assert (source.train.counts(2), source.val.counts(2)) == ([3, 3], [2, 1])


def test_links_to_folders_are_classes_and_loops_end(picture_folder: PictureFolder, tmp_path: Path) -> None:
    root, far = picture_folder({"cat": 2}), picture_folder({"dogs": 2}, name="far")
    (root / "dog").symlink_to(far / "dogs", target_is_directory=True)
    (root / "cat" / "loop").symlink_to(root, target_is_directory=True)
    (root / "itself").symlink_to(root / "itself")
    listing = listed(root)
    assert np.bincount(listing.images.labels).tolist() == [2, 2]


def test_a_split_repeats_with_its_seed(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 12, "dog": 12})
    first, again, other = (names(opened(root, seed=seed).val, root) for seed in (3, 3, 4))
    assert first == again
    assert first != other


@pytest.mark.parametrize(
    ("classes", "said", "hint"),
    [
        ({"cat": 4}, "has one class, 'cat'", "another class"),
        ({"train/cat": 4, "val/cat": 2}, "has one class, 'cat'", "another class"),
        ({"cat": 4, "dog": 0}, "class 'dog' .* has no images", r"\.png"),
        ({"cat": 4, "dog": 1}, "class 'dog' has 1 image", "val folder"),
        ({"train/cat": 2, "train/dog": 2, "val/cat": 2}, "val has no images of dog", "remove the val folder"),
        ({"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/dog": 0}, "class 'dog' in .*val has no images", "remove"),
        ({"train/cat": 2, "train/dog": 2, "val/cat": 2, "val/dog": 2, "val/owl": 1}, "training has not: owl", "cat, dog"),
        ({"train/cat": 2, "train/dog": 2, "test/owl": 1}, "training has not: owl", "cat, dog"),
        ({"val/cat": 2, "val/dog": 2}, "has a val folder and no train folder", "train"),
        ({}, "has no class folders", "one folder per class"),
        ({".": 3}, "has images but no class folders", "one folder per class"),
    ],
)
def test_a_folder_that_cannot_be_trained_on_is_refused_with_a_hint(
    classes: dict[str, int], said: str, hint: str, picture_folder: PictureFolder
) -> None:
    root = picture_folder({".": 0, **classes})
    with pytest.raises(DataError, match=said) as error:
        opened(root)
    assert error.match(hint)
    assert error.value.hint


def test_a_class_of_damaged_images_only_is_refused_with_the_first_reason(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 2, "dog": 0})
    for i in range(3):
        (root / "dog" / f"{i}.png").write_bytes(b"noise")
    with pytest.raises(DataError, match=r"no readable image \(3 cannot be read, such as .*0\.png: not a picture"):
        opened(root)


def test_a_class_whose_name_begins_like_anothers_is_not_blamed_for_its_images(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 0, "cats": 2})
    (root / "cats" / "bad.png").write_bytes(b"noise")
    with pytest.raises(DataError, match=r"class 'cat' in .* has no images"):
        opened(root)


def test_what_is_no_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for path in (tmp_path / "none", tmp_path / "file"):
        for refused in (opened, lambda path: open_labelled(path, ("cat",))):
            with pytest.raises(DataError, match=r"is not a folder|is neither a folder") as error:
                refused(path)
            assert "folder" in error.value.hint


@pytest.mark.parametrize(
    ("layout", "taken"),
    [
        ({"cat": 1, "dog": 2}, ""),
        ({"train/cat": 5, "train/dog": 5, "val/cat": 1, "val/dog": 2}, "val"),
        ({"train/cat": 5, "val/cat": 5, "val/dog": 5, "test/cat": 1, "test/dog": 2}, "test"),
    ],
    ids=["flat", "val", "test"],
)
def test_labelled_images_get_the_models_numbers(layout: dict[str, int], taken: str, picture_folder: PictureFolder) -> None:
    root = picture_folder(layout)
    (root / taken / "dog" / "bad.png").write_bytes(b"noise")
    images, left_out = open_labelled(root, ("dog", "ant", "cat"))
    assert names(images, root / taken) == ["cat/0.png", "dog/0.png", "dog/1.png"]
    assert images.labels.tolist() == [2, 0, 0]
    assert [reason for _, reason in left_out] == ["not a picture of a known format"]


def test_labelled_images_of_unknown_classes_are_refused(picture_folder: PictureFolder) -> None:
    with pytest.raises(DataError, match="classes that training has not: owl"):
        open_labelled(picture_folder({"cat": 1, "owl": 1}), ("cat", "dog"))


def test_data_on_the_command_line_is_a_folder_a_name_or_nothing(
    picture_folder: PictureFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = picture_folder({"cat": 8, "dog": 8})
    assert open_source(str(root), val_share=0.25, seed=0).classes == ("cat", "dog")
    assert open_source(None, val_share=0.25, seed=0).title == "fashion-mnist (embedded subset)"
    monkeypatch.setenv("HOME", str(tmp_path))
    assert open_source("~/pictures", val_share=0.25, seed=0).title == "pictures"
    monkeypatch.chdir(picture_folder({"cat": 4, "dog": 4}, name="fashion-mnist").parent)
    assert open_source("fashion-mnist", val_share=0.25, seed=0).classes == ("cat", "dog")


def test_a_limit_cuts_the_training_images_alone(picture_folder: PictureFolder) -> None:
    source = open_source(str(picture_folder({"cat": 12, "dog": 4})), val_share=0.25, seed=0, limit=5)
    assert sorted(source.train.counts(2)) == [2, 3]
    assert source.val.counts(2) == [3, 1]


@pytest.mark.parametrize(
    ("spec", "hint"), [("fashion-mnst", "did you mean fashion-mnist?"), ("no/such/folder", "a folder of class folders")]
)
def test_data_that_is_not_there_is_refused_with_a_hint(spec: str, hint: str) -> None:
    with pytest.raises(DataError, match="neither a folder nor a data set") as error:
        open_source(spec, val_share=0.1, seed=0)
    assert hint in error.value.hint


def test_a_folder_that_cannot_be_listed_is_refused_and_not_taken_for_empty(
    picture_folder: PictureFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = picture_folder({"cat": 3, "dog": 3})
    plain = os.scandir

    def closed(path: Any) -> Any:
        if str(path).endswith("dog"):
            raise PermissionError(13, "Permission denied", str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", closed)
    with pytest.raises(DataError, match="dog cannot be listed: Permission denied"):
        opened(root)


def test_a_class_folder_whose_name_is_no_text_is_named(picture_folder: PictureFolder) -> None:
    folder = picture_folder({"cat": 1, "dog": 1})
    (folder / "dog").rename(folder / os.fsdecode(b"caf\xe9"))
    with pytest.raises(DataError, match=r"'caf\\udce9' in .* has a name that is no text in utf-8") as caught:
        listed(folder)
    assert caught.value.hint == "rename it in UTF-8"
