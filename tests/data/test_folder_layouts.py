"""Which folders are splits and which are classes: told, said, or asked about."""

import unicodedata
from pathlib import Path
from typing import Any

import pytest

from allmlp.data import names
from allmlp.data.images import Source
from allmlp.data.names import ending, in_endings, is_leftover, split_in, split_of
from allmlp.data.remarks import remarks
from allmlp.data.sources import open_labelled, open_parts, open_source
from allmlp.errors import DataError
from helpers import PictureFolder
from tiffs import numbers, picture_of, tiff

CAFE = {form: unicodedata.normalize(form, "café") for form in ("NFC", "NFD")}


def opened(folder: Path, **options: Any) -> Source:
    return open_source(str(folder), **{"val_share": 0.25, "seed": 0, **options})


def both(*splits: str, each: int = 4) -> dict[str, int]:
    """cat and dog in each of these folders."""
    return {f"{split}/{name}": each for split in splits for name in ("cat", "dog")}


@pytest.mark.parametrize(
    ("name", "split"),
    [
        *[(name, "train") for name in ("train", "Train", "TRAIN", "training", "Training", "tr", "TR", "train_set", "TrainSet")],
        *[(name, "val") for name in ("val", "Val", "VALID", "valid", "validation", "Validation", "dev", "Eval", "val2017")],
        *[(name, "test") for name in ("test", "TEST", "Testing", "test-set", "test images")],
        *[(name, None) for name in ("trainer", "valuable", "contest", "latest", "tram", "device", "evaluate", "cat", "", "1")],
        *[(name, None) for name in ("train_val", "seg_train", "freight train")],
    ],
)
def test_a_split_is_known_by_its_name(name: str, split: str | None) -> None:
    assert split_of(name) == split


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("data/val-0003.tar", "val"),
        ("Val/0003.tar", "val"),
        ("VALIDATION-00000-of-00001.parquet", "val"),
        ("Train-000.tar", "train"),
        ("imagenet_val_0003.tar", "val"),
        ("imagenet-test-0003.tar", "test"),
        ("dev-0003.tar", "val"),
        ("mydev-0003.tar", None),
        ("a-dev-kit-0003.tar", None),
        ("trainval-000.tar", None),
        ("train-test-000.tar", "train"),
        ("latest-000.tar", None),
        ("000.tar", None),
    ],
)
def test_a_files_name_or_its_folders_tells_the_split(name: str, split: str | None) -> None:
    assert split_in(name) == split


@pytest.mark.parametrize(
    ("train", "val", "test"),
    [("Train", "Val", "Test"), ("TRAIN", "VALID", "TEST"), ("Training", "Dev", "Testing"), ("tr", "eval", "test")],
)
def test_splits_of_any_wording_are_splits(train: str, val: str, test: str, picture_folder: PictureFolder) -> None:
    root = picture_folder(both(train, val, test))
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert source.test is not None
    for images, split in ((source.train, train), (source.val, val), (source.test, test)):
        assert {Path(images.name(i)).parent.parent.name for i in range(len(images))} == {split}
        assert len(images) == 8


def test_a_test_split_without_a_validation_split_is_no_validation_split(picture_folder: PictureFolder) -> None:
    root = picture_folder(both("Training", "Testing"))
    source = opened(root)
    assert (len(source.train), len(source.val)) == (6, 2)
    assert source.test is not None
    assert {Path(source.val.name(i)).parent.parent.name for i in range(2)} == {"Training"}
    assert {Path(source.test.name(i)).parent.parent.name for i in range(8)} == {"Testing"}


def test_splits_that_share_a_word_are_splits_and_what_is_beside_them_is_named(picture_folder: PictureFolder) -> None:
    root = picture_folder({**both("seg_train/seg_train", "seg_test/seg_test"), "seg_pred": 3})
    source = opened(root)
    assert (len(source.train) + len(source.val), source.test and len(source.test)) == (8, 8)
    assert any(note.startswith("seg_pred beside") for note in source.notes)


