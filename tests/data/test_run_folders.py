"""A run folder is no place of images: given as one it is refused, found inside one it is passed over and named."""

from collections.abc import Callable
from pathlib import Path

import pytest

import allmlp
from allmlp.cli import main
from allmlp.data.folder import walk_files
from allmlp.data.pictures import list_pictures
from allmlp.data.run_folders import holds_runs_alone, is_run_folder
from allmlp.data.sources import open_labelled, open_source
from allmlp.data.stream import survey
from allmlp.errors import DataError
from allmlp.models import create_model
from allmlp.run import Run, write_json, write_model
from helpers import PictureFolder, picture

NAMES = ("cat", "dog")


def as_run(folder: Path, *names: str) -> Path:
    """A folder with the files of a run that tell it, and images of its reports."""
    shown = folder / "evaluation" / "val"
    shown.mkdir(parents=True)
    for number in range(3):
        picture(number).save(shown / f"{number}.png")
    for name in names:
        (folder / name).touch()
    return folder


@pytest.fixture
def images(picture_folder: PictureFolder) -> Path:
    return picture_folder({"cat": 6, "dog": 5})


@pytest.fixture
def weights(tmp_path: Path) -> Path:
    model = create_model("resmlp_s12", img_size=32, num_classes=2, dim=16, depth=2)
    model.classes = NAMES
    path = tmp_path / "weights" / "mine.safetensors"
    path.parent.mkdir()
    write_model(path, model.state_dict(), model.card())
    return path


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (("run.json", "recipe.toml"), True),
        (("run.json", "metrics.jsonl"), True),
        (("best.safetensors", "best.json"), True),
        (("last.safetensors", "last.json"), True),
        (("bundle.json", "model.onnx"), True),
        (("run.json",), False),
        (("recipe.toml",), False),
        (("best.json", "last.safetensors"), False),
        (("bundle.json",), False),
        ((), False),
    ],
)
def test_a_run_is_told_by_the_names_in_it(names: tuple[str, ...], told: bool, tmp_path: Path) -> None:
    assert is_run_folder(as_run(tmp_path / "one", *names)) == told


TINY = {"data.img_size": (32, 32), "train.epochs": 1, "hyper": {"dim": 16, "depth": 1}}


def test_a_run_that_was_trained_is_told(tmp_path: Path, images: Path) -> None:
    run = allmlp.train(images, out=tmp_path / "run", model="resmlp_s12", quiet=True, **TINY)
    assert isinstance(run, Run)
    assert is_run_folder(run.folder)
    allmlp.export(run.folder, format="safetensors", data=images, out=tmp_path / "bundle")
    assert is_run_folder(tmp_path / "bundle")


def test_a_folder_of_runs_holds_nothing_else(tmp_path: Path) -> None:
    for name in ("a", "b"):
        as_run(tmp_path / "runs" / name, "run.json", "recipe.toml")
    assert holds_runs_alone(tmp_path / "runs")
    assert not holds_runs_alone(tmp_path)
    (tmp_path / "empty").mkdir()
    assert not holds_runs_alone(tmp_path / "empty")
    picture(0).save(tmp_path / "runs" / "mine.png")
    assert not holds_runs_alone(tmp_path / "runs")


@pytest.mark.parametrize("place", ["run", "runs", "weights"])
@pytest.mark.parametrize(
    "use",
    [
        lambda path: list_pictures([path]),
        lambda path: survey([str(path)]),
        lambda path: open_source(str(path), val_share=0.2, seed=0),
        lambda path: open_labelled(path, NAMES),
    ],
    ids=["list_pictures", "survey", "open_source", "open_labelled"],
)
def test_a_run_in_the_place_of_images_is_refused(use: Callable[[Path], object], place: str, tmp_path: Path) -> None:
    as_run(tmp_path / "runs" / "a", "run.json", "recipe.toml", "best.safetensors")
    given = {"run": tmp_path / "runs" / "a", "runs": tmp_path / "runs", "weights": tmp_path / "runs/a/best.safetensors"}
    with pytest.raises(DataError, match="and images are expected here") as caught:
        use(given[place])
    assert str(given[place]) in caught.value.what
    assert "allmlp compare RUN RUN" in caught.value.hint


@pytest.mark.parametrize(
    "command",
    [
        ["predict", "WEIGHTS", "OTHER", "IMAGES"],
        ["predict", "WEIGHTS", "OTHER", "IMAGES", "--out", "OUT"],
        ["evaluate", "WEIGHTS", "OTHER"],
        ["evaluate", "WEIGHTS", "OTHER", "--knn"],
        ["explain", "WEIGHTS", "OTHER", "--out", "PAGE"],
        ["explain", "WEIGHTS", "--data", "OTHER", "--out", "PAGE"],
        ["explain", "WEIGHTS", "--prune", "OTHER", "--out", "PAGE"],
        ["train", "OTHER", "--out", "PAGE"],
        ["pretrain", "OTHER", "--out", "PAGE"],
        ["pack", "OTHER", "--out", "PAGE"],
        ["export", "WEIGHTS", "--format", "safetensors", "--data", "OTHER", "--out", "PAGE"],
        ["compare", "WEIGHTS", "WEIGHTS", "--data", "OTHER"],
        ["shrink", "WEIGHTS", "OTHER", "--token-rank", "1", "--out", "PAGE"],
        ["find-lr", "OTHER"],
    ],
    ids=" ".join,
)
def test_every_command_that_takes_images_refuses_a_run(
    command: list[str], weights: Path, images: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = as_run(tmp_path / "other", "run.json", "recipe.toml")
    places = {"WEIGHTS": weights, "OTHER": other, "IMAGES": images, "OUT": tmp_path / "o.parquet", "PAGE": tmp_path / "page"}
    assert main([str(places.get(word, word)) for word in command]) == 2
    said = capsys.readouterr().err
    assert f"{other} is a run folder, and images are expected here" in said
    assert "hint:" in said
    assert not (tmp_path / "page" / "index.html").exists()


def test_runs_below_a_folder_of_images_are_passed_over_and_named(
    images: Path, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = list(walk_files(images))
    as_run(images / "runs" / "a", "run.json", "recipe.toml")
    as_run(images / "cat" / "deep" / "mine", "best.safetensors", "best.json")
    assert list(walk_files(images)) == before
    assert list_pictures([images]) == before
    told = f"2 run folders passed over: {images}/cat/deep, {images}/runs"
    assert told in capsys.readouterr().err.replace("\n", " ")
    assert survey([str(images)], quiet=False).count == len(before)
    assert told in capsys.readouterr().err.replace("\n", " ")
    source = open_source(str(images), val_share=0.2, seed=0)
    assert source.classes == NAMES
    assert len(source.train) + len(source.val) == len(before)
    assert {note for note in source.notes if "run folder" in note} == {
        f"run folder passed over: {images}/cat/deep",
        f"run folder passed over: {images}/runs",
    }
    assert main(["evaluate", str(weights), str(images)]) == 0
    assert told in capsys.readouterr().err


def test_a_report_image_that_is_named_itself_is_an_image(tmp_path: Path) -> None:
    run = as_run(tmp_path / "run", "run.json", "recipe.toml")
    assert list_pictures([run / "evaluation" / "val" / "1.png"]) == [str(run / "evaluation" / "val" / "1.png")]


def test_a_run_of_another_program_is_images(images: Path) -> None:
    write_json(images / "run.json", {"mine": True})
    assert len(list_pictures([images])) == 11
