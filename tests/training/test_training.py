"""What a training run learns, writes, keeps and refuses."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file

import allmlp
from allmlp.data import hold
from allmlp.data.sources import open_source
from allmlp.errors import AllmlpError, DataError, ModelError, RecipeError, RunError, TrainingError
from allmlp.recipe import Recipe, recipe_from
from allmlp.run import Run, read_json, read_lines
from allmlp.training.setup import make_plan


@pytest.fixture(scope="module")
def trained(stripes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    recipe = allmlp.Recipe(model="resmlp_xs", hyper={"patch_size": 4, "dim": 32, "depth": 2, "layer_scale": 1.0})
    return allmlp.train(
        stripes,
        recipe=recipe,
        out=tmp_path_factory.mktemp("runs") / "trained",
        quiet=True,
        augment={"padding": 1},
        optim={"lr": 0.02, "lr_batch": 8, "warmup": 1.0},
        train={"epochs": 20, "batch": 8, "ema": 0.8},
        **{"data.img_size": (16, 16), "data.in_chans": 1, "data.workers": 0, "data.val_share": 0.25},
    )


def test_stripes_are_learnt(trained: Run) -> None:
    assert read_json(trained.state)["best"]["top1"] == 1.0


def test_run_folder_holds_all_that_is_needed_to_judge_or_repeat_it(trained: Run) -> None:
    for file in (trained.recipe, trained.environment, trained.data, trained.metrics, trained.log, trained.steps):
        assert file.is_file(), file
    for which in ("best", "last"):
        card = read_json(trained.weights(which).with_suffix(".json"))
        assert card["classes"] == ["across", "down"]
        assert card["preprocessing"]["img_size"] == [16, 16]
        assert card["parameters"] == sum(t.numel() for t in load_file(trained.weights(which)).values())
    assert [r["epoch"] for r in read_lines(trained.metrics)] == list(range(1, 21))
    assert allmlp.load_recipe(trained.recipe).train.epochs == 20
    assert {"torch", "timm", "python", "processor"} <= read_json(trained.environment).keys()
    assert read_json(trained.data)["train"]["per_class"] == [18, 18]


def test_recorded_accuracy_is_that_of_the_saved_weights(trained: Run) -> None:
    result = allmlp.evaluate(trained)
    assert result["top1"] == pytest.approx(read_json(trained.weights().with_suffix(".json"))["top1"])
    assert result["images"] == 12
    assert np.trace(result["confusion"]) == round(result["top1"] * 12)


def test_an_engine_finds_the_same_and_is_recorded(trained: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLMLP_HOME", str(tmp_path / "home"))
    plain, fast = (allmlp.evaluate(trained, engine=engine) for engine in ("eager", "torch"))
    assert (plain["engine"], fast["engine"]) == ("eager fp32", "torch fp32")
    assert fast["confusion"] == plain["confusion"]
    assert fast["loss"] == pytest.approx(plain["loss"], rel=1e-4)


def test_loaded_model_predicts_pil_images(trained: Run, stripes: Path) -> None:
    model = allmlp.load(trained)
    pictures = [Image.open(stripes / name / "00.png") for name in ("across", "down")]
    found = model.predict(pictures)
    assert [p.classes[0] for p in found] == ["across", "down"]
    assert all(sum(p.probabilities) == pytest.approx(1, abs=1e-6) for p in found)
    larger_colour = [p.convert("RGB").resize((64, 64), Image.Resampling.NEAREST) for p in pictures]
    assert [p.classes[0] for p in model.predict(larger_colour)] == ["across", "down"]


def test_predict_streams_rows_and_names_unreadable_pictures(trained: Run, stripes: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no picture")
    rows = list(allmlp.predict(allmlp.load(trained), [stripes / "down", broken, stripes / "across" / "03.png"], batch=5))
    assert [r["path"] for r in rows] == [
        *(str(stripes / "down" / f"{i:02}.png") for i in range(24)),
        str(broken),
        str(stripes / "across" / "03.png"),
    ]
    assert "error" in rows[24]
    assert rows[25]["classes"][0] == "across"


def test_evaluating_a_folder_matches_classes_by_name_not_by_number(trained: Run, stripes: Path, tmp_path: Path) -> None:
    (tmp_path / "down").symlink_to(stripes / "down")  # class 1 of the model is the only folder here
    assert allmlp.evaluate(trained, tmp_path)["top1"] == 1.0


@pytest.mark.parametrize("in_memory", [True, False])
def test_images_that_break_while_decoding_are_skipped_counted_and_listed(
    in_memory: bool, stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    if not in_memory:
        monkeypatch.setattr(hold, "MOST_BYTES", 0)
    copy = tmp_path / "copy"
    shutil.copytree(stripes, copy)
    for name in ("across", "down"):
        for i in range(0, 24, 6):
            file = copy / name / f"{i:02}.png"
            file.write_bytes(file.read_bytes()[:100])  # the header is whole, the pixels are not
    plain: dict[str, object] = {"batch": 12}  # a divisor of the 36 training images: no epoch leaves any out
    recipe = small_recipe(train=plain, data={"max_bad_share": 8 / 48})
    run = allmlp.train(copy, recipe=recipe, out=tmp_path / "a", quiet=True)
    listed = read_lines(run.unreadable)
    assert len(listed) == len({r["path"] for r in listed}) == 8
    left_out = read_json(run.data)["left_out_count"]  # before training, or in every epoch
    assert (left_out, read_lines(run.metrics)[0]["unreadable"]) == ((8, 0) if in_memory else (0, 8))
    assert f"8 images could not be decoded; {run.unreadable} lists them" in run.log.read_text(encoding="utf-8")
    assert sum(read_json(run.data)["left_out_reasons"].values()) == left_out
    with pytest.raises(DataError if in_memory else TrainingError, match=r"cannot be read, more than 16\.0%") as error:
        allmlp.train(copy, recipe=small_recipe(train=plain, data={"max_bad_share": 0.16}), out=tmp_path / "b", quiet=True)
    assert "OSError" in error.value.what
    assert "--data.max-bad-share 0.17" in error.value.hint
    assert in_memory == (not (tmp_path / "b").exists())  # nothing is begun that cannot go on
    if not in_memory:
        assert len(read_lines(tmp_path / "b" / "unreadable.jsonl")) == 8
        assert read_json(tmp_path / "b" / "run.json")["state"] == "stopped"


def test_shots_are_so_many_training_images_of_each_class(stripes: Path) -> None:
    source, whole = (open_source(str(stripes), val_share=0.25, seed=0, shots=shots) for shots in (3, None))
    assert (source.train.counts(2), whole.train.counts(2)) == ([3, 3], [18, 18])
    assert source.val.counts(2) == whole.val.counts(2)
    with pytest.raises(RecipeError, match=r"train\.limit and train\.shots both say"):
        recipe_from({"train": {"limit": 8, "shots": 3}})


def test_limit_draws_evenly_from_the_classes(stripes: Path, small_recipe: Callable[..., Recipe]) -> None:
    source = open_source(str(stripes), val_share=0.25, seed=0, limit=7)
    assert sorted(source.train.counts(2)) == [3, 4]
    assert len(source.val) == 12


def test_fewer_images_than_a_batch_still_train(stripes: Path, small_recipe: Callable[..., Recipe]) -> None:
    recipe = small_recipe(train={"batch": 64, "limit": 6})
    plan = make_plan(recipe, open_source(str(stripes), val_share=0.25, seed=0, limit=6))
    assert plan.steps == 1
    assert len(next(iter(plan.train_batches)).labels) == 6


def test_bf16_trains_and_saves_float32(stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]) -> None:
    run = allmlp.train(stripes, recipe=small_recipe(train={"precision": "bf16", "epochs": 1}), out=tmp_path / "a", quiet=True)
    assert {t.dtype for t in load_file(run.weights()).values()} == {torch.float32}


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"model": "resmlp_s13"}, ModelError),
        ({"hyper": {"wings": 2}}, ModelError),
        ({"hyper": {"num_classes": 2}}, RecipeError),
        ({"data.img_size": [15, 16]}, ModelError),
        ({"data.mean": [0.5, 0.5, 0.5]}, RecipeError),
        ({"augment": {"auto": "no-such-policy"}}, RecipeError),
        ({"train": {"epochs": 0}}, RecipeError),
        ({"optim": {"name": "adam9"}}, RecipeError),
    ],
)
def test_what_does_not_fit_is_refused_before_anything_is_written(
    change: dict[str, object], error: type[AllmlpError], stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe]
) -> None:
    with pytest.raises(error) as caught:
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True, **change)
    assert caught.value.hint
    assert not (tmp_path / "a").exists()


def test_used_run_folder_is_not_overwritten(trained: Run, stripes: Path, small_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RunError, match="is not empty"):
        allmlp.train(stripes, recipe=small_recipe(), out=trained.folder, quiet=True)
