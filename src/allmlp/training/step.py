"""One update of a model."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch
from allmlp.training.distributed import synced, unsharded
from allmlp.training.generated import uncompiled
from allmlp.training.masks import hold
from allmlp.training.plan import Losses, Plan
from allmlp.training.products import multiplied


@dataclass(frozen=True)
class Outcome:
    """What a step found in this process, still on the device, so that nobody waits for it."""

    loss: Tensor
    """Mean over the images."""
    chance: Tensor
    """The loss of a model that knows nothing: all logits zero."""
    hits: Tensor | None
    """Images that were right before the update; None where they were mixed."""
    norm: Tensor | None
    """Of the whole gradient before it was clipped; None where it is scaled and nothing is clipped."""


def update(plan: Plan, batch: Batch, number: int, *, mixing: bool, weight: float = 1.0, slowdown: float = 1.0) -> Outcome:
    """Step `number` of the run, which alone decides its random choices and, times `slowdown`, its learning rate.

    weight: of this process's mean loss, so that every image of all processes counts the same. A process without images
    takes part all the same: the others wait for its gradient, which weighs nothing.
    """
    _seed(plan, number)
    given = plan.task.given(plan, batch, mixing=mixing)
    plan.schedule.step_update(number)
    for group in plan.optimiser.param_groups:
        group["lr"] *= slowdown
    plan.optimiser.zero_grad(set_to_none=True)
    found = _gradients(plan, given, number, weight)
    plan.task.about_to_move(plan, number)
    norm = _norm(plan)
    if not _hopeless(plan, norm):
        _move(plan, norm)
        hold(plan.model, plan.masks)
        if plan.ema is not None:
            plan.ema.update(plan.model, step=number)
        plan.task.moved(plan, number, len(batch.labels))
    return Outcome(found.loss, found.chance, found.hits, norm)


def _seed(plan: Plan, number: int) -> None:
    team = plan.team
    seed_everything(plan.recipe.seed, "step", number * team.size + team.rank)
    if plan.device.type == "cuda":
        torch.cuda.manual_seed(torch.initial_seed())


def _gradients(plan: Plan, given: tuple[Tensor, ...], number: int, weight: float) -> Losses:
    """Forward and backward, in as many parts as the recipe says."""
    images = len(given[0])
    chunk = -(-images // plan.recipe.train.accumulate)
    parts = list(zip(*(tensor.split(chunk) for tensor in given), strict=True))
    totals, hits = torch.zeros(2, device=plan.device), []
    for place, part in enumerate(parts):
        share = len(part[0]) / images
        with synced(uncompiled(plan.forward), place == len(parts) - 1), multiplied(plan.products):
            found = plan.task.losses(plan, part, number)
            loss = found.loss * share
            plan.scaler.scale(loss * weight).backward()
        with torch.no_grad():
            totals += torch.stack([loss, found.chance * share])
        hits.append(found.hits)
    right = [each for each in hits if each is not None]
    return Losses(totals[0], totals[1], torch.stack(right).sum() if right else None)


def _norm(plan: Plan) -> Tensor | None:
    """Of the whole gradient; None where it is scaled and nothing wants to know."""
    if plan.scaler.is_enabled():
        if not plan.recipe.optim.clip:
            return None
        plan.scaler.unscale_(plan.optimiser)
    return nn.utils.get_total_norm([weight.grad for weight in plan.model.parameters() if weight.grad is not None])


def _hopeless(plan: Plan, norm: Tensor | None) -> bool:
    """Whether the step would spoil every weight; the same in all processes. An accelerator is not waited for: what it spoils
    is found at the next look, and never saved."""
    if norm is None or plan.scaler.is_enabled() or plan.device.type != "cpu":
        return False
    return not bool(unsharded(norm).isfinite())


def _move(plan: Plan, norm: Tensor | None) -> None:
    """Clip the whole gradient and take the step; with loss scaling, a step of overflowing gradients is left out."""
    if plan.recipe.optim.clip and norm is not None:
        nn.utils.clip_grads_with_norm_(plan.model.parameters(), plan.recipe.optim.clip, norm)
    plan.scaler.step(plan.optimiser)
    plan.scaler.update()
