"""Every packaged recipe is complete, says what it is, and trains."""

from pathlib import Path

import pytest

import allmlp
from allmlp.recipe import load_recipe, packaged_recipes
from allmlp.run import read_json


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipe_has_a_header_and_fits_on_a_page(name: str) -> None:
    lines = packaged_recipes()[name].read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 40
    header = "\n".join(line for line in lines if line.startswith("#"))
    for word in ("command:", "hardware:", "time:", "result:"):
        assert word in header, word


@pytest.mark.parametrize("name", packaged_recipes())
def test_recipe_trains_two_steps(name: str, tmp_path: Path) -> None:
    recipe = load_recipe(name)
    run = allmlp.train(
        recipe=recipe,
        out=tmp_path / "run",
        quiet=True,
        **{"train.epochs": 1, "train.batch": 10, "train.limit": 20, "data.workers": 0},
    )
    assert read_json(run.state)["state"] == "finished"
    assert (run.folder / "recipe.toml").is_file()
