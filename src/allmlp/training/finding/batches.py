"""The largest batch whose step fits into memory, and the fastest: doubling, then halving the gap."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

import torch

from allmlp.data.images import Source
from allmlp.engine.memory import free_bytes
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.strict_json import to_json
from allmlp.training.distributed import Team
from allmlp.training.finding.trial import TOO_LARGE, Answer, Request
from allmlp.training.main import images_of

SHARE = 0.9
"""Of the memory that is free now, which a step may take unless a budget is given."""
NEARLY = 0.95
"""From which share of the highest speed on a smaller batch counts as fast as the fastest."""


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One batch size."""

    batch: int
    fits: bool
    peak_bytes: int
    """What the process held at most, everything included; on an accelerator, what torch had reserved there."""
    images_per_s: float


@dataclass(frozen=True, kw_only=True)
class BatchSearch:
    """All that was tried, smallest batch first."""

    device: str
    memory: int | None
    """The budget in bytes; None: all the accelerator has."""
    trials: list[Trial]
    capped: bool
    """Whether the search ended at its own limit, and larger ones may fit."""

    @property
    def largest(self) -> Trial:
        return max((trial for trial in self.trials if trial.fits), key=lambda trial: trial.batch)

    @property
    def fastest(self) -> Trial:
        """The smallest batch that is nearly as fast as any."""
        fitting = [trial for trial in self.trials if trial.fits]
        best = max(trial.images_per_s for trial in fitting)
        return next(trial for trial in fitting if trial.images_per_s >= NEARLY * best)


def find_batch(
    data: str | os.PathLike[str] | None,
    recipe: Recipe,
    *,
    classes: int | None = None,
    memory: float | None = None,
    most: int = 4096,
    within: float = 0.05,
    seconds: float = 1.0,
    quiet: bool = False,
    tell: Callable[[Trial], None] = lambda trial: None,
) -> BatchSearch:
    """Try batch sizes 1, 2, 4 … up to `most`, and then between the largest that fits and the smallest that does not.

    data: as for `train`; of it, only classes, channels and size matter. classes: so many instead, of RGB images.
    memory: budget in GB; unless given, 0.9 of what is free on a CPU, and all of an accelerator.
    within: how close to the largest that fits, as a share of it; 0: exactly. seconds: for which each size is timed.
    tell: called with each trial. Raises RecipeError for values out of range, TrainingError when not even one image fits.
    """
    _check(classes, memory, most, within)
    budget = None if memory is None else int(memory * 1e9)
    if budget is None and not torch.cuda.is_available():
        free = free_bytes()
        if free is None:
            raise RecipeError("this system does not say how much memory is free", hint="give --memory, in GB")
        budget = int(SHARE * free)
    about = _about(data, recipe, classes, quiet)
    found: dict[int, Trial] = {}
    devices: list[str] = []

    def fits(batch: int) -> bool:
        answer = in_a_process(Request(recipe=recipe.to_toml(), batch=batch, memory=budget, seconds=seconds, **about))
        found[batch] = Trial(batch=batch, fits=answer.fits, peak_bytes=answer.peak_bytes, images_per_s=answer.images_per_s)
        devices.append(answer.device)
        tell(found[batch])
        return answer.fits

    capped = search(fits, most=most, within=within)
    if not any(trial.fits for trial in found.values()):
        room = "" if budget is None else f" into {budget / 1e9:.2f} GB"
        raise TrainingError(
            f"not even one image fits{room}", hint="use train.recompute, a smaller image or model, or a larger --memory"
        )
    return BatchSearch(
        device=next(filter(None, devices)),
        memory=budget,
        trials=[found[batch] for batch in sorted(found)],
        capped=capped,
    )


def search(fits: Callable[[int], bool], *, most: int, within: float) -> bool:
    """Ask about batch sizes until the largest that fits is known, or known nearly. Returns whether even `most` fits."""
    low, high = 0, 1
    while fits(high):
        if high == most:
            return True
        low, high = high, min(2 * high, most)
    while high - low > max(1, within * low):
        middle = (low + high) // 2
        if fits(middle):
            low = middle
        else:
            high = middle
    return False


def in_a_process(request: Request) -> Answer:
    """The answer of a process of its own. Raises RecipeError for a recipe it cannot try, TrainingError if it breaks."""
    command = [sys.executable, "-m", "allmlp.training.finding.trial"]
    done = subprocess.run(command, input=to_json(asdict(request)), capture_output=True, text=True)
    if done.returncode in (TOO_LARGE, -signal.SIGKILL):  # by itself, or by a system that had no more memory to give
        return Answer(fits=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit status {done.returncode}"])[-1]
        raise TrainingError(f"a step of {request.batch} images broke: {last[:300]}", hint="train a few steps to see more of it")
    answer = Answer(**json.loads(done.stdout.splitlines()[-1]))
    if answer.error is not None:
        raise RecipeError(answer.error[0], hint=answer.error[1])
    return answer


def _about(data: str | os.PathLike[str] | None, recipe: Recipe, classes: int | None, quiet: bool) -> dict[str, Any]:
    """What the model must know of the images."""
    if classes is not None:
        if recipe.distill.teacher is not None:
            raise RecipeError("a teacher's classes are matched by name", hint="give DATA instead of --classes")
        return {"classes": [f"class {i}" for i in range(classes)], "in_chans": 3, "img_size": None}
    source: Source = images_of(None if data is None else os.fspath(data), recipe, Team(), quiet)
    return {"classes": source.classes, "in_chans": source.in_chans, "img_size": source.img_size}


def _check(classes: int | None, memory: float | None, most: int, within: float) -> None:
    if classes is not None and classes < 2:
        raise RecipeError(f"{classes} classes leave nothing to tell apart", hint="give --classes 2 or more")
    if memory is not None and not memory > 0:
        raise RecipeError(f"a budget of {memory:g} GB holds nothing", hint="give --memory in GB")
    if most < 1:
        raise RecipeError(f"{most} is no batch", hint="give --most 1 or more")
    if not 0 <= within < 1:
        raise RecipeError(f"within {within:g} is no share", hint="give --within 0.05, say, or 0 for the exact number")
