"""A bundle is read back as what it is: its model's answers, its own classes and preprocessing, or one clear error."""

import csv
import hashlib
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import allmlp
from allmlp.cli import main
from allmlp.data.pictures import list_pictures
from allmlp.engine.bundle import SCHEMA, read_bundle
from allmlp.engine.open import open_answering
from allmlp.errors import AllmlpError, EngineError, RunError
from allmlp.exporting.formats.table import FORMATS
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.prediction.many import predict_many
from allmlp.run import read_json, write_json, write_model
from contract import awake, images
from helpers import PictureFolder, picture

CLASSES = ("ant", "bee", "cat")
Bundle = Callable[..., Path]


@pytest.fixture
def model() -> ImageModel:
    torch.manual_seed(0)
    made = awake(create_model("mixer_s32", img_size=(32, 64), num_classes=3)).eval()
    with torch.no_grad():
        made.head.weight.mul_(0.02)  # probabilities are then no zeros and ones
    made.classes = CLASSES
    return made


@pytest.fixture
def weights(model: ImageModel, tmp_path: Path) -> Path:
    path = tmp_path / "mine.safetensors"
    write_model(path, model.state_dict(), model.card())
    return path


@pytest.fixture
def shown(picture_folder: PictureFolder) -> Path:
    folder = picture_folder(dict.fromkeys(CLASSES, 3))
    for number, size in enumerate([(90, 40), (33, 71), (64, 32)]):
        picture(40 + number, size).save(folder / "bee" / f"size{number}.png")
    return folder


@pytest.fixture
def bundle(weights: Path, shown: Path, tmp_path: Path) -> Bundle:
    def make(**words: Any) -> Path:
        for module in FORMATS[words["format"]].modules:
            pytest.importorskip(module, reason=f"allmlp[export] brings {module}")
        out = tmp_path / "bundle"
        allmlp.export(weights, data=shown, out=out, **words)
        return out

    return make


@pytest.mark.parametrize("kind", ["safetensors", "timm"])
def test_a_bundle_of_weights_is_its_model(kind: str, bundle: Bundle, model: ImageModel) -> None:
    again, given = allmlp.load(bundle(format=kind)), images(model, 3)
    with torch.inference_mode():
        assert torch.equal(again(given), model(given))
    assert (again.classes, again.preprocessing) == (model.classes, model.preprocessing)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 4])
@pytest.mark.parametrize("inside", [False, True])
@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_graph_answers_as_its_model_and_is_judged_as_it(
    kind: str, inside: bool, batch: int | None, bundle: Bundle, model: ImageModel, weights: Path, shown: Path, tmp_path: Path
) -> None:
    made = bundle(format=kind, with_preprocessing=inside, batch=batch)
    paths = list_pictures([shown])
    due = model.predict([Image.open(path).convert("RGB") for path in paths], top=3)  # in float32, whatever this CPU prefers
    graph = open_answering(made)
    elsewhere = pickle.loads(pickle.dumps(graph))  # as to a process of a cluster
    for many in (list(allmlp.predict(graph, [shown], top=3, batch=5)), through_parquet(elsewhere, shown, tmp_path)):
        assert [row["path"] for row in many] == paths
        for row, wanted in zip(many, due, strict=True):
            assert dict(zip(row["classes"], row["probabilities"], strict=True)) == pytest.approx(
                dict(zip(wanted.classes, wanted.probabilities, strict=True)), abs=1e-3 if inside else 1e-5
            )
    one, two = (allmlp.evaluate(source, shown, engine="auto", quiet=True) for source in (weights, made))
    assert (one["top1"], one["confusion"]) == (two["top1"], two["confusion"])
    assert two["engine"] == f"{kind} bundle fp32"


def through_parquet(graph: Any, shown: Path, folder: Path) -> list[dict[str, Any]]:
    parquet = pytest.importorskip("pyarrow.parquet")
    predict_many(graph, [shown], folder / "out.parquet", top=3, batch=4)
    with pytest.raises(EngineError, match="gives no embeddings"):
        predict_many(graph, [shown], folder / "more.parquet", embeddings=True)
    return list(parquet.read_table(folder / "out.parquet").to_pylist())


