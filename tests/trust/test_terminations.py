"""A scheduler's SIGTERM at any moment: the state is saved, the status is 0, and the same weights in the end."""

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from importlib import import_module
from pathlib import Path

import pytest
from disturbing import LEARN, Make, goes_on_to, phase, undisturbed, wait_for, writing_checkpoint
from scorecard import Card, Fault

from allmlp.cli import main
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json
from ranks import in_processes, started, values

FAULT = Fault(100, "SIGTERM in training", "state saved, exit status 0 within the grace time; the resumed run bit-identical")
GRACE = 30.0
"""Seconds; Kubernetes' usual one. SLURM's and systemd's are no shorter."""
HANG = 600.0
"""Seconds after which whatever is still there hangs, on a machine under any load."""

pytestmark = pytest.mark.slow


def words(data: Path, recipe: Recipe, out: Path) -> list[str]:
    path = out.with_suffix(".toml")
    path.write_text(recipe.to_toml())
    return ["train", str(data), "--recipe", str(path), "--out", str(out), "--resume", "auto", "--quiet"]


def command_that_is_signalled(module: str, name: str, count: int, given: list[str]) -> tuple[int, float]:
    """(status, seconds it took to leave) of a command to which SIGTERM comes at the `count`th call of a function."""
    home = import_module(module)
    plain: Callable[..., object] = getattr(home, name)
    calls, at = 0, 0.0

    def struck(*arguments: object, **more: object) -> object:
        nonlocal calls, at
        calls += 1
        if calls == count:
            at = time.monotonic()
            os.kill(os.getpid(), signal.SIGTERM)
        return plain(*arguments, **more)

    setattr(home, name, struck)
    return main(given), time.monotonic() - at


MOMENTS = {
    "while the data are opened": ("allmlp.training.main", "describe", 1),
    "while the model is built": ("allmlp.training.setup", "build_model", 1),
    "as run.json is first written": ("allmlp.training.main", "write_json", 3),
    "in validation": ("allmlp.metrics", "sums", 1),
    "in the last validation": ("allmlp.metrics", "sums", 4),
    "as a checkpoint is begun": ("allmlp.training.checkpoint", "save_file", 2),
    "as a checkpoint is published": ("allmlp.training.checkpoint", "_publish", 5),
    "as the best weights are written": ("allmlp.run", "write_tensors", 1),
}


def test_at_each_kind_of_moment(stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe = small_recipe(**LEARN)
    whole, _ = undisturbed(1, stripes, recipe, tmp_path / "whole")
    moments = list(MOMENTS.items())
    chosen, longest = moments[: card.times(len(moments), quick=1)] + moments[3 : 3 + card.times(0, quick=1)], 0.0
    for number, (when, moment) in enumerate(chosen):
        out = tmp_path / str(number)
        ((status, seconds),) = values(in_processes(1, command_that_is_signalled, *moment, words(stripes, recipe, out)))
        assert status == 0, when
        longest = max(longest, seconds)
        card.within(longest, GRACE)
        if (out / "run.json").is_file():
            assert read_json(out / "run.json")["state"] == ("finished" if "last" in when else "stopped"), when
        assert goes_on_to(whole, 1, stripes, recipe, out), when
        shutil.rmtree(out, ignore_errors=True)
    card.seen(", ".join(when for when, _ in chosen), len(chosen), f"status 0 after {longest:.1f} s at most; the same bits")


@pytest.mark.parametrize("size", [1, 2])
def test_at_random_moments(size: int, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    """The longer half of a run's time is training; with two processes, both are told, as by SLURM."""
    recipe, draw, phases, longest = small_recipe(**LEARN), random.Random(size), Counter[str](), 0.0
    whole, seconds = undisturbed(size, stripes, recipe, tmp_path / "whole")
    times = card.times(7 if size == 1 else 5, quick=1)
    for number in range(times):
        out = tmp_path / str(number)
        running = started(size, main, words(stripes, recipe, out))
        if number % 3 == 2:
            wait_for(running, writing_checkpoint(out, draw.randint(1, 5)), pause=0)
        else:
            wait_for(running, (Run(out).folder / "log.txt").is_file)  # before that, see the test below
            time.sleep(draw.uniform(0, 0.7 * seconds))
        told = time.monotonic()
        for rank in range(size):
            running.send(signal.SIGTERM, rank)
        assert values(running.all_ended()) == [0] * size, number
        longest = max(longest, time.monotonic() - told)
        phases[phase(out)] += 1
        assert goes_on_to(whole, size, stripes, recipe, out), number
        shutil.rmtree(out)
    card.within(longest, GRACE)
    when = ", ".join(f"{count} {where}" for where, count in phases.most_common())
    card.seen(
        f"{'one process' if size == 1 else 'two processes'}, every third while a checkpoint is written, else at random moments",
        times,
        f"status 0 after {longest:.1f} s at most, the same bits; {when}",
    )


def test_while_it_starts(stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    """`python -m allmlp train` itself, most of whose first seconds go into importing torch."""
    recipe, draw, longest = small_recipe(**LEARN), random.Random(0), 0.0
    times = card.times(5, quick=1)
    for number in range(times):
        out = tmp_path / str(number)
        began = time.monotonic()
        command = [sys.executable, "-m", "allmlp", *words(stripes, recipe, out)]
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        wait = draw.uniform(0.5, 4.0)
        time.sleep(max(0.0, began + wait - time.monotonic()))
        told = time.monotonic()
        process.terminate()
        _, said = process.communicate(timeout=HANG)
        longest = max(longest, time.monotonic() - told)
        assert (process.returncode, "Traceback" in said) == (0, False), (wait, said)
    card.within(longest, GRACE)
    card.seen(
        "python -m allmlp train, 0.5 to 4 s after its start", times, f"status 0 after {longest:.1f} s at most, no traceback"
    )