@pytest.mark.parametrize("layout", [{"test": 5}, {"Test1": 5, "val": 0}, {"TEST": 0}], ids=str)
def test_a_split_without_class_folders_is_passed_over_and_named(layout: dict[str, int], picture_folder: PictureFolder) -> None:
    source = opened(picture_folder({**both("train"), **layout}))
    assert (source.classes, len(source.train), len(source.val), source.test) == (("cat", "dog"), 6, 2, None)
    count = sum(layout.values())
    counted = f"{count} image{'s' * (count != 1)}"
    assert source.notes == (f"{', '.join(sorted(layout))} beside train passed over ({counted}): no class folders",)


def test_a_folder_of_another_name_beside_splits_is_passed_over_for_its_name(picture_folder: PictureFolder) -> None:
    source = opened(picture_folder(both("train", "val", "more")))
    assert source.notes == ("more beside train, val passed over (8 images): not called train, val or test",)


@pytest.mark.parametrize("name", ["images", "unknown", "Unlabeled_Data", "test1"])
def test_a_test_split_of_one_folder_whose_name_tells_no_class_is_passed_over_and_counted(
    name: str, picture_folder: PictureFolder
) -> None:
    root = picture_folder({**both("train"), f"test/{name}": 3})
    source = opened(root)
    assert source.test is None
    assert source.notes == (f"3 test images passed over: {name} in {root / 'test'} is no class",)


@pytest.mark.parametrize("inner", ["images", "archive/dataset", "archive/train"])
def test_files_beside_the_folders_that_are_gone_through_are_counted(inner: str, picture_folder: PictureFolder) -> None:
    top = inner.split("/")[0]
    root = picture_folder({**both(inner), f"{top}/annotations" if top != inner else "annotations": 0})
    for path in ("readme.txt", f"{top}/license.MD", f"{top}/annotations/deep/1.xml" if top != inner else "annotations/1.xml"):
        (root / path).parent.mkdir(exist_ok=True)
        (root / path).touch()
    assert opened(root).passed_over == {".txt": 1, ".md": 1, ".xml": 1}


def test_files_in_folders_beside_the_splits_are_counted(picture_folder: PictureFolder) -> None:
    root = picture_folder({**both("train/images", "val/images"), "labels": 0, "train/labels": 0})
    for path in ("labels/1.xml", "labels/2.xml", "train/labels/1.txt", "data.yaml"):
        (root / path).touch()
    assert opened(root).passed_over == {".xml": 2, ".txt": 1, ".yaml": 1}


def test_imagenets_own_folders_are_understood(picture_folder: PictureFolder) -> None:
    root = picture_folder({"Data/CLS-LOC/train/n01": 4, "Data/CLS-LOC/train/n02": 4, "Data/CLS-LOC/val": 3, "Annotations": 0})
    (root / "Annotations" / "1.xml").touch()
    source = opened(root)
    assert source.classes == ("n01", "n02")
    assert len(source.notes) == 2


@pytest.mark.parametrize(
    ("layout", "said", "hint"),
    [
        (both("Trn", "Tst"), "all hold the same folders .*cat, dog", "rename them to train, val and test, or give one of them"),
        (both("Trn", "test"), "all hold the same folders", "rename them to train, val and test"),
        (both("fold1", "fold2", "fold3"), "all hold the same folders", "--data.layout classes"),
        (both("train", "Train"), "2 folders for one split: Train, train", "put their images into one of them"),
        (both("train", "val", "valid"), "2 folders for one split: val, valid", "put their images into one of them"),
        (both("train", "test", "Testing"), "2 folders for one split", "put their images into one of them"),
        ({**both("train"), "extra": 3}, "is train a split or a class", "rename it, or add --data.layout classes"),
        ({"train": 4}, "has one class, 'train'", "sort the images of train into one folder per class"),
        ({"train": 4, "test": 4}, "have images but no class folders", "--data.layout classes"),
        (both("Val", "Test"), "has a Test, Val folder and no train folder", "name the training images' folder train"),
        (both("test"), "has a test folder and no train folder", "train"),
    ],
    ids=str,
)
def test_what_is_in_doubt_is_asked(layout: dict[str, int], said: str, hint: str, picture_folder: PictureFolder) -> None:
    with pytest.raises(DataError, match=said) as caught:
        opened(picture_folder(layout))
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("layout", "classes"),
    [
        ({"car": 3, "train": 3, "bus": 3}, ("bus", "car", "train")),
        ({"car": 3, "train": 3, "train/freight": 2, "bus": 3}, ("bus", "car", "train")),
        ({"car/old": 3, "train/freight": 3, "train/tram": 2, "bus/city": 3}, ("bus", "car", "train")),
        ({"dev": 3, "tr": 3, "test": 3, "other": 3}, ("dev", "other", "test", "tr")),
    ],
    ids=str,
)
def test_a_class_may_be_called_as_a_split(
    layout: dict[str, int], classes: tuple[str, ...], picture_folder: PictureFolder
) -> None:
    assert opened(picture_folder(layout)).classes == classes


