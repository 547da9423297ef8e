"""The batch finder finds the largest that fits, loses nothing when one does not, and says which is fastest."""

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from allmlp.cli import main
from allmlp.engine.memory import resident_bytes
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.training.finding import batches, trial
from allmlp.training.finding.batches import BatchSearch, Trial, find_batch, in_a_process, search
from allmlp.training.finding.trial import Answer, Request, tried

Make = Callable[..., Recipe]


@given(st.integers(0, 5000), st.integers(1, 5000))
def test_the_exact_search_finds_the_largest_that_fits(limit: int, most: int) -> None:
    asked: list[int] = []
    capped = search(lambda batch: asked.append(batch) or batch <= limit, most=most, within=0.0)  # type: ignore[func-returns-value]
    fitting = [batch for batch in asked if batch <= limit]
    assert max(fitting, default=0) == min(limit, most)
    assert capped == (limit >= most)
    assert len(asked) == len(set(asked)) <= 2 * 13 + 2
    assert max(asked) <= most


@given(st.integers(1, 5000), st.floats(0, 0.5))
def test_the_rough_search_comes_as_near_as_it_was_asked(limit: int, within: float) -> None:
    asked: list[int] = []
    search(lambda batch: asked.append(batch) or batch <= limit, most=10_000, within=within)  # type: ignore[func-returns-value]
    found = max(batch for batch in asked if batch <= limit)
    assert limit - found <= max(1, within * found)


def test_fastest_is_the_smallest_batch_that_is_nearly_as_fast_as_any() -> None:
    speeds = {1: 10.0, 2: 19.0, 4: 30.0, 8: 31.0, 16: 29.0}
    trials = [Trial(batch=b, fits=True, peak_bytes=b, images_per_s=s) for b, s in speeds.items()]
    trials.append(Trial(batch=32, fits=False, peak_bytes=0, images_per_s=0.0))
    found = BatchSearch(device="cpu", memory=None, trials=trials, ended="memory")
    assert (found.largest.batch, found.fastest.batch) == (16, 4)


def request(recipe: Recipe, batch: int = 4, memory: int | None = None) -> Request:
    return Request(
        recipe=recipe.to_toml(), classes=["a", "b"], in_chans=1, img_size=None, batch=batch, memory=memory, seconds=0.0
    )


LONG = 600.0
"""Seconds."""


def refused(recipe: Recipe) -> bool:
    answer = in_a_process(request(recipe), LONG)
    return answer is not None and not answer.fits


def test_a_trial_takes_whole_steps_of_the_recipe_at_the_asked_size(small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    update = trial.update

    def watched(plan, batch, number, **rest):  # type: ignore[no-untyped-def]
        outcome = update(plan, batch, number, **rest)
        seen.append((batch.images.shape, plan.ema is not None, len(plan.optimiser.state) > 0))
        return outcome

    monkeypatch.setattr(trial, "update", watched)
    answer = tried(request(small_recipe(train={"batch": 8, "ema": 0.9}), batch=5))
    assert answer.fits
    assert answer.images_per_s > 0
    assert 0 < answer.peak_bytes <= resident_bytes()
    assert len(seen) == trial.UNTIMED + trial.TIMED
    assert set(seen) == {(torch.Size([5, 1, 16, 16]), True, True)}


def test_a_process_that_is_killed_does_not_fit_and_one_that_breaks_is_an_error(
    small_recipe: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    program = tmp_path / "python"
    monkeypatch.setattr(sys, "executable", str(program))

    def answers(text: str) -> None:
        program.write_text(f"#!/bin/sh\n{text}\n")
        program.chmod(0o755)

    answers("kill -9 $$")
    assert refused(small_recipe())
    answers(f"exit {trial.TOO_LARGE}")
    assert refused(small_recipe())
    answers("echo 'ValueError: no such thing' >&2; exit 1")
    with pytest.raises(TrainingError, match="a step of 4 images broke: ValueError: no such thing"):
        in_a_process(request(small_recipe()), LONG)
    answers("""echo '{"fits": false, "error": ["too odd", "be even"]}'""")
    with pytest.raises(RecipeError, match="too odd") as caught:
        in_a_process(request(small_recipe()), LONG)
    assert caught.value.hint == "be even"


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"classes": 1}, "nothing to tell apart"),
        ({"memory": 0.0}, "holds nothing"),
        ({"most": 0}, "is no batch"),
        ({"within": 1.0}, "is no share"),
        ({"minutes": 0.0}, "are no time"),
    ],
)
def test_values_out_of_range_are_refused_before_anything_starts(
    values: dict[str, float], words: str, small_recipe: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(batches, "in_a_process", lambda request, seconds: pytest.fail("something started"))
    with pytest.raises(RecipeError, match=words):
        find_batch(None, small_recipe(), quiet=True, **values)  # type: ignore[arg-type]


def test_when_not_even_one_image_fits_the_error_says_into_what(small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batches, "in_a_process", lambda request, seconds: Answer(fits=False))
    with pytest.raises(TrainingError, match=r"not even one image fits into 0.50 GB"):
        find_batch(None, small_recipe(), classes=10, memory=0.5)


def test_the_command_prints_a_table_or_json(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], stripes: Path
) -> None:
    def answer(request: Request, seconds: float) -> Answer:
        assert (list(request.classes), request.in_chans) == (["across", "down"], 1)
        return Answer(fits=request.batch <= 11, peak_bytes=10**9, images_per_s=7.0 * min(request.batch, 4), device="cpu")

    monkeypatch.setattr(batches, "in_a_process", answer)
    assert main(["find-batch", str(stripes), "--within", "0", "--memory", "2"]) == 0
    printed = capsys.readouterr()
    assert "largest that fits: 11   fastest: 4, 28 images/s" in printed.err
    assert "does not fit" in printed.out
    assert main(["find-batch", str(stripes), "--most", "8", "--memory", "2", "--json"]) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert (found["largest"], found["fastest"], found["capped"], found["memory"]) == (8, 4, True, 2 * 10**9)
    assert "--most" in printed.err


