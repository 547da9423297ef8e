"""The run that is already there, when the same command is given again: after a pre-emption, a crash, or a restart."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from allmlp.data.sources import located, spec_of
from allmlp.errors import RunError
from allmlp.files import whole_file, writing
from allmlp.recipe import Recipe, load_recipe
from allmlp.run import Run, read_lines
from allmlp.training.checkpoint import Position, newest_first

FILLED = ("model", "hyper.", "data.img_size")
"""Fields that a run with `init` writes out where the command had left them open."""
BY_IMAGES = ("data.in_chans", "data.range")
"""Fields that every run writes out where they follow from the images."""
FORMER = {"optim.warmup": 5.0}
"""Values that earlier versions wrote out where the command had left the field open."""


def data_spec(data: str | os.PathLike[str] | None) -> str | None:
    """DATA as run.json keeps it: wherever the command is given next, it means the same images."""
    return None if data is None else located(spec_of(data))


def begun(out: str | os.PathLike[str], asked: Recipe, spec: str | None) -> Run | None:
    """The run in `out` that this command began before, if it has anything to go on from; None where there is none.

    Raises RunError when it was begun with other values or images: going on would quietly ignore the new ones.
    """
    run = Run(Path(out))
    if not run.state.is_file() or not (newest_first(run) or run.told().get("state") == "finished"):
        return None
    before = run.data_spec()
    if before != spec:
        raise _another(run, f"its images are {before or 'those that come with allmlp'}")
    then, now, usual = load_recipe(run.recipe).flat(), asked.flat(), Recipe().flat()
    for name in sorted({*then, *now}):
        open_ = (asked.init is not None and name.startswith(FILLED)) or name in BY_IMAGES
        filled = open_ and now.get(name) in (None, usual.get(name))
        former = now.get(name) is None and name in FORMER and then.get(name) == FORMER[name]
        if then.get(name) != now.get(name) and not filled and not former:
            raise _another(run, f"its {name} is {then.get(name)!r}, not {now.get(name)!r}")
    return run


def cut_back(run: Run, position: Position, steps: int) -> None:
    """Drop the lines of what the checkpoint does not have, which will be written again. steps: in an epoch."""
    done = position.epoch * steps + position.step
    _cut(run, run.metrics, lambda line: line.get("epoch", 0) <= position.epoch)
    _cut(run, run.steps, lambda line: line.get("step", 0) <= done)


def _cut(run: Run, file: Path, keep: Callable[[dict[str, Any]], bool]) -> None:
    if file.is_file():
        records = [record for record in read_lines(file) if keep(record)]
        with writing(file), whole_file(file) as temporary:
            for record in records:
                run.append(temporary, record)


def _another(run: Run, difference: str) -> RunError:
    return RunError(
        f"{run.folder} was begun by another command: {difference}",
        hint=f"give the same words again, go on as it was with allmlp train --resume {run.folder}, or choose another --out",
    )
