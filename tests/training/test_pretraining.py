"""Learning without labels on the one loop: exact resumes, two processes, collapse, and what becomes of the run."""

import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.cli import main
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training.dino.state import State
from helpers import interrupt_after, same_weights
from ranks import At, in_processes, values

Make = Callable[..., Recipe]
TIMES = {"seconds", "images_per_s"}
SMALL = {
    "local_crops": 2,
    "outputs": 32,
    "hidden": 16,
    "bottleneck": 8,
    "knn_every": 2,
    "momentum": [0.9, 1.0],
    "local_area": [0.2, 0.5],
    "patience": 0,
}
BOTH = pytest.mark.parametrize("local_size", [None, [8, 8]], ids=["enlarged", "resized"])


@pytest.fixture(scope="session")
def dino_recipe(small_recipe: Make) -> Make:
    def make(train: dict[str, object] | None = None, optim: dict[str, object] | None = None, **dino: object) -> Recipe:
        return small_recipe(
            hyper={"drop_path": 0.1},
            augment={"crop": "auto", "padding": 4},
            optim={"weight_decay_end": 0.2, **(optim or {})},
            train=train or {},
            dino={**SMALL, **dino},
        )

    return make


def lines(run: Run) -> list[dict[str, object]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(run.metrics)]


@BOTH
@pytest.mark.parametrize("steps", [1, 6, 8, 12])
def test_resumed_run_is_bit_identical(
    steps: int,
    local_size: list[int] | None,
    stripes: Path,
    tmp_path: Path,
    dino_recipe: Make,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """4 steps an epoch: inside the first, inside and at the end of the second, at the very end. What is measured of the
    teacher in an epoch goes on as well."""
    recipe = dino_recipe(local_size=local_size)
    undisturbed = allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, steps)
        stopped = allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    assert read_json(stopped.state)["state"] == "stopped"
    resumed = allmlp.resume(stopped.folder, quiet=True)
    assert read_json(resumed.state)["state"] == "finished"
    assert same_weights(undisturbed, resumed)
    assert same_weights(undisturbed, resumed, "best")
    assert lines(undisturbed) == lines(resumed)


def test_resumed_run_with_batch_norms_is_bit_identical(
    stripes: Path, tmp_path: Path, dino_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = replace(dino_recipe(local_size=[8, 8]), model="smlpnet", hyper={"dim": 8, "depths": [1, 1], "patch_size": 2})
    undisturbed = allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "a", quiet=True)
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        stopped = allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "b", quiet=True)
    resumed = allmlp.resume(stopped.folder, quiet=True)
    assert same_weights(undisturbed, resumed)
    assert lines(undisturbed) == lines(resumed)


@BOTH
def test_two_processes_train_as_one(local_size: list[int] | None, stripes: Path, tmp_path: Path, dino_recipe: Make) -> None:
    """The centre too: each sees the answers of both. Without stochastic depth, which differs by process, and without Adam,
    which makes as much of rounding as of a gradient."""
    recipe = dino_recipe(local_size=local_size, train={"epochs": 2}, optim={"name": "sgd", "lr": 0.1})
    recipe = replace(recipe, hyper={**recipe.hyper, "drop_path": 0.0})
    alone = allmlp.pretrain(stripes, recipe=recipe, out=tmp_path / "one", quiet=True)
    values(in_processes(2, allmlp.pretrain, stripes, recipe=recipe, out=tmp_path / "two", quiet=True))
    one, two = load_file(alone.weights("last")), load_file(tmp_path / "two" / "last.safetensors")
    for name, weight in one.items():
        assert torch.allclose(weight, two[name], rtol=1e-3, atol=2e-4), name  # sums in another order
    for mine, theirs in zip(lines(alone), lines(Run(tmp_path / "two")), strict=True):
        for key in ("train_loss", "teacher_entropy", "teacher_information"):
            assert mine[key] == pytest.approx(theirs[key], rel=1e-3, abs=1e-4)


