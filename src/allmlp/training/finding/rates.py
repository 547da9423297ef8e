"""The learning-rate range test: one short training in which the rate grows from step to step (Smith, 2017, section 3.3)."""

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from torch.optim import Optimizer

from allmlp.data.loader import Batch, Order
from allmlp.data.progress import watched
from allmlp.errors import RecipeError, TrainingError
from allmlp.recipe import Recipe
from allmlp.training.distributed import Team
from allmlp.training.freeze import learning
from allmlp.training.main import images_of
from allmlp.training.plan import Plan
from allmlp.training.setup import make_plan
from allmlp.training.start import start_from
from allmlp.training.step import update

Rule = Literal["steepest", "tenth"]
FAR = 3.0
"""How many times the loss of the first steps, averaged, calls the test off."""
MEMORY = 0.8
"""Of that average: how much of it each step keeps."""
WIDTH = 0.04
"""Of the Gaussian that smooths the curve, as a share of the steps."""
FIRST = 5
"""Steps that show what the loss is before anything is learnt."""
FALL = 0.01
"""Share of the first losses by which the curve must fall before it says anything."""
LEAST_STEPS = 20


@dataclass(frozen=True, kw_only=True)
class RateTest:
    """What the test found. All rates are values of `optim.lr`, meant for `optim.lr_batch` images."""

    suggested: float
    rule: Rule
    steepest: float
    """Where the loss falls fastest with the rate's logarithm."""
    least: float
    """Where the loss is least."""
    diverged: bool
    """Whether the loss left all bounds before the highest rate."""
    batch: int
    scale: float
    """What the optimiser's own rate is `optim.lr` times: batch / lr_batch."""
    rates: list[float]
    losses: list[float]
    smoothed: list[float]


class Ramp:
    """A schedule whose rate grows by the same factor at every step."""

    def __init__(self, made: Optimizer, low: float, high: float, steps: int) -> None:
        self.made, self.low, self.high, self.steps = made, low, high, steps

    def rate(self, step: int) -> float:
        return self.low * (self.high / self.low) ** (step / (self.steps - 1))

    def step_update(self, num_updates: int) -> None:
        for group in self.made.param_groups:
            group["lr"] = self.rate(num_updates) * group.get("lr_scale", 1.0)


def find_rate(
    data: str | os.PathLike[str] | None,
    recipe: Recipe,
    *,
    low: float = 1e-6,
    high: float = 1.0,
    steps: int = 100,
    rule: Rule = "steepest",
    quiet: bool = False,
) -> RateTest:
    """Train for `steps` steps while `optim.lr` grows from `low` to `high`; nothing is kept of the weights.

    rule: which rate to suggest: where the loss falls fastest, or a tenth of where it is least.
    Raises RecipeError for a range that is none, TrainingError where the loss never falls, and whatever `train` raises.
    """
    if not 0 < low < high < math.inf:
        raise RecipeError(f"the rates from {low:g} to {high:g} are no range", hint="give 0 < --low < --high")
    if steps < LEAST_STEPS:
        raise RecipeError(f"{steps} steps are too few for a curve", hint=f"give --steps {LEAST_STEPS} or more")
    source = images_of(None if data is None else os.fspath(data), recipe, Team(), quiet)
    start = None
    if recipe.init is not None:
        recipe, start = start_from(recipe, source)
    plan = make_plan(replace(recipe, train=replace(recipe.train, ema=0.0, sizes=(), compile=False)), source, start)
    batch = min(recipe.train.batch, len(source.train))
    scale = batch / recipe.optim.lr_batch
    taken = list(watched(_steps(plan, low * scale, high * scale, steps), total=steps, what="learning rates", quiet=quiet))
    rates, losses = [rate / scale for rate, _ in taken], [loss for _, loss in taken]
    diverged = len(losses) < steps
    curve, steepest, least = judged(rates, [loss for loss in losses if math.isfinite(loss)])
    return RateTest(
        suggested=steepest if rule == "steepest" else least / 10,
        rule=rule,
        steepest=steepest,
        least=least,
        diverged=diverged,
        batch=batch,
        scale=scale,
        rates=rates[: len(curve)],
        losses=losses[: len(curve)],
        smoothed=curve.tolist(),
    )


def _steps(plan: Plan, low: float, high: float, steps: int) -> Iterator[tuple[float, float]]:
    """(the optimiser's rate, the loss before its step), until the last step or until the loss has left all bounds."""
    ramp = Ramp(plan.optimiser, low, high, steps)
    plan = replace(plan, schedule=ramp)
    learning(plan.model)
    batches, seen = _batches(plan), []
    average = 0.0
    for number in range(steps):
        loss = float(update(plan, next(batches), number, mixing=True).loss)
        average = MEMORY * average + (1 - MEMORY) * loss
        seen.append(average / (1 - MEMORY ** (number + 1)))
        yield ramp.rate(number), loss
        if not seen[-1] <= FAR * max(seen[:FIRST]):
            return


def _batches(plan: Plan) -> Iterator[Batch]:
    """Epoch after epoch; batches of which no image can be read are left out."""
    order = plan.train_batches.batch_sampler
    assert isinstance(order, Order)
    for epoch in count():
        order.epoch, order.start, images = epoch, 0, 0
        for batch in plan.train_batches:
            images += len(batch.labels)
            if len(batch.labels):
                yield batch
        if not images:
            raise TrainingError("no training image could be read", hint="check the files, with allmlp train, which lists them")


def judged(rates: list[float], losses: list[float]) -> tuple[NDArray[np.float64], float, float]:
    """(the smoothed losses, the rate at which they fall fastest, the one at which they are least).

    rates: growing by one factor; there may be more of them than losses. Smoothing looks ahead as far as back, so that the
    curve lags nowhere, and takes losses above the first few for as high as those, so that a jump at the end reaches no
    further than it should. Raises TrainingError for a loss that never falls.
    """
    if len(losses) >= FIRST:
        first = max(losses[:FIRST])
        curve = smoothed(np.minimum(losses, first), max(WIDTH * len(rates), 1.0))
        least = int(curve.argmin())
        if least and first - curve[least] > FALL * first:
            steepest = int(np.gradient(curve[: least + 1]).argmin())
            return curve, rates[steepest], rates[least]
    raise TrainingError("the loss falls at none of these rates", hint="begin with a lower --low, or give more --steps")


def smoothed(values: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Each value averaged with its neighbours by a Gaussian of this width, in places; a straight line stays one inside."""
    places = np.arange(len(values))
    weights = np.exp(-0.5 * ((places[:, None] - places) / width) ** 2)
    return (weights @ values) / weights.sum(1)