def test_a_word_makes_all_folders_classes(picture_folder: PictureFolder) -> None:
    assert opened(picture_folder(both("Trn", "Tst")), layout="classes").classes == ("Trn", "Tst")
    assert opened(picture_folder({"train": 4, "test": 4}, name="b"), layout="classes").classes == ("test", "train")


@pytest.mark.parametrize("wrapped", ["images", "wrapped/images", "archive/dataset", "a/b/c"])
@pytest.mark.parametrize("layout", [{"cat": 4, "dog": 4}, both("Train", "val")], ids=["classes", "splits"])
def test_folders_around_it_are_gone_through_and_that_is_said(
    wrapped: str, layout: dict[str, int], picture_folder: PictureFolder
) -> None:
    root = picture_folder({f"{wrapped}/{name}": count for name, count in layout.items()})
    source = opened(root)
    assert source.classes == ("cat", "dog")
    assert source.notes == (f"images are in {root / wrapped}",)
    assert open_labelled(root, ("cat", "dog"), quiet=True)[0].counts(2)[0] == 4


def test_annotations_beside_the_images_do_not_hide_them_but_an_empty_class_is_missed(picture_folder: PictureFolder) -> None:
    root = picture_folder({"images/cat": 4, "images/dog": 4, "labels": 0})
    (root / "labels" / "1.xml").touch()
    assert opened(root).classes == ("cat", "dog")
    with pytest.raises(DataError, match=r"class 'dog' in .* has no images"):
        opened(picture_folder({"cat/day": 4, "cat/night": 4, "dog": 0}, name="b"))


def test_what_systems_leave_behind_is_no_data(picture_folder: PictureFolder) -> None:
    folders = ("__MACOSX", "@eaDir", ".ipynb_checkpoints", "lost+found", "$RECYCLE.BIN", "System Volume Information", ".git")
    root = picture_folder({**both("train", "val"), **{f"train/cat/{name}": 1 for name in folders}, **dict.fromkeys(folders, 1)})
    for name in ("Thumbs.db", "desktop.ini", ".DS_Store", "._0.png", "ehthumbs.db"):
        (root / name).touch()
        (root / "val" / "dog" / name).touch()
    source = opened(root)
    assert (len(source.train), len(source.val), source.ignored, source.notes, source.left_out) == (8, 8, 0, (), [])
    assert not any(map(is_leftover, ("cat", "icon", "lost", "recycle", "macosx", "Thumbs")))


