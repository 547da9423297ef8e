"""A run that is killed at any moment ends, when its command is given again, with the weights of one that was not."""

import random
import shutil
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from disturbing import LEARN, Make, at_step, goes_on_to, phase, start, undisturbed, wait_for, writing_checkpoint
from scorecard import Card, Fault

from allmlp.recipe import Optim, Recipe, Train, Translation

FAULT = Fault(10, "kill -9 in training", "the same command goes on; final weights bit-identical to the undisturbed run")

STEPS = 8
"""Of a run."""
STEP_BY_STEP = {"save_steps": 1, "log_every": 1}

pytestmark = pytest.mark.slow


def told(phases: Counter[str]) -> str:
    return ", ".join(f"{count} {when}" for when, count in phases.most_common())


@pytest.mark.parametrize("size", [1, 2])
def test_at_random_moments(size: int, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe, draw, phases = small_recipe(**LEARN), random.Random(size), Counter[str]()
    whole, _ = undisturbed(size, stripes, recipe, tmp_path / "whole")
    times = card.times(10 if size == 1 else 8, quick=1)
    for number in range(times):
        out = tmp_path / str(number)
        running = start(size, stripes, recipe, out)
        wait_for(running, at_step(out, draw.randrange(STEPS)))
        time.sleep(draw.uniform(0, 0.2))
        running.send(signal.SIGKILL, draw.randrange(size))
        running.all_ended()
        phases[phase(out)] += 1
        assert goes_on_to(whole, size, stripes, recipe, out), number
        shutil.rmtree(out)
    assert times < 4 or phases["after it ended"] <= times / 2  # where nothing was left to disturb
    how = "one process and two workers" if size == 1 else "one of two processes (gloo), two workers each"
    card.seen(f"{how}, at random moments", times, f"{times} of {times} the same bits; killed {told(phases)}")


@pytest.mark.parametrize("size", [1, 2])
def test_while_a_checkpoint_is_written(size: int, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe, draw = small_recipe(**LEARN), random.Random(size)
    whole, _ = undisturbed(size, stripes, recipe, tmp_path / "whole")
    times, half = card.times(6 if size == 1 else 2, quick=1), 0
    for number in range(times):
        out = tmp_path / str(number)
        running = start(size, stripes, recipe, out)
        if wait_for(running, writing_checkpoint(out, draw.randint(1, 5)), pause=0):
            running.send(signal.SIGKILL)
        running.all_ended()
        half += any(path.name[0] == "." for path in (out / "checkpoints").iterdir())
        assert goes_on_to(whole, size, stripes, recipe, out), number
        shutil.rmtree(out)
    how = "one process" if size == 1 else "the writer of two processes"
    card.seen(f"{how}, while a checkpoint is written", times, f"{times} of {times} the same bits; {half} left one half written")


def translator() -> Recipe:
    return Recipe(
        model="resmlp_mt_xs",
        hyper=dict(dim=16, hidden=24, depth=1, heads=2),
        translation=Translation(source="aa", target="bb", vocabulary=100, longest=40, tokens=1000),
        optim=Optim(lr=3e-3, warmup=0.5),
        train=Train(epochs=2, precision="fp32", **STEP_BY_STEP),
    )


@pytest.mark.parametrize("command", ["pretrain", "translate train"])
def test_so_in_the_other_tasks(command: str, stripes: Path, text: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    if command == "pretrain":
        dino = {"local_crops": 2, "outputs": 32, "hidden": 16, "bottleneck": 8, "patience": 0}
        plain = {"crop": "auto", "padding": 4}
        data, recipe = stripes, small_recipe(train={**STEP_BY_STEP, "epochs": 2}, augment=plain, dino=dino)
    else:
        pytest.importorskip("sentencepiece", reason="extra translate")
        data, recipe = text, translator()
    draw, phases = random.Random(0), Counter[str]()
    whole, _ = undisturbed(1, data, recipe, tmp_path / "whole")
    times = card.times(2, quick=1)
    for number in range(times):
        out = tmp_path / str(number)
        running = start(1, data, recipe, out)
        wait_for(running, at_step(out, draw.randint(1, 3)))
        time.sleep(draw.uniform(0, 0.05))
        running.send(signal.SIGKILL)
        running.all_ended()
        phases[phase(out)] += 1
        assert goes_on_to(whole, 1, data, recipe, out), number
        shutil.rmtree(out)
    assert times < 2 or phases["after it ended"] < times  # where nothing was left to disturb
    card.seen(f"allmlp {command}, at random moments", times, f"{times} of {times} the same bits; killed {told(phases)}")
