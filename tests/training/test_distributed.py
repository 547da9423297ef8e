"""Two processes train as one does: the same numbers, one writer, and exact resumes."""

import shutil
import signal
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.data.sources import open_source
from allmlp.errors import RecipeError, RunError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from allmlp.training.distributed import LARGE, Team, chosen
from allmlp.training.setup import make_plan
from ranks import At, in_processes, values

Make = Callable[..., Recipe]
TIMES = {"seconds", "images_per_s"}
RICH = {
    "hyper": {"drop_path": 0.2},
    "augment": {"mixup": 0.4, "erase": 0.5},
    "train": {"ema": 0.9, "epochs": 2, "log_every": 1},
}
PLAIN = {"augment": {"flip": 0.5, "erase": 0.5}, "train": {"epochs": 2, "log_every": 1}}


def train(size: int, data: Path, recipe: Recipe, out: Path, at: At | None = None) -> Run:
    values(in_processes(size, allmlp.train, data, recipe=recipe, out=out, quiet=True, at=at))
    return Run.open(out)


def resume(size: int, run: Run, at: At | None = None) -> Run:
    values(in_processes(size, allmlp.resume, run.folder, quiet=True, at=at))
    return run


def weights(run: Run, which: str = "last") -> dict[str, torch.Tensor]:
    return load_file(run.weights(which))


def same(a: Run, b: Run) -> bool:
    pairs = [(weights(a, which), weights(b, which)) for which in ("best", "last")]
    return all(torch.equal(tensor, two[name]) for one, two in pairs for name, tensor in one.items())


def lines(run: Run, which: str) -> list[dict[str, object]]:
    return [{k: v for k, v in line.items() if k not in TIMES} for line in read_lines(run.folder / which)]