def test_tables_and_archives_beside_class_folders_do_not_hide_them(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    for name in ("meta.parquet", "labels.csv", "old.tar", "more.zip"):
        (root / name).write_bytes(b"PAR1")
    source = opened(root)
    assert (source.classes, len(source.train) + len(source.val)) == (("cat", "dog"), 8)
    assert source.passed_over == {".parquet": 1, ".csv": 1, ".tar": 1, ".zip": 1}
    split = picture_folder(both("Train", "Test"), name="split")
    (split / "meta.parquet").write_bytes(b"PAR1")
    assert opened(split).passed_over == {".parquet": 1}


def test_one_name_in_two_forms_is_one_class_in_a_folder_and_across_splits(picture_folder: PictureFolder) -> None:
    root = picture_folder({CAFE["NFC"]: 3, CAFE["NFD"]: 2, "dog": 4})
    source = opened(root)
    assert source.classes == (CAFE["NFC"], "dog")
    assert source.train.counts(2)[0] + source.val.counts(2)[0] == 5
    split = {f"train/{CAFE['NFD']}": 3, "train/dog": 2, f"val/{CAFE['NFC']}": 2, "val/dog": 1, f"test/{CAFE['NFD']}": 1}
    source = opened(picture_folder(split, name="split"))
    assert (source.classes, source.val.counts(2)) == ((CAFE["NFC"], "dog"), [2, 1])
    for form in CAFE.values():  # and for a model that learnt the name in either
        images, _ = open_labelled(root, ("dog", form), quiet=True)
        assert images.counts(2) == [4, 5]


def test_what_is_passed_over_is_said_with_its_endings(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 2, "dog": 2})
    for i in range(7):
        (root / "cat" / f"{i}.HEIC").touch()
    for i in range(30):
        (root / "dog" / f"{i}.txt").touch()
    (said,) = remarks(opened(root))
    assert said.startswith("37 files passed over: 30 .txt, 7 .heic")
    assert in_endings({}) == ""
    assert (ending("a/B.TXT"), ending("README")) == (".txt", "without ending")
    assert names.few([str(i) for i in range(1005)], 3) == "0, 1, 2 and 1,002 more"


def test_images_beside_class_folders_and_beside_splits_are_counted(picture_folder: PictureFolder) -> None:
    assert opened(picture_folder({"cat": 4, "dog": 4, ".": 3})).notes[0].startswith("3 images beside the class folders")
    assert opened(picture_folder({**both("train", "val"), ".": 1}, name="b")).notes[0].startswith("1 image beside the splits")


def test_a_thousand_empty_classes_are_one_message(picture_folder: PictureFolder) -> None:
    root = picture_folder({f"c{i:04}": 0 for i in range(1000)})
    (root / "c0001" / "a.txt").touch()
    with pytest.raises(
        DataError, match=r"1,000 of 1,000 classes in .* have no images; c0000, c0001, c0002, c0003 and 996"
    ) as one:
        opened(root)
    assert len(str(one.value)) < 600
    assert "1 file passed over: 1 .txt" in str(one.value)


def test_a_linked_folder_is_followed_once_and_loops_end(picture_folder: PictureFolder) -> None:
    root, far = picture_folder({"cat": 2, "dog": 2}), picture_folder({"more": 3, "more/deep": 1}, name="far")
    (root / "cat" / "linked").symlink_to(far / "more")
    (root / "cat" / "again").symlink_to(far / "more")
    (root / "cat" / "deep").symlink_to(far / "more" / "deep")
    (far / "more" / "loop").symlink_to(far / "more")
    (far / "more" / "up").symlink_to(root / "cat")
    part = open_parts(str(root)).train()
    assert part.images.counts(2) == [6, 2]
    assert len({Path(part.images.name(i)).resolve() for i in range(8)}) == 8


def test_classes_that_link_to_each_other_hold_each_others_images(picture_folder: PictureFolder) -> None:
    root = picture_folder({"cat": 2, "dog": 3})
    (root / "cat" / "dogs").symlink_to(root / "dog")
    (root / "dog" / "cats").symlink_to(root / "cat")
    part = open_parts(str(root)).train()
    assert part.images.counts(2) == [5, 5]
    assert "5 images in more than one class" in remarks(opened(root))


def test_classes_whose_images_are_all_refused_for_one_reason_have_the_hint_of_that_reason(tmp_path: Path) -> None:
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.tif").write_bytes(tiff(picture_of(0, (5, 7, 2), "uint16"), tags={338: numbers("H", 0)}))
    with pytest.raises(DataError, match=r"2 cannot be read, such as .* 2 channels") as error:
        opened(tmp_path)
    assert error.value.hint.startswith("save what the model is to see as grey")
