"""What a run says of its data: in its first lines, its files and its report; and a test split that is judged at the end."""

import json
import shutil
from pathlib import Path

import pytest

from allmlp.cli import main
from allmlp.run import read_json
from helpers import PictureFolder

FAST = ["--train.epochs", "1", "--train.batch", "8", "--data.workers", "0", "--data.img-size", "16", "16"]
SMALL = ["--model", "resmlp_xs", "--hyper.dim", "16", "--hyper.depth", "2"]


def trained(data: Path, out: Path, *more: str) -> Path:
    assert main(["train", str(data), *SMALL, *FAST, "--out", str(out), *more]) == 0
    return out


def test_a_test_split_is_judged_once_at_the_end_and_both_are_reported(
    picture_folder: PictureFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = picture_folder({"Training/cat": 8, "Training/dog": 8, "TEST/cat": 3, "TEST/dog": 4})
    run = trained(root, tmp_path / "run", "--json", "--data.val-share", "0.25")
    said = capsys.readouterr()
    assert "12 training, 4 validation and 7 test images" in said.err
    assert "val top-1" in said.err
    assert "test top-1" in said.err
    assert "on 7 images" in said.err
    told = json.loads(said.out)
    assert (told["split"], told["val"]["images"], told["test"]["images"]) == ("test", 4, 7)
    evaluated = {path.stem: read_json(path)["images"] for path in (run / "evaluation").glob("*.json")}
    assert evaluated == {"val": 4, "test": 7}
    assert read_json(run / "data.json")["test"] == {"images": 7, "per_class": [3, 4]}
    page = (run / "report.html").read_text(encoding="utf-8")
    for fact in ("on 7 test images", "Validation accuracy", "12 to train, 4 to validate, 7 to test", "To test"):
        assert fact in page, fact


def test_what_was_found_stands_in_the_first_three_lines_the_records_and_the_report(
    picture_folder: PictureFolder, tmp_path: Path
) -> None:
    root = picture_folder({"a/b/train/cat": 42, "a/b/train/dog": 3, "a/b/Val/cat": 2, "a/b/Val/dog": 2})
    shutil.copy(root / "a/b/train/cat/1.png", root / "a/b/Val/cat/9.png")
    (root / "a/b/train/cat/1.heic").touch()
    run = trained(root, tmp_path / "run", "--data.drop-duplicates")
    lines = (run / "log.txt").read_text(encoding="utf-8").splitlines()
    facts = (
        f"images are in {root}/a/b",
        "1 file passed over: 1 .heic",
        "1 validation or test image is a training image as well, to the byte (1 dropped from training)",
    )
    page = (run / "report.html").read_text(encoding="utf-8")
    for fact in facts:
        assert sum(fact in line for line in lines) == 1
        assert any(fact in line for line in lines[:3])
        assert page.count(fact) == 1
    described = read_json(run / "data.json")
    assert (described["train"]["images"], described["val"]["images"]) == (44, 5)
    assert described["passed_over"] == {".heic": 1}
    assert described["imbalance"] == 41 / 3
    assert (described["duplicates"]["held_out"], described["dropped_duplicates"]) == (1, 1)
    again = main(["evaluate", str(run), "--json"])
    assert again == 0


def test_uneven_classes_are_said_once(picture_folder: PictureFolder, tmp_path: Path) -> None:
    run = trained(picture_folder({"cat": 60, "dog": 3}), tmp_path / "run")
    log = (run / "log.txt").read_text(encoding="utf-8")
    assert log.count("uneven classes: cat has 54 training images, dog 2, 27 to 1") == 1


def test_predict_says_what_it_passed_over(
    picture_folder: PictureFolder, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = picture_folder({"cat": 4, "dog": 4})
    run = trained(root, tmp_path / "run")
    (root / "cat" / "words.txt").touch()
    (root / "cat" / "Thumbs.db").touch()
    capsys.readouterr()
    assert main(["predict", str(run), str(root), "--json"]) == 0
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 8
    assert "1 file passed over: 1 .txt" in said.err
    shutil.make_archive(str(tmp_path / "a"), "zip", root)
    assert main(["predict", str(run), str(tmp_path / "a.zip")]) != 0
    assert "is an archive" in capsys.readouterr().err
