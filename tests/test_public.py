"""Public functions: a run by path, name or as an object; images as people have them, or one clear error."""

import importlib
import io
import pickle
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

import allmlp
from allmlp.engine.open import open_answering
from allmlp.errors import AllmlpError, DataError, ModelError, RunError, ShapeError
from allmlp.models.base import ImageModel
from allmlp.pixels.read import UnreadableImage
from allmlp.recipe import recipe_from
from allmlp.run import Run, read_json, write_model
from helpers import attempt, picture

TABLE: dict[str, Any] = {
    "model": "resmlp",
    "hyper": {"dim": 16, "depth": 2, "patch_size": 4},
    "data": {"img_size": [16, 16], "in_chans": 3, "workers": 0, "val_share": 0.25},
    "optim": {"lr": 0.01, "lr_batch": 8},
    "train": {"epochs": 1, "batch": 8, "precision": "fp32"},
}


@pytest.fixture(scope="module")
def images(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("images")
    for number, name in enumerate(("cat", "dog")):
        (folder / name).mkdir()
        for place in range(8):
            picture(100 * number + place).save(folder / name / f"{place}.png")
    return folder


@pytest.fixture(scope="module")
def run(images: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return allmlp.train(images, recipe=recipe_from(TABLE), out=tmp_path_factory.mktemp("runs") / "mine", quiet=True)


@pytest.fixture
def by_name(run: Run, monkeypatch: pytest.MonkeyPatch) -> str:
    """The run's weights, as if somebody had released them under a name."""
    from allmlp.engine import load as loading
    from allmlp.profiling import subjects

    class Entry:
        def card(self) -> dict[str, Any]:
            return {name: value for name, value in read_json(run.weights().with_suffix(".json")).items() if name != "format"}

    name = "resmlp_tiny.somebody"
    for module in (loading, subjects):
        monkeypatch.setattr(module, "released", lambda: {name: Entry()})
    monkeypatch.setattr(loading, "fetch", lambda entry: run.weights())
    return name


KINDS = ("text", "path", "run", "name", "model", "weights")
Given = Callable[[str], Any]


@pytest.fixture
def given(run: Run, by_name: str) -> Given:
    def give(kind: str) -> Any:
        made: dict[str, Callable[[], Any]] = {
            "text": lambda: str(run.folder),
            "path": lambda: run.folder,
            "run": lambda: run,
            "name": lambda: by_name,
            "model": lambda: allmlp.load(run),
            "weights": lambda: run.weights(),
        }
        return made[kind]()

    return give


CALLS: dict[str, Callable[[Any, Path, Path], Any]] = {
    "load": lambda run, images, out: allmlp.load(run),
    "evaluate": lambda run, images, out: allmlp.evaluate(run, images, quiet=True),
    "evaluate knn": lambda run, images, out: allmlp.evaluate(run, images, knn=True, quiet=True),
    "compare": lambda run, images, out: allmlp.compare([run, run], images, quiet=True),
    "explain": lambda run, images, out: allmlp.explain(run, images / "cat" / "0.png", out=out / "page"),
    "explain.explained": lambda run, images, out: allmlp.explain.explained(run, [str(images / "cat" / "0.png")], quiet=True),
    "explain.token_mixing": lambda run, images, out: allmlp.explain.token_mixing(run),
    "explain.linear_path": lambda run, images, out: allmlp.explain.linear_path(run),
    "explain.step_evidence": lambda run, images, out: allmlp.explain.step_evidence(run, images / "cat" / "0.png", 1),
    "explain.patch_evidence": lambda run, images, out: allmlp.explain.patch_evidence(run, picture(3)),
    "explain.feature_maps": lambda run, images, out: allmlp.explain.feature_maps(run, picture(3), [0, 1]),
    "explain.receptive_field": lambda run, images, out: allmlp.explain.receptive_field(run, picture(3)),
    "explain.explain_data": lambda run, images, out: allmlp.explain.explain_data(run, images, quiet=True),
    "explain.prune_curve": lambda run, images, out: allmlp.explain.prune_curve(run, images, quiet=True),
    "export": lambda run, images, out: allmlp.export(run, format="safetensors", data=images, out=out / "bundle"),
    "fold": lambda run, images, out: allmlp.fold(run),
    "resize": lambda run, images, out: allmlp.resize(run, 24),
    "compile": lambda run, images, out: allmlp.compile(run, backend="eager", precision="fp32", keep=False),
    "predict": lambda run, images, out: list(allmlp.predict(run, [images])),
    "profile": lambda run, images, out: allmlp.profile(run, batch=1, rounds=1, seconds=0),
    "shrink": lambda run, images, out: allmlp.shrink(run, images, token_rank=2, epochs=0, out=out / "small"),
}
"""Everything public that a run or a model can be given to."""
RUNS: dict[str, Callable[[Any], Any]] = {"report": allmlp.report, "resume": allmlp.resume}
"""What is about a run's folder, and has nothing to say of weights alone."""


def test_every_public_function_is_called_here() -> None:
    called = {name.split(" ")[0].split(".")[0] for name in (*CALLS, *RUNS)}
    others = {"AllmlpError", "Recipe", "create_model", "list_models", "load_recipe", "train", "pretrain", "load_weights"}
    assert called | others == set(allmlp.__all__)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", CALLS)
def test_a_run_is_taken_by_path_name_or_object(name: str, kind: str, given: Given, images: Path, tmp_path: Path) -> None:
    made = CALLS[name](given(kind), images, tmp_path)
    assert made is not None


@pytest.mark.parametrize("kind", ["text", "path", "run"])
def test_a_report_is_of_a_run_by_path_or_object(kind: str, given: Given, run: Run) -> None:
    assert allmlp.report(given(kind)) == run.report
    assert run.report.is_file()


@pytest.mark.parametrize("kind", ["text", "path", "run"])
def test_a_run_is_resumed_by_path_or_object(kind: str, given: Given) -> None:
    with pytest.raises(RunError, match="is finished"):
        allmlp.resume(given(kind))


@pytest.mark.parametrize("kind", ["path", "run", "weights"])
def test_weights_are_loaded_from_a_run(kind: str, given: Given, run: Run) -> None:
    model = allmlp.load(run).twin()
    allmlp.load_weights(model, given(kind))
    due = allmlp.load(run).state_dict()
    assert all(torch.equal(tensor, due[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("wrong", [None, 7, b"runs/mine", "", ["runs/mine"], torch.zeros(1)], ids=repr)
@pytest.mark.parametrize("name", [*CALLS, *RUNS])
def test_what_is_no_run_is_one_clear_error(name: str, wrong: Any, images: Path, tmp_path: Path) -> None:
    call = RUNS.get(name)
    with pytest.raises(AllmlpError) as caught:
        call(wrong) if call is not None else CALLS[name](wrong, images, tmp_path)
    assert caught.value.hint


@pytest.mark.parametrize("name", [*CALLS, *RUNS])
def test_a_run_that_is_not_there_is_one_clear_error(name: str, images: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    call = RUNS.get(name)
    for wrong in (tmp_path / "nowhere", str(tmp_path / "empty"), "resmlp_nowhere.nobody"):
        with pytest.raises(AllmlpError) as caught:
            call(wrong) if call is not None else CALLS[name](wrong, images, tmp_path)
        assert caught.value.hint


@pytest.mark.parametrize("lost", ["run.json", "recipe.toml", "best.json", "best.safetensors", "environment.json", "data.json"])
def test_a_run_folder_that_lacks_a_file_is_used_or_one_clear_error(lost: str, run: Run, images: Path, tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(run.folder, copy)
    (copy / lost).unlink()
    failed = {}
    for name in ("load", "evaluate", "predict", "compare", "export", "profile"):
        _, error = attempt(AllmlpError, CALLS[name], copy, images, tmp_path / name)
        failed[name] = error
    for name in RUNS:
        _, error = attempt(AllmlpError, RUNS[name], copy)
        failed[name] = error
    assert all(error.hint for error in failed.values() if error is not None)
    needed = lost in ("run.json", "best.json", "best.safetensors")
    assert [failed[name] is not None for name in ("load", "predict")] == [needed, needed]
    assert failed["resume"] is not None


def test_what_loading_makes_of_a_model_is_the_model(run: Run) -> None:
    model = allmlp.load(run)
    assert allmlp.load(model) is model
    assert open_answering(model) is model
    assert allmlp.load(model, img_size=24).img_size == (24, 24)


def test_the_name_explain_is_a_module_that_can_be_called(run: Run, images: Path) -> None:
    assert isinstance(allmlp.explain, ModuleType)
    found = allmlp.explain(run, images / "dog")
    assert [one.path for one in found.pictures] == [str(images / "dog" / f"{i}.png") for i in range(8)]
    assert allmlp.explain(run).pictures == []
    import allmlp.explain as module

    assert module is sys.modules["allmlp.explain"]
    again = importlib.reload(module)
    assert again is module
    assert again(run).numbers == found.numbers
    listed = {name for name in vars(type(module)) if not name.startswith("__")}
    assert listed | {"explain"} == set(module.__all__)
    assert all(getattr(module, name) is not None for name in module.__all__)
    assert pickle.loads(pickle.dumps(module.rank)) is module.rank


def _png(image: Image.Image) -> bytes:
    file = io.BytesIO()
    image.save(file, "PNG")
    return file.getvalue()


def _closed() -> Image.Image:
    image = Image.open(io.BytesIO(_png(picture(1))))
    image.close()
    return image


BAD: dict[str, Callable[[Path], Any]] = {
    "truncated": lambda folder: Image.open(io.BytesIO(_png(picture(1, (90, 80)))[:900])),
    "closed": lambda folder: _closed(),
    "0 × 0": lambda folder: Image.new("RGB", (0, 0)),
    "0 × 5": lambda folder: Image.new("L", (0, 5)),
    "an empty array": lambda folder: np.zeros((0, 4, 3), np.uint8),
    "five channels": lambda folder: np.zeros((4, 4, 5), np.uint8),
    "channels first": lambda folder: np.zeros((3, 8, 8), np.uint8),
    "one axis": lambda folder: np.zeros(9, np.uint8),
    "floats": lambda folder: np.zeros((4, 4, 3)),
    "bytes": lambda folder: _png(picture(1)),
    "a number": lambda folder: 3,
    "nothing": lambda folder: None,
    "no file": lambda folder: folder / "nowhere.png",
    "a folder": lambda folder: folder,
    "an address": lambda folder: "https://example.org/cat.png",
    "a file that is none": lambda folder: _written(folder / "bad.png", b"no image"),
    "an empty file": lambda folder: _written(folder / "empty.png", b""),
    "a file that is cut short": lambda folder: _written(folder / "cut.png", _png(picture(1, (90, 80)))[:900]),
}


def _written(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


TAKES_IMAGES: dict[str, Callable[[ImageModel, Any], Any]] = {
    "predict": lambda model, image: model.predict(image),
    "predict of several": lambda model, image: model.predict([picture(0), image]),
    "preprocessing": lambda model, image: model.preprocessing(image),
    "patch_evidence": lambda model, image: allmlp.explain.patch_evidence(model, image),
    "step_evidence": lambda model, image: allmlp.explain.step_evidence(model, image, 0),
    "gradient_times_input": lambda model, image: allmlp.explain.gradient_times_input(model, image, 0),
    "integrated_gradients": lambda model, image: allmlp.explain.integrated_gradients(model, image, 0),
    "occlusion": lambda model, image: allmlp.explain.occlusion(model, image, 0, (2, 2)),
    "feature_maps": lambda model, image: allmlp.explain.feature_maps(model, image, [0]),
    "receptive_field": lambda model, image: allmlp.explain.receptive_field(model, image),
}


@pytest.fixture(scope="module")
def model(run: Run) -> ImageModel:
    return allmlp.load(run)


@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("name", TAKES_IMAGES)
def test_what_is_no_image_is_one_clear_error(name: str, kind: str, model: ImageModel, tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        TAKES_IMAGES[name](model, BAD[kind](tmp_path))
    assert caught.value.hint
    assert "\n" not in caught.value.what


@pytest.mark.parametrize(
    "empty", [[], (), np.zeros((0, 4, 4, 3), np.uint8), iter([])], ids=["list", "tuple", "array", "iterator"]
)
def test_no_image_at_all_is_one_clear_error(empty: Any, model: ImageModel) -> None:
    with pytest.raises(DataError, match="there is no image") as caught:
        model.predict(empty)
    assert caught.value.hint


@pytest.mark.parametrize(
    "tensor",
    [torch.zeros(3, 15, 16), torch.zeros(1, 16, 16), torch.zeros(2, 3, 16, 16), torch.zeros(3, 16, 16, dtype=torch.uint8)],
)
def test_a_tensor_of_another_shape_or_type_is_one_clear_error(tensor: Tensor, model: ImageModel) -> None:
    for name in ("patch_evidence", "step_evidence", "occlusion", "integrated_gradients", "feature_maps"):
        with pytest.raises(ShapeError, match="takes one image of 3 × 16 × 16"):
            TAKES_IMAGES[name](model, tensor)
    with pytest.raises(DataError, match="of type Tensor"):
        model.predict(tensor)


@pytest.mark.parametrize("label", [-1, 2, 99])
def test_a_class_that_is_not_there_is_one_clear_error(label: int, model: ImageModel) -> None:
    with pytest.raises(ModelError, match=f"there is no class {label}: the model has 2"):
        allmlp.explain.step_evidence(model, picture(1), label)
    with pytest.raises(ModelError, match="there is no class"):
        allmlp.explain.integrated_gradients(model, picture(1), label=label)


@pytest.mark.parametrize(
    ("sources", "told"),
    [
        ([], "no picture"),
        (7, "paths of images are expected here, not int"),
        ([picture(1)], "paths of images are expected here, not Image"),
        (b"cat.png", "not bytes"),
        ("nowhere.png", "nowhere.png does not exist"),
        (["nowhere.png"], "nowhere.png does not exist"),
    ],
    ids=["none", "number", "image", "bytes", "missing", "missing in a list"],
)
def test_predicting_from_what_are_no_paths_is_one_clear_error_at_once(sources: Any, told: str, model: ImageModel) -> None:
    with pytest.raises(DataError, match=told):
        allmlp.predict(model, sources)  # before the first row is asked for


def test_an_image_is_the_same_by_path_opened_or_as_pixels(model: ImageModel, tmp_path: Path) -> None:
    image = picture(5, (40, 30))
    path = tmp_path / "one.png"
    image.save(path)
    due = model.preprocessing(image)
    pixels = np.asarray(image)
    for same in (path, str(path), Image.open(path), pixels, np.asfortranarray(pixels)):
        assert torch.equal(model.preprocessing(same), due)
    assert model.predict(path) == model.predict([path]) == model.predict(image) == model.predict(pixels[None])
    assert len(model.predict([path, image, pixels])) == 3
    grey = np.asarray(image.convert("L"))
    assert torch.equal(model.preprocessing(grey), model.preprocessing(grey[..., None]))
    clear = np.dstack([pixels, np.zeros(pixels.shape[:2], np.uint8)])
    assert torch.equal(model.preprocessing(clear), model.preprocessing(Image.new("RGB", image.size, "white")))
    row = next(iter(allmlp.predict(model, path)))
    assert row["classes"][0] == model.predict(path)[0].classes[0]


def test_the_image_that_is_at_fault_is_named(model: ImageModel) -> None:
    with pytest.raises(UnreadableImage, match="image 1, counted from 0"):
        model.predict([picture(0), Image.new("RGB", (0, 0))])


def test_a_prediction_that_fails_leaves_the_model_as_it_was(run: Run) -> None:
    model = allmlp.load(run).train()
    with pytest.raises(DataError):
        model.predict([None])  # type: ignore[list-item]
    assert model.training


def test_weights_alone_are_a_run_to_all_that_need_no_folder(run: Run, tmp_path: Path) -> None:
    model = allmlp.load(run)
    path = tmp_path / "alone.safetensors"
    write_model(path, model.state_dict(), model.card())
    assert allmlp.load(path).classes == model.classes
    with pytest.raises(RunError):
        allmlp.report(path)
