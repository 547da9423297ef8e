"""ImageNet's validation images, ImageNet-V2 and ImageNet-ReaL, on stand-ins laid out like them."""

import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from timm.data import ImageNetInfo, RealLabelsImagenet

import allmlp
from allmlp.cli import main
from allmlp.data.parts import imagenet_places
from allmlp.data.sources import open_labelled
from allmlp.errors import DataError
from allmlp.evaluation.real import real_labels
from allmlp.metrics import hits_within
from allmlp.models.base import ImageModel
from allmlp.registry import create_model
from allmlp.released.classes import class_names
from allmlp.run import write_model
from helpers import picture

NAMES = class_names("imagenet-1k")
IDS = ImageNetInfo("imagenet-1k").label_names()


def validation(number: int) -> str:
    return f"ILSVRC2012_val_{number:08}.JPEG"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small model that knows ImageNet's classes, as weights with their JSON."""
    torch.manual_seed(0)
    made: ImageModel = create_model("resmlp", dim=16, depth=1, patch_size=16, img_size=(32, 32), num_classes=1000).eval()
    torch.nn.init.normal_(made.head.weight)
    made.classes = NAMES
    path = tmp_path_factory.mktemp("model") / "small.safetensors"
    write_model(path, made.state_dict(), made.card())
    return path


