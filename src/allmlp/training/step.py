"""One update of a model."""

# axes: b batch, c channels, h w pixels, k classes

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from allmlp.data.keys import seed_everything
from allmlp.data.loader import Batch
from allmlp.engine.device import autocast, placed
from allmlp.training.distributed import synced
from allmlp.training.masks import hold
from allmlp.training.setup import Plan


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
    """Of the whole gradient before it was clipped; None where nothing is clipped."""


def update(plan: Plan, batch: Batch, number: int, *, mixing: bool, weight: float = 1.0, slowdown: float = 1.0) -> Outcome:
    """Step `number` of the run, which alone decides its random choices and, times `slowdown`, its learning rate.

    weight: of this process's mean loss, so that every image of all processes counts the same. A process without images
    takes part all the same: the others wait for its gradient, which weighs nothing.
    """
    _seed(plan, number)
    images, labels, indices = batch.images, batch.labels, batch.indices
    if not len(labels):
        images, labels = torch.zeros(1, plan.model.in_chans, *plan.model.img_size), torch.zeros(1, dtype=torch.long)
        indices = labels
    images, labels = placed(images, plan.model, plan.device), labels.to(plan.device, non_blocking=True)
    mixed, target = plan.mix(images, labels, mixing=mixing)
    plan.schedule.step_update(number)
    for group in plan.optimiser.param_groups:
        group["lr"] *= slowdown
    plan.optimiser.zero_grad(set_to_none=True)
    loss, chance, logits = _gradients(plan, mixed, target, indices, weight)
    norm = _move(plan)
    hold(plan.model, plan.masks)
    if plan.ema is not None:
        plan.ema.update(plan.model, step=number)
    hits = None if mixed is not images else (logits.argmax(1) == labels).sum()
    return Outcome(loss, chance, hits, norm)


def _seed(plan: Plan, number: int) -> None:
    team = plan.team
    seed_everything(plan.recipe.seed, "step", number * team.size + team.rank)
    if plan.device.type == "cuda":
        torch.cuda.manual_seed(torch.initial_seed())


def _gradients(
    plan: Plan, images: Tensor, target: Tensor, indices: Tensor, weight: float
) -> tuple[Tensor, Tensor, Tensor]:  # b c h w, b k, b → loss, chance, b k logits
    """Forward and backward, in as many parts as the recipe says."""
    chunk = -(-len(images) // plan.recipe.train.accumulate)
    parts = list(zip(*(tensor.split(chunk) for tensor in (images, target, indices)), strict=True))
    totals, answers = torch.zeros(2, device=images.device), []
    for place, (seen, wanted, which) in enumerate(parts):
        share = len(seen) / len(images)
        with synced(plan.forward, place == len(parts) - 1):
            with autocast(plan.device, plan.precision):
                logits = plan.forward(seen)
            objective = plan.objective if plan.distiller is None else plan.distiller.objective(plan.objective, seen, which)
            loss = objective(logits, wanted) * share
            plan.scaler.scale(loss * weight).backward()
        with torch.no_grad():
            totals += torch.stack([loss, objective(torch.zeros_like(logits), wanted) * share])
        answers.append(logits.detach())
    return totals[0], totals[1], torch.cat(answers)


def _move(plan: Plan) -> Tensor | None:
    """Clip the whole gradient and take the step; with loss scaling, a step of overflowing gradients is left out."""
    norm = None
    if plan.recipe.optim.clip:
        plan.scaler.unscale_(plan.optimiser)
        norm = nn.utils.clip_grad_norm_(plan.model.parameters(), plan.recipe.optim.clip)
    plan.scaler.step(plan.optimiser)
    plan.scaler.update()
    return norm