@pytest.mark.slow
def test_two_processes_resumed_end_as_undisturbed(stripes: Path, tmp_path: Path, dino_recipe: Make) -> None:
    recipe = dino_recipe(train={"epochs": 2})
    values(in_processes(2, allmlp.pretrain, stripes, recipe=recipe, out=tmp_path / "a", quiet=True))
    values(in_processes(2, allmlp.pretrain, stripes, recipe=recipe, out=tmp_path / "b", quiet=True, at=At(3)))
    values(in_processes(2, allmlp.resume, tmp_path / "b", quiet=True))
    assert same_weights(Run(tmp_path / "a"), Run(tmp_path / "b"))
    assert lines(Run(tmp_path / "a")) == lines(Run(tmp_path / "b"))


def test_the_heads_directions_stay_for_an_epoch_and_then_learn(
    stripes: Path, tmp_path: Path, dino_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    def directions(steps: int) -> torch.Tensor:
        with monkeypatch.context() as patch:
            interrupt_after(patch, steps)
            run = allmlp.pretrain(stripes, recipe=dino_recipe(), out=tmp_path / str(steps), quiet=True)
        (checkpoint,) = sorted(run.checkpoints.iterdir())[-1:]
        return load_file(next(checkpoint.glob("shard-*")))["model.head.directions"]

    first = directions(1)
    assert torch.equal(first, directions(3))
    assert not torch.equal(first, directions(6))


@pytest.fixture(scope="module")
def pretrained(stripes: Path, tmp_path_factory: pytest.TempPathFactory, dino_recipe: Make) -> Run:
    recipe = dino_recipe(train={"epochs": 3, "log_every": 2})
    return allmlp.pretrain(stripes, recipe=recipe, out=tmp_path_factory.mktemp("dino") / "run", quiet=True)


def test_features_are_measured_where_they_are_due(pretrained: Run) -> None:
    records = read_lines(pretrained.metrics)
    assert [("knn_top1" in record) for record in records] == [True, True, True]  # first, second, last
    assert all(0 <= record["teacher_entropy"] <= 1 + 1e-9 for record in records)
    best = read_json(pretrained.state)["best"]
    assert best["top1"] == max(record["knn_top1"] for record in records)
    assert best["weights"] == "ema"


def test_the_run_is_a_model_without_classes(pretrained: Run) -> None:
    model = allmlp.load(pretrained)
    assert (model.num_classes, model.classes) == (0, ())
    assert model(torch.zeros(2, 1, 16, 16)).shape == (2, 16)
    assert not any(name.startswith("head") for name in load_file(pretrained.weights()))
    card = read_json(pretrained.weights().with_suffix(".json"))
    assert card["parameters"] == sum(p.numel() for p in model.parameters())
    assert card["macs"] > 0


def test_classes_are_learnt_from_there(pretrained: Run, stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"epochs": 1})
    table = {**recipe.__dict__, "init": str(pretrained.folder), "hyper": {}}
    run = allmlp.train(stripes, recipe=Recipe(**table), out=tmp_path / "run", quiet=True)
    assert allmlp.load(run).classes == ("across", "down")


def test_features_are_measured_drawn_explained_and_exported(pretrained: Run, stripes: Path, tmp_path: Path) -> None:
    found = allmlp.evaluate(pretrained, stripes, knn=True, linear=True, quiet=True)
    assert 0 <= found["linear"]["top1"] <= 1
    html = allmlp.report(pretrained).read_text(encoding="utf-8")
    assert "k-NN accuracy" in html
    assert "Information" in html
    assert "Calibration" not in html
    allmlp.export(pretrained.folder, format="safetensors", out=tmp_path / "bundle", data=str(stripes))
    assert allmlp.load(tmp_path / "bundle").num_classes == 0
    assert main(["explain", str(pretrained.folder), "--out", str(tmp_path / "why")]) == 0


