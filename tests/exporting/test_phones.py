"""ExecuTorch, LiteRT and Core ML: what a phone gets answers as its model does, and what was not run is not claimed."""

import copy
import hashlib
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

import allmlp
from allmlp.cli import main
from allmlp.engine.bundle import read_bundle
from allmlp.engine.open import open_answering
from allmlp.errors import EngineError, RunError
from allmlp.exporting.formats import coreml
from allmlp.exporting.formats.base import Order
from allmlp.exporting.formats.table import FORMATS
from allmlp.models.base import ImageModel
from bundles import follow_readme, needs
from helpers import picture

Exporting = Callable[..., dict[str, Any]]
PHONES = ("executorch", "litert", "coreml")


@pytest.mark.slow
@pytest.mark.parametrize("batch", [None, 3])
@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_the_lines_of_the_readme_run_on_the_formats_own_runtime(
    name: str, batch: int | None, export: Exporting, model: ImageModel, tmp_path: Path
) -> None:
    needs(name)
    done = export(format=name, batch=batch)
    assert done["parity"]["deviation"] < 1e-4
    assert done["input"]["shape"] == [batch or 1, 3, 16, 12]
    for number, size in enumerate([(40, 31), (12, 16)][: 1 if batch else 2]):
        assert follow_readme(tmp_path / "bundle", number, size) == model.predict(picture(number, size))[0].classes[0]


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_such_bundles_answer_for_their_model(name: str, export: Exporting, model: ImageModel, tmp_path: Path) -> None:
    needs(name)
    export(format=name, batch=2)
    again = open_answering(tmp_path / "bundle")
    given = torch.stack([model.preprocessing(picture(number)) for number in range(5)])  # two at a time, and one
    with torch.inference_mode():
        due = model(given)
    assert (again(given) - due).norm() < 1e-5 * due.norm()
    assert again.classes == model.classes


@pytest.mark.slow
@pytest.mark.parametrize("name", ["executorch", "litert"])
def test_int8_decides_alike(name: str, weights: Path, tmp_path: Path) -> None:
    needs(name)
    done = allmlp.export(weights, format=name, precision="int8", out=tmp_path / "small", min_agreement=0)
    assert done["parity"]["images"] == 128
    assert 0 < done["parity"]["deviation"] < 0.3


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "most", "width"), [("fp32", 1e-4, 4), ("fp16", 1e-2, 2)])
def test_a_core_ml_package_is_what_it_says(
    precision: str, most: float, width: int, export: Exporting, model: ImageModel, tmp_path: Path
) -> None:
    needs("coreml")
    import coremltools

    done = export(format="coreml", precision=precision)
    assert done["parity"]["deviation"] < most
    assert "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin" in done["files"]
    made = coremltools.models.MLModel(str(tmp_path / "bundle" / "model.mlpackage"), skip_model_load=True)
    entry, answer = made.get_spec().description.input[0], made.get_spec().description.output[0]
    assert (entry.name, list(entry.type.multiArrayType.shape)) == ("images", [1, 3, 16, 12])
    assert (answer.name, list(answer.type.multiArrayType.shape)) == ("logits", [1, 5])
    size = (tmp_path / "bundle" / "model.mlpackage/Data/com.apple.CoreML/weights/weight.bin").stat().st_size
    assert size == pytest.approx(width * sum(p.numel() for p in model.parameters()), rel=0.35)  # small ones stand elsewhere


@pytest.mark.slow
@pytest.mark.skipif(coreml.RUNS_HERE, reason="Core ML runs here")
def test_what_core_ml_did_not_run_is_not_claimed(export: Exporting, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    needs("coreml")
    done = export(format="coreml")
    said = "torch, operation by operation as the file has them; Core ML itself runs on macOS alone"
    assert done["compared_by"] == said
    assert said in " ".join((tmp_path / "bundle" / "README.md").read_text(encoding="utf-8").split())
    with pytest.raises(RunError, match="format coreml, which allmlp does not read back: it runs on macOS alone"):
        read_bundle(tmp_path / "bundle")


class Mistaken(coreml.CoreML):
    """A conversion that gets one matrix wrong."""

    def write(self, order: Order, folder: Path) -> dict[str, Any]:
        other = copy.deepcopy(order.model)
        with torch.no_grad():
            other.head.weight[0].mul_(1.01)
        return super().write(replace(order, model=other), folder)


@pytest.mark.slow
def test_a_core_ml_package_of_other_weights_is_not_written(
    export: Exporting, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    needs("coreml")
    monkeypatch.setitem(FORMATS, "coreml", Mistaken())
    before = set(tmp_path.iterdir())
    with pytest.raises(EngineError, match="the exported file is off by"):
        export(format="coreml")
    assert set(tmp_path.iterdir()) == before


@pytest.mark.parametrize("name", PHONES)
def test_what_the_formats_for_phones_do_not_offer_is_one_clear_error(
    name: str, export: Exporting, weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = "fp16" if name != "coreml" else "int8"
    with pytest.raises(EngineError, match=f"format {name} is not written in {other}\n.*use fp32 or"):
        export(format=name, precision=other)
    with pytest.raises(EngineError, match="plans its memory ahead, and pictures of any size have no plan"):
        export(format=name, with_preprocessing=True)
    assert main(["export", str(weights), "--format", name, "--batch", "dynamic"]) == 2
    assert f"{name} plans its memory ahead" in capsys.readouterr().err
    assert not (tmp_path / "bundle").exists()


@pytest.mark.parametrize("name", PHONES)
def test_a_missing_library_names_the_extra_of_its_own(name: str, export: Exporting, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("allmlp.exporting.formats.base.find_spec", lambda module: None)
    with pytest.raises(EngineError, match=rf"which is not installed\n.*allmlp\[{name}\]"):
        export(format=name)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "file"), [("executorch", "model.pte"), ("litert", "model.tflite")])
def test_a_program_that_is_none_is_one_error(name: str, file: str, export: Exporting, tmp_path: Path) -> None:
    needs(name)
    made = tmp_path / "bundle"
    export(format=name)
    whole = (made / file).read_bytes()
    for content in (b"no program at all", whole[: len(whole) // 2]):
        (made / file).write_bytes(content)
        card = json.loads((made / "bundle.json").read_text())
        card["files"][file] = hashlib.sha256(content).hexdigest()
        (made / "bundle.json").write_text(json.dumps(card))
        with pytest.raises(EngineError, match="cannot be run here"):
            open_answering(made)
