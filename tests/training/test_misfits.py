"""Values that a short run never gets to are said; those that it gets to are not."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import allmlp
from allmlp.recipe import Recipe, load_recipe, packaged_recipes, recipe_from
from allmlp.run import read_json, write_json
from allmlp.training.again import begun
from allmlp.training.misfits import misfits
from helpers import interrupt_after

Make = Callable[..., Recipe]


def said(epochs: int = 3, **tables: Any) -> str:
    train = {"epochs": epochs, **tables.pop("train", {})}
    return "\n".join(misfits(recipe_from({"train": train, **tables}), 10))


@pytest.mark.parametrize(
    ("tables", "words"),
    [
        ({"optim": {"warmup": 3.0}}, "3 of 3 epochs: the learning rate never reaches optim.lr"),
        ({"optim": {"warmup_steps": 50}}, "5 of 3 epochs: the learning rate never reaches optim.lr"),
        ({"optim": {"warmup": 2.0, "cooldown": 1.0}}, "never reaches optim.lr"),
        ({"optim": {"warmup": 0.0, "cooldown": 3.0}}, "cooldown 3 of 3 epochs"),
        ({"optim": {"warmup": 0.0}, "augment": {"mixup": 0.2, "mix_off": 3}}, "no images are mixed"),
        ({"optim": {}}, "warm-up  0.3 epochs, a tenth of the run; 5 in longer ones"),
        ({"optim": {"warmup": 0.0}, "dino": {"freeze_last": 0.0}}, "takes 30 epochs to its end, and there are 3"),
        ({"optim": {"warmup": 0.0}, "dino": {"teacher_warmup": 0.0, "freeze_last": 3.0}}, "it learns nothing"),
    ],
)
def test_what_the_run_is_too_short_for_is_said(tables: dict[str, Any], words: str) -> None:
    (line,) = said(**tables).splitlines()
    assert words in line


@pytest.mark.parametrize(
    "tables",
    [
        {"optim": {"warmup": 2.9}},
        {"optim": {"warmup_steps": 29}},
        {"optim": {"warmup": 1.0, "cooldown": 1.0}},
        {"optim": {"warmup": 0.0}, "augment": {"mixup": 0.2, "mix_off": 2}},
        {"optim": {"warmup": 0.0}, "augment": {"mixup": 0.0, "cutmix": 0.0, "mix_off": 9}},
        {"optim": {"warmup": 0.0}, "dino": {"teacher_warmup": 2.0}},
        {"train": {"epochs": 50}},
    ],
)
def test_what_fits_is_not(tables: dict[str, Any]) -> None:
    assert said(**tables) == ""


@pytest.mark.parametrize("name", [name for name in packaged_recipes() if "dino" not in name])
def test_the_packaged_recipes_fit_their_own_length(name: str) -> None:
    assert misfits(load_recipe(name), 10_000) == []


def test_a_run_says_and_records_its_warm_up_and_reaches_its_rate(stripes: Path, tmp_path: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"epochs": 3, "log_every": 1})
    recipe = replace(recipe, optim=replace(recipe.optim, warmup=None))
    run = allmlp.train(stripes, recipe=recipe, out=tmp_path / "run", quiet=True)
    assert "warm-up  0.3 epochs, a tenth of the run" in run.log.read_text()
    assert read_json(run.state)["warmup_steps"] == 1  # of 12
    assert load_recipe(run.recipe).optim.warmup is None
    long = allmlp.train(
        stripes, recipe=replace(recipe, optim=replace(recipe.optim, warmup=5.0)), out=tmp_path / "b", quiet=True
    )
    assert "never reaches optim.lr" in long.log.read_text()
    assert read_json(long.state)["warmup_steps"] == 20


def test_a_run_of_an_earlier_version_keeps_the_warm_up_it_wrote_out(
    stripes: Path, tmp_path: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    former = small_recipe(optim={"warmup": 5.0})
    with monkeypatch.context() as patch:
        interrupt_after(patch, 6)
        run = allmlp.train(stripes, recipe=former, out=tmp_path / "run", quiet=True)
    now = replace(former, optim=replace(former.optim, warmup=None))
    write_json(run.state, {name: value for name, value in read_json(run.state).items() if name != "warmup_steps"})
    assert begun(run.folder, now, str(stripes)) == run
    whole = allmlp.train(stripes, recipe=former, out=tmp_path / "whole", quiet=True)
    again = allmlp.train(stripes, recipe=now, out=run.folder, resume="auto", quiet=True)
    assert again.weights("last").read_bytes() == whole.weights("last").read_bytes()