def save(path: Path, number: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture(number, (48, 40)).save(path, "JPEG")


def test_folders_of_wordnet_ids_are_imagenets_classes_by_name(tmp_path: Path) -> None:
    for number, place in enumerate((999, 0, 65)):
        save(tmp_path / "val" / IDS[place] / validation(number + 1), number)
    for order in (NAMES, tuple(reversed(NAMES)), tuple(IDS)):
        images, _ = open_labelled(tmp_path / "val", order)
        assert [order[label][-10:].strip("()") for label in images.labels] == [IDS[0], IDS[65], IDS[999]]


def test_folders_of_imagenet_v2_are_class_numbers_and_no_strings(tmp_path: Path) -> None:
    for number in (0, 1, 2, 10, 99, 100, 999):
        save(tmp_path / "v2" / str(number) / "a.jpeg", number)
    for order in (NAMES, tuple(reversed(NAMES)), tuple(IDS)):
        images, _ = open_labelled(tmp_path / "v2", order)
        for i, label in enumerate(images.labels):
            number = int(Path(images.name(i)).parent.name)
            assert order[label][-10:].strip("()") == IDS[number]


def test_numbers_that_a_model_knows_as_names_stay_names(tmp_path: Path) -> None:
    for name in ("0", "1", "10"):
        save(tmp_path / "digits" / name / "a.jpeg", 1)
    assert open_labelled(tmp_path / "digits", ("10", "1", "0"))[0].labels.tolist() == [2, 1, 0]
    with pytest.raises(DataError, match="classes that training has not: 0, 1"):
        open_labelled(tmp_path / "digits", ("cat", "dog", "10"))
    with pytest.raises(DataError, match="classes that training has not: 0, 1, 10"):
        open_labelled(tmp_path / "digits", NAMES[:-1])
    save(tmp_path / "digits" / "1000" / "a.jpeg", 1)
    with pytest.raises(DataError, match="has classes that training has not: 0, 1, 10, 1000"):
        open_labelled(tmp_path / "digits", NAMES)


def test_imagenets_numbers_follow_the_order_of_the_ids() -> None:
    assert sorted(IDS) == IDS
    assert imagenet_places(NAMES) == list(range(1000))
    assert imagenet_places(tuple(reversed(IDS))) == list(range(999, -1, -1))
    assert imagenet_places(("cat", "dog")) is None
    assert imagenet_places((*NAMES[1:], "lynx (n99999999)")) is None


def test_real_labels_begin_with_the_image_called_one() -> None:
    """The first five validation images' own labels, as published with them, are among ReaL's wherever it has any."""
    own = ["n01751748", "n09193705", "n02105855", "n04263257", "n03125729"]
    every = real_labels()
    assert (len(every), sum(not each for each in every)) == (50_000, 3163)
    for labels, wordnet in zip(every, own, strict=False):
        assert not labels or IDS.index(wordnet) in labels


def test_an_answer_is_right_that_is_any_of_the_allowed() -> None:
    logits = torch.tensor([[3.0, 2, 1], [3, 2, 1], [1, 2, 3]])
    allowed = torch.tensor([[True, True, False], [False, True, True], [True, False, False]])
    assert [hits_within(logits, allowed, k) for k in (1, 2, 3, 5)] == [1, 2, 3, 3]


CHOSEN = [2, 3, 4, 5, 6, 49999, 50000]
"""Numbers of validation images; the first one of all has no label in ReaL."""


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for number in (1, *CHOSEN):
        save(tmp_path / "flat" / validation(number), number)
        save(tmp_path / "set" / "val" / IDS[number % 7] / validation(number), number)
    save(tmp_path / "set" / "train" / IDS[0] / "n01440764_10026.JPEG", 77)
    (tmp_path / "flat" / "notes.txt").write_text("no picture")
    with tarfile.open(tmp_path / "val.tar", "w") as archive:
        archive.add(tmp_path / "set" / "val", "val")
    return tmp_path


def due(model: Path, files: Path) -> dict[int, float]:
    """timm's own evaluator, in percent."""
    labels = real_labels()
    chosen = [number for number in (1, *CHOSEN) if labels[number - 1]]
    short = files / "labels.json"
    short.write_text(json.dumps([labels[number - 1] for number in chosen]))
    judge = RealLabelsImagenet([validation(i + 1) for i in range(len(chosen))], real_json=short)
    loaded = allmlp.load(model)
    rows = allmlp.predict(loaded, [files / "flat" / validation(number) for number in chosen], top=1000)
    places = {name: i for i, name in enumerate(NAMES)}
    for row in rows:
        logits = torch.zeros(1, 1000)
        logits[0, [places[name] for name in row["classes"]]] = torch.tensor(row["probabilities"])
        judge.add_result(logits)
    found: dict[int, float] = judge.get_accuracy()
    return found


@pytest.mark.parametrize("layout", ["flat", "set", "set/val", "val.tar"])
def test_real_accuracy_is_timms_whatever_the_layout(layout: str, model: Path, files: Path) -> None:
    result = allmlp.evaluate(model, files / layout, real=True, engine="eager", quiet=True)
    assert result["images"] == len([n for n in (1, *CHOSEN) if real_labels()[n - 1]])
    assert result["unlabelled"] == 1 + len(CHOSEN) - result["images"] >= 1
    judged = due(model, files)
    assert (100 * result["top1"], 100 * result["top5"]) == (pytest.approx(judged[1]), pytest.approx(judged[5]))


def test_a_model_that_answers_with_real_labels_is_always_right(
    model: Path, files: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its classes in another order, so that numbers must be found by name."""
    loaded = allmlp.load(model)
    order = np.random.default_rng(0).permutation(1000)
    other = files / "other.safetensors"
    loaded.classes = tuple(NAMES[i] for i in order)
    write_model(other, loaded.state_dict(), loaded.card())
    labels = iter([each for n in CHOSEN if (each := real_labels()[n - 1])])

    def answer(_: Any, batches: Any, **__: Any) -> Any:
        for batch in batches:
            logits = torch.zeros(len(batch.labels), 1000)
            for row in logits:
                row[order.tolist().index(next(labels)[-1])] = 1.0
            yield logits, batch

    monkeypatch.setattr("allmlp.engine.infer.stream", answer)
    result = allmlp.evaluate(other, files / "flat", real=True, engine="eager", quiet=True)
    assert result["top1"] == 1.0


def test_the_command_prints_real_accuracy(model: Path, files: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (files / "flat" / validation(7)).write_bytes(b"no picture")
    assert main(["evaluate", str(model), str(files / "flat"), "--real", "--engine", "eager"]) == 0
    said = capsys.readouterr()
    assert "1 without a label of ReaL left out\nReaL top-1" in said.out
    assert "1 images could not be read" in said.err
    assert main(["evaluate", str(model), str(files / "flat"), "--real", "--engine", "eager", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["split"] == "real"


def test_what_real_cannot_judge_is_refused_with_a_hint(model: Path, files: Path) -> None:
    with pytest.raises(DataError, match="ReaL is of ImageNet's validation images"):
        allmlp.evaluate(model, real=True)
    with pytest.raises(DataError, match="called like one of ImageNet's validation images") as error:
        allmlp.evaluate(model, files / "set" / "train", real=True)
    assert "ILSVRC2012_val_00000001.JPEG" in error.value.hint
    with pytest.raises(DataError, match="does not know ImageNet's 1000 classes"):
        allmlp.evaluate("smlpnet_xs.cifar10", files / "flat", real=True)
    with pytest.raises(DataError, match="features have none"):
        allmlp.evaluate(model, files / "flat", real=True, knn=True)
