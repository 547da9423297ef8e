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
from allmlp.errors import AllmlpError, ModelError, RecipeError, RunError, TrainingError
from allmlp.models import create_model
from allmlp.recipe import Optim, Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training.objectives import cross_entropy
from allmlp.training.optim import optimiser, schedule
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


def test_loss_that_is_not_finite_stops_and_says_where(
    stripes: Path, tmp_path: Path, small_recipe: Callable[..., Recipe], monkeypatch: pytest.MonkeyPatch
) -> None:
    from allmlp.training import loop

    calls = 0

    def poisoned(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
        nonlocal calls
        calls += 1
        return cross_entropy(logits, target) * (float("nan") if calls == 6 else 1.0)

    monkeypatch.setattr(loop, "cross_entropy", poisoned)
    with pytest.raises(TrainingError, match=r"step 6 \(epoch 2\)"):
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    assert read_json(tmp_path / "a" / "run.json")["state"] == "stopped"
    assert all(bool(t.isfinite().all()) for t in load_file(tmp_path / "a" / "best.safetensors").values())


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
    recipe = small_recipe(train={"batch": 12})  # a divisor of the 36 training images: no epoch leaves any out
    run = allmlp.train(copy, recipe=recipe, out=tmp_path / "a", quiet=True)
    listed = read_lines(run.unreadable)
    assert len(listed) == len({r["path"] for r in listed}) == 8
    left_out = read_json(run.data)["left_out_count"]  # before training, or in every epoch
    assert (left_out, read_lines(run.metrics)[0]["unreadable"]) == ((8, 0) if in_memory else (0, 8))
    assert f"8 images could not be decoded; {run.unreadable} lists them" in run.log.read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["resmlp_s12_class", "mixer_xs", "smlpnet_xs"])
def test_affine_scales_norms_and_biases_do_not_decay(name: str) -> None:
    with torch.device("meta"):
        model = create_model(name)
    made = optimiser(model, Optim(weight_decay=0.3), batch=256)
    decayed = {id(p) for group in made.param_groups if group["weight_decay"] for p in group["params"]}
    assert {group["weight_decay"] for group in made.param_groups} == {0.0, 0.3}
    for key, parameter in model.named_parameters():
        plain = key.endswith((".bias", ".alpha", ".beta", ".gamma")) or "norm" in key or key == "class_token"
        assert (id(parameter) in decayed) == (not plain), key


def test_learning_rate_warms_up_linearly_then_follows_a_cosine_and_scales_with_the_batch() -> None:
    optim = Optim(lr=1e-3, lr_batch=256, warmup=2.0, min_lr=1e-5)
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), optim, batch=512)
    plan = schedule(made, optim, batch=512, steps=10, epochs=10)
    rates = []
    for step in range(100):
        plan.step_update(step)
        rates.append(made.param_groups[0]["lr"])
    low, high = 2e-5, 2e-3
    assert rates[:20] == pytest.approx([low + (high - low) * i / 20 for i in range(20)])
    # timm's cosine counts from step 0, so that its peak is already a little past at the end of the warm-up
    assert rates[20:] == pytest.approx([low + 0.5 * (high - low) * (1 + np.cos(np.pi * i / 100)) for i in range(20, 100)])


def test_a_run_of_one_step_has_its_peak_rate_and_no_word_from_timm(caplog: pytest.LogCaptureFixture) -> None:
    optim = Optim(lr=1e-3, lr_batch=256)
    made = optimiser(create_model("resmlp", dim=8, depth=1, img_size=16), optim, batch=256)
    schedule(made, optim, batch=256, steps=1, epochs=1).step_update(0)
    assert made.param_groups[0]["lr"] == pytest.approx(1e-3)
    assert caplog.records == []


def test_cross_entropy_with_probabilities_equals_a_hand_computed_sum() -> None:
    logits, target = torch.tensor([[1.0, 2.0, 0.5], [0.0, 0.0, 3.0]]), torch.tensor([[0.7, 0.2, 0.1], [0.0, 0.5, 0.5]])
    expected = 0.0
    for row, wanted in zip(logits.tolist(), target.tolist(), strict=True):
        total = sum(np.exp(v) for v in row)
        expected -= sum(w * np.log(np.exp(v) / total) for v, w in zip(row, wanted, strict=True)) / 2
    assert float(cross_entropy(logits, target)) == pytest.approx(expected, rel=1e-6)


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
    assert caught.value.mend
    assert not (tmp_path / "a").exists()


def test_used_run_folder_is_not_overwritten(trained: Run, stripes: Path, small_recipe: Callable[..., Recipe]) -> None:
    with pytest.raises(RunError, match="is not empty"):
        allmlp.train(stripes, recipe=small_recipe(), out=trained.folder, quiet=True)