def speeds(monkeypatch: pytest.MonkeyPatch, *rates: float) -> list[int]:
    """Trials of 1, 2, 4 … give these images per second, later ones the last of them. Returns what is asked, as it is."""
    asked: list[int] = []

    def answer(request: Request, seconds: float) -> Answer:
        asked.append(request.batch)
        rate = rates[min(len(asked), len(rates)) - 1]
        return Answer(fits=request.batch <= 100, peak_bytes=1, images_per_s=rate, device="cpu")

    monkeypatch.setattr(batches, "in_a_process", answer)
    return asked


def test_the_search_ends_when_the_rate_has_fallen_twice_in_a_row(small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    for rates, sizes, fastest in (
        ((10.0, 9.0, 8.0), [1, 2, 4], 1),
        ((10.0, 20.0, 15.0, 19.0, 18.0, 17.0), [1, 2, 4, 8, 16, 32], 2),  # once alone is no end
        ((10.0, 20.0, 20.0, 19.0, 19.0, 18.0, 17.0), [1, 2, 4, 8, 16, 32, 64], 2),  # nor is standing still
    ):
        asked = speeds(monkeypatch, *rates)
        found = find_batch(None, small_recipe(), classes=2, memory=1.0)
        assert (asked, found.ended, found.capped) == (sizes, "slower", True)
        assert (found.largest.batch, found.fastest.batch) == (sizes[-1], fastest)
    asked = speeds(monkeypatch, 10.0, 9.0, 8.0, 7.0)
    found = find_batch(None, small_recipe(), classes=2, memory=1.0, largest=True, within=0.0)
    assert (found.ended, found.largest.batch, found.fastest.batch) == ("memory", 100, 1)


def test_when_time_is_up_the_search_ends_with_what_it_has(small_recipe: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    def answer(request: Request, seconds: float) -> Answer | None:
        return Answer(fits=True, peak_bytes=1, images_per_s=1.0 + request.batch, device="cpu") if request.batch < 8 else None

    monkeypatch.setattr(batches, "in_a_process", answer)
    found = find_batch(None, small_recipe(), classes=2, memory=1.0)
    assert (found.ended, found.largest.batch, len(found.trials)) == ("time", 4, 3)
    monkeypatch.setattr(batches, "in_a_process", lambda request, seconds: None)
    with pytest.raises(TrainingError, match=r"did not end within 5 minutes") as error:
        find_batch(None, small_recipe(), classes=2, memory=1.0)
    assert "--minutes" in error.value.hint


def test_a_trial_that_takes_too_long_is_ended(small_recipe: Make, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    program, process = tmp_path / "python", tmp_path / "pid"
    program.write_text(f"#!/bin/sh\necho $$ > {process}\nexec sleep 600\n")
    program.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(program))
    assert in_a_process(request(small_recipe()), 1.0) is None
    with pytest.raises(ProcessLookupError):
        os.kill(int(process.read_text()), 0)


@pytest.mark.slow
def test_a_trial_in_a_process_of_its_own_answers(small_recipe: Make) -> None:
    answer = in_a_process(request(small_recipe()), LONG)
    assert answer is not None
    assert answer.fits
    assert answer.images_per_s > 0


@pytest.mark.slow
def test_a_budget_ends_the_process_that_passes_it_and_nothing_else(small_recipe: Make) -> None:
    """Tens of megabytes an image: the budget is what one image takes, and some more."""
    wide = small_recipe(hyper={"dim": 256, "depth": 4, "patch_size": 4}, data={"img_size": [96, 96]})
    one = in_a_process(request(wide, batch=1), LONG)
    assert one is not None
    assert one.fits
    budget = one.peak_bytes + 200_000_000
    found = find_batch(None, wide, classes=2, memory=budget / 1e9, seconds=0.0, within=0.5, quiet=True)
    assert 1 <= found.largest.batch < 512  # how far it looks on a busy machine is a matter of time
    assert all(t.peak_bytes <= budget for t in found.trials if t.fits)
