"""The same command again: after a pre-emption it goes on, after the end it is content, and it never mixes two runs."""

import os
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

import allmlp
from allmlp.cli import main
from allmlp.errors import RunError
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from ranks import At, in_processes, values

Make = Callable[..., Recipe]


def begin(stripes: Path, out: Path, recipe: Recipe, **more: Any) -> Run:
    return allmlp.train(stripes, recipe=recipe, out=out, quiet=True, resume="auto", **more)


def test_auto_begins_where_nothing_is_and_goes_on_where_a_run_was_stopped(
    stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    whole = begin(stripes, tmp_path / "whole", small_recipe())
    values(in_processes(1, begin, stripes, tmp_path / "run", small_recipe(), at=At(6)))
    assert read_json(Run(tmp_path / "run").state)["state"] == "stopped"
    run = begin(stripes, tmp_path / "run", small_recipe())
    one, two = load_file(whole.weights("last")), load_file(run.weights("last"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    assert "resuming" in run.log.read_text()


def test_auto_leaves_a_finished_run_as_it_is(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    run = begin(stripes, tmp_path / "run", small_recipe(train={"epochs": 1}))
    before = run.weights().stat().st_mtime_ns
    assert begin(stripes, tmp_path / "run", small_recipe(train={"epochs": 1})).folder == run.folder
    assert run.weights().stat().st_mtime_ns == before
    assert "is finished" in run.log.read_text()


@pytest.mark.parametrize("step", [1, 3])
def test_auto_begins_again_where_a_run_died_before_its_first_checkpoint(
    step: int, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(train={"log_every": 1})
    (ended,) = in_processes(1, begin, stripes, tmp_path / "run", recipe, at=At(step, 0, signal.SIGKILL))
    assert ended.status == -signal.SIGKILL
    run = begin(stripes, tmp_path / "run", recipe)
    assert [line["step"] for line in read_lines(run.steps)] == list(range(1, 13))


def test_auto_refuses_a_run_of_other_values_or_other_images(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    begin(stripes, tmp_path / "run", small_recipe(train={"epochs": 1}))
    with pytest.raises(RunError, match=r"its optim.lr is 0.01, not 0.02"):
        begin(stripes, tmp_path / "run", small_recipe(train={"epochs": 1}, optim={"lr": 0.02}))
    with pytest.raises(RunError, match=r"its images are .*stripes"):
        begin(None, tmp_path / "run", small_recipe(train={"epochs": 1}))  # type: ignore[arg-type]


def test_auto_does_not_touch_a_folder_that_is_no_run(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with pytest.raises(RunError, match="is not empty"):
        begin(stripes, tmp_path, small_recipe())
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]


def test_auto_knows_a_run_that_started_from_another(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    """Such a run writes out the model and size that the command left open."""
    first = begin(stripes, tmp_path / "first", small_recipe(train={"epochs": 1}))
    recipe = replace(small_recipe(train={"epochs": 1}), init=str(first.folder), model=Recipe.model, hyper={})
    recipe = replace(recipe, data=replace(recipe.data, img_size=None, in_chans=None))
    begin(stripes, tmp_path / "second", recipe)
    assert "is finished" not in Run(tmp_path / "second").log.read_text()
    begin(stripes, tmp_path / "second", recipe)
    assert "is finished" in Run(tmp_path / "second").log.read_text()


def test_auto_without_a_folder_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--resume", "auto"]) == 2
    assert "give --out RUN" in capsys.readouterr().err


def test_a_restarted_team_goes_on_by_itself(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """torchrun counts its restarts in a variable."""
    values(in_processes(1, allmlp.train, stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True, at=At(6)))
    with pytest.raises(RunError, match="is not empty"):
        allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    run = allmlp.train(stripes, recipe=small_recipe(), out=tmp_path / "run", quiet=True)
    assert read_json(run.state)["state"] == "finished"
    monkeypatch.setenv("TORCHELASTIC_MAX_RESTARTS", "3")
    with pytest.raises(RunError, match="needs a folder of its own"):
        allmlp.train(stripes, recipe=small_recipe(), quiet=True)


def run_command(data: Path, recipe: Path, out: Path) -> int:
    os.setsid()
    return main(["train", str(data), "--recipe", str(recipe), "--out", str(out), "--resume", "auto", "--quiet"])


def signal_all(number: int, data: Path, recipe: Path, out: Path) -> int:
    """A scheduler signals every process of the job, those that decode images too."""
    from allmlp.training.display import Display

    plain, count = Display.step, 0

    def step(self: Display, **shown: Any) -> None:
        nonlocal count
        count += 1
        if count == 6:
            os.killpg(0, number)
        plain(self, **shown)

    Display.step = step  # type: ignore[method-assign]
    return run_command(data, recipe, out)


@pytest.mark.parametrize("name", ["SIGUSR1", "SIGTERM"])
def test_a_preempted_job_saves_leaves_with_0_and_the_same_command_goes_on(
    name: str, stripes: Path, tmp_path: Path, small_recipe: Make
) -> None:
    recipe = small_recipe(data={"workers": 2}, augment={"auto": "rand-m5-n1"})  # picture by picture, by workers
    (tmp_path / "recipe.toml").write_text(recipe.to_toml())
    arguments = (stripes, tmp_path / "recipe.toml", tmp_path / "run")
    assert values(in_processes(1, signal_all, getattr(signal, name), *arguments)) == [0]
    state = read_json(Run(tmp_path / "run").state)
    assert (state["state"], state["signal"]) == ("stopped", name)
    assert values(in_processes(1, run_command, *arguments)) == [0]
    assert read_json(Run(tmp_path / "run").state)["state"] == "finished"
