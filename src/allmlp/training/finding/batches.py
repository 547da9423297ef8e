"""The largest batch whose step fits into memory, and the fastest: doubling, then halving the gap."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import asdict, dataclass
from tempfile import TemporaryFile
from typing import Any, Literal

import torch

from allmlp.data.images import Source
from allmlp.data.progress import waiting
from allmlp.engine.memory import free_bytes
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.strict_json import to_json
from allmlp.training.distributed import Team
from allmlp.training.finding.trial import TOO_LARGE, Answer, Request
from allmlp.training.main import images_of

SHARE = 0.9
"""Of the memory that is free now, which a step may take unless a budget is given."""
FALLS = 2
"""After so many doublings in a row that were each slower than the one before, larger batches are not looked at."""
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
    ended: Literal["memory", "most", "slower", "time"]
    """Why no larger one was tried: the next does not fit, the limit was reached, larger ones were slower, or time was up."""

    @property
    def capped(self) -> bool:
        """Whether the search ended before memory did, and larger ones may fit."""
        return self.ended != "memory"

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
    minutes: float = 5.0,
    largest: bool = False,
    quiet: bool = False,
    tell: Callable[[Trial], None] = lambda trial: None,
) -> BatchSearch:
    """Try batch sizes 1, 2, 4 … up to `most`, and then between the largest that fits and the smallest that does not.

    The search ends when images per second have fallen twice in a row, and when `minutes` are over.

    data: as for `train`; of it, only classes, channels and size matter. classes: so many instead, of RGB images.
    memory: budget in GB; unless given, 0.9 of what is free on a CPU, and all of an accelerator.
    within: how close to the largest that fits, as a share of it; 0: exactly. seconds: for which each size is timed.
    minutes: that all of it may take. largest: look for the largest that fits even where it is slower.
    tell: called with each trial. Raises RecipeError for values out of range, TrainingError when not even one image fits, or
    not even one step ends in time.
    """
    _check(classes, memory, most, within, minutes)
    budget = None if memory is None else int(memory * 1e9)
    if budget is None and not torch.cuda.is_available():
        free = free_bytes()
        if free is None:
            raise RecipeError("this system does not say how much memory is free", hint="give --memory, in GB")
        budget = int(SHARE * free)
    about = _about(data, recipe, classes, quiet)
    found: dict[int, Trial] = {}
    devices: list[str] = []
    ends = time.monotonic() + 60 * minutes

    def fits(batch: int) -> bool:
        if not largest and _slower([found[size] for size in sorted(found)]):
            raise _Enough("slower")
        left = ends - time.monotonic()
        if found and left <= 0:
            raise _Enough("time")
        request = Request(recipe=recipe.to_toml(), batch=batch, memory=budget, seconds=seconds, **about)
        with waiting(f"a batch of {batch:,}, {max(left, 0) / 60:.1f} minutes left", quiet=quiet):
            answer = in_a_process(request, left)
        if answer is None:
            raise _Enough("time")
        found[batch] = Trial(batch=batch, fits=answer.fits, peak_bytes=answer.peak_bytes, images_per_s=answer.images_per_s)
        devices.append(answer.device)
        tell(found[batch])
        return answer.fits

    ended: Literal["memory", "most", "slower", "time"]
    try:
        ended = "most" if search(fits, most=most, within=within) else "memory"
    except _Enough as enough:
        ended = enough.why
    if ended == "time" and not found:
        raise TrainingError(
            f"the steps of one image did not end within {minutes:g} minutes", hint="give more --minutes, or try a smaller model"
        )
    if not any(trial.fits for trial in found.values()):
        room = "" if budget is None else f" into {budget / 1e9:.2f} GB"
        raise TrainingError(
            f"not even one image fits{room}", hint="use train.recompute, a smaller image or model, or a larger --memory"
        )
    return BatchSearch(
        device=next(filter(None, devices)),
        memory=budget,
        trials=[found[batch] for batch in sorted(found)],
        ended=ended,
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


class _Enough(Exception):
    """The search is over, though larger batches may fit."""

    def __init__(self, why: Literal["slower", "time"]) -> None:
        super().__init__(why)
        self.why = why


def _slower(trials: list[Trial]) -> bool:
    """Whether images per second fell at each of the last doublings, as long as all fit. trials: smallest first."""
    last = [trial.images_per_s for trial in trials[-FALLS - 1 :]]
    return len(last) > FALLS and all(trial.fits for trial in trials) and last == sorted(set(last), reverse=True)


def in_a_process(request: Request, seconds: float) -> Answer | None:
    """The answer of a process of its own; None where it took longer than `seconds`. The process ends with this call, and with
    this process. Raises RecipeError for a recipe it cannot try, TrainingError if it breaks.
    """
    command = [sys.executable, "-m", "allmlp.training.finding.trial", str(os.getpid())]
    with (
        TemporaryFile("w+") as out,
        TemporaryFile("w+") as err,
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=out, stderr=err, text=True) as child,
    ):
        try:
            assert child.stdin is not None
            with suppress(BrokenPipeError):  # it has ended already, and its status says why
                child.stdin.write(to_json(asdict(request)) + "\n")
                child.stdin.flush()  # and left open: the child ends when it is closed, as it is when this process is gone
            status = child.wait(max(seconds, 0))
        except subprocess.TimeoutExpired:
            return None
        finally:
            child.kill()
            with suppress(BrokenPipeError):
                child.communicate()
        said, told = (_text(file) for file in (out, err))
    if status in (TOO_LARGE, -signal.SIGKILL):  # by itself, or by a system that had no more memory to give
        return Answer(fits=False)
    if status:
        last = (told.strip().splitlines() or [f"exit status {status}"])[-1]
        raise TrainingError(f"a step of {request.batch} images broke: {last[:300]}", hint="train a few steps to see more of it")
    answer = Answer(**json.loads(said.splitlines()[-1]))
    if answer.error is not None:
        raise RecipeError(answer.error[0], hint=answer.error[1])
    return answer


def _text(file: Any) -> str:
    file.seek(0)
    return str(file.read())


def _about(data: str | os.PathLike[str] | None, recipe: Recipe, classes: int | None, quiet: bool) -> dict[str, Any]:
    """What the model must know of the images."""
    if classes is not None:
        if recipe.distill.teacher is not None:
            raise RecipeError("a teacher's classes are matched by name", hint="give DATA instead of --classes")
        return {"classes": [f"class {i}" for i in range(classes)], "in_chans": 3, "img_size": None}
    source: Source = images_of(None if data is None else os.fspath(data), recipe, Team(), quiet)
    return {"classes": source.classes, "in_chans": source.in_chans, "img_size": source.img_size}


def _check(classes: int | None, memory: float | None, most: int, within: float, minutes: float) -> None:
    if classes is not None and classes < 2:
        raise RecipeError(f"{classes} classes leave nothing to tell apart", hint="give --classes 2 or more")
    if memory is not None and not memory > 0:
        raise RecipeError(f"a budget of {memory:g} GB holds nothing", hint="give --memory in GB")
    if most < 1:
        raise RecipeError(f"{most} is no batch", hint="give --most 1 or more")
    if not minutes > 0:
        raise RecipeError(f"{minutes:g} minutes are no time", hint="give --minutes 5, say")
    if not 0 <= within < 1:
        raise RecipeError(f"within {within:g} is no share", hint="give --within 0.05, say, or 0 for the exact number")
