"""A bundle's README computes what `predict` computes, whatever file it is given."""

import ast
import json
import os
import re
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

import allmlp
from allmlp.exporting import standalone
from allmlp.models import create_model
from allmlp.models.base import ImageModel
from allmlp.pixels.read import UnreadableImage, read_image
from allmlp.pixels.reading import Reading
from allmlp.run import write_model
from bundles import needs
from contract import awake, build
from odd_images import ODD, colours

CLASSES = ("ant", "bee", "cat", "dog", "elk")
BAD = Path(__file__).parents[1] / "bad-images"
NEAR = 0.02
"""Of a probability: Pillow and torch resize to within a grey level of each other (`pixels.resample`)."""
IN_GRAPH = 2 * NEAR
"""A graph that contains the preprocessing keeps fractions between its two passes of resizing, which both others round."""
RANGES = [None, (185.0, 2218.0)]


@pytest.fixture(scope="module")
def odd(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("odd")
    for name, content in ODD.items():
        (folder / name).write_bytes(content())
    return {name: folder / name for name in ODD}


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What read_image.py defines, run where there is no allmlp."""
    path = tmp_path_factory.mktemp("alone") / standalone.FILE
    path.write_text(standalone.read_image_source(), encoding="utf-8")
    code = "import sys; sys.modules['allmlp'] = None; import read_image; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=path.parent, check=True, timeout=120)
    defined: dict[str, Any] = {"__name__": "read_image"}
    module = type(sys)("read_image")
    sys.modules["read_image"] = module  # where dataclasses look
    try:
        exec(compile(path.read_text(encoding="utf-8"), path.name, "exec"), module.__dict__)
    finally:
        del sys.modules["read_image"]
    return defined | module.__dict__


@pytest.mark.parametrize("value_range", RANGES, ids=str)
@pytest.mark.parametrize("in_chans", [1, 3])
def test_the_bundles_reader_reads_every_odd_image_as_allmlp_does(
    in_chans: int, value_range: tuple[float, float] | None, alone: dict[str, Any], odd: dict[str, Path]
) -> None:
    for path in odd.values():
        due = read_image(path, Reading(in_chans, value_range))
        got = alone["read_image"](path, alone["Reading"](in_chans, value_range))
        assert (got.mode, got.size) == (due.mode, due.size)
        assert got.tobytes() == due.tobytes(), path.name


def test_what_allmlp_cannot_read_the_bundles_reader_cannot_either(alone: dict[str, Any]) -> None:
    for path in sorted(BAD.glob("*.*")):
        try:
            due: str | Image.Image = read_image(path, 3)
        except UnreadableImage as error:
            due = error.reason
        try:
            got: str | Image.Image = alone["read_image"](path, 3)
        except alone["UnreadableImage"] as error:
            got = error.reason
        assert type(got) is type(due), path.name
        assert (got == due) if isinstance(due, str) else (got.tobytes() == due.tobytes())  # type: ignore[union-attr]


def test_no_two_modules_of_the_bundles_reader_define_one_name() -> None:
    tree = ast.parse(standalone.read_image_source())
    names: Counter[str] = Counter()
    for node in tree.body:
        match node:
            case ast.FunctionDef() | ast.ClassDef():
                names[node.name] += 1
            case ast.Assign():
                found = [inner.id for target in node.targets for inner in ast.walk(target) if isinstance(inner, ast.Name)]
                names.update(set(found))
            case ast.Import() | ast.ImportFrom():
                names.update(alias.asname or alias.name for alias in node.names)
                assert not getattr(node, "module", "").startswith("allmlp")
    assert {name for name, count in names.items() if count > 1} == set()


RUN = """
import json, os, shutil, sys
sys.modules["allmlp"] = None
code, found = open("code.py").read(), {}
for name, path in json.load(open("odd.json")).items():
    shutil.copyfile(path, "picture.jpg")
    told = {}
    exec(compile(code, "code.py", "exec"), told)
    logits = told["logits"][0]
    found[name] = [float(value) for value in logits]
json.dump(found, open("found.json", "w"))
"""


def logits_by_readme(bundle: Path, odd: dict[str, Path]) -> dict[str, list[float]]:
    """What the README's code computes of each file, which it finds as picture.jpg, in a process without allmlp."""
    code = re.findall(r"```python\n(.*?)```", (bundle / "README.md").read_text(encoding="utf-8"), re.DOTALL)[0]
    (bundle / "code.py").write_text(code, encoding="utf-8")
    (bundle / "odd.json").write_text(json.dumps({name: str(path) for name, path in odd.items()}))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run([sys.executable, "-c", RUN], cwd=bundle, capture_output=True, text=True, timeout=900, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, list[float]] = json.loads((bundle / "found.json").read_text())
    return found


def compared(model: ImageModel, bundle: Path, odd: dict[str, Path], near: float = NEAR) -> None:
    """Every file has the probabilities that `predict` gives it."""
    found = logits_by_readme(bundle, odd)
    assert found.keys() == odd.keys()
    for name, path in odd.items():
        due = model.predict(path, top=len(CLASSES))[0]
        got = torch.tensor(found[name]).softmax(-1)
        for label, probability in zip(due.classes, due.probabilities, strict=True):
            assert got[CLASSES.index(label)].item() == pytest.approx(probability, abs=near), name


def sharpened(model: ImageModel) -> None:
    """The classes become those that tell the turns of the scene apart: a little more or less of an image decides."""
    model.classes = CLASSES
    turns = torch.stack([model.preprocessing(colours().transpose(turn)) for turn in Image.Transpose])
    assert isinstance(model.head, torch.nn.Linear)
    with torch.no_grad():
        logits = model(turns)
        scale = 2 / logits.std(0)
        model.head.bias.sub_(logits.mean(0)).mul_(scale)
        model.head.weight.mul_(scale[:, None])


def small(in_chans: int, value_range: tuple[float, float] | None, folder: Path) -> tuple[ImageModel, Path]:
    model = awake(build("resmlp_s12", img_size=(16, 12), in_chans=in_chans)).eval()
    sharpened(model)
    model.preprocessing = replace(model.preprocessing, value_range=value_range)
    path = folder / "mine.safetensors"
    write_model(path, model.state_dict(), model.card())
    return model, path


def test_a_turn_of_the_scene_is_another_prediction(tmp_path: Path, odd: dict[str, Path]) -> None:
    model, _ = small(3, None, tmp_path)
    found = [model.predict(odd[f"turned-{turn}.jpg"])[0] for turn in range(1, 9)]
    rows = [dict(zip(one.classes, one.probabilities, strict=True)) for one in found]
    apart = [max(abs(row[name] - rows[0][name]) for name in CLASSES) for row in rows[1:]]
    assert min(apart) > 2 * NEAR


@pytest.mark.slow
@pytest.mark.parametrize(("in_chans", "value_range"), [(3, None), (1, (185.0, 2218.0))], ids=["colour", "ranged"])
@pytest.mark.parametrize("with_preprocessing", [False, True])
@pytest.mark.parametrize("name", ["onnx", "openvino", "torch", "executorch", "litert"])
def test_the_readme_computes_what_predict_computes_of_odd_images(
    name: str,
    with_preprocessing: bool,
    in_chans: int,
    value_range: tuple[float, float] | None,
    odd: dict[str, Path],
    tmp_path: Path,
) -> None:
    needs(name)
    if with_preprocessing and name in ("executorch", "litert"):
        pytest.skip("has no preprocessing inside")
    model, weights = small(in_chans, value_range, tmp_path)
    allmlp.export(weights, format=name, with_preprocessing=with_preprocessing, out=tmp_path / "bundle")
    compared(model, tmp_path / "bundle", odd, IN_GRAPH if with_preprocessing else NEAR)


@pytest.mark.slow
def test_timms_readme_computes_what_predict_computes_of_odd_images(odd: dict[str, Path], tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = awake(create_model("resmlp_s12", img_size=(32, 48), num_classes=5)).eval()
    sharpened(model)
    path = tmp_path / "whole.safetensors"
    write_model(path, model.state_dict(), model.card())
    allmlp.export(path, format="timm", out=tmp_path / "bundle")
    compared(model, tmp_path / "bundle", odd)