@pytest.mark.slow
def test_a_graph_is_run_as_it_is(bundle: Bundle, shown: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = bundle(format="onnx")
    assert main(["predict", str(made), str(shown), "--csv"]) == 0
    assert {row["class_1"] for row in csv.DictReader(capsys.readouterr().out.splitlines())} <= set(CLASSES)
    for words, told in (
        (["predict", str(made), str(shown), "--img-size", "64"], "a graph of one image size"),
        (["predict", str(made), str(shown), "--engine", "torch"], "engine torch is for models"),
        (
            ["explain", str(made), str(shown / "ant" / "0.png"), "--out", str(made / "why")],
            "a graph, which predict and evaluate take",
        ),
    ):
        assert main(words) == 2
        assert told in capsys.readouterr().err


@pytest.mark.slow
def test_onnx_with_weights_elsewhere_is_refused(bundle: Bundle) -> None:
    made = bundle(format="onnx")
    import onnx

    graph = onnx.load(made / "model.onnx")
    onnx.save(graph, made / "model.onnx", save_as_external_data=True, location="beside.bin", size_threshold=0)
    graph = onnx.load(made / "model.onnx", load_external_data=False)
    for tensor in graph.graph.initializer:
        for entry in tensor.external_data:
            entry.value = "../../secret" if entry.key == "location" else entry.value
    (made / "model.onnx").write_bytes(graph.SerializeToString())
    signed(made, "model.onnx")
    with pytest.raises(RunError, match=r"keeps weights in another file: \.\./\.\./secret"):
        open_answering(made)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["onnx", "openvino"])
def test_a_graph_that_is_none_is_one_error(kind: str, bundle: Bundle) -> None:
    made = bundle(format=kind)
    for name in ("model.onnx", "model.xml"):
        if (made / name).is_file():
            (made / name).write_bytes(b"no graph at all")
            signed(made, name)
    with pytest.raises(EngineError, match="cannot be run here"):
        open_answering(made)


def signed(made: Path, name: str) -> None:
    """Put the file's own hash into bundle.json, as someone would who changes both."""
    change(
        made, files={**read_json(made / "bundle.json")["files"], name: hashlib.sha256((made / name).read_bytes()).hexdigest()}
    )


def change(made: Path, **values: Any) -> None:
    write_json(made / "bundle.json", {**read_json(made / "bundle.json"), **values})


def test_what_is_not_as_it_was_exported_is_one_clear_error(bundle: Bundle, shown: Path) -> None:
    made = bundle(format="safetensors")
    content = (made / "model.safetensors").read_bytes()
    (made / "README.md").write_text("notes of my own")  # which is nobody's business
    read_bundle(made)
    for spoil, told in (
        (lambda: (made / "model.safetensors").write_bytes(content[:-1] + b"x"), "model.safetensors is not as it was exported"),
        (lambda: (made / "model.safetensors").unlink(), "model.safetensors is missing"),
        (lambda: change(made, files={"../mine.safetensors": "0", "model.safetensors": "0"}), "mine.safetensors is missing"),
        (lambda: change(made, files={}), "has no hash of model.safetensors"),
        (lambda: change(made, classes="ant"), "does not say classes"),
        (lambda: change(made, format="torch"), "does not read back: reading a .pt2 runs code from the file"),
        (lambda: change(made, bundle=SCHEMA + 1), f"of schema {SCHEMA + 1}, this allmlp reads up to {SCHEMA}"),
        (lambda: (made / "bundle.json").write_text("[]"), "does not describe a bundle"),
        (lambda: (made / "bundle.json").write_text("{"), "cannot be read"),
    ):
        spoil()
        for use in (allmlp.load, open_answering, lambda source: allmlp.evaluate(source, shown)):
            with pytest.raises(RunError) as caught:
                use(made)
            assert told in caught.value.what
            assert caught.value.hint


def test_a_missing_library_names_the_extra(bundle: Bundle, monkeypatch: pytest.MonkeyPatch) -> None:
    made = bundle(format="safetensors")
    (made / "model.onnx").touch()
    change(made, format="onnx")
    signed(made, "model.onnx")
    monkeypatch.setattr("allmlp.engine.graph.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"needs onnx and onnxruntime, which is not installed\n.*allmlp\[export\]"):
        open_answering(made)


def test_a_bundle_has_no_images_of_its_own(bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    made = bundle(format="timm")
    with pytest.raises(AllmlpError, match="no images of their own"):
        allmlp.evaluate(made)
    assert main(["evaluate", str(made), str(made.parent / "pictures"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == 12
