"""Runs that are disturbed from outside while they go: what they are, when to strike, and whether they end the same."""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import allmlp
from allmlp.recipe import Recipe
from allmlp.run import Run, read_json, read_lines
from helpers import same_weights, without_times
from ranks import Running, in_processes, started, values

Make = Callable[..., Recipe]
PATIENCE = 20.0
"""Seconds that one process waits for another; 600 unless told otherwise. Even on a busy machine none is silent for so long."""
LEARN: dict[str, Any] = {
    "hyper": {"drop_path": 0.2},
    "augment": {"mixup": 0.4, "auto": "rand-m5-n1"},  # picture by picture, by workers
    "data": {"workers": 2},
    "train": {"ema": 0.9, "save_steps": 1, "log_every": 1, "epochs": 2, "process_timeout": PATIENCE},
}
"""A checkpoint after each step: many moments are moments of writing."""


def learn(data: Path, recipe: Recipe, out: Path) -> str:
    """Begin a run, or go on with it: "finished" or "stopped"."""
    if recipe.translation is not None:
        from allmlp.translation.main import train

        run = train(data, recipe=recipe, out=out, resume="auto", quiet=True)
    else:
        run = (allmlp.train if recipe.dino is None else allmlp.pretrain)(
            data, recipe=recipe, out=out, resume="auto", quiet=True
        )
    return str(read_json(run.state)["state"])


def undisturbed(size: int, data: Path, recipe: Recipe, out: Path) -> tuple[Run, float]:
    """The run, and the seconds it took from its process's start to its end."""
    began = time.monotonic()
    assert values(in_processes(size, learn, data, recipe, out)) == ["finished"] * size
    return Run(out), time.monotonic() - began


def goes_on_to(whole: Run, size: int, data: Path, recipe: Recipe, out: Path) -> bool:
    """Give the command again: whether it ends with the same weights and epochs, and leaves no rubbish behind."""
    assert values(in_processes(size, learn, data, recipe, out)) == ["finished"] * size
    run = Run(out)
    rubbish = [*run.folder.glob(".*"), *run.checkpoints.glob(".*")]
    return (
        same_weights(whole, run, "last")
        and same_weights(whole, run, "best")
        and without_times(whole) == without_times(run)
        and not rubbish
    )


def wait_for(running: Running, ready: Callable[[], bool], pause: float = 0.01) -> bool:
    """Until something is so; False where the processes have ended before."""
    while running.alive:
        if ready():
            return True
        time.sleep(pause)
    return False


def at_step(out: Path, count: int) -> Callable[[], bool]:
    """Whether so many steps are done, of a run that logs each."""
    return lambda: len(read_lines(Run(out).steps)) >= count


def writing_checkpoint(out: Path, count: int) -> Callable[[], bool]:
    """Whether the `count`th checkpoint that was seen half written is there now."""
    seen: set[str] = set()

    def now() -> bool:
        try:
            half = {name for name in os.listdir(out / "checkpoints") if name[0] == "."}  # noqa: PTH208 - the window is short
        except FileNotFoundError:
            return False
        seen.update(half)
        return bool(half) and len(seen) >= count

    return now


def phase(out: Path) -> str:
    """How far a disturbed run had come."""
    run = Run(out)
    if not run.state.is_file():
        return "before it began"
    if read_json(run.state)["state"] == "finished":
        return "after it ended"
    return "in training" if run.checkpoints.is_dir() else "before the first checkpoint"


def start(size: int, data: Path, recipe: Recipe, out: Path) -> Running:
    return started(size, learn, data, recipe, out)
