"""One of two processes, or a process that prepares images, is killed or stopped: an error in time, or its work made again."""

import os
import random
import shutil
import signal
import time
from pathlib import Path

import pytest
from disturbing import LEARN, PATIENCE, Make, at_step, goes_on_to, learn, start, undisturbed, wait_for
from scorecard import Card, Fault

from allmlp.errors import TrainingError
from allmlp.recipe import Recipe
from allmlp.run import Run
from ranks import free_port, in_processes

FAULT = Fault(
    30,
    "A process killed or hung",
    "a clear error within the time-out (train.process_timeout), or its work is made again; no image lost; the same bits later",
)
pytestmark = pytest.mark.slow


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_one_of_two_processes(how: str, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe = small_recipe(**LEARN)
    whole, _ = undisturbed(2, stripes, recipe, tmp_path / "whole")
    number = signal.SIGKILL if how == "killed" else signal.SIGSTOP
    said, longest, times = "", 0.0, card.times(4, quick=1)
    for turn in range(times):
        lost, out = (turn + 1) % 2, tmp_path / str(turn)
        running = start(2, stripes, recipe, out)
        assert wait_for(running, at_step(out, 1 + turn))
        assert running.send(number, lost)
        since = time.monotonic()
        other = running.ended(1 - lost)
        longest = max(longest, time.monotonic() - since)
        running.send(signal.SIGKILL, lost)
        running.ended(lost)
        assert isinstance(other.error, TrainingError), other
        said = other.error.what
        words = "is gone" if how == "killed" else f"has not answered for {PATIENCE:g} seconds"
        assert words in said
        assert "--train.process-timeout" in other.error.hint or how == "killed"
        assert goes_on_to(whole, 2, stripes, recipe, out), turn
        shutil.rmtree(out)
    assert longest < PATIENCE + 15
    limit = f" with train.process_timeout {PATIENCE:g}" if how == "stopped" else ""
    card.seen(
        f"one of two processes {how}, the first and the second by turns",
        times,
        f"the other says so{limit}: after {longest:.1f} s at most; resumed, the same bits",
    )


def alone(data: Path, recipe: Recipe, out: Path, rank: int, port: int) -> None:
    team = {"RANK": rank, "WORLD_SIZE": 2, "MASTER_PORT": port, "MASTER_ADDR": "127.0.0.1"}
    os.environ.update({name: str(value) for name, value in team.items()})
    learn(data, recipe, out)


def test_one_that_never_comes(stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    longest = 0.0
    for rank in (0, 1):
        since = time.monotonic()
        recipe = small_recipe(train={"process_timeout": 3.0})
        (ended,) = in_processes(1, alone, stripes, recipe, tmp_path / "run", rank, free_port())
        assert isinstance(ended.error, TrainingError), ended
        assert "has not answered for 3 seconds: it hangs, or was never started" in ended.error.what
        longest = max(longest, time.monotonic() - since)
    card.seen(
        "one of two processes never starts, the first and the second", 2, f"an error after {longest:.1f} s at most, of 3 s"
    )


def workers_of(process: int) -> list[int]:
    """Its children, by the kernel's own list."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == process and fields[0] != "Z":
            found.append(int(folder.name))
    return found


@pytest.mark.parametrize("how", ["killed", "stopped"])
def test_a_process_that_prepares_images(how: str, stripes: Path, tmp_path: Path, small_recipe: Make, card: Card) -> None:
    recipe = small_recipe(**{**LEARN, "train": {**LEARN["train"], "batch": 2}})  # so that batches are still to come
    number, said = (signal.SIGKILL, "was lost") if how == "killed" else (signal.SIGSTOP, "has hung")
    whole, _ = undisturbed(1, stripes, recipe, tmp_path / "whole")
    draw, times, noticed = random.Random(0), card.times(4, quick=1), 0
    for turn in range(times):
        out = tmp_path / str(turn)
        running = start(1, stripes, recipe, out)
        assert wait_for(running, at_step(out, 1 + turn))
        os.kill(draw.choice(workers_of(running.pid())), number)
        assert running.ended(0).value == "finished"
        noticed += Run(out).log.read_text().count(f"{said}; all are started again")
        assert goes_on_to(whole, 1, stripes, recipe, out), turn
        shutil.rmtree(out)
    card.seen(
        f"one of two processes that prepare images {how}, in an epoch",
        times,
        f"{times} of {times} runs ended by themselves, the same bits; {noticed} lost one whose batches were still to come",
    )