def test_what_needs_classes_says_so(pretrained: Run, stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = next(stripes.rglob("*.png"))
    for words in (
        ["evaluate", str(pretrained.folder), str(stripes)],
        ["predict", str(pretrained.folder), str(picture)],
        ["explain", str(pretrained.folder), str(picture), "--out", str(tmp_path / "why")],
    ):
        assert main(words) == 2
        assert "no classes" in capsys.readouterr().err


def test_a_run_stopped_early_has_a_report_too(
    stripes: Path, tmp_path: Path, dino_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 2)
    run = allmlp.pretrain(stripes, recipe=dino_recipe(), out=tmp_path / "run", quiet=True)
    assert "No epoch has ended yet" in allmlp.report(run).read_text(encoding="utf-8")


def test_pictures_of_one_folder_are_learnt_from_without_neighbours(stripes: Path, tmp_path: Path, dino_recipe: Make) -> None:
    (tmp_path / "data").mkdir()
    shutil.copytree(stripes / "across", tmp_path / "data" / "all")
    run = allmlp.pretrain(tmp_path / "data", recipe=dino_recipe(), out=tmp_path / "run", quiet=True)
    assert not any("knn_top1" in record for record in read_lines(run.metrics))
    best = read_json(run.state)["best"]
    assert (best["epoch"], best["top1"]) == (3, None)
    assert same_weights(run, run, "best")
    assert "without classes" in run.log.read_text(encoding="utf-8")
    allmlp.report(run)


def test_pictures_in_files_are_learnt_from(stripes: Path, tmp_path: Path, dino_recipe: Make) -> None:
    """Of many sizes, hence not held in memory; a worker process gives the same weights."""
    from PIL import Image

    for number, path in enumerate(sorted(stripes.rglob("*.png"))):
        place = tmp_path / "data" / path.parent.name
        place.mkdir(parents=True, exist_ok=True)
        Image.open(path).resize((20 + number % 3, 24)).save(place / path.name)
    recipe = dino_recipe(train={"epochs": 1})
    runs = [
        allmlp.pretrain(tmp_path / "data", recipe=recipe, out=tmp_path / str(n), quiet=True, **{"data.workers": n})
        for n in (0, 1)
    ]
    assert same_weights(*runs)


def test_collapse_is_said_and_stops_the_run(
    stripes: Path, tmp_path: Path, dino_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every answer is the same, as of a teacher that has collapsed."""

    def see(self: State, logits: torch.Tensor, answers: torch.Tensor, real: torch.Tensor) -> None:
        State.plain(self, logits, torch.full_like(answers, 1 / answers.shape[1]), real)  # type: ignore[attr-defined]

    monkeypatch.setattr(State, "plain", State.see, raising=False)
    monkeypatch.setattr(State, "see", see)
    with pytest.raises(TrainingError, match="2 epochs in a row: collapse"):
        allmlp.pretrain(stripes, recipe=dino_recipe(patience=2), out=tmp_path / "a", quiet=True)
    said = (tmp_path / "a" / "log.txt").read_text(encoding="utf-8")
    assert "one answer" in said
    run = allmlp.pretrain(stripes, recipe=dino_recipe(patience=0), out=tmp_path / "b", quiet=True)
    assert read_json(run.state)["state"] == "finished"
    assert all(math.isclose(record["teacher_information"], 0, abs_tol=1e-6) for record in read_lines(run.metrics))


def test_the_verb_must_fit_the_recipe(stripes: Path, tmp_path: Path, dino_recipe: Make, small_recipe: Make) -> None:
    with pytest.raises(RecipeError, match="learns without labels"):
        allmlp.train(stripes, recipe=dino_recipe(), out=tmp_path / "a", quiet=True)
    with pytest.raises(RecipeError, match=r"no \[dino\] table"):
        allmlp.pretrain(stripes, recipe=small_recipe(), out=tmp_path / "a", quiet=True)
    assert not (tmp_path / "a").exists()
