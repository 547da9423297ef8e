"""The range test finds what it is shown, on the run's own steps."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from allmlp.cli import main
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.training.finding import rates
from allmlp.training.finding.rates import Ramp, find_rate, judged, smoothed

Make = Callable[..., Recipe]


def test_the_rate_grows_by_one_factor_from_the_first_to_the_last() -> None:
    made = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    ramp = Ramp(made, 1e-4, 1e-1, 4)
    seen = []
    for step in range(4):
        ramp.step_update(step)
        seen.append(made.param_groups[0]["lr"])
    assert seen == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1])


def test_a_falling_sigmoid_is_steepest_in_its_middle_and_least_where_it_turns_up() -> None:
    powers = np.linspace(-6, 0, 100)
    losses = 2 - 1 / (1 + np.exp(-4 * (powers + 3))) + np.exp(8 * (powers + 1))  # middle 1e-3, up again towards 1e-1
    curve, steepest, least = judged((10**powers).tolist(), losses.tolist())
    assert math.log10(steepest) == pytest.approx(-3, abs=0.15)
    assert least == pytest.approx(10 ** powers[curve.argmin()], rel=1e-12)  # numpy and Python may round the power apart
    assert steepest < least < 0.2


def test_smoothing_keeps_a_straight_line_and_lags_nowhere() -> None:
    line = np.linspace(3, 1, 50)
    np.testing.assert_allclose(smoothed(line, 2.0)[10:-10], line[10:-10], rtol=1e-5)  # the Gaussian's tails
    peak = np.zeros(51)
    peak[25] = 1
    assert smoothed(peak, 3.0).argmax() == 25


def test_one_exploding_loss_at_the_end_moves_nothing_before_it() -> None:
    powers = np.linspace(-6, -1, 100)
    losses = 2 - 1 / (1 + np.exp(-4 * (powers + 3)))
    plain = judged((10**powers).tolist(), losses.tolist())[1]
    losses[-1] = 1e9
    assert judged((10**powers).tolist(), losses.tolist())[1] == plain


@pytest.mark.parametrize("losses", [[2.0] * 30, list(np.linspace(1, 5, 30)), [2.0, 1.0]])
def test_a_loss_that_never_falls_suggests_nothing(losses: list[float]) -> None:
    with pytest.raises(TrainingError, match="falls at none"):
        judged([1e-3 * 1.1**i for i in range(30)], losses)


def test_each_step_is_the_runs_own_with_its_rate(stripes: Path, small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []

    def watched_update(plan, batch, number, **rest):  # type: ignore[no-untyped-def]
        outcome = update(plan, batch, number, **rest)
        seen.append((number, len(batch.labels), plan.optimiser.param_groups[0]["lr"]))
        return outcome

    update = rates.update
    monkeypatch.setattr(rates, "update", watched_update)
    found = find_rate(str(stripes), small_recipe(optim={"lr_batch": 16}), low=1e-5, high=1e-2, steps=20, quiet=True)
    assert [number for number, _, _ in seen] == list(range(20))  # four epochs of four batches, and more
    assert {images for _, images, _ in seen} == {8}
    assert found.scale == 0.5
    assert [rate for _, _, rate in seen] == pytest.approx([0.5 * rate for rate in found.rates])
    assert (found.rates[0], found.rates[-1]) == pytest.approx((1e-5, 1e-2))


def test_the_suggested_rate_teaches_the_stripes_and_a_diverging_test_ends_early(stripes: Path, small_recipe: Make) -> None:
    recipe = small_recipe(train={"epochs": 1}, augment={"crop": "none"})
    found = find_rate(str(stripes), recipe, low=1e-5, high=1e3, steps=120, quiet=True)
    assert found.diverged
    assert len(found.rates) == len(found.losses) == len(found.smoothed) < 120
    assert 1e-4 < found.suggested < 0.3
    assert found.suggested == found.steepest <= found.least
    tenth = find_rate(str(stripes), recipe, low=1e-5, high=1e3, steps=120, rule="tenth", quiet=True)
    assert tenth.suggested == pytest.approx(found.least / 10)
    assert tenth.losses == found.losses  # the same seed, the same steps


@pytest.mark.parametrize("values", [{"low": 1.0, "high": 0.1}, {"low": 0.0}, {"high": math.inf}, {"low": -1.0}, {"steps": 5}])
def test_a_range_that_is_none_is_refused(values: dict[str, float], small_recipe: Make) -> None:
    with pytest.raises(RecipeError) as caught:
        find_rate(None, small_recipe(), quiet=True, **values)  # type: ignore[arg-type]
    assert "--" in caught.value.hint


def test_unreadable_pictures_are_passed_over_and_nothing_but_them_is_an_error(tmp_path: Path, small_recipe: Make) -> None:
    generator = np.random.default_rng(0)
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        for i in range(8):
            size = (80, 70 + i)  # too large to be held in memory
            Image.fromarray(generator.integers(0, 255, size, dtype=np.uint8)).save(tmp_path / name / f"{i}.png")
    recipe = small_recipe(train={"batch": 3})
    paths = sorted(tmp_path.rglob("*.png"))
    for path in paths[:5]:
        path.write_bytes(path.read_bytes()[:60])
    assert len(find_rate(str(tmp_path), recipe, low=1e-3, high=0.1, steps=60, quiet=True).rates) > 30  # sixteen are learnt
    for path in paths[5:]:
        path.write_bytes(path.read_bytes()[:60])
    with pytest.raises(TrainingError, match="no training image could be read"):
        find_rate(str(tmp_path), recipe, steps=20, quiet=True)


def test_the_command_writes_curve_and_numbers_and_speaks_to_programs(
    stripes: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, small_recipe: Make
) -> None:
    monkeypatch.chdir(tmp_path)
    recipe = replace(small_recipe(), seed=1)
    Path("mine.toml").write_text(recipe.to_toml())
    words = ["find-lr", str(stripes), "--recipe", "mine.toml", "--low", "1e-4", "--steps", "40", "--json", "--out", "lr.png"]
    assert main(words) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found == json.loads(Path("lr.json").read_text())
    assert Image.open("lr.png").size == (1240, 800)
    assert f"--optim.lr {found['suggested']:.2g}" in printed.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["lr.json", "lr.png", "mine.toml"]  # and no run
    assert main([*words[:-1], "lr.pdf"]) == 2
    assert "neither a .png nor an .svg" in capsys.readouterr().err
