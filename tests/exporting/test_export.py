"""`allmlp.export`: a bundle answers as its model does, to a stranger without allmlp, or is not there."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import allmlp
from allmlp.cli import main
from allmlp.data.images import FileImages
from allmlp.engine.kept import hashes
from allmlp.errors import AllmlpError, EngineError, RunError, WeightsError
from allmlp.exporting.formats.base import Deployed, Order, Runner, captured
from allmlp.exporting.formats.program import Program
from allmlp.exporting.formats.table import FORMATS
from allmlp.exporting.formats.weights import ARCHITECTURES, config
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.preprocess import Preprocessing
from allmlp.run import read_json, write_model
from bundles import follow_readme, needs
from contract import SMALL, awake, build, images
from helpers import PictureFolder, picture

CLASSES = ("ant", "bee", "cat", "dog", "elk")


Exporting = Callable[..., dict[str, Any]]


@pytest.mark.slow
@pytest.mark.parametrize("with_preprocessing", [False, True])
@pytest.mark.parametrize("name", ["onnx", "openvino", "torch"])
def test_the_lines_of_the_readme_run_without_allmlp(
    name: str, with_preprocessing: bool, export: Exporting, model: ImageModel, tmp_path: Path
) -> None:
    needs(name)
    done = export(format=name, with_preprocessing=with_preprocessing)
    assert done["parity"]["deviation"] < (1e-3 if with_preprocessing else 1e-4)  # a pixel of 192 may be rounded otherwise
    assert done["parity"]["images"] == 9
    sizes = [(40, 31), (12, 16), (90, 20)]
    for number, size in enumerate(sizes[:1] if name == "torch" else sizes):  # importing torch takes long
        told = follow_readme(tmp_path / "bundle", number, size)
        due = model.predict(picture(number, size))[0]
        assert told == due.classes[0]


@pytest.mark.slow
def test_a_safetensors_bundle_is_a_model_to_allmlp_and_tensors_to_others(
    export: Exporting, model: ImageModel, tmp_path: Path
) -> None:
    export(format="safetensors")
    again = allmlp.load(tmp_path / "bundle")
    given = images(model, 3)
    with torch.inference_mode():
        assert torch.equal(again(given), model(given))
    assert again.classes == CLASSES
    assert follow_readme(tmp_path / "bundle", 0, (20, 20)).startswith("resmlp_s12 ")


@pytest.mark.slow
def test_timm_builds_a_timm_bundle_without_allmlp(tmp_path: Path, shown: Path) -> None:
    torch.manual_seed(0)
    model = awake(create_model("resmlp_s12", img_size=(32, 48), num_classes=5)).eval()
    model.classes = CLASSES
    path = tmp_path / "whole.safetensors"
    write_model(path, model.state_dict(), model.card())
    done = allmlp.export(path, format="timm", data=shown, out=tmp_path / "bundle")
    assert done["parity"]["deviation"] < 1e-5
    assert follow_readme(tmp_path / "bundle", 1, (60, 50)) == model.predict(picture(1, (60, 50)))[0].classes[0]


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_timm_has_the_architecture_of_every_variant_in_the_table(name: str) -> None:
    import timm

    with torch.device("meta"):
        model = create_model(name, num_classes=7, in_chans=1)
        said = config(model)
        theirs = timm.create_model(said["architecture"], num_classes=7, **said["model_args"])
    assert sum(p.numel() for p in theirs.parameters()) == sum(p.numel() for p in model.parameters())


@pytest.mark.slow
@pytest.mark.parametrize("name", SMALL)
def test_every_architecture_is_captured_for_any_number_of_images(name: str) -> None:
    model = awake(build(name)).eval()
    order = Order(model=model, precision="fp32", batch=None, with_preprocessing=False)
    program = captured(order).module()
    for count in (1, 3):
        given = images(model, count)
        with torch.inference_mode():
            due, got = model(given), program(given)
        assert (got - due).norm() < 1e-5 * due.norm()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["onnx", "openvino"])
def test_int8_is_smaller_and_decides_alike(name: str, tmp_path: Path, weights: Path) -> None:
    needs(name)
    pytest.importorskip("nncf", reason="allmlp[export] brings nncf")
    done = allmlp.export(weights, format=name, precision="int8", out=tmp_path / "small", min_agreement=0)
    assert done["parity"]["images"] == 128
    assert "Fashion-MNIST" in done["parity"]["of"]
    assert done["parity"]["deviation"] < 0.3


@pytest.mark.slow
def test_onnx_has_the_opset_and_the_shapes_it_states(export: Exporting, tmp_path: Path) -> None:
    needs("onnx")
    onnxruntime = pytest.importorskip("onnxruntime")
    done = export(batch=4)
    session = onnxruntime.InferenceSession(tmp_path / "bundle" / "model.onnx")
    assert session.get_inputs()[0].shape == done["input"]["shape"] == [4, 3, 16, 12]
    assert done["opset"] == {"ai.onnx": 18}
    free = export(out=tmp_path / "free")
    session = onnxruntime.InferenceSession(tmp_path / "free" / "model.onnx")
    assert session.get_inputs()[0].shape == free["input"]["shape"] == ["batch", 3, 16, 12]
    assert session.get_outputs()[0].shape[0] == "batch"


def test_hashes_of_a_bundle_are_its_files(export: Exporting, tmp_path: Path) -> None:
    done = export(format="safetensors", precision="bf16")
    card = read_json(tmp_path / "bundle" / "bundle.json")
    assert card["files"].keys() == {"README.md", "model.json", "model.safetensors"}
    assert {k: v for k, v in hashes(tmp_path / "bundle").items() if k != "bundle.json"} == card["files"]
    assert done["parity"]["agreement"] >= 0.9
    assert card["classes"] == list(CLASSES)


class Doubled(Program):
    """A file that answers wrongly."""

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        (folder / self.file).write_bytes(b"")
        return {}

    def runner(self, order: Order, folder: Path) -> Runner:
        return lambda given: 2 * order.model(given)


class Contrary(Doubled):
    """A file that decides otherwise."""

    precisions = ("fp32", "bf16")

    def runner(self, order: Order, folder: Path) -> Runner:
        return lambda given: -order.model(given)


class Broken(Doubled):
    """A file that cannot be run."""

    def runner(self, order: Order, folder: Path) -> Runner:
        def run(given: Tensor) -> Tensor:
            raise ValueError("no kernel\nand a second line")

        return run


@pytest.mark.parametrize(
    ("made", "precision", "told"),
    [
        (Doubled, "fp32", r"off by 1\.0e\+00, and rounding explains 1e-04; nothing was written"),
        (Contrary, "bf16", r"for 0\.0% of 9 images, fewer than 90%; nothing was written"),
        (Broken, "fp32", "fails as it runs: no kernel$"),
    ],
)
def test_what_disagrees_is_not_written(
    made: type[Program], precision: str, told: str, export: Exporting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(FORMATS, "torch", made())
    before = set(tmp_path.iterdir())
    with pytest.raises(EngineError) as caught:
        export(format="torch", precision=precision)
    assert re.search(told, caught.value.what)
    assert set(tmp_path.iterdir()) == before


def test_agreement_may_be_waived(export: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(FORMATS, "torch", Contrary())
    assert export(format="torch", precision="bf16", min_agreement=0)["parity"]["agreement"] == 0


def test_a_model_in_half_precision_computes_in_it(model: ImageModel) -> None:
    graph = Deployed(Order(model=model, precision="bf16", batch=None, with_preprocessing=False))
    assert {p.dtype for p in graph.model.parameters()} == {torch.bfloat16}
    assert graph(images(model, 2)).dtype == torch.float32


@pytest.mark.parametrize(
    ("words", "kind", "told"),
    [
        ({"format": "onx"}, EngineError, "did you mean onnx"),
        ({"precision": "int4"}, EngineError, "did you mean int8"),
        ({"format": "torch", "precision": "int8"}, EngineError, "not written in int8"),
        ({"format": "torch", "batch": 0}, EngineError, "batch is 0"),
        ({"format": "torch", "min_agreement": 2}, EngineError, "share from 0 to 1"),
        ({"format": "safetensors", "batch": 4}, EngineError, "holds weights and no graph"),
        ({"format": "timm"}, WeightsError, "with another depth and dim and patch_size"),
        ({"format": "safetensors", "data": "nowhere"}, AllmlpError, "nowhere does not exist"),
        ({"format": "safetensors", "out": "."}, RunError, "is there already"),
    ],
)
def test_wrong_words_are_one_clear_error(
    words: dict[str, Any], kind: type[Exception], told: str, export: Exporting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(kind, match=told):
        export(**words)
    assert not (tmp_path / "bundle").exists()


def test_a_missing_library_names_the_extra(export: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.exporting.formats.base.find_spec", lambda name: None)
    with pytest.raises(EngineError, match=r"onnx and onnxscript and onnxruntime, which is not installed\n.*allmlp\[export\]"):
        export()


def test_pictures_that_cannot_be_read_are_passed_over_or_refused(export: Exporting, tmp_path: Path) -> None:
    folder = tmp_path / "bad"
    folder.mkdir()
    (folder / "empty.png").touch()
    with pytest.raises(AllmlpError, match="none of 1 pictures can be read"):
        export(format="safetensors", data=folder)
    picture(1).save(folder / "fine.png")
    assert export(format="safetensors", data=folder)["parity"]["images"] == 1


def test_a_bundle_without_weights_of_our_own_says_so(tmp_path: Path) -> None:
    (tmp_path / "bundle.json").write_text(json.dumps({"bundle": 1, "format": "torch"}))
    with pytest.raises(RunError, match="a bundle of format torch"):
        allmlp.load(tmp_path)


def test_the_command_writes_into_the_run_and_says_how_near_it_is(
    weights: Path, shown: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["export", str(weights), "--format", "safetensors", "--data", str(shown)]) == 0
    assert "decisions  100.0% the same" in capsys.readouterr().err
    assert (tmp_path / "resmlp_s12-safetensors-fp32" / "bundle.json").is_file()
    assert main(["export", str(weights), "--format", "safetensors", "--data", str(shown), "--out", "b", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["out"] == "b"
    assert main(["export", str(weights), "--batch", "many"]) == 2


def test_the_spread_of_compared_pictures_follows_the_data(picture_folder: PictureFolder) -> None:
    from allmlp.exporting.pictures import _spread

    paths = [str(i) for i in range(1000)]
    kept = _spread(FileImages(paths, [0] * 1000), 10)
    assert list(kept.paths) == ["0", "111", "222", "333", "444", "555", "666", "777", "888", "999"]


def test_preprocessing_of_a_border_cannot_be_in_the_graph(model: ImageModel, export: Exporting, weights: Path) -> None:
    card = read_json(weights.with_suffix(".json"))
    card["preprocessing"] = Preprocessing(img_size=(16, 12), crop_mode="border").to_dict()
    weights.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(AllmlpError, match="crop mode 'border' is not offered inside a graph"):
        export(format="torch", with_preprocessing=True)
