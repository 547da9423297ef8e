"""Deep and grey images in training: what follows from them is found once, recorded, and the same everywhere."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import allmlp
from allmlp.data import hold
from allmlp.engine.open import open_answering
from allmlp.errors import DataError, RunError
from allmlp.pixels.preprocess import Preprocessing
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import Run, read_json, read_lines, write_json
from helpers import interrupt_after, same_weights
from tiffs import numbers, tiff

Make = Callable[..., Recipe]
OPEN = {"in_chans": None}
"""Channels are left to the images."""


def deepened(folder: Path, out: Path, low: int, step: int) -> Path:
    """The images of a folder as TIFF files of 16 bits: value v becomes low + step · v."""
    for path in sorted(folder.glob("*/*.png")):
        (out / path.parent.name).mkdir(parents=True, exist_ok=True)
        values = low + step * np.asarray(Image.open(path)).astype(np.uint16)
        (out / path.parent.name / f"{path.stem}.tif").write_bytes(tiff(values))
    return out


@pytest.fixture(scope="module")
def deep(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return deepened(stripes, tmp_path_factory.mktemp("deep") / "images", 185, 8)


@pytest.fixture(scope="module")
def deep_run(deep: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    return allmlp.train(deep, recipe=small_recipe(data=OPEN), out=tmp_path_factory.mktemp("run") / "run", quiet=True)


@pytest.mark.parametrize("in_memory", [True, False])
def test_training_on_deep_images_is_training_on_their_8_bits_bit_for_bit(
    in_memory: bool, stripes: Path, deep: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(hold, "MOST_BYTES", 0)
    eight = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "eight", quiet=True)
    ranged = small_recipe(data={"range": [185, 185 + 8 * 255]})
    run = allmlp.train(deep, recipe=ranged, out=tmp_path / "deep", quiet=True)
    assert same_weights(eight, run)
    assert [line["val_loss"] for line in read_lines(eight.metrics)] == [line["val_loss"] for line in read_lines(run.metrics)]
    one, other = (
        [(row["classes"], row["probabilities"]) for row in allmlp.predict(allmlp.load(r.folder), [folder])]
        for r, folder in ((eight, stripes), (run, deep))
    )
    assert one == other
    assert allmlp.evaluate(run.folder, quiet=True)["top1"] == allmlp.evaluate(eight.folder, quiet=True)["top1"]


def test_the_range_is_that_of_the_training_images_and_stands_everywhere(deep: Path, deep_run: Run) -> None:
    recipe, sheet = load_recipe(deep_run.recipe), read_json(deep_run.data)["deep"]
    held_out = {"train": sheet["looked"], "deep": sheet["deep"]}
    assert held_out == {"train": 36, "deep": 36}
    assert recipe.data.range == tuple(sheet["range"]) == allmlp.load(deep_run.folder).preprocessing.value_range
    every = np.concatenate([np.asarray(Image.open(path)).reshape(-1) for path in deep.glob("*/*.tif")])
    assert np.allclose(recipe.data.range or (), np.percentile(every, (0.1, 99.9)), atol=8 * 6)  # 12 images are held out
    assert f"values {recipe.data.range[0]:,.6g} … {recipe.data.range[1]:,.6g} become 0 … 255" in deep_run.log.read_text()
    assert recipe.data.in_chans == 1
    assert "grey images: one channel" in deep_run.log.read_text()


def test_a_model_of_deep_images_reads_them_alike_wherever_it_is_asked(deep: Path, deep_run: Run, tmp_path: Path) -> None:
    model = allmlp.load(deep_run.folder)
    path = next(deep.glob("*/*.tif"))
    (row,) = allmlp.predict(allmlp.load(deep_run.folder), [path])
    (said,) = model.predict(Image.open(path), top=3)
    assert list(said.classes) == row["classes"]
    assert np.allclose(said.probabilities, row["probabilities"], atol=1e-6)
    allmlp.export(deep_run.folder, format="safetensors", out=tmp_path / "bundle", quiet=True)
    assert read_json(tmp_path / "bundle" / "bundle.json")["preprocessing"] == model.preprocessing.to_dict()
    (answered,) = allmlp.predict(open_answering(tmp_path / "bundle"), [path])
    assert answered == row


def test_an_exported_graph_of_deep_images_has_their_range(deep: Path, deep_run: Run, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="allmlp[export] brings it")
    pytest.importorskip("onnxruntime", reason="allmlp[export] brings it")
    allmlp.export(deep_run.folder, format="onnx", out=tmp_path / "bundle", quiet=True)
    for path in sorted(deep.glob("*/*.tif"))[::9]:
        (due,), (found,) = (
            allmlp.predict(model, [path]) for model in (allmlp.load(deep_run.folder), open_answering(tmp_path / "bundle"))
        )
        assert np.allclose(found["probabilities"], due["probabilities"], atol=1e-5)


def test_an_interrupted_run_on_deep_images_goes_on_with_its_range(
    deep: Path, deep_run: Run, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        stopped = allmlp.train(deep, recipe=small_recipe(data=OPEN), out=tmp_path / "run", quiet=True)
    again = allmlp.train(deep, recipe=small_recipe(data=OPEN), out=stopped.folder, quiet=True, resume="auto")
    assert same_weights(deep_run, again)
    other = small_recipe(data={**OPEN, "range": [0, 9]})
    with pytest.raises(RunError, match=r"data\.range"):
        allmlp.train(deep, recipe=other, out=stopped.folder, quiet=True, resume="auto")


def test_a_run_of_an_earlier_allmlp_goes_on_with_the_channels_it_had(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = small_recipe(data={"in_chans": 3})
    whole = allmlp.train(stripes, recipe=recipe, out=tmp_path / "whole", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 4)
        run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    lines = [line for line in run.recipe.read_text().splitlines() if not line.startswith("in_chans")]
    run.recipe.write_text("\n".join(lines))
    about = read_json(run.data)
    del about["deep"]
    write_json(run.data, about)
    assert same_weights(whole, allmlp.resume(run.folder, quiet=True))


def test_grey_images_have_three_channels_where_somebody_says_so(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    def said(**data: object) -> tuple[int, str]:
        recipe = small_recipe(data={**OPEN, **data}, train={"epochs": 1})
        run = allmlp.train(stripes, recipe=recipe, out=tmp_path / str(len(list(tmp_path.iterdir()))), quiet=True)
        return allmlp.load(run.folder).in_chans, run.log.read_text()

    chans, log = said(in_chans=3)
    assert chans == 3
    assert "grey images take 3 channels, since data.in_chans is 3" in log
    chans, log = said(mean=[0.5, 0.5, 0.5], std=[0.5, 0.5, 0.5])
    assert chans == 3
    assert "grey images take 3 channels, since data.mean has three values" in log


def test_a_model_to_start_from_decides_on_the_channels(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    colour = allmlp.train(
        stripes, recipe=small_recipe(data={"in_chans": 3}, train={"epochs": 1}), out=tmp_path / "a", quiet=True
    )
    recipe = Recipe(init=str(colour.folder), data=load_recipe(colour.recipe).data.__class__(workers=0), seed=1)
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "b", quiet=True, train={"epochs": 1, "batch": 8})
    assert allmlp.load(run.folder).in_chans == 3
    assert "since the model to start from decides" in run.log.read_text()


def test_one_coloured_image_makes_a_set_coloured(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    shutil.copytree(stripes, tmp_path / "images")
    for name in ("across", "down"):
        Image.new("RGB", (16, 16), "red").save(tmp_path / "images" / name / "24.png")
        Image.new("RGB", (16, 16), "red").save(tmp_path / "images" / name / "25.png")
    run = allmlp.train(
        tmp_path / "images",
        recipe=small_recipe(data={**OPEN, "val_share": 0.05}, train={"epochs": 1}),
        out=tmp_path / "run",
        quiet=True,
    )
    assert allmlp.load(run.folder).in_chans == 3


@pytest.fixture
def stacks(stripes: Path, tmp_path: Path) -> Path:
    """Each image as the second of three pages; the others are black."""
    for path in sorted(stripes.glob("*/*.png")):
        (tmp_path / "stacks" / path.parent.name).mkdir(parents=True, exist_ok=True)
        values = np.asarray(Image.open(path))
        content = tiff(np.zeros_like(values), values, np.zeros_like(values))
        (tmp_path / "stacks" / path.parent.name / f"{path.stem}.tif").write_bytes(content)
    return tmp_path / "stacks"


def test_stacks_are_refused_with_the_option_that_chooses_a_page(stacks: Path, tmp_path: Path, small_recipe: Make) -> None:
    with pytest.raises(DataError, match="36 × it is a stack of N pages") as error:
        allmlp.train(stacks, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert "--data.page 1" in error.value.hint
    assert not (tmp_path / "run").exists()


def test_the_page_that_is_chosen_is_trained_and_predicted(
    stripes: Path, stacks: Path, tmp_path: Path, small_recipe: Make
) -> None:
    plain = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "plain", quiet=True)
    run = allmlp.train(stacks, recipe=small_recipe(data={"page": 2}), out=tmp_path / "run", quiet=True)
    assert same_weights(plain, run)
    assert allmlp.load(run.folder).preprocessing.page == 2
    one, other = (
        [row["probabilities"] for row in allmlp.predict(allmlp.load(r.folder), [folder])]
        for r, folder in ((plain, stripes), (run, stacks))
    )
    assert one == other


@pytest.mark.parametrize("in_memory", [True, False])
def test_a_few_stacks_among_images_are_counted_as_unreadable_for_their_reason(
    in_memory: bool, stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(hold, "MOST_BYTES", 0)
    shutil.copytree(stripes, tmp_path / "images")
    page = np.zeros((16, 16), np.uint8)
    for name in ("across", "down"):
        (tmp_path / "images" / name / "00.png").write_bytes(tiff(page, page))
    recipe = small_recipe(data={"max_bad_share": 0.1}, train={"batch": 4})
    run = allmlp.train(tmp_path / "images", recipe=recipe, out=tmp_path / "run", quiet=True)
    reasons = {line["reason"] for line in read_lines(run.unreadable)}
    assert reasons == {"it is a stack of 2 pages, of which none is chosen"}
    rows = list(allmlp.predict(allmlp.load(run.folder), [tmp_path / "images" / "down" / "00.png"]))
    assert "of which none is chosen" in rows[0]["error"]


def test_images_of_two_channels_are_refused_with_a_hint_that_helps(tmp_path: Path, small_recipe: Make) -> None:
    for name in "ab":
        (tmp_path / "images" / name).mkdir(parents=True)
        for number in range(4):
            values = np.full((16, 16, 2), number, np.uint8)
            (tmp_path / "images" / name / f"{number}.tif").write_bytes(tiff(values, tags={338: numbers("H", 0)}))
    with pytest.raises(DataError, match="N channels") as error:
        allmlp.train(tmp_path / "images", recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert error.value.hint.startswith("save what the model is to see")


def test_cards_without_the_newer_fields_are_read_and_written_as_before() -> None:
    spec = Preprocessing(img_size=(8, 8))
    card = spec.to_dict()
    assert set(card) == {"img_size", "in_chans", "mean", "std", "crop_ratio", "crop_mode", "interpolation"}
    assert Preprocessing.from_dict(card) == spec
    more = Preprocessing(img_size=(8, 8), value_range=(-1.5, 2), page=3)
    assert Preprocessing.from_dict(more.to_dict()) == more
    assert more.fit(img_size=(4, 4), in_chans=1).reading == more.reading.__class__(1, (-1.5, 2), 3)


@pytest.mark.slow
def test_a_12_bit_camera_is_learnt_as_well_as_the_same_images_of_8_bits(tmp_path: Path) -> None:
    """Three textures with values 185 to 2,218 of 65,535; with the type's range they would have 8 of 256 levels."""
    generator, y, x = np.random.default_rng(0), *np.mgrid[:24, :24]
    for number in range(240):
        name, phase = "abc"[number % 3], generator.uniform(0, 6)
        wave = {"a": np.sin(y + phase), "b": np.sin(x + phase), "c": np.sin(x + phase) * np.sin(y)}[name]
        shade = (0.5 + 0.3 * wave + generator.normal(0, 0.1, (24, 24))).clip(0, 1)
        for kind in ("deep", "eight"):
            (tmp_path / kind / name).mkdir(parents=True, exist_ok=True)
        values = np.rint(185 + shade * (2218 - 185)).astype(np.uint16)
        (tmp_path / "deep" / name / f"{number}.tif").write_bytes(tiff(values))
        eight = np.rint((values.astype(float) - 185) * 255 / (2218 - 185)).astype(np.uint8)
        Image.fromarray(eight).save(tmp_path / "eight" / name / f"{number}.png")
    words: dict[str, Any] = {
        "model": "resmlp",
        "hyper": {"dim": 32, "depth": 3, "patch_size": 4},
        "optim": {"lr": 4e-3, "lr_batch": 24},
    }
    words |= {"data.workers": 0, "data.val_share": 0.3, "train": {"epochs": 40, "batch": 24, "precision": "fp32"}}
    found = {}
    for kind in ("deep", "eight"):
        run = allmlp.train(tmp_path / kind, out=tmp_path / f"run-{kind}", quiet=True, **words)
        found[kind] = allmlp.evaluate(run.folder, quiet=True)["top1"]
        spec = allmlp.load(run.folder).preprocessing
        paths = sorted((tmp_path / kind).glob("*/*"))
        seen = torch.stack([spec(Image.open(path)) for path in paths])
        found[f"{kind} pixels"] = seen * spec.std[0] + spec.mean[0]
    assert found["eight"] > 0.8
    assert abs(found["deep"] - found["eight"]) < 0.1
    assert (found["deep pixels"] - found["eight pixels"]).abs().max() < 0.05  # 0.1 % at each end is clipped