@pytest.fixture(scope="module")
def alone(stripes: Path, tmp_path_factory: pytest.TempPathFactory, small_recipe: Make) -> Run:
    """One process, PLAIN."""
    return allmlp.train(stripes, recipe=small_recipe(**PLAIN), out=tmp_path_factory.mktemp("alone") / "run", quiet=True)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_two_processes_with_half_the_batch_each_train_as_one_does(
    parallel: str, alone: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    """Both sum the same gradients, in another order: float32 rounding, grown over 8 steps of AdamW."""
    both = train(2, stripes, small_recipe(**{**PLAIN, "train": {**PLAIN["train"], "parallel": parallel}}), tmp_path / "run")
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(both)[name], tensor, rtol=1e-4, atol=1e-5)
    for one, two in zip(lines(alone, "steps.jsonl"), lines(both, "steps.jsonl"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)
    for one, two in zip(lines(alone, "metrics.jsonl"), lines(both, "metrics.jsonl"), strict=True):
        assert two == pytest.approx(one, rel=1e-4)


def test_sharded_training_equals_training_with_copies_bit_for_bit(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    runs = [
        train(2, stripes, small_recipe(**{**RICH, "train": {**RICH["train"], "parallel": how}}), tmp_path / how)
        for how in ("ddp", "fsdp")
    ]
    assert same(*runs)
    assert lines(runs[0], "metrics.jsonl") == lines(runs[1], "metrics.jsonl")
    shards = sorted(p.name for p in next((tmp_path / "fsdp" / "checkpoints").iterdir()).glob("*.safetensors"))
    assert len(shards) == 2


@pytest.mark.parametrize(("parallel", "step", "rank"), [("ddp", 3, 1), ("fsdp", 6, 1), ("fsdp", 4, 0)])
def test_a_signal_to_one_process_stops_all_at_the_same_step_and_they_resume_bit_for_bit(
    parallel: str, step: int, rank: int, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(**{**RICH, "train": {**RICH["train"], "parallel": parallel}})
    undisturbed = train(2, stripes, recipe, tmp_path / "a")
    stopped = train(2, stripes, recipe, tmp_path / "b", at=At(step, rank))
    state = read_json(stopped.state)
    assert (state["state"], state["signal"]) == ("stopped", "SIGTERM")
    assert len(lines(stopped, "steps.jsonl")) in (step, step + 1)  # its signal is seen in the exchange of the next step
    resumed = resume(2, stopped)
    assert same(undisturbed, resumed)
    for which in ("metrics.jsonl", "steps.jsonl"):
        assert lines(undisturbed, which) == lines(resumed, which)


@pytest.mark.parametrize(("parallel", "before", "after"), [("fsdp", 2, 1), ("ddp", 2, 1), ("fsdp", 1, 2), ("fsdp", 2, 4)])
def test_a_run_goes_on_with_another_number_of_processes(
    parallel: str, before: int, after: int, alone: Run, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(**{**PLAIN, "train": {**PLAIN["train"], "parallel": parallel}})
    stopped = train(before, stripes, recipe, tmp_path / "run", at=At(5))
    resumed = resume(after, stopped)
    assert [line["epoch"] for line in lines(resumed, "metrics.jsonl")] == [1, 2]
    for name, tensor in weights(alone).items():
        torch.testing.assert_close(weights(resumed)[name], tensor, rtol=1e-4, atol=1e-5)


def validate_share(rank_images: int, folder: str) -> dict[str, float]:
    """A fresh model's verdict on `rank_images` images, shared by the team that calls this."""
    from allmlp.data.sources import open_source
    from allmlp.recipe import recipe_from
    from allmlp.training.distributed import joined
    from allmlp.training.plan import Look
    from allmlp.training.setup import make_plan
    from allmlp.training.validation import validate

    hyper = {"dim": 16, "depth": 2, "patch_size": 4}
    data = {"img_size": [16, 16], "in_chans": 1, "workers": 0}
    recipe = recipe_from({"model": "resmlp", "hyper": hyper, "data": data, "train": {"batch": 6, "parallel": "fsdp"}})
    source = open_source(folder, val_share=0.25, seed=0)
    object.__setattr__(source, "val", source.val.subset(torch.arange(rank_images).numpy()))
    with joined() as team:
        plan = make_plan(recipe, source, team=team)
        seen: list[int] = []
        look = Look(lambda batch: seen.extend(batch.indices.tolist()), lambda: False)
        verdict = validate(plan, plan.model, look)
        return {"seen": len(seen), **vars(verdict)}


@pytest.mark.parametrize("images", [11, 1])
def test_metrics_are_summed_exactly_over_shares_of_unequal_size(images: int, stripes: Path) -> None:
    (one,) = values(in_processes(1, validate_share, images, str(stripes)))
    both = values(in_processes(2, validate_share, images, str(stripes)))
    assert [part["seen"] for part in both] == [-(-images // 2), images // 2]
    for part in both:
        assert (part["images"], part["top1"], part["top5"]) == (one["images"], one["top1"], one["top5"])
        assert part["loss"] == pytest.approx(one["loss"], rel=1e-6)  # float32 logits of other batch sizes


def test_only_the_first_process_writes(alone: Run, stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    both = train(2, stripes, small_recipe(**PLAIN), tmp_path / "run")
    plain = {p.name for p in alone.folder.iterdir() if "tfevents" not in p.name}
    assert {p.name for p in both.folder.iterdir() if "tfevents" not in p.name} == plain
    assert len([p for p in both.folder.iterdir() if "tfevents" in p.name]) == 1
    said = both.log.read_text()
    assert said.count("classes ") == said.count("best validation") == 1
    assert "2 processes, ddp, 4 images each" in said


def test_muon_takes_no_shards(stripes: Path, small_recipe: Make) -> None:
    source = open_source(str(stripes), val_share=0.25, seed=0)
    with pytest.raises(RecipeError, match="Muon needs whole matrices"):
        make_plan(small_recipe(optim={"name": "muon"}, train={"parallel": "fsdp"}), source, team=Team(0, 2))


def test_images_that_one_process_cannot_read_cost_the_others_nothing(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    """Half of the images are damaged, in batches of two: often one process has none, sometimes both."""
    from allmlp.data import hold

    copy = tmp_path / "copy"
    shutil.copytree(stripes, copy)
    for file in sorted(copy.rglob("*.png"))[::2]:
        file.write_bytes(file.read_bytes()[:100])
    recipe = small_recipe(train={"batch": 2, "epochs": 2}, data={"max_bad_share": 1.0})
    values(in_processes(2, train_unheld, hold.__name__, copy, recipe, tmp_path / "run"))
    run = Run.open(tmp_path / "run")
    listed = [line["path"] for line in read_lines(run.unreadable)]
    assert len(listed) == len(set(listed)) > 12
    assert read_lines(run.metrics)[0]["unreadable"] >= 20
    assert all(bool(tensor.isfinite().all()) for tensor in weights(run).values())


def test_too_many_images_that_cannot_be_read_end_every_process_with_one_reason(
    stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    from allmlp.data import hold

    copy = tmp_path / "copy"
    shutil.copytree(stripes, copy)
    for file in sorted(copy.rglob("*.png"))[::4]:
        file.write_bytes(file.read_bytes()[:100])
    recipe = small_recipe(train={"batch": 2}, data={"max_bad_share": 0.1})
    ended = in_processes(2, train_unheld, hold.__name__, copy, recipe, tmp_path / "run")
    assert "cannot be read, more than 10.0%" in str(ended[0].error)
    assert str(ended[0].error) == str(ended[1].error)
    assert read_json(tmp_path / "run" / "run.json")["state"] == "stopped"


def train_unheld(module: str, data: Path, recipe: Recipe, out: Path) -> None:
    """Picture by picture, so that damage is met while training."""
    sys.modules[module].MOST_BYTES = 0  # type: ignore[attr-defined]
    allmlp.train(data, recipe=recipe, out=out, quiet=True)


@pytest.mark.parametrize("parallel", ["ddp", "fsdp"])
def test_batch_norms_keep_the_statistics_of_the_first_process(
    parallel: str, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(train={"epochs": 1, "ema": 0.9, "parallel": parallel})
    recipe = replace(recipe, model="smlpnet_xs", hyper={"dim": 8})
    run = train(2, stripes, recipe, tmp_path / "run")
    assert allmlp.evaluate(run)["top1"] == read_json(run.weights().with_suffix(".json"))["top1"]


def test_the_team_shares_a_batch_equally_or_says_why_not(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    ended = in_processes(2, allmlp.train, stripes, recipe=small_recipe(train={"batch": 7}), out=tmp_path / "run", quiet=True)
    for one in ended:
        assert isinstance(one.error, RecipeError)
        assert "--train.batch 8" in one.error.hint
    assert not (tmp_path / "run").exists()


def test_an_error_of_the_first_process_is_every_ones(alone: Run, stripes: Path, small_recipe: Make) -> None:
    ended = in_processes(2, allmlp.train, stripes, recipe=small_recipe(**PLAIN), out=alone.folder, quiet=True)
    assert [type(one.error) for one in ended] == [RunError, RunError]
    assert "is not empty" in str(ended[1].error)


def test_a_process_that_is_lost_is_named_by_the_others(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    ended = in_processes(
        2, allmlp.train, stripes, recipe=small_recipe(**PLAIN), out=tmp_path / "run", quiet=True, at=At(3, 1, signal.SIGKILL)
    )
    assert ended[1].status == -signal.SIGKILL
    assert "another process of this run is gone" in str(ended[0].error)


def test_half_the_variables_of_a_team_are_an_error(monkeypatch: pytest.MonkeyPatch, small_recipe: Make, tmp_path: Path) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.delenv("RANK", raising=False)
    with pytest.raises(RunError, match="RANK is not set"):
        allmlp.train(recipe=small_recipe(), out=tmp_path / "run", quiet=True)


def test_models_of_a_hundred_million_parameters_are_sharded() -> None:
    sizes = {"mixer_b16": "ddp", "mixer_l16": "fsdp", "resmlp_b24_p8": "fsdp", "resmlp_s24": "ddp"}
    for name, how in sizes.items():
        with torch.device("meta"):
            model = allmlp.create_model(name)
        assert chosen("auto", model, Team(0, 2)) == how, f"{name} against {LARGE}"
        assert chosen("auto", model, Team()) == "none"
